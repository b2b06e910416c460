"""The gold answers of the texts of a pool, to see where one text comes with two."""

from __future__ import annotations

import re
from fractions import Fraction

from int_lightning.grading.answers import normalise
from int_lightning.sources.hashes import HashMap, hash64

_NUMBER = re.compile(r"([+-]?)(?:(\d+)/(\d+)|\\frac\{?(\d+)\}?\{?(\d+)\}?|(\d+\.?\d*|\.\d+))", re.ASCII)
_LABEL = re.compile(r"[a-z]=(?=[^=]+$)")


class Golds:
    """The gold answer of every text so far, in 12 bytes each and one copy of every answer."""

    def __init__(self) -> None:
        self._of_text = HashMap()
        self._answers: list[str] = []
        self._numbers: dict[str, int] = {}

    def put(self, tokens: list[str], answer: str) -> None:
        """The answer that a text has from now on."""
        number = self._numbers.setdefault(answer, len(self._answers))
        if number == len(self._answers):
            self._answers.append(answer)
        self._of_text.put(_key(tokens), number)

    def other(self, tokens: list[str], answer: str) -> str | None:
        """The answer that a text has already, if it is another; None if it is the same or there is none."""
        number = self._of_text.get(_key(tokens))
        if number is None or same_gold(answer, self._answers[number]):
            return None
        return self._answers[number]


def same_gold(one: str, other: str) -> bool:
    r"""Whether two gold answers are written alike, or are the same number: ``1/2``, ``\frac{1}{2}``, ``x = 0.50``."""
    return one == other or _written(one) == _written(other)


def _written(answer: str) -> str:
    text = _LABEL.sub("", re.sub(r"\s", "", normalise(answer)).lower())
    if (number := _NUMBER.fullmatch(text)) is None:
        return re.sub(r"[{}]", "", text)
    sign, *parts, decimal = number.groups()
    digits = [part for part in parts if part]
    if digits and not int(digits[1]):
        return text
    return f"{sign if sign == '-' else ''}{Fraction(int(digits[0]), int(digits[1])) if digits else Fraction(decimal)}"


def _key(tokens: list[str]) -> int:
    return hash64(" ".join(tokens))
