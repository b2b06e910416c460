"""Conditions as sets: inequalities solved for their symbol, excluded values, residues of a common modulus."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from int_lightning.grading.algebra.amounts import same_amount
from int_lightning.grading.algebra.answer import Item, Reading, Relations
from int_lightning.grading.algebra.numbers import HUGE, Number, UnreadableError, is_real, near, simplest, subtract
from int_lightning.grading.algebra.quantities import Quantity, apply, constant, symbol
from int_lightning.grading.algebra.sets import INFINITY, MINUS_INFINITY, REALS, Combination, Interval, Points

FLIPPED = {"<": ">", ">": "<", "≤": "≥", "≥": "≤"}
"""Each sign as it reads from the right, or with both sides multiplied by a negative number."""


def relation(sides: Sequence[Quantity], signs: Sequence[str]) -> Item:
    """A condition on one symbol as the set of the symbol's values, under its name; anything else as a relation."""
    written = Relations(tuple(sides), tuple(signs))
    return replace(_condition(sides, signs) or Item(written), relation=written)


def _condition(sides: Sequence[Quantity], signs: Sequence[str]) -> Item | None:
    match sides, signs:
        case [left, right], [sign] if sign != "=":
            if left.name and left.name not in right.symbols:
                return Item(half_line(sign, right), left.name, left)
            if right.name and right.name not in left.symbols:
                return Item(half_line(FLIPPED.get(sign, sign), left), right.name, right)
            line = _line(apply(subtract, left, right))
            if line:
                name, slope, zero = line
                return Item(half_line(sign if slope > 0 else FLIPPED.get(sign, sign), zero), name, symbol(name))
        case [low, middle, high], [first, second]:
            if {first, second} <= {">", "≥"}:
                low, high, first, second = high, low, second, first
            if {first, second} & {"=", "≠"} or (first in "<≤") != (second in "<≤"):
                return None
            closed = first in "≤≥", second in "≤≥"
            if middle.name and middle.name not in low.symbols | high.symbols:
                return Item(Interval(low, high, *closed), middle.name, middle)
            line = None if low.symbols | high.symbols else _line(middle)
            if line:
                name, slope, _ = line
                low, high = _zero(apply(subtract, middle, low)), _zero(apply(subtract, middle, high))
                if slope < 0:
                    low, high, closed = high, low, closed[::-1]
                return Item(Interval(low, high, *closed), name, symbol(name))
    return None


def _line(expression: Quantity) -> tuple[str, Number, Quantity] | None:
    """The symbol, slope and zero of an expression that is linear in its only symbol; None for any other expression."""
    if len(expression.symbols) != 1 or any(value is None or value is HUGE for value in expression.values):
        return None
    [name] = expression.symbols
    at, values = symbol(name).values, expression.values
    slope = (values[0] - values[1]) / (at[0] - at[1])
    first = values[0] - slope * at[0]
    if near(slope, 0) or not is_real(slope):
        return None
    if not all(near(slope * x + first, y) for x, y in zip(at, values, strict=True)):
        return None
    zero = simplest(-first / slope)
    return (name, slope.real, constant(zero)) if is_real(zero) else None


def _zero(expression: Quantity) -> Quantity:
    line = _line(expression)
    if line is None:
        raise UnreadableError("not linear")
    return line[2]


def half_line(sign: str, end: Quantity) -> Interval | Combination:
    """The numbers that stand in this relation to an end."""
    if sign == "≠":
        return Combination("difference", REALS, Points((end,)))
    if sign in "<≤":
        return Interval(MINUS_INFINITY, end, False, sign == "≤")
    return Interval(end, INFINITY, sign == "≥")


def residue(number: Quantity, modulus: Quantity) -> Quantity:
    """A number modulo another."""
    match number.values, modulus.values:
        case [int(n)], [int(m)] if m > 1:
            return Quantity((n % m,), unit=f"mod {m}")
    raise UnreadableError("modulus")


def without_repetition(items: list[Item], links: Collection[str]) -> list[Item]:
    r"""The items, each with what is said once for all of them: ``x \ne 1, 4``, ``1, 4 \pmod 5``, ``90° or π/2 radians``."""
    first, last = items[0], items[-1]
    excluded = [_excluded(item.value) for item in items]
    if excluded[0] and all(item.name == first.name for item in items) and len(items) > 1:
        alone = first.relation is None or any(side.name for side in first.relation.sides)
        numbers: list[Quantity] = []
        for item, points in zip(items, excluded, strict=True):
            numbers += points or [_number(item, alone)]
        return [Item(Combination("difference", REALS, Points(tuple(numbers))), first.name, first.left, first.relation)]
    if isinstance(last.value, Quantity) and last.value.unit.startswith("mod "):
        modulus = constant(int(last.value.unit.removeprefix("mod ")))
        return [_modulo(item, modulus) for item in items]
    amounts = [item.value for item in items if isinstance(item.value, Quantity)]
    units = [amount.unit for amount in amounts]
    in_several_units = links == {"or"} and len(units) == len(items) == len(set(units)) and any(units)
    return [first] if in_several_units and all(same_amount(amounts[0], amount) for amount in amounts) else items


def _modulo(item: Item, modulus: Quantity) -> Item:
    """A number without a unit modulo another; anything else as it is."""
    match item.value:
        case Quantity() as number if not number.unit:
            return replace(item, value=residue(number, modulus))
    return item


def _excluded(value: Reading) -> tuple[Quantity, ...]:
    match value:
        case Combination("difference", left, Points(numbers)) if left == REALS:
            return numbers
    return ()


def _number(item: Item, alone: bool) -> Quantity:
    r"""A number after an excluded one.

    Raises:
        UnreadableError: after ``2x \ne 4``, where the symbol is not alone, and for ``x = 3``.
    """
    if not isinstance(item.value, Quantity) or item.left is not None or not alone:
        raise UnreadableError("not another excluded number")
    return item.value
