"""The same answer in one notation: many ways of writing the same thing brought to one."""

from __future__ import annotations

import re
from collections.abc import Callable
from fractions import Fraction

from int_lightning.grading.units import in_digits

_SYMBOLS = str.maketrans(
    {
        "∞": r"\infty ",
        "∪": r"\cup ",
        "∩": r"\cap ",
        "∈": r"\in ",
        "∅": r"\emptyset ",
        "√": r"\sqrt ",
        "∛": r"\sqrt[3]",
        "≤": r"\leq ",
        "≥": r"\geq ",
        "≠": r"\neq ",
        "≡": r"\equiv ",
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
        "½": r"\frac12 ",
        "⅓": r"\frac13 ",
        "⅔": r"\frac23 ",
        "¼": r"\frac14 ",
        "¾": r"\frac34 ",
        "…": r"\dots ",
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
_RAISED = "⁰¹²³⁴⁵⁶⁷⁸⁹⁻ⁿ"
_LOWERED = str.maketrans(_RAISED, "0123456789-n")

_FUNCTION = r"(?:arc)?(?:sin|cos|tan|cot|sec|csc)|log|ln|exp|max|min|gcd|lcm"
_SPACE = r"(?:\s|~|\\ )"
_TEXT = r"\\(?:text|mathrm|operatorname)\s*"
_DOMAIN = r"(?:\\in\s*\\mathbb\s*(?:\{[A-Z]\}|[A-Z])[\w^+*{}\\>]*|(?:\\geq?|>)\s*\d+)"
_BOUND = r"([a-zA-Z])\s*([+-]\s*[\d./]+)?\s*"


def _superscript(match: re.Match[str]) -> str:
    return f"^{{{match[0].translate(_LOWERED)}}}"


def _repeating(match: re.Match[str]) -> str:
    r"""``0.1\overline{6}`` as a fraction."""
    whole, before, period = match.groups()
    scale = 10 ** len(before)
    value = Fraction(int(whole + before or 0), scale) + Fraction(int(period), scale * (10 ** len(period) - 1))
    return rf"\frac{{{value.numerator}}}{{{value.denominator}}}"


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


_REWRITES: list[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]]] = [
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"(?<=\d)(?:\{,\}(?:\\!)?|\\!,(?:\\!)?|,\\!|\\,)(?=\d{3}(?!\d))", ""),
        (rf"[{_RAISED}]+", _superscript),
        (r"\\colon(?![a-zA-Z])", ":"),
        (r"\\(?:[lc]?dots)(?![a-zA-Z])|\.\.\.", r"\\dots "),
        (r"\t(?=ext|frac|imes|heta)", r"\\t"),
        (r"\\(?:[bB]igg?|[bB]igg?[lrm])(?![a-zA-Z])", ""),
        (r"(?<!\\)\\(?:displaystyle|limits|!)", ""),
        (r"(?<!\\)\\(?:[ ;:]|q?quad(?![a-zA-Z]))", " "),
        (r"(?<=[\w)}\]])\s*\*\*\s*(?=[\w({-])", "^"),
        (r"(\d*)\.(\d*)\\(?:overline|bar|dot)\s*\{(\d+)\}", _repeating),
        (r"(?<![\w.])(\d+(?:\.\d+)?)[eE]([+-]?\d+)(?![\w.])", r"\1\\cdot 10^{\2}"),
        (rf"(?<![\w.,/^}}])(\d+){_SPACE}+(\d+)/(\d+)(?![\w/.^])", r"\1\\frac{\2}{\3}"),
        (r"(?:\\|\b)sqrt\s*(\[\d+\])?\s*(\([^()]*\))", r"\\sqrt\1{\2}"),
        (r"\\\$\s*(-?\d[\d.,]*)(?=\s*(?:\\text|[a-zA-Z]{4}|$))", r"\1\\text{dollars}"),
        (r"€\s*(-?\d[\d.,]*)(?=\s*(?:\\text|[a-zA-Z]{4}|$))", r"\1\\text{euros}"),
        (r"\\frac\s*\{\\(?:text|mathrm)\{([a-z]+)\}\}\s*\{\\(?:text|mathrm)\{([a-z]+)\}\}", r"\\text{\1/\2}"),
        (r"\(\s*\\?(?:text\{)?\s*mod\s*\}?\s*(\w+)\s*\)|\\[bp]?mod\s*(?:\{(\w+)\}|(\w+))", r"\\pmod{\1\2\3}"),
        (r"(\d)\s*\\text\s*\{\s*to\s*\}\s*(\d)", r"\1:\2"),
        (r"\\[lr]?angle(?![a-zA-Z])", lambda match: {"l": "(", "r": ")"}.get(match[0][1], match[0])),
        (r"_\s*\{\s*\\(?:text|mathrm|rm)\s*\{([^{}]*)\}\s*\}", r"_{\1}"),
        (r"(?<![a-zA-Z\\])([a-zA-Z])_\s*(?:\{\s*\\([a-zA-Z]+)\s*\}|\\([a-zA-Z]+)(?![a-zA-Z]))", r"\1_{\2\3}"),
        (rf"(?<!\d)(?<!\d ){_TEXT}\{{\s*({_FUNCTION})\s*\}}", r"\\\1"),
        (r"(\\[dt]?frac\s*\{[^{}]*\})\s*([0-9a-zA-Z])", r"\1{\2}"),
        (r"(\d)\s*\^?\s*\{?\s*\\(?:text|mathrm)\s*\{\s*(?:st|nd|rd|th)\s*\}\s*\}?", r"\1"),
        (r"^\s*(\d+)(?:st|nd|rd|th)(?:\s+[A-Za-z]+)?\s*\.?$", r"\1"),
        (r"(\d)\s*(?:\\ )?\\(?:text|mathrm)\s*\{[^{}]*\b(and|or)\s*\}", r"\1 \2 "),
        (r"(\d)\s*(?:\\ )?\\(?:text|mathrm)\s*\{[^{}]*\}\s*(?:\\ )?(?=,)", r"\1"),
        (r"\\left\s*\\\{|\\\{", r"\\{"),
        (r"\\right\s*\\\}|\\\}", r"\\}"),
        (r"\\(?:left|right)(?![a-zA-Z])\s*", ""),
        (r"^\\\{\s*[a-zA-Z]\s*(?:\\in\s*\\mathbb\s*\{?R\}?\s*)?(?:\||:|\\mid|\\vert)(.*)\\\}$", r"\1"),
        (rf"\s*\(\s*((?:[a-zA-Z]\s*,\s*)*[a-zA-Z]\s*{_DOMAIN})\s*\)\s*$", r", \1"),
        (rf"^\s*\|\s*{_BOUND}\|\s*(<|>|\\leq?|\\geq?)\s*([^|<>=\\]+)$", _absolute),
        (r"^\s*((?:[a-zA-Z]\s*=\s*){2,})([^=,;a-zA-Z]*\d[^=,;a-zA-Z]*)$", _equal_names),
        (r"^\s*[a-zA-Z](?:\([a-z]\))?\s*=\s*(?=\\begin\s*\{cases\})", ""),
        (r",\s*&", " &"),
        (r"^\s*(?:\\text\s*\{)?\s*(?:exactly|approximately|about|roughly)\s*\}?\s*(?=[\d\\$-])", ""),
        (r"^\s*(?:\\text\s*\{)?\s*(?i:infinity|inf|oo|infinite|infinitely many(?: [a-z]+)?)\s*\}?\s*$", r"\\infty"),
    )
]


def rewrite(latex: str) -> str:
    """The same answer in one notation: the one that math-verify's parser knows."""
    latex = latex.translate(_SYMBOLS)
    if r"\begin" not in latex:
        latex = re.sub(r"\\\\(?=[a-zA-Z])", r"\\", latex)
    for pattern, replacement in _REWRITES:
        latex = pattern.sub(replacement, latex)
    return in_digits(latex.strip())


_GROUPED = re.compile(r"(?<![\d.,])[1-9]\d{0,2}(?:,\d{3})+(?![\d,])")


def without_thousands(latex: str) -> str:
    """The answer with ``1,000`` as 1000; brackets may make it two numbers."""
    return latex if re.search(r"[(\[]|\\\{", latex) else _GROUPED.sub(lambda number: number[0].replace(",", ""), latex)
