r"""Final answers as text: the last ``\boxed{}``, what never changes a meaning, and the verdicts that need no parser."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

from int_lightning.types import UserError

MAX_ANSWER = 2000
"""Longest answer that is compared, in characters."""

_BOXED = re.compile(r"\\(?:boxed|fbox)\s*\{")
_BRACE = re.compile(r"\\.|[{}]", re.DOTALL)
_DELIMITERS = (("$$", "$$"), ("$", "$"), (r"\(", r"\)"), (r"\[", r"\]"))
_LABELLED = re.compile(r"\s*(?:####|(?:the )?(?:final )?(?:answer(?: is)?|a)\s*:)\s*(.+)", re.IGNORECASE)
_TEXT = re.compile(r"\\(?:text|mathrm|textbf|mathbf)\s*\{([^{}\\]*)\}")
_FRAC = re.compile(r"\\[dt]frac(?![a-zA-Z])")
_SIZED = re.compile(r"\\(?:left|right)(?![a-zA-Z])\s*")
_THOUSANDS = re.compile(r"[+-]?\d{1,3}(?:(?:,|\{,\}|\\,|\\!,)\d{3})+(?:\.\d+)?")
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether two answers are equal, and why that could not be said ("" if it could).

    ``note`` is "empty", "too long", "unparsable", "timeout", "crash" or "failed: <error>"; ``equal`` is False then.
    """

    equal: bool
    note: str = ""


def extract_answer(text: str) -> str:
    r"""The content of the last ``\boxed{}`` or ``\fbox{}``; "" if there is none or its braces do not balance.

    Escaped braces (``\{``) do not count. Linear in the length of the text.
    """
    start = max((box.end() for box in _BOXED.finditer(text)), default=len(text))
    depth = 1
    for brace in _BRACE.finditer(text, start):
        depth += {"{": 1, "}": -1}.get(brace.group(), 0)
        if depth == 0:
            return text[start : brace.start()].strip()
    return ""


def unwrap(answer: str) -> str:
    """The answer without label, math delimiters, enclosing box and final period."""
    answer = answer.strip()
    if label := _LABELLED.fullmatch(answer.rpartition("\n")[2]):
        answer = label[1]
    while True:
        before = answer
        if answer.startswith((r"\boxed", r"\fbox")) and answer.endswith("}"):
            answer = extract_answer(answer) or answer
        for left, right in _DELIMITERS:
            if answer.startswith(left) and answer.endswith(right) and len(answer) > len(left) + len(right):
                inside = answer[len(left) : -len(right)]
                answer = answer if left in inside else inside.strip()
        if answer.endswith(".") and not answer.endswith(".."):
            answer = answer[:-1].rstrip()
        if answer == before:
            return answer


def normalise(answer: str) -> str:
    r"""The answer without what never changes its meaning.

    A label in its last line (``Answer: 5``, ``#### 5``), math delimiters, an enclosing box, ``\text{}``, a final
    period, runs of spaces, thousands separators, ``\dfrac`` for ``\frac``, ``\left`` and ``\right``.
    """
    answer = _FRAC.sub(r"\\frac", _TEXT.sub(r"\1", unwrap(answer)))
    answer = " ".join(_SIZED.sub("", answer).split())
    return re.sub(r"[^\d.+-]", "", answer) if _THOUSANDS.fullmatch(answer) else answer


def check_gold(answer: str) -> None:
    """Refuse a gold answer that nothing can equal: an empty one, one too long to compare, one with unbalanced braces."""
    if not answer.strip():
        raise UserError("the gold answer is empty: give the final answer, or leave the problem out")
    if len(answer) > MAX_ANSWER:
        raise UserError(
            f"the gold answer has {len(answer)} characters, more than {MAX_ANSWER}: give the final answer alone, "
            "without its solution"
        )
    if extract_answer(rf"\boxed{{{answer}}}") != answer.strip():
        raise UserError(f"the gold answer {answer!r} does not parse, its braces do not balance: correct it")


def decide(pred: str, gold: str) -> Verdict | None:
    """The verdict where no parser is needed, else None."""
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
        return Verdict(Fraction(ours) == Fraction(theirs))
    return None
