"""The words, numbers and operators of a problem, without its typesetting; duplicates and benchmark items are found by these."""

from __future__ import annotations

import re
import unicodedata

_CJK = "぀-ヿ㐀-鿿가-힯"
_THOUSANDS = re.compile(r"(?<=\d)(?:,|\{,\}|\\[,!],?)(?=\d{3}(?!\d))")
_NAMES = {"dfrac": "frac", "tfrac": "frac", "leq": "le", "leqslant": "le", "geq": "ge", "geqslant": "ge", "ne": "neq"}
_NAME = re.compile(rf"\\({'|'.join(_NAMES)})(?![a-z])")
_TYPESETTING = re.compile(
    r"""\\(?:
        (?: left | right | bigg?[lrm]? | (?:display|text)style | limits | noindent | q?quad | emph | operatorname
          | [lcv]?dots[bcmio]? | text(?:bf|it|rm|sf|tt)? | math(?:rm|bf|it|sf|bb|cal|frak|scr)?
        ) (?![a-z])               # \left, \text, \ldots
      | [,;:!>\ ()\[\]\\]         # \, \; \( \[ \\
    )
    | _{2,}                       # ____, a blank to fill in""",
    re.VERBOSE,
)
_SINGLE = re.compile(r"\{\s*(\w+)\s*\}")  # {2}
_TOKEN = re.compile(
    rf"""\d+(?:\.\d+)?             # 12, 1.5
    | [{_CJK}]                     # one character of Chinese, Japanese or Korean
    | [^\W\d_{_CJK}]+              # a word of another script
    | [^\w\s.,;:?'"`$&~\\。、・‘’“”]  # an operator or bracket
    | _""",
    re.VERBOSE,
)
_DASHES = str.maketrans("−–—", "---")


def text_tokens(text: str) -> list[str]:
    r"""Words, numbers, CJK characters and operators, in lower case.

    Typesetting (``\left``, ``\text``, ``$``, spacing), punctuation and braces around a single word are left out, so that
    ``$\dfrac{1}{2}$`` and ``\frac 1 2`` give the same tokens; whatever changes the meaning, such as an operator or a digit, is
    kept.
    """
    text = unicodedata.normalize("NFKC", text).translate(_DASHES).lower()
    text = _THOUSANDS.sub("", text)
    text = _NAME.sub(lambda name: "\\" + _NAMES[name[1]], text)
    found: list[str] = []
    for token in _TOKEN.findall(_SINGLE.sub(r" \1 ", _TYPESETTING.sub(" ", text))):
        found.append(token)
        if _SINGLE.fullmatch(" ".join(found[-3:])):  # what stood beside the word was left out, as in {2.}
            found[-3:] = [found[-2]]
    return found


def words(text: list[str]) -> list[str]:
    """The tokens that are words or numbers."""
    return [token for token in text if token[0].isalnum()]
