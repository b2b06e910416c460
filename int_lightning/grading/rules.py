"""Whether two answers mean the same, by the first rule that can say."""

from __future__ import annotations

from int_lightning.grading import choices, clocks, comparing, words
from int_lightning.grading.notation import same_spelling
from int_lightning.grading.rewriting import without_thousands


def compare(pred: str, gold: str) -> bool | None:
    """Whether two rewritten answers mean the same; None where no rule can say."""
    joined = without_thousands(pred), without_thousands(gold)
    if joined != (pred, gold) and _compare(*joined):
        return True
    return _compare(pred, gold)


def _compare(pred: str, gold: str) -> bool | None:
    if same_spelling(pred, gold):
        return True
    same = choices.compare(pred, gold, _same)
    return _same(pred, gold) if same is None else same


def _same(pred: str, gold: str) -> bool | None:
    for rule in (clocks.compare, words.compare, comparing.compare):
        if (same := rule(pred, gold)) is not None:
            return same
    return None
