"""Answers in words: equal but for case, punctuation and the order of a list, or different."""

from __future__ import annotations

import re

_WRAPPED = re.compile(r"\\(?:text|textbf|textit|textrm|mathrm|mbox|operatorname)\s*\{([^{}]*)\}")
_PHRASE = re.compile(r"[a-zA-Z(][a-zA-Z\s,.;:'’()?!-]*")
_ORDERED = re.compile(r"\(.*[,;].*\)")
_LINK = re.compile(r"[,;]|\band\b")
_WORD = re.compile(r"[a-z]{4,}")
_SENTENCE = re.compile(r"[^\\$=^<>_]*?(?:\b[a-zA-Z]{3,}\b[^\\$=^<>_]*?){3}[^\\$=^<>_]*")


def compare(pred: str, gold: str) -> bool | None:
    """Whether two answers are the same words; None where they are formulas."""
    ours, theirs = _phrase(pred), _phrase(gold)
    if ours and ours == theirs:
        return True
    if any(side is not None and any(map(_WORD.search, side)) for side in (ours, theirs)):
        return False
    if _SENTENCE.fullmatch(pred) or _SENTENCE.fullmatch(gold):
        return "".join(pred.split()).casefold() == "".join(gold.split()).casefold()
    return None


def _phrase(answer: str) -> list[str] | None:
    """The parts of a list of words in some order, each without punctuation; None for anything else."""
    plain = " ".join(_WRAPPED.sub(r" \1 ", answer).split()).casefold()
    if not _PHRASE.fullmatch(plain) or _ORDERED.search(plain):
        return None
    parts = (" ".join(re.findall(r"[a-z]+", part)) for part in _LINK.split(plain))
    return sorted(part for part in parts if part)
