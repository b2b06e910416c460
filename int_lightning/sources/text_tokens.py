r"""What a problem says, apart from how it is typeset: the text in which duplicates and benchmark items are recognised."""

from __future__ import annotations

import re
import unicodedata

_CJK = "぀-ヿ㐀-鿿가-힯"
_THOUSANDS = re.compile(r"(?<=\d)(?:,|\{,\}|\\[,!],?)(?=\d{3}(?!\d))")
_NAMES = {"dfrac": "frac", "tfrac": "frac", "leq": "le", "leqslant": "le", "geq": "ge", "geqslant": "ge", "ne": "neq"}
_NAME = re.compile(r"\\(" + "|".join(_NAMES) + r")(?![a-z])")
_TYPESETTING = re.compile(
    r"\\(?:(?:left|right|bigg?[lrm]?|(?:display|text)style|limits|noindent|q?quad|emph|operatorname|[lcv]?dots[bcmio]?"
    r"|text(?:bf|it|rm|sf|tt)?|math(?:rm|bf|it|sf|bb|cal|frak|scr)?)(?![a-z])|[,;:!> ()\[\]\\])|_{2,}"
)
_SINGLE = re.compile(r"\{\s*(\w+)\s*\}")
_TOKEN = re.compile(rf"\d+(?:\.\d+)?|[{_CJK}]|[^\W\d_{_CJK}]+|[^\w\s.,;:?'\"`$&~\\。、・‘’“”]|_")
_DASHES = str.maketrans("−–—", "---")


def text_tokens(text: str) -> list[str]:
    r"""Words, numbers, CJK characters and operators, in lower case.

    Typesetting (``\left``, ``\text``, ``$``, spacing), punctuation and braces around a single word are left out, so that
    ``$\dfrac{1}{2}$`` and ``\frac 1 2`` read the same; what changes the meaning, such as an operator or a digit, is kept.
    """
    text = unicodedata.normalize("NFKC", text).translate(_DASHES).lower()
    text = _THOUSANDS.sub("", text)
    text = _NAME.sub(lambda name: "\\" + _NAMES[name[1]], text)
    return _TOKEN.findall(_SINGLE.sub(r" \1 ", _TYPESETTING.sub(" ", text)))


def words(text: list[str]) -> list[str]:
    """The tokens that are words or numbers."""
    return [token for token in text if token[0].isalnum()]
