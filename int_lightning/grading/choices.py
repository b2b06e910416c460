"""Multiple choice: the letter of an option, with or without what the option says."""

from __future__ import annotations

import re
from collections.abc import Callable

_FONT = re.compile(r"\\(?:text|textbf|textrm|mathrm|mathbf|bf)\s*\{([^{}]*)\}")
_ANOTHER = re.compile(r"^(?:or|and)\b|(?<![a-zA-Z])(?:\([A-Ha-h]\)|[A-H](?:[.:)]|$))")
_OPTION = re.compile(
    r"(?:(?:the )?(?:option|choice) )?\s*(?:\(([A-H])\)(?=\s|$)|([A-H])(?=[.):]|$)[.):]?)\s*(.*)",
    re.IGNORECASE | re.DOTALL,
)


def compare(pred: str, gold: str, same: Callable[[str, str], bool | None]) -> bool | None:
    """Whether two answers name one option, or one says what the other's option does; None where neither is clear.

    Args:
        pred: A rewritten answer.
        gold: Another.
        same: Whether the contents of two options are the same.
    """
    ours, theirs = _option(pred), _option(gold)
    if ours and theirs:
        letters = ours[0] == theirs[0]
        return letters if not letters or not (ours[1] and theirs[1]) else same(ours[1], theirs[1])
    for option, other in ((ours, gold), (theirs, pred)):
        if option and option[1] and same(option[1], other):
            return True
    return None


def _option(answer: str) -> tuple[str, str] | None:
    """The letter of an option, and the rest; None where the answer is not exactly one option."""
    match = _OPTION.fullmatch(" ".join(_FONT.sub(r"\1 ", answer).replace("~", " ").split()))
    if not match or _ANOTHER.search(match[3]):
        return None
    return (match[1] or match[2]).upper(), match[3]
