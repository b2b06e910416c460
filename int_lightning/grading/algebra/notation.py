"""The tokens that rewritten answers are made of."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Literal, NamedTuple

from int_lightning.grading.algebra.numbers import UnreadableError
from int_lightning.grading.algebra.units import UNITS

_TOKEN = re.compile(
    r"""
    (?P<space> \s | ~ | \$ | \\[,;:!\ $] | \\(?:left|right|q?quad|displaystyle|textstyle|limits)(?![a-zA-Z]) )
  | (?P<number> \d+(?:\.\d+)? | \.\d+ )
  | \\(?:text|mathrm|textbf|textit|textrm|mbox|operatorname)\s*\{(?P<text>[^{}\\$]*)\}
  | \\(?:math(?:bf|it|cal|sf)|boldsymbol|bm)\s*\{(?P<styled>[a-zA-Z])\}
  | (?P<command> \\[a-zA-Z]+ )
  | (?P<word> [^\W\d_]+ )
  | \\(?P<escaped> [%|&] )
  | (?P<mark> \\\\ | \\[{}] | [^\\] )
    """,
    re.VERBOSE,
)
_FRACTION = re.compile(r"\\[dtc]?frac")
_FUNCTIONS = "sqrt sin cos tan cot sec csc arcsin arccos arctan ln log exp pi max min"
_PLAIN_COMMANDS = frozenset(_FUNCTIONS.split())
_BEFORE_WORD = re.compile(r"\.?\s+[^\W\d_]{4,}")
_BEFORE_TERM = frozenset("=+-*/(,<>:|")
_LETTERS = 3  # a longer run of letters is a word; a shorter one is a product, or of capitals a name
_SHORT = "all an any are as at by for has in is it its no nor not odd of on one our set six ten the two was yes you"
_SHORT_WORDS = frozenset(_SHORT.split())
_UNKNOWNS = (
    "alpha beta gamma delta epsilon varepsilon zeta eta theta vartheta iota kappa lambda mu nu xi rho sigma tau upsilon phi "
    "varphi chi psi omega Gamma Delta Theta Lambda Xi Sigma Upsilon Phi Psi Omega ell hbar dots"
)
SYMBOLS = frozenset(_UNKNOWNS.split())
"""Commands that stand for something unknown, as letters do; dots stand for what is left out."""


Kind = Literal["number", "letter", "word", "text", "command", "link", "mark", "end"]
_KINDS: dict[str, Kind] = {
    "number": "number", "styled": "letter", "command": "command", "escaped": "mark", "mark": "mark",
}  # fmt: skip


class Token(NamedTuple):
    r"""A piece of an answer.

    A letter is also a name in capitals, as of points; a text is what ``\text{}`` encloses; a link is "and" or "or".
    """

    kind: Kind
    text: str


END = Token("end", "")


@lru_cache(maxsize=4096)
def tokenise(latex: str) -> list[Token]:
    """The tokens of a rewritten answer.

    Raises:
        UnreadableError: at a character that no token starts with.
    """
    tokens: list[Token] = []
    at = 0
    while at < len(latex):
        match = _TOKEN.match(latex, at)
        if match is None:
            raise UnreadableError(latex[at])
        at = match.end()
        kind, text = match.lastgroup or "", match[match.lastgroup or 0]
        before = tokens[-1] if tokens else END
        if kind == "space":
            continue
        if kind == "number" and _FRACTION.fullmatch(before.text) and text.isdigit():
            tokens += [Token("number", part) for part in (text[0], text[1:2], text[2:]) if part]
        elif kind == "text":
            tokens += _text(text.strip(), before)
        elif kind == "word":
            tokens += _word(text, before, _BEFORE_WORD.match(latex, at) is not None)
        else:
            tokens.append(Token(_KINDS[kind], text))
    return tokens


def _text(text: str, before: Token) -> list[Token]:
    if text[:1] in (",", ";"):
        return [Token("mark", ","), *_text(text[1:].strip(), Token("mark", ","))]
    link = text.strip(", ").lower()
    if link in ("and", "or"):
        return [Token("link", link)]
    starts = before.kind in ("end", "command", "link") or before.text in _BEFORE_TERM
    if text in ("e", "i") or (starts and text.isalpha() and (len(text) == 1 or text.isupper())):
        return [Token("letter", text)]
    return [Token("text", text)] if text else []


def _word(word: str, before: Token, precedes_word: bool) -> list[Token]:
    lower = word.lower()
    follows_number, follows_words = before.kind == "number", before.kind in ("text", "word")
    if lower in ("and", "or"):
        return [Token("link", lower)]
    if word in ("for", "where", "with"):
        return [Token("text", word)]
    is_unit = word in UNITS or (len(word) == 3 and lower in UNITS)
    if follows_number and len(word) > 1 and (precedes_word or is_unit):
        return [Token("text", word)]
    if not word.isascii():
        return [Token("text" if follows_number else "word", word)]
    if word in _PLAIN_COMMANDS or word in SYMBOLS:
        return [Token("command", f"\\{word}")]
    if word.isupper() and not follows_words:
        return [Token("letter", word)]
    if len(word) == 1 or (len(word) <= _LETTERS and not follows_words and lower not in _SHORT_WORDS):
        return [Token("letter", letter) for letter in word]
    return [Token("word", word)]


_SYNONYMS = {
    r"\leq": r"\le", r"\leqslant": r"\le", r"\geq": r"\ge", r"\geqslant": r"\ge", r"\neq": r"\ne", r"\lt": "<", r"\gt": ">",
    r"\dfrac": r"\frac", r"\tfrac": r"\frac", r"\cfrac": r"\frac", r"\varnothing": r"\emptyset", ";": ",",
}  # fmt: skip


def same_spelling(pred: str, gold: str) -> bool:
    """Whether two rewritten answers are the same tokens, not counting spaces, fonts and braces around one token."""
    try:
        return _spelling(pred) == _spelling(gold)
    except UnreadableError:
        return False


def _spelling(latex: str) -> list[str]:
    spelt: list[str] = []
    for token in tokenise(latex):
        if token.kind in ("text", "word", "link"):
            spelt += (word.strip(".,") or word for word in token.text.casefold().split())
        else:
            spelt.append(_SYNONYMS.get(token.text, token.text))
        if len(spelt) > 2 and spelt[-1] == "}" and spelt[-3] == "{":
            spelt[-3:] = [spelt[-2]]
    return spelt
