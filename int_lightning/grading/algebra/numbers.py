"""Numbers, as exact as they can be, and the functions that expressions apply to them.

Each function takes the mpmath context to compute in if the numbers are not rational, then the numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from typing import Any

from mpmath import MPContext, fp

Number = Any  # None: undefined; int or Fraction: exact; else mpf or mpc, or float or complex
Function = Callable[..., Number]

_BITS = 100_000  # of an exact number, and of the exponent of any other number
_FACTORIAL = 5_000
_NOISE = 1e3  # units of the last digit that rounding may leave
_FLOATS_AGREE = 1e-9
_AGREE = 1e20  # units of the last digit

DIGITS = 60
exactly = MPContext()
exactly.dps = DIGITS

HUGE = object()
"""A number too large to be written out. It cannot be computed with."""


@contextmanager
def digits(number: int) -> Iterator[None]:
    """Compute with this number of digits instead of the usual one, also in expressions with symbols."""
    exactly.dps = number
    try:
        yield
    finally:
        exactly.dps = DIGITS


class UnreadableError(Exception):
    """An answer that the grammar cannot read, or a comparison that the values cannot decide."""


def is_exact(number: Number) -> bool:
    """Whether a number is an int or a Fraction."""
    return isinstance(number, int | Fraction)


def simplest(number: Number) -> Number:
    """The number as an int or a real number where it is one; None where it is not a number (NaN) or has too many digits."""
    if isinstance(number, Fraction) and number.denominator == 1:
        number = number.numerator
    if number is HUGE:
        return number
    if is_exact(number):
        return number if number.numerator.bit_length() + number.denominator.bit_length() <= _BITS else None
    if number.imag == 0:
        number = number.real
    return None if number != number else number


def add(context: Any, a: Number, b: Number) -> Number:
    """a + b; 0 if the sum of two inexact numbers is only rounding."""
    total = a + b
    return total if is_exact(total) or abs(total) > _NOISE * context.eps * max(abs(a), abs(b)) else 0


def subtract(context: Any, a: Number, b: Number) -> Number:
    """a - b; see ``add``."""
    return add(context, a, -b)


def multiply(context: Any, a: Number, b: Number) -> Number:
    """a b."""
    return a * b


def divide(context: Any, a: Number, b: Number) -> Number:
    """a / b."""
    return Fraction(a) / b if is_exact(a) else a / b


def power(context: Any, a: Number, b: Number) -> Number:
    """a to the b; a root of odd degree of a negative number is the real one."""
    if b is HUGE:
        return _huge(is_real(a) and a.real > 1)
    size = abs(math.log2(abs(a))) if a else 0
    if size * abs(b) > _BITS:
        return _huge(is_real(a) and is_real(b) and a.real > 1 and b.real > 0)
    if is_exact(a) and is_exact(b):
        if isinstance(b, int):
            return Fraction(a) ** b if b < 0 else a**b
        if a < 0 and b.denominator % 2:
            return power(context, -a, b) * (-1 if b.numerator % 2 else 1)
        a, b = context.convert(a), context.convert(b)
    return context.power(a, b)


def _huge(positive: bool) -> Number:
    if not positive:
        raise OverflowError
    return HUGE


def root(context: Any, a: Number, degree: Number) -> Number:
    """The root of a, real where there is a real one."""
    if degree == 2:
        return context.sqrt(context.convert(a))
    if isinstance(degree, int) and degree % 2 and not isinstance(a, complex) and a.imag == 0 and a < 0:
        return -context.power(context.convert(-a), context.convert(1) / degree)
    return context.power(context.convert(a), context.convert(1) / degree)


def factorial(context: Any, n: Number) -> Number:
    """n!, by the gamma function where n is not a natural number."""
    if abs(n) > _FACTORIAL:
        return _huge(is_real(n) and n.real > 0)
    return math.factorial(n) if isinstance(n, int) and n >= 0 else context.gamma(context.convert(n) + 1)


def binomial(context: Any, n: Number, k: Number) -> Number:
    """n over k."""
    if abs(n) > _FACTORIAL or abs(k) > _FACTORIAL:
        raise OverflowError
    if isinstance(n, int) and isinstance(k, int) and n >= 0:
        return math.comb(n, k) if k >= 0 else 0
    return context.binomial(context.convert(n), context.convert(k))


def logarithm(context: Any, a: Number, base: Number) -> Number:
    """The logarithm of a to the given base."""
    if not a:
        raise ValueError("logarithm of 0")
    return natural(context, a) / context.log(context.convert(base))


def natural(context: Any, a: Number) -> Number:
    """The natural logarithm of a."""
    value = context.log(context.convert(a))
    return value if abs(value) > _NOISE * context.eps else 0


def named(name: str) -> Callable[..., Number]:
    """A function of mpmath, such as ``sin``."""

    def function(context: Any, a: Number) -> Number:
        if name in ("exp", "sinh", "cosh") and abs(a) > _BITS:
            raise OverflowError
        value = getattr(context, name)(context.convert(a))
        return value if abs(value) > _NOISE * context.eps or abs(a) < 1 else 0

    return function


def absolute(context: Any, a: Number) -> Number:
    """|a|."""
    return abs(a)


def floor(context: Any, a: Number) -> Number:
    """The integer at or below a."""
    return math.floor(a)


def ceiling(context: Any, a: Number) -> Number:
    """The integer at or above a."""
    return math.ceil(a)


def largest(context: Any, *numbers: Number) -> Number:
    """The maximum."""
    return max(numbers)


def smallest(context: Any, *numbers: Number) -> Number:
    """The minimum."""
    return min(numbers)


def near(a: Number, b: Number) -> bool:
    """Whether two numbers are equal: exactly if both are exact, else up to rounding.

    Raises:
        UnreadableError: if both are huge.
    """
    if a is HUGE or b is HUGE:
        if a is b or not abs(b if a is HUGE else a) < 2**_BITS:
            raise UnreadableError("huge")
        return False
    if is_exact(a) and is_exact(b):
        return bool(a == b)
    floats = any(isinstance(number, float | complex) for number in (a, b))
    context, tolerance = (fp, _FLOATS_AGREE) if floats else (exactly, _AGREE * exactly.eps)
    try:
        a, b = context.convert(a), context.convert(b)
    except OverflowError:
        return False
    if context.isinf(a) or context.isinf(b):
        return bool(a == b)
    return bool(abs(a - b) <= tolerance * max(abs(a), abs(b)))


def is_real(number: Number) -> bool:
    """Whether a number has no imaginary part, up to rounding."""
    return is_exact(number) or (number is not HUGE and abs(number.imag) <= 1e-12 * abs(number))
