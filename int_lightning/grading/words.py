"""Answers that are not formulas: words, options of multiple choice, times of day."""

from __future__ import annotations

import re
from collections.abc import Callable

_FONT = re.compile(r"\\(?:text|mathrm|operatorname)\s*\{([^{}]*)\}")
_PHRASE = re.compile(r"[a-z(][a-z\s,.;:'’()?!-]*")
_FORMULA = re.compile(
    r"""(?<![a-z])[a-z]\s*[-'’!]\s*(?: [a-z](?![a-z]) | [^a-z\s] | $ )   # a-b, f', n!
      | (?: ^ | [\s(] ) - \s*[a-z](?![a-z])                              # (-x)""",
    re.VERBOSE,
)
_PLAIN_WORDS = re.compile(r"[a-z]{3,}(?: [a-z]+)*")
_ORDERED = re.compile(r"\(.*[,;].*\)")
_LINK = re.compile(r"[,;]|\band\b")
_WORD = re.compile(r"[a-z]{4,}")
_VERDICTS = ("yes", "no", "true", "false")
_VERDICT = re.compile(rf"\b({'|'.join(_VERDICTS)})(?:[,.;:]|$)")
_EXISTENCE = re.compile(r"(?:there (?:is|are)|it has|has)\s+(?=no\b)")

_OPTION_FONT = re.compile(r"\\(?:text|textbf|textrm|mathrm|mathbf|bf)\s*\{([^{}]*)\}")
_OPTION = re.compile(
    r"""(?: (?:the\ )? (?:option|choice)\  )? \s*
    (?: \(([A-H])\)(?=\s|$) | ([A-H])(?=[.):]|$)[.):]? )   # (C) or C. or C) or C
    \s* (.*)                                               # what the option says""",
    re.VERBOSE | re.IGNORECASE | re.DOTALL,
)
_ANOTHER_OPTION = re.compile(r"^(?:or|and)\b | (?<![a-zA-Z])(?: \([A-Ha-h]\) | [A-H](?:[.:)]|$) )", re.VERBOSE)

_TIME = re.compile(r"(\d{1,2})(?::([0-5]\d))?\s*(?:([ap])\.?\s?m\.?)?", re.IGNORECASE)
_TIME_FONT = re.compile(r"\\(?:text|textrm|mathrm)\s*\{([^{}]*)\}|[{}~]")
_HALF_DAY = 12 * 60


def same_words(pred: str, gold: str) -> bool | None:
    """Whether two answers are the same words but for case, punctuation and the order of a list; None where they are formulas."""
    plain = _plain(pred), _plain(gold)
    verdict = _same_verdict(*plain)
    if verdict is not None:
        return verdict
    if plain[0] == plain[1] and _PLAIN_WORDS.fullmatch(plain[0]):
        return True
    ours, theirs = map(_phrase, plain)
    return ours == theirs if ours or theirs else None


def _same_verdict(ours: str, theirs: str) -> bool | None:
    """Whether two answers begin with the same yes or no, where one of them says nothing else; else None."""
    for short, long in ((ours, theirs), (theirs, ours)):
        if short in _VERDICTS and _VERDICT.match(long):
            return set(_VERDICT.findall(long)) == {short}
    return None


def _plain(answer: str) -> str:
    return " ".join(_FONT.sub(r" \1 ", answer).split()).casefold()


def _phrase(plain: str) -> list[str] | None:
    """The parts of a list of words in sorted order, each without punctuation and plurals; None for anything else.

    At least one of the words has four letters: shorter ones may be factors of a formula.
    """
    if not _PHRASE.fullmatch(plain) or _ORDERED.search(plain) or _FORMULA.search(plain) or not _WORD.search(plain):
        return None
    parts = (" ".join(map(_singular, re.findall(r"[a-z]+", part))) for part in _LINK.split(_EXISTENCE.sub("", plain)))
    return sorted(filter(None, parts))


def _singular(word: str) -> str:
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word


def same_option(pred: str, gold: str, same: Callable[[str, str], bool | None]) -> bool | None:
    """Whether two answers name the same option, or one says what the other's option says; None where neither is clear.

    Args:
        pred: A rewritten answer.
        gold: Another.
        same: Whether the contents of two options are the same.
    """
    ours, theirs = _option(pred), _option(gold)
    if ours and theirs:
        same_letter = ours[0] == theirs[0]
        return same(ours[1], theirs[1]) if same_letter and ours[1] and theirs[1] else same_letter
    for option, other in ((ours, gold), (theirs, pred)):
        if option and option[1] and same(option[1], other):
            return True
    return None


def _option(answer: str) -> tuple[str, str] | None:
    """The letter of an option, and what it says; None where the answer is not exactly one option."""
    option = _OPTION.fullmatch(" ".join(_OPTION_FONT.sub(r"\1 ", answer).replace("~", " ").split()))
    if not option or _ANOTHER_OPTION.search(option[3]):
        return None
    return (option[1] or option[2]).upper(), option[3]


def same_time(pred: str, gold: str) -> bool | None:
    """Whether two answers are the same time of day; None where neither says am or pm."""
    ours, theirs = _time(pred), _time(gold)
    if not any(time and time[3] for time in (ours, theirs)):
        return None
    return bool(ours and theirs and _minutes(ours) & _minutes(theirs))


def _time(answer: str) -> re.Match[str] | None:
    plain = _TIME_FONT.sub(r" \1", answer).replace(" :", ":").replace(": ", ":")
    return _TIME.fullmatch(" ".join(plain.split()))


def _minutes(time: re.Match[str]) -> set[int]:
    """The minutes since midnight that a time may mean: two where it is at most 12:59 and has no am or pm."""
    hour, minute, half = int(time[1]), int(time[2] or 0), (time[3] or "").lower()
    if hour > 12:
        return {hour * 60 + minute}
    morning = hour % 12 * 60 + minute
    return {"a": {morning}, "p": {morning + _HALF_DAY}, "": {morning, morning + _HALF_DAY}}[half]
