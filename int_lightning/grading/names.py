"""What may stand before an equals sign as the name of the answer, so that the answer is right without it.

A symbol (``x``, ``a_{10}``), a function's value (``f(2)``), words and tuples of names are names, see ``AnswerParser``. So is a
quantity that a problem asks for; an expression to be solved for its symbols is none: ``3x = 12`` is not 12.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from int_lightning.grading.notation import SYMBOLS, Token

_NAME = r"""(?: m?\\angle\{?[A-Z]+\}? | \\triangle\{?[A-Z]+\}? | \\(?:overline|vec|overrightarrow)\{?[a-zA-Z]+\}? |
    [A-Z]+'* (?: _(?:\{[^{}]*\}|\w) )? | [a-z]'*_(?:\{[^{}]*\}|\w) )"""
_GREEK = rf"\\(?:{'|'.join(sorted(SYMBOLS))})"
_ASKED_FOR = re.compile(
    rf"""
    {_NAME}                                            # \angle ABC
  | \|(?:{_NAME}|z)\|                                  # |AB|, |z|
  | \\[dt]?frac\{{{_NAME}\}}\{{{_NAME}\}} | {_NAME}/{_NAME}
  | (?:{_NAME}|[a-z]) (?: :(?:{_NAME}|[a-z]) )+        # S_1:S_2
  | \\(?:sin|cos|tan|cot|sec|csc)\(?(?:{_GREEK}|{_NAME})\)?
  | \\(?:max|min)\{{?(?:{_NAME}|[a-z])?\}}?
    """,
    re.VERBOSE,
)


def is_asked_for(tokens: Sequence[Token]) -> bool:
    """Whether an expression is a quantity that a problem may ask for: a length, an angle, a ratio of these, an extreme."""
    return _ASKED_FOR.fullmatch("".join(token.text for token in tokens)) is not None


def is_product(tokens: Sequence[Token]) -> bool:
    """Whether a name is a product of symbols, as ``xy`` in ``xy = 6``."""
    return len(tokens) > 1 and all(token.kind == "letter" and token.text.islower() for token in tokens)
