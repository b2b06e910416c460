"""Whether two numbers or expressions mean the same, with their units and as they are rounded."""

from __future__ import annotations

import struct

from int_lightning.grading.algebra.functions import radians
from int_lightning.grading.algebra.numbers import UnreadableError, exactly, is_real
from int_lightning.grading.algebra.quantities import Quantity, constant, equal, scaled
from int_lightning.grading.algebra.units import multiples

_ROUNDED = 5e-7
_EXACT_TO_DECIMAL, _DECIMAL_TO_DECIMAL = 4, 3  # digits that a rounded gold needs at least
_SINGLE = 10  # digits of which a single-precision float shows more than it was given
_HUNDRED = constant(100)


def same_amount(x: Quantity, y: Quantity) -> bool:
    """Equal with units, in two units of one system too; one of the two may leave out its unit, and degrees may be given in
    radians."""
    if x.unit.startswith("base ") and y.unit.startswith("base "):
        return _in_base(x) == _in_base(y)
    if x.unit != y.unit and (factors := multiples(x.unit, y.unit)):
        return _same_number(*(scaled(q, constant(factor)) for q, factor in zip((x, y), factors, strict=True)))
    if measure_different_things(x, y):
        return False
    return any(_same_number(a, b) for a in _forms(x, y) for b in _forms(y, x))


def measure_different_things(x: Quantity, y: Quantity) -> bool:
    """Whether both say what they measure or count, and not the same; one may describe it in fewer words."""
    if x.unit and y.unit:
        return x.unit != y.unit and {x.unit, y.unit} != {"°", "rad"}
    if (x.unit and y.counted) or (y.unit and x.counted):
        return True
    return bool(x.counted and y.counted) and not (x.counted <= y.counted or y.counted <= x.counted)


def _in_base(x: Quantity) -> int:
    try:
        return int(str(x.values[0]), int(x.unit.removeprefix("base ")))
    except ValueError:
        raise UnreadableError("no digits of this base") from None


def _forms(x: Quantity, other: Quantity) -> list[Quantity]:
    if x.unit == "%" != other.unit:
        return [x, scaled(x, _HUNDRED)]
    if x.unit == "°" != other.unit:
        return [radians(x)] if other.unit == "rad" else [x, radians(x)]
    return [x]


def _same_number(x: Quantity, y: Quantity) -> bool:
    """Equal, or for a decimal equal to six places or to what single precision keeps of it."""
    if equal(x, y):
        return True
    if x.symbols or y.symbols or not (x.decimals or y.decimals) or not is_real(x.values[0]) or not is_real(y.values[0]):
        return False
    a, b = exactly.convert(x.values[0]), exactly.convert(y.values[0])
    return bool(abs(a - b) <= min(_ROUNDED, 20 * _ROUNDED * abs(b))) or (
        abs(x.decimals - y.decimals) >= _SINGLE and _single(float(a)) == _single(float(b))
    )


def _single(number: float) -> float:
    try:
        return float(struct.unpack("f", struct.pack("f", number))[0])
    except OverflowError:
        return number


def rounds_to(exact: Quantity, decimal: Quantity) -> bool:
    """Whether a decimal is another number rounded to as many places: to four digits, or to three if both are decimals.

    A decimal without a fraction, as 17.0, is the integer.
    """
    if not decimal.decimals or exact.symbols or not is_real(exact.values[0]) or isinstance(decimal.values[0], int):
        return False
    step = exactly.mpf(10) ** -decimal.decimals
    a, b = (exactly.convert(x.values[0]) * (100 if decimal.unit == "%" else 1) for x in (exact, decimal))
    digits = _DECIMAL_TO_DECIMAL if exact.decimals > decimal.decimals else _EXACT_TO_DECIMAL
    return abs(b) / step >= 10 ** (digits - 1) and bool(abs(a - b) <= step / 2)
