r"""Drops how an answer looks, which says nothing.

That is spaces (``\,``, ``\quad``), sizes (``\left``, ``\big``, ``\displaystyle``), colours, underlines, the width of a gap
between rows, and the font of a number; the font of a text becomes ``\text``.
"""

from __future__ import annotations

import re

_FONTS = "bf|rm|it|sf|tt"
_LAYOUT = [
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (rf"\\text(?:normal|up|sc|md|{_FONTS})\s*\{{|\\(?:emph|mbox|hbox)\s*\{{", r"\\text{"),  # \textbf{..}, \mbox{..}
        (rf"\{{\s*\\(?:{_FONTS})(?![a-zA-Z])\s*([^{{}}]*)\}}", r"{\1}"),  # {\bf 12}
        (rf"\\(?:text)?color\s*\{{[a-z]+\}}|\\(?:{_FONTS})(?![a-zA-Z])", ""),  # \color{red}, \bf
        (rf"\\(?:underline|math(?:{_FONTS}))\s*\{{\s*(-?[\d.,]*)\s*\}}", r"\1"),  # \mathbf{12}
        (r"^\s*\\(?:underline|boldsymbol)\s*\{([^{}]*)\}\s*$", r"\1"),  # \underline{x+1}
        (r"\\(?:[bB]igg?|[bB]igg?[lrm])(?![a-zA-Z])", ""),
        (r"(?<!\\)\\(?:displaystyle|limits|!)", ""),
        (r"\\\\\s*\[\s*-?[\d.]+\s*[a-z]{2}\s*\]", r"\\\\"),  # \\[4pt]
        (r"(?<!\\)\\(?:[ ;:,]|q?quad(?![a-zA-Z]))", " "),
        (r"\\left\s*\\\{|\\\{", r"\\{"),
        (r"\\right\s*\\\}|\\\}", r"\\}"),
        (r"\\(?:left|right)(?![a-zA-Z])\s*", ""),
        (r"(?<!\\)\\\s*$", ""),  # what is left of a line break
    )
]


def without_layout(latex: str) -> str:
    """The answer without its layout."""
    for pattern, replacement in _LAYOUT:
        latex = pattern.sub(replacement, latex)
    return latex
