"""The settings of two runs, compared key by key."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

_NAMED = 3


def flat(config: Any, prefix: str = "") -> dict[str, Any]:
    """Nested settings under dotted keys, items of a list under their numbers: ``{"a": {"b": [1]}}`` is ``{"a.b.0": 1}``."""
    items: Iterator[tuple[Any, Any]] | None = None
    if isinstance(config, Mapping):
        items = iter(config.items())
    elif isinstance(config, list):
        items = iter(enumerate(config))
    if not config or items is None:
        return {prefix: config}
    found: dict[str, Any] = {}
    for name, value in items:
        found |= flat(value, f"{prefix}.{name}" if prefix else str(name))
    return found


def differences(before: Mapping[str, Any], now: Mapping[str, Any], free: Collection[str]) -> str:
    """What differs between flat settings, in words; "" if nothing does.

    Args:
        before: The earlier settings.
        now: The present ones.
        free: Keys that may differ, and all keys below them.
    """
    keys = [
        key
        for key in dict.fromkeys([*before, *now])
        if before.get(key) != now.get(key) and not any(key == f or key.startswith(f"{f}.") for f in free)
    ]
    classes = tuple(f"{key.removesuffix('class_path')}init_args." for key in keys if key.endswith("class_path"))
    keys = [key for key in keys if not key.startswith(classes)] if classes else keys
    named = [f"{key} was {_shown(before, key)} and is {_shown(now, key)} now" for key in keys[:_NAMED]]
    if len(keys) > _NAMED:
        named.append(f"{len(keys) - _NAMED} more keys differ")
    return "; ".join(named)


def _shown(settings: Mapping[str, Any], key: str) -> str:
    if key not in settings:
        return "not set"
    return "null" if settings[key] is None else str(settings[key])
