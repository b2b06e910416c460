"""The gold answers of the texts in a pool, to find texts that come with two different ones."""

from __future__ import annotations

import re
from fractions import Fraction

from int_lightning.grading.answers import normalise
from int_lightning.sources.hashes import HashMap, hash64

_NUMBER = re.compile(
    r"""([+-]?)
    (?: (\d+) / (\d+)                           # 1/2
      | \\frac \{? (\d+) \}? \{? (\d+) \}?     # \frac{1}{2}, \frac12 with one digit each
      | (\d+\.?\d* | \.\d+)                    # 12, 12.0, .5
    )""",
    re.ASCII | re.VERBOSE,
)
_LABEL = re.compile(r"[a-z]=(?=[^=]+$)")  # the "x=" of x=1/2


class Golds:
    """The gold answer of every text so far: 12 bytes a text, and one copy of each answer."""

    def __init__(self) -> None:
        self._of_text = HashMap()
        self._answers: list[str] = []
        self._numbers: dict[str, int] = {}

    def put(self, tokens: list[str], answer: str) -> None:
        """Sets the gold answer of a text."""
        number = self._numbers.setdefault(answer, len(self._answers))
        if number == len(self._answers):
            self._answers.append(answer)
        self._of_text.put(_key(tokens), number)

    def other(self, tokens: list[str], answer: str) -> str | None:
        """The gold answer that a text already has, if it differs from this one; otherwise None."""
        number = self._of_text.get(_key(tokens))
        if number is None or same_gold(answer, self._answers[number]):
            return None
        return self._answers[number]


def same_gold(one: str, other: str) -> bool:
    r"""Whether two gold answers are written alike or denote the same number: ``1/2``, ``\frac{1}{2}``, ``x = 0.50``."""
    return one == other or _written(one) == _written(other)


def _written(answer: str) -> str:
    text = _LABEL.sub("", re.sub(r"\s", "", normalise(answer)).lower())
    if (number := _NUMBER.fullmatch(text)) is None:
        return re.sub(r"[{}]", "", text)
    sign, *parts, decimal = number.groups()
    digits = [part for part in parts if part]
    if digits and not int(digits[1]):
        return text
    value = Fraction(int(digits[0]), int(digits[1])) if digits else Fraction(decimal)
    return f"-{value}" if sign == "-" else str(value)


def _key(tokens: list[str]) -> int:
    return hash64(" ".join(tokens))
