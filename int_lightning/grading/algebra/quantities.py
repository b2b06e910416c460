"""Numbers that stand for expressions: the values of an expression at a few fixed points.

Every symbol has the same value at a point wherever it occurs, so that two expressions are the same function where their values
agree at all points; nothing is simplified. Arithmetic of rational numbers is exact. Beyond it constants have 60 digits (more
under ``digits``), and expressions with symbols are floats (but not under ``digits``).
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache
from typing import Any

from mpmath import fp

from int_lightning.grading.algebra.numbers import (
    DIGITS,
    HUGE,
    Function,
    Number,
    UnreadableError,
    divide,
    exactly,
    is_exact,
    is_real,
    multiply,
    near,
    simplest,
)  # fmt: skip

POINTS = 8


@dataclass(frozen=True, slots=True)
class Quantity:
    """The values of an expression: one for a constant, ``POINTS`` for an expression with symbols; None where undefined.

    Args:
        values: By point.
        symbols: Names of those that occur.
        unit: A unit of measure in its shortest form, "mod 7" of a residue, "base 7" of digits in another base, "" for any other.
        counted: The words that name what is counted.
        decimals: Digits after the point of a number written as a decimal, else 0.
        name: Of an expression that is one symbol.
    """

    values: tuple[Number, ...]
    symbols: frozenset[str] = frozenset()
    unit: str = ""
    decimals: int = 0
    name: str = ""
    counted: frozenset[str] = frozenset()

    def at(self, point: int) -> Number:
        """The value at a point."""
        return self.values[point] if self.symbols else self.values[0]


def constant(value: Number) -> Quantity:
    """A number."""
    return Quantity((simplest(value),))


@lru_cache(maxsize=1024)
def symbol(name: str) -> Quantity:
    """A symbol: fractions below and above 1, two negative integers and four consecutive integers, in an order of its own."""
    draw = random.Random(name)
    first = draw.randrange(2, 9)
    values: list[Number] = [Fraction(draw.randrange(*ends), 101) for ends in ((5, 96), (102, 499))]
    values += [-draw.randrange(2, 12) for _ in range(2)] + draw.sample(range(first, first + 4), 4)
    return Quantity(tuple(values), frozenset([name]), name=name)


def opaque(name: str) -> Function:
    """A function of which nothing is known but that equal arguments have equal values."""

    def function(context: Any, *numbers: Number) -> Number:
        known = [number if is_exact(number) else context.nstr(number, 9) for number in numbers]
        return Fraction(random.Random(f"{name}{known}").randrange(1, 10**9), 10**4 + 7)

    return function


def apply(function: Function, *arguments: Quantity) -> Quantity:
    """A function of quantities, by point. Degrees stay degrees.

    Raises:
        UnreadableError: where it is defined at no point, or too large.
    """
    if any(a.unit.startswith("base ") for a in arguments):
        raise UnreadableError("digits in another base")
    symbols = frozenset().union(*(a.symbols for a in arguments))
    context = fp if symbols and exactly.dps == DIGITS else exactly
    points = range(POINTS) if symbols else range(1)
    values = tuple(_value(function, context, [a.at(point) for a in arguments]) for point in points)
    if all(value is None for value in values):
        raise UnreadableError("undefined")
    return Quantity(values, symbols, unit="°" if any(a.unit == "°" for a in arguments) else "")


def _value(function: Function, context: Any, numbers: list[Number]) -> Number:
    if any(number is None for number in numbers):
        return None
    try:
        if not all(map(is_exact, numbers)):
            numbers = [number if number is HUGE else _nonzero(context.convert(number), number) for number in numbers]
        return simplest(function(context, *numbers))
    except (ArithmeticError, ValueError, TypeError):
        return None


def _nonzero(converted: Number, number: Number) -> Number:
    if not converted and number:
        raise ArithmeticError("too small for a float")
    return converted


def negative(a: Quantity) -> Quantity:
    """-a; a decimal stays one, and so does a unit."""
    return replace(apply(lambda _, x: -x, a), unit=a.unit, decimals=a.decimals)


def scaled(a: Quantity, factor: Quantity) -> Quantity:
    """a times a factor, without unit."""
    return replace(apply(multiply, a, factor), unit="")


def equal(a: Quantity, b: Quantity) -> bool:
    """Whether two expressions are the same function, where both are real if they are anywhere.

    Raises:
        UnreadableError: where they are defined at no common point.
    """
    points = range(POINTS if a.symbols or b.symbols else 1)
    pairs = [(x, y) for x, y in ((a.at(p), b.at(p)) for p in points) if x is not None and y is not None]
    found = [pair for pair in pairs if all(map(is_real, pair))] or pairs
    if not found:
        raise UnreadableError("no common point")
    return all(near(x, y) for x, y in found)


def ratio_sign(a: Quantity, b: Quantity) -> int:
    """The sign of a / b where that is a real constant other than 0, else 0.

    Raises:
        UnreadableError: where it is defined at no point.
    """
    first, *others = [value for value in apply(divide, a, b).values if value is not None]
    if near(first, 0) or not is_real(first) or not all(near(first, value) for value in others):
        return 0
    return 1 if first.real > 0 else -1
