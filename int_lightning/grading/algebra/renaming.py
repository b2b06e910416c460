"""Symbols that an answer may name as it likes: the argument of a function, a counter of periods, an arbitrary constant."""

from __future__ import annotations

import re

from int_lightning.grading.algebra.answer import Answer, symbols_of

_FUNCTION_OF = re.compile(r"(\w+)\((\w)\)")
_PERIOD = re.compile(r"\\pi|\\circ")
_COUNTERS = frozenset("klmn")
_CONSTANT = re.compile(r"[CcKk](?:_\d)?|[ABDabd]")
_LETTERS = frozenset("ABDabd")  # that may be parameters of the problem

Renaming = tuple[tuple[str, str], ...]


def renaming_of(ours: Answer, theirs: Answer) -> Renaming:
    """What to rename in ours, () where there is nothing."""
    symbols = symbols_of(ours), symbols_of(theirs)
    only_ours, only_theirs = sorted(symbols[0] - symbols[1]), sorted(symbols[1] - symbols[0])
    if argument := _argument(ours, theirs):
        return argument if argument[0][1] not in symbols[0] else ()
    if len(only_ours) != len(only_theirs):
        return ()
    pairs = tuple(zip(only_ours, only_theirs, strict=True))
    periodic = _PERIOD.search(ours.latex) and _PERIOD.search(theirs.latex)
    if periodic and all(len(found) == 1 and found <= _COUNTERS for found in symbols):
        return pairs
    shared = symbols[0] & symbols[1]
    variables = {name for name in shared if not _CONSTANT.fullmatch(name)}
    parameters = shared & _LETTERS if any(name in _LETTERS for pair in pairs for name in pair) else ()
    return pairs if variables and not parameters and all(_constants(*pair) for pair in pairs) else ()


def _argument(ours: Answer, theirs: Answer) -> Renaming:
    """``f(t) = t + 1`` is ``f(x) = x + 1``."""
    if len(ours.items) == len(theirs.items) == 1:
        function, other = (_FUNCTION_OF.fullmatch(answer.items[0].name) for answer in (ours, theirs))
        if function and other and function[1] == other[1] and function[2] != other[2]:
            return ((function[2], other[2]),)
    return ()


def _constants(x: str, y: str) -> bool:
    """Whether two names are an arbitrary constant's: the same letter in another case, or both of C and K."""
    if not _CONSTANT.fullmatch(x) or not _CONSTANT.fullmatch(y):
        return False
    return x.lower() == y.lower() or {x[0].lower(), y[0].lower()} <= {"c", "k"}
