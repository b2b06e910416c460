"""Names of answers: what may stand before an equals sign, and may be left out.

A name is a symbol (``x``, ``a_{10}``, ``y'``), a function's value (``f(2)``, ``P(A)``), words, a tuple of names, or a quantity
that a problem asks for: an angle, a length, a ratio of these, an extreme. An expression to be solved for its symbols is not a
name, because ``3x = 12`` is not 12; nor is a product (``xy = 6``), which is an equation of two symbols.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from int_lightning.grading.algebra.notation import SYMBOLS, Token

_GREEK = rf"\\(?:{'|'.join(sorted(SYMBOLS))})"
_INDEX = r"'*(?:_(?:\{[^{}]*\}|\w|\\[a-z]+))?'*"
_SYMBOL = rf"(?:[a-zA-Z]|[A-Z]+|{_GREEK}){_INDEX}"
_LINE = r"\\(?:overline|vec|overrightarrow)\{?[a-zA-Z]+\}?"
_CAPITAL = rf"(?:m?\\angle\{{?[A-Z]+\}}?|\\triangle\{{?[A-Z]+\}}?|{_LINE}|[A-Z]+{_INDEX})"
_LENGTH = rf"(?:{_CAPITAL}|[a-z]'*_(?:\{{[^{{}}]*\}}|\w))"
_INSIDE = r"(?:[^()\[\]]|\([^()]*\))*"
_VALUE = rf"""(?: (?:[fghA-Z]|[A-Z][a-z]{{1,3}}|\([fgh]\\circ\{{?[fgh]\}}?\)){_INDEX} (?:\^\{{-1\}})? [(\[]{_INSIDE}[)\]] |
    (?:[a-su-wy]|{_GREEK}){_INDEX} \((?:[A-Za-z\d]+(?:,[A-Za-z\d]+)*)\) | x\(t\) )"""
_ONE = rf"(?:{_VALUE}|{_SYMBOL}|[a-z]\d)"
_NAME = re.compile(
    rf"""
    {_ONE} | \\Delta[a-z] | {_CAPITAL}                   # a_{{10}}, f(2), \Delta t, \angle ABC
  | \({_ONE}(?:,{_ONE})+\)                               # (x, y)
  | \|(?:{_LENGTH}|z)\|                                  # |AB|, |z|
  | \\[dt]?frac\{{{_LENGTH}\}}\{{{_LENGTH}\}} | {_LENGTH}/{_LENGTH}
  | (?:{_LENGTH}|[a-z]) (?: :(?:{_LENGTH}|[a-z]) )+      # S_1:S_2
  | \\(?:sin|cos|tan|cot|sec|csc)\(?(?:{_GREEK}|{_CAPITAL})\)?
  | \\(?:max|min)\{{?(?:{_LENGTH}|[a-z])?\}}?
    """,
    re.VERBOSE,
)


def is_name(tokens: Sequence[Token]) -> bool:
    """Whether tokens before an equals sign are a name and nothing else."""
    return _NAME.fullmatch("".join(token.text for token in tokens)) is not None
