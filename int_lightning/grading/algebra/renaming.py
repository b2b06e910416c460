"""Symbols that an answer is free to name: the argument of a function, a counter of periods, an arbitrary constant."""

from __future__ import annotations

import re
from itertools import starmap

from int_lightning.grading.algebra.answer import Answer, symbols_of

_FUNCTION_OF = re.compile(r"(\w+)\((\w)\)")
_PERIOD = re.compile(r"\\pi|\\circ")
_COUNTERS = frozenset("klmn")
_CONSTANT = re.compile(r"[CcKk](?:_\d)?|[ABDabd]")
_LETTERS = frozenset("ABDabd")  # constants that may also be parameters of the problem

Renaming = tuple[tuple[str, str], ...]
"""Pairs of a symbol and its new name."""


def renaming_of(ours: Answer, theirs: Answer) -> Renaming:
    """What to rename in ours, () if there is nothing."""
    symbols, other_symbols = symbols_of(ours), symbols_of(theirs)
    if argument := _argument(ours, theirs):
        return argument if argument[0][1] not in symbols else ()
    only_ours, only_theirs = sorted(symbols - other_symbols), sorted(other_symbols - symbols)
    if len(only_ours) != len(only_theirs):
        return ()
    pairs = tuple(zip(only_ours, only_theirs, strict=True))
    periodic = _PERIOD.search(ours.latex) and _PERIOD.search(theirs.latex)
    if periodic and all(len(found) == 1 and found <= _COUNTERS for found in (symbols, other_symbols)):
        return pairs
    shared = symbols & other_symbols
    variables = {name for name in shared if not _CONSTANT.fullmatch(name)}
    ambiguous = shared & _LETTERS and (symbols ^ other_symbols) & _LETTERS
    return pairs if variables and not ambiguous and all(starmap(_are_constants, pairs)) else ()


def _argument(ours: Answer, theirs: Answer) -> Renaming:
    """``f(t) = t + 1`` is ``f(x) = x + 1``."""
    if len(ours.items) == len(theirs.items) == 1:
        function, other = (_FUNCTION_OF.fullmatch(answer.items[0].name) for answer in (ours, theirs))
        if function and other and function[1] == other[1] and function[2] != other[2]:
            return ((function[2], other[2]),)
    return ()


def _are_constants(x: str, y: str) -> bool:
    """Whether two names may be the same arbitrary constant's: one letter in two cases, or both C or K."""
    if not _CONSTANT.fullmatch(x) or not _CONSTANT.fullmatch(y):
        return False
    return x.lower() == y.lower() or {x[0].lower(), y[0].lower()} <= {"c", "k"}
