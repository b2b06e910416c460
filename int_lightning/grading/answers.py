"""Final answers as text: what never changes their meaning, and the verdicts that need no parser."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

from int_lightning.grading.boxes import extract_answer
from int_lightning.grading.extraction import final_answer
from int_lightning.types import UserError

MAX_ANSWER = 2000
"""The longest answer that is compared, in characters."""

_DELIMITERS = (("$$", "$$"), ("$", "$"), (r"\(", r"\)"), (r"\[", r"\]"), ("**", "**"))
_TEXT = re.compile(r"\\(?:text|mathrm|textbf|mathbf)\s*\{([^{}\\]*)\}")
_FRAC = re.compile(r"\\[dt]frac(?![a-zA-Z])")
_SIZED = re.compile(r"\\(?:left|right)(?![a-zA-Z])\s*")
_THOUSANDS = re.compile(r"[+-]?\d{1,3}(?:(?:,|\{,\}|\\,|\\!,|,\\!)\d{3})+(?:\.\d+)?")
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether two answers are equal, and a note on why that could not be decided ("" if it could).

    ``note`` is "empty", "too long", "unparsable", "timeout", "crash" or "failed: <error>"; then ``equal`` is False.
    """

    equal: bool
    note: str = ""


def unwrap(answer: str) -> str:
    """What a text concludes, without math delimiters, an enclosing box and a final period."""
    answer = (final_answer(answer) or answer).strip()
    while True:
        if answer.endswith(".") and not answer.endswith(".."):
            answer = answer[:-1].rstrip()
        before = answer
        if answer.startswith((r"\boxed", r"\fbox")) and answer.endswith("}"):
            answer = extract_answer(answer) or answer
        for left, right in _DELIMITERS:
            if answer.startswith(left) and answer.endswith(right) and len(answer) > len(left) + len(right):
                inside = answer[len(left) : -len(right)]
                answer = answer if left in inside else inside.strip()
        if answer == before:
            return answer


def normalise(answer: str) -> str:
    r"""The answer without what never changes its meaning.

    What goes is everything but the last box, label or closing sentence (``Answer: 5``, ``The answer is 5.``), math delimiters,
    ``\text{}``, a final period, runs of spaces, thousands separators, ``\dfrac`` for ``\frac``, ``\left`` and ``\right``.
    """
    answer = _FRAC.sub(r"\\frac", _TEXT.sub(r"\1", unwrap(answer)))
    answer = " ".join(_SIZED.sub("", answer).split())
    return re.sub(r"[^\d.+-]", "", answer) if _THOUSANDS.fullmatch(answer) else answer


def check_gold(answer: str) -> None:
    """Refuse a gold answer that nothing can equal.

    Raises:
        UserError: if it is empty, too long to compare, or its braces do not balance.
    """
    if not answer.strip():
        raise UserError("the gold answer is empty: give the final answer, or leave the problem out")
    if len(answer) > MAX_ANSWER:
        raise UserError(
            f"the gold answer has {len(answer)} characters, more than {MAX_ANSWER}: give the final answer alone, "
            "without its solution"
        )
    if extract_answer(rf"\boxed{{{answer}}}") != answer.strip():
        raise UserError(f"the gold answer {answer!r} does not parse because its braces do not balance: correct it")


def decide(pred: str, gold: str) -> Verdict | None:
    """The verdict if no parser is needed, else None."""
    if not pred.strip() or not gold.strip():
        return Verdict(False, "empty")
    if len(pred) > MAX_ANSWER or len(gold) > MAX_ANSWER:
        return Verdict(False, "too long")
    if pred == gold:
        return Verdict(True)
    ours, theirs = normalise(pred), normalise(gold)
    if ours == theirs:
        return Verdict(True)
    if _NUMBER.fullmatch(ours) and _NUMBER.fullmatch(theirs):
        equal = Fraction(ours) == Fraction(theirs)
        return Verdict(equal) if equal or not ("." in ours and "." in theirs) else None  # one may be rounded
    return None
