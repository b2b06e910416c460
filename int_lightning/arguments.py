"""The parser of the small commands, whose mistakes are one line too."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from typing import Any, NoReturn

from int_lightning.types import UserError


class Arguments(argparse.ArgumentParser):
    """An ``ArgumentParser`` that raises what is wrong and names the option that was meant."""

    def parse_args(self, args: Sequence[str], namespace: Any = None) -> Any:  # type: ignore[override]
        """See ``ArgumentParser.parse_args``.

        Raises:
            UserError: about the first mistake.
        """
        return super().parse_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        """Raises."""
        from difflib import get_close_matches

        unknown = re.match(r"unrecognized arguments: (\S+)", message)
        options = [option for action in self._actions for option in action.option_strings]
        near = get_close_matches(unknown[1].partition("=")[0], options, 1) if unknown else []
        hint = f"did you mean {near[0]}?" if near else f"see {self.prog} --help"
        raise UserError(f"{message}: {hint}")
