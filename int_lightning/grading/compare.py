"""Whether two answers mean the same, by the first rule that can say."""

from __future__ import annotations

import re
from functools import partial

from int_lightning.grading.algebra.comparing import same_by_value
from int_lightning.grading.algebra.notation import same_spelling
from int_lightning.grading.cases import same_cases
from int_lightning.grading.numerals import is_grouped_only, without_thousands
from int_lightning.grading.words import same_option, same_time, same_words

_LINK = re.compile(r"(?<![a-z])(?:and|or)(?![a-z])")


def compare(pred: str, gold: str) -> bool | None:
    """Whether two rewritten answers mean the same; None where no rule can say.

    A comma before three digits separates either thousands or values. It only separates thousands if both answers have one,
    or if the group after it starts with 0.
    """
    joined = without_thousands(pred), without_thousands(gold)
    grouped = pred != joined[0], gold != joined[1]
    if any(grouped) and _same(*joined):
        return True
    if all(grouped) or is_grouped_only(pred) or is_grouped_only(gold) or (any(grouped) and _LINK.search(pred + gold)):
        return False
    return _same(pred, gold)


def _same(pred: str, gold: str) -> bool | None:
    if same_spelling(pred, gold):
        return True
    same = same_option(pred, gold, _same_content)
    return _same_content(pred, gold) if same is None else same


def _same_content(pred: str, gold: str) -> bool | None:
    """By all rules but those for options, which have been tried."""
    for rule in (same_time, partial(same_cases, same=_same), same_words, same_by_value):
        same = rule(pred, gold)
        if same is not None:
            return same
    return None
