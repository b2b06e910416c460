"""Arithmetic as people and models write it: the numbers and equations of a text."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

NUMBER = r"\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d*\.\d+|\d+"
_TOKEN = re.compile(rf"(?P<number>{NUMBER})|(?P<op>[-+*/()%])|(?P<word>[A-Za-z_]+)")
_SIGNED = re.compile(
    rf"""
    (?: (?<![\w)%]) (?<![\d)%]\s) (?P<sign> -(?!\s) | (?<![\w)%]\s)-\s ) \(? )?  # a sign, not the minus of "5 - 3"
    (?P<number>{NUMBER})
    (?: \s+ (?P<over>\d+)/(?P<under>\d+) | \s?/\s? (?P<divisor>{NUMBER}) )?  # "2 1/2", "5/2"
    (?: \s? (?P<percent> % | percent\b ) )?
    """,
    re.VERBOSE,
)
_BRACKETED = re.compile(rf"\((-?(?:{NUMBER}))\)")
_LARGEST = 1e18
_STOP = re.compile(r"[,;:?!\n|^]|\.(?!\d)")
_REWRITES = [
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"<<[^>]*>>", ""),
        (r"\\(?:text|mathrm|textbf|mathbf|mbox)\s*\{([^{}]*)\}", r" \1 "),
        (r"\\[dt]?frac\s*(\d)(\d)", r"(\1/\2)"),
        (r"\\[dt]?frac\s*\{([^{}]*)\}\s*\{([^{}]*)\}", r"((\1)/(\2))"),
        # \times, "3x(", "5 boxes x 3"
        (r"\\(?:times|cdot)|[×⋅·✕∗]|(?<=[\d)%])\s*x\s*(?=[$(\d.])|(?<=\w)\s+x\s+(?=\$?\d)", " * "),
        (r"\\div|÷", " / "),
        (r"\\(?:approx|implies|Rightarrow|rightarrow)|[≈⇒→]", " = "),
        (r"[−–—]", "-"),
        (r"\\%", "%"),
        # what only shows the mathematics: \boxed, \left, \quad, \( \), $, **
        (r"\\boxed|\\left|\\right|\\q?quad|\\[,;!$()\[\]]|[$£€¢{}&\\]|\*\*", " "),
        # numbers that count: "Step 2", "1." and "-" at the start of a line, "3rd"
        (r"(?i)\b(?:step|phase|part)\s+\d+\b|(?m:^[ \t]*(?:\d+[.)]|[-*+])\s)|\b\d+(?:st|nd|rd|th)\b", "\n"),
        (r"(%|\d/\d+\)*)\s+of\s+(?:the\s+|a\s+)?(?=\d)", r"\1 * "),
        (r"(?<=\d)-(?=[A-Za-z])|(?<=[A-Za-z])-(?=\w)", " "),
        (r"(?<=[\w)])\s+\([^()=*/+]*[A-Za-z]{2}[^()=*/+]*\)", " "),
        (r"\(([^()]*=[^()]*)\)", r"; \1 ;"),
        (r"(?<=[\d)])\(|(?<=\))(?=\d)", lambda match: "*" + match[0]),
        (r"\n\s*=", " ="),
    )
]


@dataclass(frozen=True, slots=True)
class Equation:
    """``operands -> result`` as read from a text.

    Args:
        result: The last of its sides.
        operands: The numbers it computes with; empty for a mere assignment (``x = 12``).
        false: Whether two of its sides differ by more than rounding.
    """

    result: float
    operands: frozenset[float]
    false: bool


@dataclass(frozen=True, slots=True)
class _Side:
    """One readable side of an equation.

    Args:
        value: What it comes to.
        leaves: The numbers in it.
        computed: Whether there are several of them.
        decimals: How many decimals the first number was written with.
        percent: Whether there is a percent sign in it.
        worded: Whether words surround it.
    """

    value: float
    leaves: frozenset[float]
    computed: bool
    decimals: int
    percent: bool
    worded: bool


class _UnreadableError(Exception):
    """A run of tokens that is not an arithmetic expression."""


def plain(text: str) -> str:
    """``text`` without LaTeX, currency and asides, with operators in ASCII and list markers as line breaks."""
    for _ in range(2):
        for pattern, replacement in _REWRITES:
            text = pattern.sub(replacement, text)
    return text


def numbers(text: str) -> list[float]:
    """Every number of ``text`` in order, thousands separators removed."""
    return [value_of(match[0]) for match in re.finditer(NUMBER, plain(text))]


def signed_values(text: str) -> list[set[float]]:
    """What each number of ``text`` may be, in order: signed, a fraction or mixed number as one, 50% as 50 or 0.5."""
    shown = plain(text)
    for _ in range(2):
        shown = _BRACKETED.sub(r"\1", shown)
    return [_readings(match) for match in _SIGNED.finditer(shown)]


def _readings(match: re.Match[str]) -> set[float]:
    value = value_of(match["number"])
    if match["over"] and (below := value_of(match["under"])):
        value += value_of(match["over"]) / below
    elif match["divisor"] and (divisor := value_of(match["divisor"])):
        value /= divisor
    value = -value if match["sign"] else value
    return {value, value / 100} if match["percent"] else {value}


def value_of(literal: str) -> float:
    """The value of a number that matches ``NUMBER``, at most 1e18."""
    return min(float(literal.replace(",", "")), _LARGEST)


def equations(text: str) -> Iterator[Equation]:
    """The equations of ``text``, one for each chain ``a op b = c = d``, in order."""
    for segment in _STOP.split(re.sub(r"(?<=\d),(?=\d{3}(?!\d))", "", plain(text))):
        if "=" not in segment:
            continue
        chunks = [list(_runs(chunk)) for chunk in segment.split("=")]
        sides: list[_Side] = []
        false = False
        for left, right in pairwise(chunks):
            a = left[-1] if left else None
            b = right[0] if right else None
            if a and b and (a.computed or b.computed) and not (a.worded and not a.computed):
                false = false or not _same(a, b)
            sides += [side for side in (a, b) if side]
        last = chunks[-1][0] if chunks[-1] else None
        result = last or (sides[-1] if sides else None)
        if result is None:
            continue
        leaves = frozenset[float]().union(*(side.leaves for side in sides if side.computed))
        yield Equation(result.value, leaves, false)


def _same(a: _Side, b: _Side) -> bool:
    for scale in (1.0, 100.0, 0.01) if a.percent or b.percent else (1.0,):
        error = abs(a.value * scale - b.value)
        if error <= 1e-9 * max(1.0, abs(b.value)):
            return True
        stated = b if a.computed else a
        if not stated.computed and error < 10.0**-stated.decimals:
            return True
    return False


def _runs(chunk: str) -> Iterator[_Side | None]:
    """The longest arithmetic expressions of one side of an equation, without the words between them; None if unreadable.

    Words in the place of an operand, and single letters, are unknowns. ``3 kg/box`` is 3, without the unit.
    """
    run: list[str] = []
    unknown = worded = False
    lexemes = [(match.lastgroup or "", match[0]) for match in _TOKEN.finditer(chunk)]
    for (kind, lexeme), (next_kind, next_lexeme) in pairwise([*lexemes, ("", "")]):
        if kind != "word":
            if kind == "number" and run and run[-1][-1].isdigit():
                yield None if unknown else _parse(run, worded)
                run, unknown = [], False
            run.append(lexeme)
            continue
        worded = True
        unknown = unknown or (len(lexeme) == 1 and lexeme not in "aAI")
        operand_due = not run or run[-1] in "+-*/("
        if next_kind == "number" and not operand_due:
            yield None if unknown else _parse(run, worded)
            run, unknown = [], False
        elif operand_due and (not next_kind or next_lexeme in "+-*/)%"):
            if len(run) > 1 and run[-1] == "/":
                run.pop()
            elif run or next_kind:
                unknown = True
    if run:
        yield None if unknown else _parse(run, worded)


def _parse(run: Sequence[str], worded: bool) -> _Side | None:
    tokens = list(run)
    leaves: list[float] = []

    def factor() -> float:
        if not tokens:
            raise _UnreadableError
        lexeme = tokens.pop(0)
        if lexeme == "-":
            return -factor()
        if lexeme == "(":
            value = total()
            if not tokens or tokens.pop(0) != ")":
                raise _UnreadableError
        elif lexeme[-1].isdigit():
            value = value_of(lexeme)
            leaves.append(value)
        else:
            raise _UnreadableError
        while tokens and tokens[0] == "%":
            tokens.pop(0)
            value /= 100
        return value

    def product() -> float:
        value = factor()
        while tokens and tokens[0] in "*/":
            if tokens.pop(0) == "*":
                value *= factor()
            elif divisor := factor():
                value /= divisor
            else:
                raise _UnreadableError
        return value

    def total() -> float:
        value = product()
        while tokens and tokens[0] in "+-":
            value += product() if tokens.pop(0) == "+" else -product()
        return value

    try:
        value = total()
    except (_UnreadableError, RecursionError):
        return None
    if tokens or not math.isfinite(value):
        return None
    literal = next(lexeme for lexeme in run if lexeme[-1].isdigit())
    return _Side(value, frozenset(leaves), len(leaves) > 1, len(literal.partition(".")[2]), "%" in run, worded)
