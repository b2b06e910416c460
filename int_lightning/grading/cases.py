"""Definitions by cases, and systems: the rows between ``\\begin{cases}`` and ``\\end{cases}``."""

from __future__ import annotations

import re
from collections.abc import Callable

_CASES = re.compile(r"\\begin\s*\{cases\}(.*)\\end\s*\{cases\}\.?", re.DOTALL)
_ROW_END = re.compile(r"\\\\")
_FILLER = re.compile(r"^(?:\\text\s*\{\s*(?:if|for|when)\s*\}|(?:if|for|when)\b)\s*|[,;.\s]+$")
_FONT = re.compile(r"\\text\s*\{([^{}]*)\}")


def compare(pred: str, gold: str, same: Callable[[str, str], bool | None]) -> bool | None:
    """Whether two definitions have the same cases, in any order; None where neither is one.

    A system of equations, whose rows have one cell, is the list of its equations.

    Args:
        pred: A rewritten answer.
        gold: Another.
        same: Whether two cells are the same.
    """
    ours, theirs = _rows(pred), _rows(gold)
    if ours is None and theirs is None:
        return None
    if all(rows is None or all(len(row) == 1 for row in rows) for rows in (ours, theirs)):
        return same(*(_listed(rows, answer) for rows, answer in ((ours, pred), (theirs, gold))))
    if ours is None or theirs is None or len(ours) != len(theirs):
        return False
    left = list(theirs)
    for row in ours:
        found = next((i for i, other in enumerate(left) if _same_row(row, other, same)), None)
        if found is None:
            return False
        del left[found]
    return True


def _rows(answer: str) -> list[list[str]] | None:
    cases = _CASES.fullmatch(answer)
    if cases is None:
        return None
    rows = [row.split("&") for row in _ROW_END.split(cases[1]) if row.strip()]
    return [[_cell(cell) for cell in row] for row in rows]


def _cell(text: str) -> str:
    return _FILLER.sub("", _FILLER.sub("", text.strip()))


def _listed(rows: list[list[str]] | None, answer: str) -> str:
    return answer if rows is None else ", ".join(cell for row in rows for cell in row)


def _same_row(ours: list[str], theirs: list[str], same: Callable[[str, str], bool | None]) -> bool:
    return len(ours) == len(theirs) and all(
        _words(x) == _words(y) or bool(same(x, y)) for x, y in zip(ours, theirs, strict=True)
    )


def _words(cell: str) -> str:
    return " ".join(_FONT.sub(r" \1 ", cell).split())
