"""YAML from files of others: aliases are read, but not those that make a small file a large config."""

from __future__ import annotations

import os
from math import inf
from typing import Any

import yaml
from jsonargparse import get_loader, set_loader

from int_lightning.types import UserError

MOST_NODES = 100_000
"""Values of a config with its aliases written out."""

MOST_LEVELS = 100
"""Values within values."""

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_plain_loader = get_loader("yaml")


def load_yaml(text: str, path: str | os.PathLike[str] = "") -> Any:
    """What a YAML text says.

    Args:
        text: The text.
        path: Its file, for the message.

    Raises:
        UserError: see ``check_yaml``.
        yaml.YAMLError: if it is not YAML.
    """
    check_yaml(text, path)
    return _plain_loader(text)


def check_yaml(text: str, path: str | os.PathLike[str] = "") -> None:
    """Refuses what would take for ever to go through.

    Raises:
        UserError: if aliases make it endless or larger than ``MOST_NODES``, or if it is deeper than ``MOST_LEVELS``.
        yaml.YAMLError: if it is not YAML.
    """
    where = path or "the YAML text"
    if len(text) > MOST_LEVELS and _levels(text) > MOST_LEVELS:
        raise UserError(
            f"{where} has values within values at more than {MOST_LEVELS} levels: no key takes such a value"
        )
    if "&" in text and "*" in text and _size(yaml.compose(text, _LOADER), {}) > MOST_NODES:
        raise UserError(
            f"{where} has aliases (*) that make it more than {MOST_NODES:,} values: write out what is meant"
        )


def _levels(text: str) -> int:
    level = deepest = 0
    for event in yaml.parse(text, _LOADER):
        level += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        deepest = max(level, deepest)
    return deepest


def _size(node: Any, known: dict[int, float]) -> float:
    """Values of a node with its aliases written out; infinite where it contains itself."""
    if id(node) not in known:
        known[id(node)] = inf
        parts = node.value if isinstance(node, yaml.CollectionNode) else []
        pairs = [part if isinstance(part, tuple) else (part,) for part in parts]
        known[id(node)] = 1 + sum(_size(child, known) for pair in pairs for child in pair)
    return known[id(node)]


set_loader("yaml", load_yaml, (yaml.YAMLError,))
