"""Answers in words: equal but for case, punctuation and the order of a list, or different."""

from __future__ import annotations

import re

_WRAPPED = re.compile(r"\\(?:text|mathrm|operatorname)\s*\{([^{}]*)\}")
_PHRASE = re.compile(r"[a-z(][a-z\s,.;:'’()?!-]*")
_LETTERS = re.compile(  # that are a formula: a-b, f', n!, (-x)
    r"(?<![a-z])[a-z]\s*[-'’!]\s*(?:[a-z](?![a-z])|[^a-z\s]|$)|(?:^|[\s(])-\s*[a-z](?![a-z])"
)
_PLAIN_WORDS = re.compile(r"[a-z]{3,}(?: [a-z]+)*")
_ORDERED = re.compile(r"\(.*[,;].*\)")
_LINK = re.compile(r"[,;]|\band\b")
_WORD = re.compile(r"[a-z]{4,}")
_VERDICTS = ("yes", "no", "true", "false")
_VERDICT = re.compile(rf"\b({'|'.join(_VERDICTS)})(?:[,.;:]|$)")
_EXISTENCE = re.compile(r"(?:there (?:is|are)|it has|has)\s+(?=no\b)")
_CHANGES = re.compile(
    r"\b(?:not|no|none|if|when|whenever|while|unless|where|because|since|except|without|otherwise|else|but|is|are|was|isn|"
    r"cannot|suppose|assume|consider|let|given|case|counterexample|wrong|incorrect|impossible|unsolvable|we|for|modulo|"
    r"as|or|more|less|many|fewer|greater|smaller|larger|least|most|than|over|under|above|below|beyond|squared|cubed|factorial|tenths?|hundredths?|thousandths?|bound|minus|plus|half|halves|"
    r"thirds?|quarters?|remainder|base|(?:even|odd|prime|positive|negative)(?!\s+[a-z]))\b",
    re.IGNORECASE,
)


def changes_number(words: str) -> bool:
    """Whether words by a number make it another answer, as in "5 or more" and "no solution for n = 5"; names of things do not."""
    return _CHANGES.search(words) is not None


def compare(pred: str, gold: str) -> bool | None:
    """Whether two answers are the same words; None where they are formulas."""
    plain = _plain(pred), _plain(gold)
    if (verdict := _same_verdict(*plain)) is not None:
        return verdict
    if plain[0] == plain[1] and _PLAIN_WORDS.fullmatch(plain[0]):
        return True
    ours, theirs = map(_phrase, plain)
    return ours == theirs if ours or theirs else None


def _same_verdict(ours: str, theirs: str) -> bool | None:
    """Whether two answers begin with the same yes or no, where one of them is no more than that; else None."""
    for short, long in ((ours, theirs), (theirs, ours)):
        if short in _VERDICTS and _VERDICT.match(long):
            return set(_VERDICT.findall(long)) == {short}
    return None


def _plain(answer: str) -> str:
    return " ".join(_WRAPPED.sub(r" \1 ", answer).split()).casefold()


def _phrase(plain: str) -> list[str] | None:
    """The parts of a list of words in some order, each without punctuation and plurals; None for anything else.

    At least one of the words has four letters: fewer may be factors of a formula.
    """
    if not _PHRASE.fullmatch(plain) or _ORDERED.search(plain) or _LETTERS.search(plain) or not _WORD.search(plain):
        return None
    parts = (" ".join(map(_singular, re.findall(r"[a-z]+", part))) for part in _LINK.split(_EXISTENCE.sub("", plain)))
    return sorted(part for part in parts if part)


def _singular(word: str) -> str:
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word
