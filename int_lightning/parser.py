"""The command line's parser: a mistake is one line that says which key, what is wrong and what would be right."""

from __future__ import annotations

import re
from typing import Any, NoReturn

from lightning.pytorch.cli import LightningArgumentParser

from int_lightning.types import UserError

_KEY = re.compile(r'Parser key "([^"]+)":?')
_FRAME = re.compile(
    r"Does not validate against any of the Union subtypes|Subtypes: .*|Errors:|Given value( type)?: .*"
    r"|Problem with given class_path .*|Expected a <class 'NoneType'>.*"
)

_GIVEN = re.compile(r"Given value: (?!NestedArg)(.*)")


class Parser(LightningArgumentParser):
    """A parser whose errors are one line, not buried under the usage of a thousand keys."""

    def print_usage(self, file: Any = None) -> None:
        """Prints nothing."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Ends parsing.

        Raises:
            UserError: with the innermost reasons.
        """
        if not self.exit_on_error:  # a parser within another, which reports the error itself
            super().error(message, ex)
        raise UserError(f"{plain(message)}. `int-lightning COMMAND --help` lists the keys") from ex


def plain(message: str) -> str:
    """What jsonargparse says of a wrong value, without the ways it tried to read it."""
    keys = _KEY.findall(message)
    lines = [line.strip().removeprefix("- ") for line in _KEY.sub("", message).splitlines()]
    reasons = dict.fromkeys(_in_words(line) for line in lines if line and not _FRAME.fullmatch(line))
    where = f"{'.'.join(keys)}: " if keys else ""
    given = [value for value in _GIVEN.findall(message) if value not in message.split("Given value")[0]]
    return where + "; ".join(reasons) + (f", not {given[0]}" if given else "")


def _in_words(reason: str) -> str:
    reason = re.sub(r"typing\.Literal\[(.*?)\]", r"value among \1", reason)
    reason = re.sub(r"<class '(?:[\w.]*\.)?(\w+)'>", r"\1", reason)
    return re.sub(r"\. Got value: (.*)", r", not \1", reason)
