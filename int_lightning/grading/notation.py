"""How answers are written: many ways of writing the same thing brought to one, and its tokens."""

from __future__ import annotations

import re
from typing import NamedTuple

from int_lightning.grading.arithmetic import UnreadableError

_SYMBOLS = str.maketrans(
    {
        "∞": r"\infty ",
        "∪": r"\cup ",
        "∩": r"\cap ",
        "∈": r"\in ",
        "∅": r"\emptyset ",
        "√": r"\sqrt ",
        "≤": r"\leq ",
        "≥": r"\geq ",
        "≠": r"\neq ",
        "±": r"\pm ",
        "×": r"\times ",
        "÷": r"\div ",
        "·": r"\cdot ",
        "π": r"\pi ",
        "θ": r"\theta ",
        "α": r"\alpha ",
        "β": r"\beta ",
        "λ": r"\lambda ",
        "°": r"^\circ ",
        "−": "-",
        "–": "-",
        "＜": "<",
        "＞": ">",
        "＝": "=",
        "（": "(",
        "）": ")",
        "，": ",",
        "\f": r"\f",
        "\b": r"\b",  # "\frac" and "\boxed" that went through one unescaping too many
    }
)

_FUNCTION = r"(?:sin|cos|tan|cot|sec|csc|log|ln|exp|max|min)"
_REWRITES: list[tuple[re.Pattern[str], str]] = [
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"(?<=\d)(?:\{,\}|\\!,(?:\\!)?|\\,)(?=\d{3}(?!\d))", ""),
        (r"\t(?=ext|frac|imes|heta)", r"\\t"),
        (r"\\(?:[bB]igg?|[bB]igg?[lrm])(?![a-zA-Z])", ""),
        (r"(?<!\\)\\(?:displaystyle|limits|!)", ""),
        (r"(?<!\\)\\(?:[ ;:]|q?quad(?![a-zA-Z]))", " "),
        (r"_\s*\{\s*\\(?:text|mathrm|rm)\s*\{([^{}]*)\}\s*\}", r"_{\1}"),
        (r"(?<![a-zA-Z\\])([a-zA-Z])_\s*(?:\{\s*\\([a-zA-Z]+)\s*\}|\\([a-zA-Z]+)(?![a-zA-Z]))", r"\1_{\2\3}"),
        (r"\\(?:text|mathrm|operatorname)\s*\{\s*(" + _FUNCTION + r")\s*\}", r"\\\1"),
        (r"(\\[dt]?frac\s*\{[^{}]*\})\s*([0-9a-zA-Z])", r"\1{\2}"),
        (r"(\d)\s*\^?\s*\{?\s*\\(?:text|mathrm)\s*\{\s*(?:st|nd|rd|th)\s*\}\s*\}?", r"\1"),
        (r"^\s*(\d+)(?:st|nd|rd|th)(?:\s+[A-Za-z]+)?\s*\.?$", r"\1"),
        (r"(\d)\s*(?:\\ )?\\(?:text|mathrm)\s*\{[^{}]*\b(?:and|or)\s*\}", r"\1, "),
        (r"(\d)\s*(?:\\ )?\\(?:text|mathrm)\s*\{[^{}]*\}\s*(?:\\ )?(?=,)", r"\1"),
        (r"\\left\s*\\\{|\\\{", r"\\{"),
        (r"\\right\s*\\\}|\\\}", r"\\}"),
        (r"^\\\{\s*[a-zA-Z]\s*(?:\||:|\\mid|\\vert)(.*)\\\}$", r"\1"),
    )
]


def rewrite(latex: str) -> str:
    """The same answer in one notation: the one that math-verify's parser knows."""
    latex = latex.translate(_SYMBOLS)
    if r"\begin" not in latex:
        latex = re.sub(r"\\\\(?=[a-zA-Z])", r"\\", latex)
    for pattern, replacement in _REWRITES:
        latex = pattern.sub(replacement, latex)
    return latex.strip()


_TOKEN = re.compile(
    r"""
    (?P<space> \s | ~ | \$ | \\[,;:!\ $] | \\(?:left|right|q?quad|displaystyle|textstyle|limits)(?![a-zA-Z]) )
  | (?P<number> \d+(?:\.\d+)? | \.\d+ )
  | \\(?:text|mathrm|textbf|textit|textrm|mbox|operatorname)\s*\{(?P<text>[^{}\\$]*)\}
  | \\(?:math(?:bf|it|cal|sf)|boldsymbol|bm)\s*\{(?P<styled>[a-zA-Z])\}
  | (?P<command> \\[a-zA-Z]+ )
  | (?P<word> [a-zA-Z]+ )
  | \\(?P<escaped> [%|&] )
  | (?P<mark> \\\\ | \\[{}] | [^\\] )
    """,
    re.VERBOSE,
)
_FRACTION = re.compile(r"\\[dtc]?frac")
_PLAIN_COMMANDS = frozenset(
    [
        "sqrt",
        "sin",
        "cos",
        "tan",
        "cot",
        "sec",
        "csc",
        "arcsin",
        "arccos",
        "arctan",
        "ln",
        "log",
        "exp",
        "pi",
        "max",
        "min",
    ]
)
_LETTERS = 3  # a longer run of letters is a word, a shorter one a product

_UNKNOWNS = (
    "alpha beta gamma delta epsilon varepsilon zeta eta theta vartheta iota kappa lambda mu nu xi rho sigma tau upsilon phi "
    "varphi chi psi omega Gamma Delta Theta Lambda Xi Sigma Upsilon Phi Psi Omega ell hbar cdots ldots dots"
)
SYMBOLS = frozenset(_UNKNOWNS.split())
"""Commands that stand for something unknown, as letters do; dots stand for what everybody leaves out."""

UNITS = {
    name: unit
    for unit, names in {
        "mm": "millimeter millimeters millimetre millimetres",
        "cm": "centimeter centimeters centimetre centimetres",
        "m": "meter meters metre metres",
        "km": "kilometer kilometers kilometre kilometres",
        "in": "inch inches",
        "ft": "foot feet",
        "yd": "yard yards",
        "mi": "mile miles",
        "mg": "milligram milligrams",
        "g": "gram grams",
        "kg": "kilogram kilograms",
        "lb": "lbs pound pounds",
        "oz": "ounce ounces",
        "s": "sec second seconds",
        "min": "mins minute minutes",
        "h": "hr hrs hour hours",
        "day": "days",
        "week": "weeks",
        "ml": "milliliter milliliters millilitre millilitres",
        "l": "liter liters litre litres",
        "km/h": "kmh kph",
        "mph": "",
    }.items()
    for name in (unit, *names.split())
}
"""The shortest form of a unit of measure, by any of its forms."""


class Token(NamedTuple):
    r"""A piece of an answer: ``kind`` is number, letter, word, text (in ``\text{}``), command, link (and, or), mark or end."""

    kind: str
    text: str


END = Token("end", "")


def tokenise(latex: str) -> list[Token]:
    """The tokens of a rewritten answer.

    Raises:
        UnreadableError: at a character that starts none.
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
            tokens += _word(text, before)
        else:
            tokens.append(Token({"styled": "letter", "escaped": "mark"}.get(kind, kind), text))
    return tokens


def _text(text: str, before: Token) -> list[Token]:
    link = text.strip(", ").lower()
    if link in ("and", "or"):
        return [Token("link", link)]
    if text in ("e", "i") or (len(text) == 1 and text.isalpha() and before.kind == "end"):
        return [Token("letter", text)]
    return [Token("text", text)] if text else []


def _word(word: str, before: Token) -> list[Token]:
    if word.lower() in ("and", "or"):
        return [Token("link", word.lower())]
    if word in ("for", "where", "with"):
        return [Token("text", word)]
    if word in _PLAIN_COMMANDS:
        return [Token("command", f"\\{word}")]
    if len(word) > 1 and word in UNITS and before.kind == "number":
        return [Token("text", word)]
    if len(word) <= _LETTERS:
        return [Token("letter", letter) for letter in word]
    return [Token("word", word)]
