"""Definitions by cases, and systems: the rows between ``\\begin{cases}`` and ``\\end{cases}``."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from itertools import chain

from int_lightning.grading.matching import same_in_any_order

_CASES = re.compile(r"\\begin\s*\{cases\}(.*)\\end\s*\{cases\}\.?", re.DOTALL)
_ROW_END = re.compile(r"\\\\")
_FILLER = re.compile(
    r"""^(?: \\text\s*\{\s*(?:if|for|when)\s*\} | (?:if|for|when)\b )\s*   # \text{if } x > 2
      | [,;.\s]+$""",
    re.VERBOSE,
)
_FONT = re.compile(r"\\text\s*\{([^{}]*)\}")


def same_cases(pred: str, gold: str, same: Callable[[str, str], bool | None]) -> bool | None:
    """Whether two definitions have the same cases, in any order; None if neither answer is a definition by cases.

    A system of equations, whose rows have one cell, is the list of its equations.

    Args:
        pred: A rewritten answer.
        gold: Another.
        same: Whether two cells are the same.
    """
    ours, theirs = _rows(pred), _rows(gold)
    if ours is None and theirs is None:
        return None
    if _is_system(ours) and _is_system(theirs):
        return same(_listed(ours, pred), _listed(theirs, gold))
    if ours is None or theirs is None or len(ours) != len(theirs):
        return False
    return same_in_any_order(ours, theirs, partial(_same_row, same=same))


def _rows(answer: str) -> list[list[str]] | None:
    cases = _CASES.fullmatch(answer)
    if cases is None:
        return None
    rows = [row.split("&") for row in _ROW_END.split(cases[1]) if row.strip()]
    return [[_cell(cell) for cell in row] for row in rows]


def _cell(text: str) -> str:
    return _FILLER.sub("", _FILLER.sub("", text.strip()))


def _is_system(rows: list[list[str]] | None) -> bool:
    """Whether each row has one cell; an answer without rows may be a list of equations."""
    return rows is None or all(len(row) == 1 for row in rows)


def _listed(rows: list[list[str]] | None, answer: str) -> str:
    return answer if rows is None else ", ".join(chain.from_iterable(rows))


def _same_row(ours: list[str], theirs: list[str], same: Callable[[str, str], bool | None]) -> bool:
    return len(ours) == len(theirs) and all(
        _words(x) == _words(y) or bool(same(x, y)) for x, y in zip(ours, theirs, strict=True)
    )


def _words(cell: str) -> str:
    return " ".join(_FONT.sub(r" \1 ", cell).split())
