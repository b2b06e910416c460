"""Whether two numbers or expressions mean the same, with their units and as they are rounded."""

from __future__ import annotations

import struct
from itertools import product

from int_lightning.grading.algebra.functions import radians
from int_lightning.grading.algebra.numbers import UnreadableError, exactly, is_real
from int_lightning.grading.algebra.quantities import Quantity, constant, equal, scaled
from int_lightning.grading.algebra.units import multiples

_ROUNDED = 5e-7
_EXACT_TO_DECIMAL, _DECIMAL_TO_DECIMAL = 4, 3  # digits that a rounded gold needs at least
_SINGLE = 10  # digits; a single-precision float that is printed in double precision has at least this many more
_HUNDRED = constant(100)


def same_amount(x: Quantity, y: Quantity) -> bool:
    """Whether two quantities are equal, units included.

    Units of one system are converted; one of the two may leave out its unit; degrees may be given in radians.
    """
    if x.unit.startswith("base ") and y.unit.startswith("base "):
        return _in_base(x) == _in_base(y)
    factors = multiples(x.unit, y.unit) if x.unit != y.unit else None
    if factors:
        return _same_number(scaled(x, constant(factors[0])), scaled(y, constant(factors[1])))
    if measure_different_things(x, y):
        return False
    return any(_same_number(a, b) for a, b in product(_forms(x, y), _forms(y, x)))


def measure_different_things(x: Quantity, y: Quantity) -> bool:
    """Whether both say what they measure or count, and it differs; one may describe it in fewer words."""
    if x.unit and y.unit:
        return x.unit != y.unit and {x.unit, y.unit} != {"°", "rad"}
    if (x.unit and y.counted) or (y.unit and x.counted):
        return True
    return bool(x.counted and y.counted) and not (x.counted <= y.counted or y.counted <= x.counted)


def _in_base(x: Quantity) -> int:
    try:
        return int(str(x.values[0]), int(x.unit.removeprefix("base ")))
    except ValueError:
        raise UnreadableError("not digits of this base") from None


def _forms(x: Quantity, other: Quantity) -> list[Quantity]:
    """The numbers that a percentage or an angle may stand for where the other answer has another unit, or none."""
    if x.unit == "%" != other.unit:
        return [x, scaled(x, _HUNDRED)]
    if x.unit == "°" != other.unit:
        return [radians(x)] if other.unit == "rad" else [x, radians(x)]
    return [x]


def _same_number(x: Quantity, y: Quantity) -> bool:
    """Whether two numbers are equal; a decimal also to six places, or as single precision keeps it."""
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
    """Whether a decimal is another number rounded to its places: to four digits at least, or to three if both are decimals.

    A decimal without a fraction, such as 17.0, is the integer.
    """
    if not decimal.decimals or exact.symbols or not is_real(exact.values[0]) or isinstance(decimal.values[0], int):
        return False
    step = exactly.mpf(10) ** -decimal.decimals
    scale = 100 if decimal.unit == "%" else 1  # values of a percentage are fractions, its decimals are those written
    a, b = exactly.convert(exact.values[0]) * scale, exactly.convert(decimal.values[0]) * scale
    digits = _DECIMAL_TO_DECIMAL if exact.decimals > decimal.decimals else _EXACT_TO_DECIMAL
    return abs(b) / step >= 10 ** (digits - 1) and bool(abs(a - b) <= step / 2)
