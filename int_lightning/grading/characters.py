"""Characters beyond ASCII as the LaTeX they stand for."""

from __future__ import annotations

import re
import unicodedata

_GREEK = {
    "α": "alpha", "β": "beta", "γ": "gamma", "δ": "delta", "ε": "epsilon", "ϵ": "epsilon", "ζ": "zeta", "η": "eta", "θ": "theta",
    "ϑ": "theta", "ι": "iota", "κ": "kappa", "λ": "lambda", "μ": "mu", "ν": "nu", "ξ": "xi", "π": "pi", "ρ": "rho", "σ": "sigma",
    "τ": "tau", "υ": "upsilon", "φ": "phi", "ϕ": "phi", "χ": "chi", "ψ": "psi", "ω": "omega", "Γ": "Gamma", "Δ": "Delta",
    "Θ": "Theta", "Λ": "Lambda", "Ξ": "Xi", "Π": "Pi", "Σ": "Sigma", "Φ": "Phi", "Ψ": "Psi", "Ω": "Omega",
}  # fmt: skip
_COMMANDS = {
    "∞": "infty", "∪": "cup", "∩": "cap", "∈": "in", "∅": "emptyset", "≤": "leq", "≥": "geq", "⩽": "leq", "⩾": "geq", "≦": "leq",
    "≧": "geq", "≠": "neq", "≡": "equiv", "≈": "approx", "±": "pm", "∓": "mp", "×": "times", "÷": "div", "·": "cdot", "⋅": "cdot",
    "∙": "cdot", "•": "cdot", "∗": "cdot", "∖": "setminus", "⌊": "lfloor", "⌋": "rfloor", "⌈": "lceil", "⌉": "rceil",
    "∠": "angle", "△": "triangle", "⊥": "perp", "∥": "parallel", "∀": "forall", "∃": "exists", "→": "to", "…": "dots",
    "⋯": "dots",    "⟨": "langle", "⟩": "rangle", "∑": "sum", "∏": "prod", "∫": "int",
} | _GREEK  # fmt: skip
_OTHERS = {
    "°": r"^\circ ", "º": r"^\circ ", "½": r"\frac12 ", "⅓": r"\frac13 ", "⅔": r"\frac23 ", "¼": r"\frac14 ", "¾": r"\frac34 ",
    "⅕": r"\frac15 ", "⅖": r"\frac25 ", "⅗": r"\frac35 ", "⅘": r"\frac45 ", "⅙": r"\frac16 ", "⅚": r"\frac56 ", "⅛": r"\frac18 ",
    "⅜": r"\frac38 ", "⅝": r"\frac58 ", "⅞": r"\frac78 ", "ℝ": r"\mathbb{R}", "ℤ": r"\mathbb{Z}", "ℕ": r"\mathbb{N}",
    "ℚ": r"\mathbb{Q}", "ℂ": r"\mathbb{C}", "−": "-", "–": "-", "—": "-", "‐": "-", "‑": "-", "－": "-", "⁄": "/", "∕": "/",
    "′": "'", "’": "'", "″": "''", "∶": ":", "、": ",", "。": ".", "￥": "¥", "µ": r"\mu ",
    "\f": r"\f", "\b": r"\b",  # "\frac" and "\boxed" unescaped once too often
}  # fmt: skip
_CIRCLED = {chr(ord("①") + i): f"({i + 1})" for i in range(20)}
_TABLE = str.maketrans({character: f"\\{command} " for character, command in _COMMANDS.items()} | _OTHERS | _CIRCLED)

_RAISED = "⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺ⁿ"
_SUNK = "₀₁₂₃₄₅₆₇₈₉ₙ"
_LEVEL = str.maketrans(_RAISED + _SUNK, "0123456789-+n0123456789n")
_RAISED_RUN, _SUNK_RUN = (re.compile(f"[{level}]+") for level in (_RAISED, _SUNK))
_ROOT = re.compile(
    r"""([√∛∜]) \s*
    (?: \( (?P<bracket>[^()]*) \) | \{ (?P<brace>[^{}]*) \} | (?P<atom> \d+(?:\.\d+)? | [a-zA-Z] | \\[a-zA-Z]+ ) )""",
    re.VERBOSE,
)
_DEGREES = {"√": "", "∛": "[3]", "∜": "[4]"}
_RAISED_HTML = re.compile(r"<(sup|sub)>([^<>]*)</\1>")


def in_latex(text: str) -> str:
    """The text with LaTeX for characters beyond ASCII; full-width and other compatible forms become the plain ones."""
    text = _RAISED_HTML.sub(lambda html: f"{'^' if html[1] == 'sup' else '_'}{{{html[2]}}}", text)
    if text.isascii() and "\f" not in text and "\b" not in text:
        return text
    text = _RAISED_RUN.sub(lambda run: f"^{{{run[0].translate(_LEVEL)}}}", text)
    text = _SUNK_RUN.sub(lambda run: f"_{{{run[0].translate(_LEVEL)}}}", text)
    text = unicodedata.normalize("NFKC", text.translate(_TABLE)).translate(_TABLE)
    return _ROOT.sub(_root, text)


def _root(found: re.Match[str]) -> str:
    return rf"\sqrt{_DEGREES[found[1]]}{{{found['bracket'] or found['brace'] or found['atom'] or ''}}}"
