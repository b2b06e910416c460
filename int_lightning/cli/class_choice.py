"""The class that a config names: found, or refused with what to write instead."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import yaml

from int_lightning.cli.config_file import is_text, shown
from int_lightning.cli.shipped import SHIPPED
from int_lightning.cli.suggestions import choices, fields_of, near, shipped, subclasses
from int_lightning.types import UserError
from int_lightning.user_code import load


def chosen_class(bases: tuple[type, ...], node: yaml.Node, key: str, before: type | None) -> type:
    """The class that a key names.

    Args:
        bases: What it may be a subclass of.
        node: Its name.
        key: Full name of the key.
        before: The class that the key named so far, if any.

    Raises:
        UserError: if no such class exists, or if it is not one of these or cannot be made.
    """
    base, name = bases[0].__name__, str(node.value)
    if not is_text(node):
        raise UserError(f"{key} takes the name of a class, not {shown(node)}: write {choices(bases)}")
    found: Any = named(bases, name)
    if found is None and "." not in name and "/" not in name:
        raise UserError(f"{key}: no {base} is named {name!r}: {_meant(bases, name)}")
    if found is None and (":" in name or "/" in name):
        instead = _instead(name, key, bases, before)
        raise UserError(f"{key} takes the name of a class, not {name!r}: write {instead}")
    if found is None:
        module, _, short = name.rpartition(".")
        if module.startswith("int_lightning.") and SHIPPED.get(short, module) != module:
            raise UserError(f"{key}: {name} has moved: write {short}, which needs no module")
        found = load(name, key)
    if not (inspect.isclass(found) and issubclass(found, bases)):
        raise UserError(f"{key}: {name} is not a subclass of {base}: write {choices(bases)}, or make it one")
    if inspect.isabstract(found):
        missing = ", ".join(sorted(vars(found)["__abstractmethods__"]))
        raise UserError(f"{key}: {name} lacks {missing}: write {choices(bases)}, or a subclass that has it")
    return found


def named(bases: tuple[type, ...], name: str) -> type | None:
    """The imported subclass of a name, None if there is none."""
    return next((c for c in subclasses(bases) if c.__name__ == name), None)


def _meant(bases: tuple[type, ...], name: str) -> str:
    if name in SHIPPED:
        return f"it is something else: write {choices(bases)}"
    meant = near(name, [*shipped(bases), *(c.__name__ for c in subclasses(bases))])
    return f"did you mean {meant}?" if meant else f"write {choices(bases)}, or module.Class for your own"


def _instead(path: str, key: str, bases: tuple[type, ...], before: type | None) -> str:
    """What to write instead of a path that stands where a class is to be named."""
    file, _, name = path.rpartition(":") if ":" in path else path.rpartition(".")
    if name[:1].isupper():
        return f"{Path(file).stem}.{name}, with the file in the working directory or beside the config"
    arguments = list(fields_of(before)) if before else []
    if arguments:
        return f"{key.removesuffix('.class_path')}.init_args.{arguments[0]}: {path}"
    return choices(bases)
