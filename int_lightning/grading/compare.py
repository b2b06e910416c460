"""Whether two answers mean the same, by the first rule that can say."""

from __future__ import annotations

import re
from functools import partial

from int_lightning.grading import cases, choices, clocks, words
from int_lightning.grading.algebra import comparing
from int_lightning.grading.algebra.notation import same_spelling
from int_lightning.grading.numerals import is_grouped_only, without_thousands

_LINK = re.compile(r"(?<![a-z])(?:and|or)(?![a-z])")


def compare(pred: str, gold: str) -> bool | None:
    """Whether two rewritten answers mean the same; None where no rule can say.

    A comma before three digits separates thousands or values; thousands alone where both answers have one, or 0 is behind it.
    """
    joined = without_thousands(pred), without_thousands(gold)
    grouped = [text != plain for text, plain in zip((pred, gold), joined, strict=True)]
    if any(grouped) and _compare(*joined):
        return True
    if all(grouped) or is_grouped_only(pred) or is_grouped_only(gold) or (any(grouped) and _LINK.search(pred + gold)):
        return False
    return _compare(pred, gold)


def _compare(pred: str, gold: str) -> bool | None:
    if same_spelling(pred, gold):
        return True
    same = choices.compare(pred, gold, _same)
    return _same(pred, gold) if same is None else same


def _same(pred: str, gold: str) -> bool | None:
    for rule in (clocks.compare, partial(cases.compare, same=_compare), words.compare, comparing.compare):
        if (same := rule(pred, gold)) is not None:
            return same
    return None
