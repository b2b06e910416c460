"""Whether two answers mean the same by math-verify, where their values cannot say.

Slow to import, and slow: a parse takes milliseconds, a simplification may take for ever.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from math_verify import ExprExtractionConfig, LatexExtractionConfig, verify
from math_verify import parse as extract
from sympy import And, Eq, FiniteSet, Or, Set, Union
from sympy.core.relational import Relational

_CONDITION = (Relational, And, Or)


def compare(pred: str, gold: str) -> tuple[bool, str]:
    """Whether two rewritten answers mean the same, and a note.

    The note is "unparsable" where an answer has no reading, "failed: <error>" where a rule broke and no other agreed.
    """
    note = ""
    for rule in (_verified, _solution_set):
        try:
            if rule(pred, gold):
                return True, ""
        except Exception as error:
            note = note or f"failed: {type(error).__name__}"
    return False, "unparsable" if _expression(pred) is None or _expression(gold) is None else note


@lru_cache(maxsize=4096)
def _parse(latex: str) -> tuple[Any, ...]:
    """The readings of an answer: sympy objects, then its text as math-verify cleans it; empty if it has none.

    A number is picked out of a text that is no formula only where the text has no other number.
    """
    targets: list[Any] = [LatexExtractionConfig()]
    if len(re.findall(r"\d+(?:[.,/]\d+)*", latex)) <= 1 or not re.search(r"[a-zA-Z]", latex):
        targets.append(ExprExtractionConfig())
    return tuple(extract(rf"\boxed{{{latex}}}", extraction_config=targets, parsing_timeout=None))


def _expression(latex: str) -> Any:
    """The sympy reading of an answer, or None."""
    return next((reading for reading in _parse(latex) if not isinstance(reading, str)), None)


def _verified(pred: str, gold: str) -> bool:
    return _same(list(_parse(pred)), list(_parse(gold)))


def _same(pred: Any, gold: Any) -> bool:
    return bool(verify(gold, pred, allow_set_relation_comp=True, timeout_seconds=None))


def _solution_set(pred: str, gold: str) -> bool:
    r"""``x + 1 = 0`` is ``-1``, and a union of conditions on one variable is a set."""
    ours, theirs = _expression(pred), _expression(gold)
    if ours is None or theirs is None:
        return False
    if type(ours) is type(theirs) or len(ours.free_symbols | theirs.free_symbols) != 1:
        return False
    return _same(_as_set(ours), _as_set(theirs))


def _as_set(reading: Any) -> Any:
    if isinstance(reading, _CONDITION):
        return reading.as_set()
    parts = getattr(reading, "args", ())
    if parts and all(isinstance(part, _CONDITION) for part in parts) and not all(isinstance(p, Eq) for p in parts):
        return Union(*(part.as_set() for part in parts))
    return reading if isinstance(reading, Set) else FiniteSet(reading)
