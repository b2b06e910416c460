"""Times of day."""

from __future__ import annotations

import re

_TIME = re.compile(r"(\d{1,2})(?::([0-5]\d))?\s*(?:([ap])\.?\s?m\.?)?", re.IGNORECASE)
_FONT = re.compile(r"\\(?:text|textrm|mathrm)\s*\{([^{}]*)\}|[{}~]")
_HALF_DAY = 12 * 60


def compare(pred: str, gold: str) -> bool | None:
    """Whether two answers are the same time; None where neither says am or pm."""
    times = [
        _TIME.fullmatch(" ".join(_FONT.sub(r" \1", answer).replace(" :", ":").replace(": ", ":").split()))
        for answer in (pred, gold)
    ]
    if not any(time and time[3] for time in times):
        return None
    ours, theirs = (_minutes(time) if time else set() for time in times)
    return bool(ours & theirs)


def _minutes(time: re.Match[str]) -> set[int]:
    """The minutes since midnight that a time may be: two without am or pm up to 12:59."""
    hour, minute, half = int(time[1]), int(time[2] or 0), (time[3] or "").lower()
    if hour > 12:
        return {hour * 60 + minute}
    morning = hour % 12 * 60 + minute
    return {morning + (_HALF_DAY if part == "p" else 0) for part in half or "ap"}
