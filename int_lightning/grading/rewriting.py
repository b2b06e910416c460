r"""Rewrites answers in one notation, so that the parser knows one way of writing each thing.

This drops layout and remarks, "st" in "1st", ``x :`` in ``\{x : ...\}``, ``f(x) =`` before cases, and "exactly" and
"approximately" before a number. Everything else keeps its meaning in another notation.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from int_lightning.grading.characters import in_latex
from int_lightning.grading.layout import without_layout
from int_lightning.grading.numerals import from_words, in_digits
from int_lightning.grading.remarks import without_remarks

_FUNCTION = r"(?:arc)?(?:sin|cos|tan|cot|sec|csc)|log|ln|exp|max|min|gcd|lcm"
_TEXT = r"\\(?:text|mathrm|operatorname)\s*"
_DOMAIN = r"(?:\\in\s*\\mathbb\s*(?:\{[A-Z]\}|[A-Z])[\w^+*{}\\>]*|(?:\\geq?|>)\s*\d+|\\neq?[^(),=<>]+)"
_BOUND = r"([a-zA-Z])\s*([+-]\s*[\d./]+)?\s*"
_CURRENCIES = {"$": "dollars", "€": "euros", "£": "gbp", "¥": "yen", "₹": "rupees"}
_MODULUS = re.compile(
    r"""\( \s* \\? (?: [bp]?mod | (?:text|mathrm)\{\s*mod\s*\}? ) \s* (\d+|[a-zA-Z]|\{\w+\}) \s* \}? \s* \)   # (\text{mod } 5)
      | \\ [bp]?mod \s* (\{\w+\}|\w+)                                                                       # \bmod 5""",
    re.VERBOSE,
)
_ALL_TEXT = re.compile(r"\s*\\text\s*\{([^{}\\$]*)\}\s*")


def _absolute(match: re.Match[str]) -> str:
    r"""``|x - 1| < 3`` without the bars."""
    name, shift, sign, bound = match.groups()
    low, high = f"-({bound})-({shift or 0})", f"({bound})-({shift or 0})"
    if sign.startswith(("<", r"\l")):
        return f"{low} {sign} {name} {sign} {high}"
    return f"{name} {sign.replace('>', '<').replace('g', 'l')} {low} or {name} {sign} {high}"


def _equal_names(match: re.Match[str]) -> str:
    """``x = y = 1`` as ``x = 1, y = 1``."""
    return ", ".join(f"{name}={match[2]}" for name in re.findall(r"[a-zA-Z]", match[1]))


def _price(match: re.Match[str]) -> str:
    r"""``\$5`` and ``5\$`` as ``5\text{dollars}``."""
    return "".join(match.groups()[1:]) + rf"\text{{{_CURRENCIES[match[1][-1]]}}}"


_REWRITES: list[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]]] = [
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        # symbols
        (r"\t(?=ext|frac|imes|heta)", r"\\t"),  # of "\text", unescaped once too often
        (r"\\textcirc", r"\\circ"),
        (r"\\colon(?![a-zA-Z])", ":"),
        (r"<=(?!>)", r"\\le "),
        (r">=", r"\\ge "),
        (r"!=", r"\\ne "),
        (r"\\(?:[lc]?dots)(?![a-zA-Z])|\.\.\.", r"\\dots "),
        (r"\\[lr]angle(?![a-zA-Z])", lambda match: {"l": "(", "r": ")"}[match[0][1]]),
        (r"(^\s*|\\in\s*)\\mathbf\s*\{?([RZQNC])\}?", r"\1\\mathbb{\2}"),
        # f^{\prime\prime}
        (r"\^\s*(?:\{\s*((?:\\prime\s*)+)\}|(\\prime)(?![a-zA-Z]))", lambda match: "'" * match[0].count("prime")),
        # \begin{array}{cc}, \begin{smallmatrix}
        (r"(\\(?:begin|end)\s*\{)(?:array\}\s*\{[^{}]*|array|smallmatrix|Bmatrix)\}", r"\1matrix}"),
        # powers, roots, fractions, functions, indices
        (r"(?<=[\w)}\]])\s*\*\*\s*(?=[\w({-])", "^"),
        (r"(?<![a-zA-Z])\\?sqrt\s*(\[\d+\])?\s*(\([^()]*\))", r"\\sqrt\1{\2}"),  # sqrt(2), \sqrt[3](x)
        (r"(?<![a-zA-Z\\])sqrt\s*(\d+(?:\.\d+)?|[a-zA-Z](?![a-zA-Z]))", r"\\sqrt{\1}"),  # sqrt2, sqrt x
        (r"(\\[dt]?frac\s*\{[^{}]*\})\s*([0-9a-zA-Z])", r"\1{\2}"),
        (rf"(?<!\d)(?<!\d ){_TEXT}\{{\s*({_FUNCTION})\s*\}}", r"\\\1"),
        (r"_\s*\{\s*\\(?:text|mathrm|rm)\s*\{([^{}]*)\}\s*\}", r"_{\1}"),
        (
            r"(?<![a-zA-Z\\])([a-zA-Z])_\s*(?:\{\s*\\([a-zA-Z]+)\s*\}|\\([a-zA-Z]+)(?![a-zA-Z]))",
            r"\1_{\2\3}",
        ),  # x_\theta
        # units, residues, ratios, ordinals
        (r"(?<=\d)\s*\\mathrm\s*\{\s*~?([^{}]*)\}", r"\\text{ \1}"),
        (r"(?<!\d)(\\\$|[€£¥₹])\s*(-?\d[\d.,]*)(?=\s*(?:\\text|[a-zA-Z]{4}|$))", _price),  # \$5, €5
        (r"(?<=\d)\s*(\\\$|[€£¥₹])", _price),
        (r"^([^$]*\d)\s*\$\s*$", r"\1\\text{dollars}"),
        (
            r"\\frac\s*\{\\(?:text|mathrm)\{([a-z]+)\}\}\s*\{\\(?:text|mathrm)\{([a-z]+)\}\}",
            r"\\text{\1/\2}",
        ),  # \frac{m}{s}
        (r"(\d)\s*\\text\s*\{\s*to\s*\}\s*(\d)", r"\1:\2"),
        (r"(\d)\s*\^?\s*\{?\s*\\(?:text|mathrm)\s*\{\s*(?:st|nd|rd|th)\s*\}\s*\}?", r"\1"),  # 12^{\text{th}}
        (r"^\s*(\d+)(?:st|nd|rd|th)(?:\s+[A-Za-z]+)?\s*\.?$", r"\1"),
        # several values, sets, conditions
        (r"(\d)\s*\\(?:text|mathrm)\s*\{([^{}()]*)\b(and|or)\s*\}", r"\1\\text{\2} \3 "),  # 3\text{ cats and }4
        (r"^\s*\{([^{}\\]*,[^{}\\]*)\}\s*$", r"\\{\1\\}"),
        (r"^\s*(?:\(\d{1,2}\)\s*){2,}$", lambda match: ", ".join(re.findall(r"\d+", match[0]))),  # (1)(3), statements
        (r"(\\\})\s*-\s*(?=\\\{)", r"\1\\setminus "),
        (
            r"^\\\{\s*[a-zA-Z]\s*(?:\\in\s*\\mathbb\s*\{?R\}?\s*)?(?:\||:|\\mid|\\vert)((?:(?!\\\}).)*)\\\}",
            r"\1",
        ),  # \{x : x>2\}
        (rf"\s*\(\s*((?:[a-zA-Z]\s*,\s*)*[a-zA-Z]\s*{_DOMAIN})\s*\)\s*$", r", \1"),  # 3k\pi (k \in \mathbb{Z})
        (rf"^\s*\|\s*{_BOUND}\|\s*(<|>|\\leq?|\\geq?)\s*([^|<>=\\]+)$", _absolute),  # |x - 1| < 3
        (r"^\s*((?:[a-zA-Z]\s*=\s*){2,})([^=,;a-zA-Z]*\d[^=,;a-zA-Z]*)$", _equal_names),  # x = y = 1
        (r"^\s*([A-Z])\s*(?=\([^(),]+(?:,[^(),]+)+\)\s*$)", r"\1="),  # A(1, 2)
        (r"^\s*[a-zA-Z](?:\([a-z]\))?\s*=\s*(?=\\begin\s*\{cases\})", ""),  # f(x) = \begin{cases}
        # \text{exactly }5
        (r"^\s*(?:\\text\s*\{)?\s*(?:exactly|approximately|about|roughly)\s*\}?\s*(?=[\d\\$-])", ""),
        # \text{infinitely many solutions}
        (r"^\s*(?:\\text\s*\{)?\s*(?i:infinity|inf|oo|infinite|infinitely many(?: [a-z]+)?)\s*\}?\s*$", r"\\infty"),
    )
]


def rewrite(latex: str) -> str:
    """The answer in the notation that the parser reads."""
    latex = in_digits(in_latex(latex))
    if r"\begin" not in latex:
        latex = re.sub(r"\\\\(?=[a-zA-Z])", r"\\", latex)
    latex = _MODULUS.sub(lambda match: rf"\pmod{{{(match[1] or match[2]).strip('{}')}}}", without_layout(latex))
    for pattern, replacement in _REWRITES:
        latex = pattern.sub(replacement, latex)
    latex = without_remarks(latex.strip())
    plain = _ALL_TEXT.fullmatch(latex)
    return from_words(plain[1].strip() if plain else latex)
