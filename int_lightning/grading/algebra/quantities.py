"""Expressions as numbers: their values at a few fixed points.

A symbol has the same value at a point wherever it occurs, so two expressions are taken for the same function if their values
agree at all points; nothing is simplified. Rational numbers are exact. Other constants have 60 digits, and other values of
expressions with symbols are floats; under ``digits``, both have as many digits as it says.
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
    """The values of an expression: one for a constant, ``POINTS`` if it has symbols; None where it is undefined.

    Args:
        values: One for each point.
        symbols: The names of its symbols.
        unit: A unit of measure in its shortest form, "mod 7" for a residue, "base 7" for digits in another base; else "".
        decimals: Digits after the point if it was written as a decimal, else 0.
        name: The symbol, if the expression is only that.
        counted: The words that name what is counted.
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
    """A symbol, with values that depend on its name.

    They are a fraction below 1 and one above, two negative integers, and four consecutive integers in any order.
    """
    draw = random.Random(name)
    first = draw.randrange(2, 9)
    fractions = Fraction(draw.randrange(5, 96), 101), Fraction(draw.randrange(102, 499), 101)
    negatives = -draw.randrange(2, 12), -draw.randrange(2, 12)
    return Quantity((*fractions, *negatives, *draw.sample(range(first, first + 4), 4)), frozenset([name]), name=name)


def opaque(name: str) -> Function:
    """An unknown function: equal arguments give equal values, and nothing else is known about it."""

    def function(context: Any, *numbers: Number) -> Number:
        rounded = [_rounded(context, number) for number in numbers]
        return Fraction(random.Random(f"{name}{rounded}").randrange(1, 10**9), 10**4 + 7)

    return function


def _rounded(context: Any, number: Number) -> Number | str:
    return number if is_exact(number) else context.nstr(number, 9)


def apply(function: Function, *arguments: Quantity) -> Quantity:
    """The value of a function of quantities at each point. Degrees stay degrees.

    Raises:
        UnreadableError: if it is undefined or too large at every point, or an argument is in another base.
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
            numbers = [_converted(context, number) for number in numbers]
        return simplest(function(context, *numbers))
    except (ArithmeticError, ValueError, TypeError):
        return None


def _converted(context: Any, number: Number) -> Number:
    if number is HUGE:
        return number
    converted = context.convert(number)
    if not converted and number:
        raise ArithmeticError("too small for a float")
    return converted


def negative(a: Quantity) -> Quantity:
    """-a, with its unit, and still a decimal if it was one."""
    return replace(apply(lambda _, x: -x, a), unit=a.unit, decimals=a.decimals)


def scaled(a: Quantity, factor: Quantity) -> Quantity:
    """a times a factor, without its unit."""
    return replace(apply(multiply, a, factor), unit="")


def equal(a: Quantity, b: Quantity) -> bool:
    """Whether two expressions are the same function: at the points where both are real, or at all if there are none.

    Raises:
        UnreadableError: if they have no common point where both are defined.
    """
    points = range(POINTS if a.symbols or b.symbols else 1)
    pairs = [(a.at(point), b.at(point)) for point in points]
    pairs = [(x, y) for x, y in pairs if x is not None and y is not None]
    if not pairs:
        raise UnreadableError("no common point")
    real = [pair for pair in pairs if all(map(is_real, pair))]
    return all(near(x, y) for x, y in real or pairs)


def ratio_sign(a: Quantity, b: Quantity) -> int:
    """The sign of a / b if that is a real constant other than 0, else 0.

    Raises:
        UnreadableError: if it is undefined at every point.
    """
    first, *others = [value for value in apply(divide, a, b).values if value is not None]
    if near(first, 0) or not is_real(first) or not all(near(first, value) for value in others):
        return 0
    return 1 if first.real > 0 else -1
