"""Sets of real numbers made of intervals and points, compared by what they contain."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

from int_lightning.grading.arithmetic import Number, UnreadableError, exactly, is_real
from int_lightning.grading.quantities import POINTS, Quantity

INFINITY = Quantity((exactly.inf,))
MINUS_INFINITY = Quantity((-exactly.inf,))


@dataclass(frozen=True, slots=True)
class Interval:
    """The numbers between two ends."""

    low: Quantity
    high: Quantity
    low_closed: bool = False
    high_closed: bool = False


@dataclass(frozen=True, slots=True)
class Points:
    """Some numbers."""

    numbers: tuple[Quantity, ...]


@dataclass(frozen=True, slots=True)
class Combination:
    """Two sets and "union", "intersection" or "difference"."""

    kind: str
    left: RealSet
    right: RealSet


RealSet = Interval | Points | Combination
REALS = Interval(MINUS_INFINITY, INFINITY)


def same_set(a: RealSet, b: RealSet) -> bool:
    """Whether two sets have the same elements; where ends have symbols, at every sample point.

    Raises:
        UnreadableError: where an end is undefined or the ends of an interval are not in order at each of the points.
    """
    decided = False
    ends = (*_ends(a), *_ends(b))
    constant = not any(end.symbols for end in ends)
    for point in range(1 if constant else POINTS):
        numbers = [end.at(point) for end in ends]
        if all(n is not None and is_real(n) for n in numbers) and (
            constant or (_in_order(a, point) and _in_order(b, point))
        ):
            if any(_contains(a, x, point) != _contains(b, x, point) for x in _tests([_real(n) for n in numbers])):
                return False
            decided = True
    if not decided:
        raise UnreadableError("ends of intervals")
    return True


def _ends(a: RealSet) -> tuple[Quantity, ...]:
    match a:
        case Interval(low, high):
            return low, high
        case Points(numbers):
            return numbers
        case Combination(_, left, right):
            return _ends(left) + _ends(right)


def _in_order(a: RealSet, point: int) -> bool:
    match a:
        case Interval(low, high):
            return _real(low.at(point)) <= _real(high.at(point))
        case Points():
            return True
        case Combination(_, left, right):
            return _in_order(left, point) and _in_order(right, point)


def _real(number: Number) -> float:
    return float(number.real)


def _tests(ends: list[float]) -> list[float]:
    """Every end, a number between each two neighbours, and one beyond either side."""
    finite = sorted(end for end in ends if math.isfinite(end)) or [0.0]
    return [finite[0] - 1, *finite, *((x + y) / 2 for x, y in pairwise(finite) if not _same(x, y)), finite[-1] + 1]


def _contains(a: RealSet, x: float, point: int) -> bool:
    match a:
        case Interval(low, high, low_closed, high_closed):
            bottom, top = _real(low.at(point)), _real(high.at(point))
            if _same(x, bottom) or _same(x, top):
                return (not _same(x, bottom) or low_closed) and (not _same(x, top) or high_closed)
            return bottom < x < top
        case Points(numbers):
            return any(_same(x, _real(number.at(point))) for number in numbers)
        case Combination("union", left, right):
            return _contains(left, x, point) or _contains(right, x, point)
        case Combination("intersection", left, right):
            return _contains(left, x, point) and _contains(right, x, point)
        case Combination(_, left, right):
            return _contains(left, x, point) and not _contains(right, x, point)


def _same(x: float, y: float) -> bool:
    return math.isclose(x, y, rel_tol=1e-12, abs_tol=1e-12)
