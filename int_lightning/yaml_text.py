"""YAML from other people's files: aliases are read, unless they turn a small file into a large config."""

from __future__ import annotations

import os
from itertools import chain
from math import inf
from typing import Any

import yaml
from jsonargparse import get_loader, set_loader

from int_lightning.types import UserError

MOST_NODES = 100_000
"""The most values that a config may have, with its aliases written out."""

MOST_LEVELS = 100
"""The most levels of values within values."""

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_plain_loader = get_loader("yaml")


def load_yaml(text: str, path: str | os.PathLike[str] = "") -> Any:
    """The value of a YAML text.

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
    """Refuses a text whose values could not be visited in reasonable time.

    Raises:
        UserError: if aliases make it endless or larger than ``MOST_NODES``, or if it is deeper than ``MOST_LEVELS``.
        yaml.YAMLError: if it is not YAML.
    """
    where = path or "the YAML text"
    if len(text) > MOST_LEVELS and _levels(text) > MOST_LEVELS:
        raise UserError(
            f"{where} has values within values at more than {MOST_LEVELS} levels: keys do not take such values"
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
    """The number of values of a node with its aliases written out; infinite if it contains itself."""
    if id(node) not in known:
        known[id(node)] = inf
        children = node.value if isinstance(node, yaml.CollectionNode) else []
        if isinstance(node, yaml.MappingNode):  # whose values are pairs of key and value
            children = chain.from_iterable(children)
        known[id(node)] = 1 + sum(_size(child, known) for child in children)
    return known[id(node)]


set_loader("yaml", load_yaml, (yaml.YAMLError,))
