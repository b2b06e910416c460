"""The parser of the small commands, which answers a mistake with one line too."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from difflib import get_close_matches
from itertools import chain
from typing import Any, NoReturn

from int_lightning.types import UserError


class Arguments(argparse.ArgumentParser):
    """An ``ArgumentParser`` that raises mistakes and suggests the option that was meant."""

    def parse_args(self, args: Sequence[str], namespace: Any = None) -> Any:  # type: ignore[override]
        """See ``ArgumentParser.parse_args``.

        Raises:
            UserError: naming the first mistake.
        """
        return super().parse_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        """Raises the mistake, with a hint."""
        unknown = re.match(r"unrecognized arguments: (\S+)", message)
        options = list(chain.from_iterable(action.option_strings for action in self._actions))
        near = get_close_matches(unknown[1].partition("=")[0], options, 1) if unknown else []
        hint = f"did you mean {near[0]}?" if near else f"see {self.prog} --help"
        raise UserError(f"{message}: {hint}")
