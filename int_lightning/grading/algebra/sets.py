"""Sets of real numbers, made of intervals and points, and compared by what they contain."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from int_lightning.grading.algebra.numbers import HUGE, Number, UnreadableError, exactly, is_real, near
from int_lightning.grading.algebra.quantities import POINTS, Quantity

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
    """A finite set of numbers."""

    numbers: tuple[Quantity, ...]


Operation = Literal["union", "intersection", "difference"]


@dataclass(frozen=True, slots=True)
class Combination:
    """Two sets, combined."""

    kind: Operation
    left: RealSet
    right: RealSet


RealSet = Interval | Points | Combination
REALS = Interval(MINUS_INFINITY, INFINITY)


def same_set(a: RealSet, b: RealSet) -> bool:
    """Whether two sets have the same elements; if ends have symbols, at every sample point.

    Raises:
        UnreadableError: if at each of the points an end is undefined or the ends of an interval are out of order.
    """
    decided = False
    ends = (*_ends(a), *_ends(b))
    constant = not any(end.symbols for end in ends)
    if not ends:
        return True
    for point in range(1 if constant else POINTS):
        numbers = [end.at(point) for end in ends]
        if any(n is HUGE for n in numbers):
            raise UnreadableError("huge")
        if all(n is not None and is_real(n) for n in numbers):
            ranks = _ranks(ends, numbers)
            if constant or (_in_order(a, ranks) and _in_order(b, ranks)):
                places = _places(ends, numbers, ranks)
                if any(_contains(a, place, ranks) != _contains(b, place, ranks) for place in places):
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


def _ranks(ends: Sequence[Quantity], numbers: Sequence[Number]) -> dict[Quantity, int]:
    """The rank of each end in ascending order, the same for equal numbers."""
    ordered = sorted(zip(ends, numbers, strict=True), key=lambda pair: exactly.convert(pair[1].real))
    ranks, rank = {ordered[0][0]: 0}, 0
    for (_, before), (end, number) in pairwise(ordered):
        rank += not near(before.real, number.real)
        ranks[end] = rank
    return ranks


def _places(ends: Sequence[Quantity], numbers: Sequence[Number], ranks: dict[Quantity, int]) -> list[float]:
    """Places, as ranks, at which sets may differ: every finite end, and both sides of each end."""
    finite = {float(ranks[end]) for end, number in zip(ends, numbers, strict=True) if not exactly.isinf(number)}
    return [*finite, *(rank - 0.5 for rank in range(max(ranks.values()) + 2))]


def _in_order(a: RealSet, ranks: dict[Quantity, int]) -> bool:
    match a:
        case Interval(low, high):
            return ranks[low] <= ranks[high]
        case Points():
            return True
        case Combination(_, left, right):
            return _in_order(left, ranks) and _in_order(right, ranks)


def _contains(a: RealSet, place: float, ranks: dict[Quantity, int]) -> bool:
    match a:
        case Interval(low, high, low_closed, high_closed):
            above = place >= ranks[low] if low_closed else place > ranks[low]
            return above and (place <= ranks[high] if high_closed else place < ranks[high])
        case Points(numbers):
            return any(place == ranks[number] for number in numbers)
        case Combination("union", left, right):
            return _contains(left, place, ranks) or _contains(right, place, ranks)
        case Combination("intersection", left, right):
            return _contains(left, place, ranks) and _contains(right, place, ranks)
        case Combination(_, left, right):
            return _contains(left, place, ranks) and not _contains(right, place, ranks)
