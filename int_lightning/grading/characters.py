"""Characters beyond ASCII as the LaTeX they stand for."""

from __future__ import annotations

import re
import unicodedata

_GREEK = dict(
    zip(
        "αβγδεζηθικλμνξπρστυφχψωϕϵϑΓΔΘΛΞΠΣΦΨΩ",
        [
            "alpha",
            "beta",
            "gamma",
            "delta",
            "epsilon",
            "zeta",
            "eta",
            "theta",
            "iota",
            "kappa",
            "lambda",
            "mu",
            "nu",
            "xi",
            "pi",
            "rho",
            "sigma",
            "tau",
            "upsilon",
            "phi",
            "chi",
            "psi",
            "omega",
            "phi",
            "epsilon",
            "theta",
            "Gamma",
            "Delta",
            "Theta",
            "Lambda",
            "Xi",
            "Pi",
            "Sigma",
            "Phi",
            "Psi",
            "Omega",
        ],
        strict=True,
    )
)
_COMMANDS = {
    "∞": "infty", "∪": "cup", "∩": "cap", "∈": "in", "∅": "emptyset", "≤": "leq", "≥": "geq", "⩽": "leq", "⩾": "geq", "≦": "leq",
    "≧": "geq", "≠": "neq", "≡": "equiv", "≈": "approx", "±": "pm", "∓": "mp", "×": "times", "÷": "div", "·": "cdot", "⋅": "cdot",
    "∙": "cdot", "•": "cdot", "∗": "cdot", "∖": "setminus", "⌊": "lfloor", "⌋": "rfloor", "⌈": "lceil", "⌉": "rceil",
    "∠": "angle", "△": "triangle", "⊥": "perp", "∥": "parallel", "∀": "forall", "∃": "exists", "→": "to", "…": "dots", "⋯": "dots",
    "⟨": "langle", "⟩": "rangle", "∑": "sum", "∏": "prod", "∫": "int",
} | _GREEK  # fmt: skip
_OTHERS = {
    "°": r"^\circ ", "º": r"^\circ ", "½": r"\frac12 ", "⅓": r"\frac13 ", "⅔": r"\frac23 ", "¼": r"\frac14 ", "¾": r"\frac34 ",
    "⅕": r"\frac15 ", "⅖": r"\frac25 ", "⅗": r"\frac35 ", "⅘": r"\frac45 ", "⅙": r"\frac16 ", "⅚": r"\frac56 ", "⅛": r"\frac18 ",
    "⅜": r"\frac38 ", "⅝": r"\frac58 ", "⅞": r"\frac78 ", "ℝ": r"\mathbb{R}", "ℤ": r"\mathbb{Z}", "ℕ": r"\mathbb{N}",
    "ℚ": r"\mathbb{Q}", "ℂ": r"\mathbb{C}", "−": "-", "–": "-", "—": "-", "‐": "-", "‑": "-", "－": "-", "⁄": "/", "∕": "/",
    "′": "'", "’": "'", "″": "''", "∶": ":", "、": ",", "。": ".", "￥": "¥", "µ": r"\mu ",
    "\f": r"\f", "\b": r"\b",  # "\frac" and "\boxed" that went through one unescaping too many
}  # fmt: skip
_CIRCLED = {chr(ord("①") + i): f"({i + 1})" for i in range(20)}
_TABLE = str.maketrans({character: f"\\{command} " for character, command in _COMMANDS.items()} | _OTHERS | _CIRCLED)

_RAISED = "⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺ⁿ"
_SUNK = "₀₁₂₃₄₅₆₇₈₉ₙ"
_LEVEL = str.maketrans(_RAISED + _SUNK, "0123456789-+n0123456789n")
_RUNS = ((re.compile(f"[{_RAISED}]+"), "^"), (re.compile(f"[{_SUNK}]+"), "_"))
_ROOT = re.compile(
    r"""([√∛∜]) \s* (?: \( (?P<bracket>[^()]*) \) | \{ (?P<brace>[^{}]*) \} | (?P<atom> \d+(?:\.\d+)? | [a-zA-Z] | \\[a-zA-Z]+ ) )""",
    re.VERBOSE,
)
_DEGREES = {"√": "", "∛": "[3]", "∜": "[4]"}
_RAISED_HTML = re.compile(r"<(sup|sub)>([^<>]*)</\1>")


def in_latex(text: str) -> str:
    """The text with LaTeX for characters beyond ASCII, full-width and other compatible forms as their plain ones."""
    text = _RAISED_HTML.sub(lambda html: f"{'^' if html[1] == 'sup' else '_'}{{{html[2]}}}", text)
    if text.isascii() and "\f" not in text and "\b" not in text:
        return text
    for run, mark in _RUNS:
        text = run.sub(lambda found, mark=mark: f"{mark}{{{found[0].translate(_LEVEL)}}}", text)
    text = unicodedata.normalize("NFKC", text.translate(_TABLE)).translate(_TABLE)
    return _ROOT.sub(_root, text)


def _root(found: re.Match[str]) -> str:
    return rf"\sqrt{_DEGREES[found[1]]}{{{found['bracket'] or found['brace'] or found['atom'] or ''}}}"
