"""Equations: whether the solutions of one solve the other."""

from __future__ import annotations

from collections.abc import Callable

from int_lightning.grading.algebra.answer import Item, Relations
from int_lightning.grading.algebra.answer_parser import AnswerParser
from int_lightning.grading.algebra.notation import tokenise
from int_lightning.grading.algebra.numbers import Number, UnreadableError, add, subtract
from int_lightning.grading.algebra.quantities import POINTS, Quantity, apply, constant, equal, negative, symbol

_STEPS = 20
_SOLVED, _UNSOLVED = 1e-11, 1e-6  # of the difference of the sides at the start
_FAR = 1e6
_FIRST = tuple(complex(1 + point / 3, 0.5 - point / 5) for point in range(POINTS))
_SECOND = tuple(complex(point / 4 - 0.5, 0.8) for point in range(POINTS))

Values = tuple[Number, ...]


def difference(item: Item) -> Quantity | None:
    """Left side minus right side of an equation; None for anything else."""
    match item:
        case Item(Relations((left, *_, right), signs)) if set(signs) == {"="}:
            return apply(subtract, left, right)
        case Item(Quantity() as value, _, Quantity() as left):
            return apply(subtract, left, value)
    return None


def solves(expression: Quantity, equation: str) -> bool:
    r"""Whether an expression of the other symbols is what y, or the distance ``\rho``, equals by an equation linear in it."""
    symbols = _difference_of(equation, symbol).symbols
    unknown = {"y", r"\rho"} & symbols
    if len(unknown) != 1 or expression.symbols != symbols - unknown:
        return False
    [name] = unknown

    def difference_at(shift: int) -> Quantity:
        tried = apply(add, expression, constant(shift))
        return _difference_of(equation, lambda other: tried if other == name else symbol(other))

    zero, above, below = constant(0), difference_at(1), difference_at(-1)
    return equal(difference_at(0), zero) and not equal(above, zero) and equal(above, negative(below))


def _difference_of(equation: str, symbol_of: Callable[[str], Quantity]) -> Quantity:
    """Left minus right of an equation, with the given values for its symbols."""
    found = difference(AnswerParser(tokenise(equation), symbol_of).answer(equation).items[0])
    if found is None:
        raise UnreadableError("not an equation")
    return found


def share_solutions(a: str, b: str, unknown: str) -> bool:
    """False if a solution of one equation does not solve the other, so that the two are different.

    The secant method solves for the unknown in complex numbers, with all other symbols at their points.

    Raises:
        UnreadableError: if it finds no solution of either.
    """
    found = False
    for equation, other in ((a, b), (b, a)):
        starts = [_values(latex, unknown, _FIRST) for latex in (equation, other)]
        solution = _solve(equation, unknown, starts[0])
        ends = [_values(latex, unknown, solution) for latex in (equation, other)]
        for start, end, other_start, other_end in zip(starts[0], ends[0], starts[1], ends[1], strict=True):
            if None not in (start, end, other_start, other_end) and abs(end) <= _SOLVED * abs(start):
                found = True
                if abs(other_end) > _UNSOLVED * abs(other_start):
                    return False
    if not found:
        raise UnreadableError("no solution found")
    return True


def _solve(latex: str, unknown: str, start: Values) -> Values:
    last, before, this = _FIRST, start, _SECOND
    for _ in range(_STEPS):
        now = _values(latex, unknown, this)
        better = tuple(map(_secant, last, before, this, now))
        if better == this:
            break
        last, before, this = this, now, better
    return this


def _secant(last: complex, before: Number, this: complex, now: Number) -> complex:
    if before is None or now is None or before == now:
        return this
    better = this - now * (this - last) / (now - before)
    return better if abs(better) < _FAR else this


def _values(latex: str, unknown: str, at: Values) -> Values:
    """Left minus right of an equation at each point, with these values of the unknown."""
    here = Quantity(at, frozenset([unknown]), name=unknown)
    return _difference_of(latex, lambda name: here if name == unknown else symbol(name)).values
