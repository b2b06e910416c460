"""The command line's parser: a mistake is one line that says which key, what is wrong and what would be right."""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

from jsonargparse import ArgumentParser, Namespace
from lightning.pytorch.cli import LightningArgumentParser

from int_lightning.cli.config_file import read_config
from int_lightning.cli.diagnosis import Diagnosis
from int_lightning.cli.shipped import SHIPPED
from int_lightning.types import UserError
from int_lightning.user_code import look_also_in

_KEY = re.compile(r'Parser key "([^"]+)":?')
_FRAME = re.compile(
    r"""
    Does\ not\ validate\ against\ any\ of\ the\ Union\ subtypes
    | Subtypes:\ .*
    | Errors:
    | Given\ value(\ type)?:\ .*
    | Problem\ with\ given\ class_path\ .*
    | Expected\ a\ <class\ 'NoneType'>.*
    """,
    re.VERBOSE,
)
"""A line of a jsonargparse message that says no more than the rest."""

_GIVEN = re.compile(r"Given value: (?!NestedArg)(.*)")


class Parser(LightningArgumentParser):
    """A parser whose errors are one line, not the usage of a thousand keys."""

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


def parse(parser: LightningArgumentParser, args: Sequence[str]) -> Namespace:
    """A command line as settings. From then on, modules beside its configs and the bare names of shipped classes are found.

    Raises:
        UserError: about the first mistake in it.
    """
    commands = _parsers(parser)
    command, given = args[0], args[1:]
    if command not in commands:
        if command.startswith("-"):
            raise UserError(f"{command} stands before the command: write int-lightning COMMAND {command} ...")
        near = get_close_matches(command, [*commands, "grade", "inspect"], 1)
        hint = f"did you mean {near[0]}?" if near else f"write one of {', '.join(commands)}, grade, inspect"
        raise UserError(f"unknown command {command!r}: {hint}")
    configs = config_files(given)
    for config in configs:
        read_config(config)
    look_also_in([Path(), *(Path(c).expanduser().parent for c in configs)])
    texts = [*given, *(Path(c).expanduser().read_text(encoding="utf-8-sig") for c in configs)]
    for name, module in SHIPPED.items():
        if any(re.search(rf"\b{name}\b", text) for text in texts):
            import_module(module)
    try:
        parsed = parser.parse_args(args)
        if isinstance(parsed[command].get("trainer", Namespace()), Namespace):  # jsonargparse lets other values pass
            return parsed
        raise UserError("trainer takes keys: write trainer: {max_steps: ...}")
    except UserError:
        diagnose(parser, args)
        raise


def diagnose(parser: LightningArgumentParser, args: Sequence[str]) -> None:
    """Looks for the first mistake in a command line.

    Raises:
        UserError: about it; nothing is raised if none is found.
    """
    Diagnosis(args[0], _parsers(parser)[args[0]]).look(args[1:])


def _parsers(parser: LightningArgumentParser) -> dict[str, ArgumentParser]:
    """Of each command."""
    assert parser._subcommands_action is not None
    return parser._subcommands_action._name_parser_map


def config_files(args: Sequence[str]) -> list[str]:
    """The configs named on a command line."""
    found = []
    for i, arg in enumerate(args):
        key, equals, text = arg.partition("=")
        if key in ("-c", "--config") and (equals or (i + 1 < len(args) and not args[i + 1].startswith("--"))):
            found.append(text if equals else args[i + 1])
    return found


def plain(message: str) -> str:
    """What jsonargparse says about a wrong value, without the ways in which it tried to read it."""
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
