"""Whether two numbers or expressions mean the same, with their units and as they are rounded."""

from __future__ import annotations

from int_lightning.grading.arithmetic import exactly, is_real
from int_lightning.grading.functions import radians
from int_lightning.grading.notation import UNITS
from int_lightning.grading.quantities import Quantity, constant, equal, scaled

_MEASURES = frozenset(UNITS.values())
_ROUNDED = 5e-7
_SIGNIFICANT = 3
_HUNDRED = constant(100)


def same_amount(x: Quantity, y: Quantity) -> bool:
    """Equal with units; left out may be a degree sign, a unit of measure and, of a number without decimals, a percent sign."""
    if {x.unit, y.unit} <= _MEASURES and x.unit != y.unit:
        return False
    return any(_same_number(a, b) for a in _forms(x, y) for b in _forms(y, x))


def _forms(x: Quantity, other: Quantity) -> list[Quantity]:
    if x.unit == "%" != other.unit:
        return [x] if x.decimals else [x, scaled(x, _HUNDRED)]
    return [x, radians(x)] if x.unit == "°" != other.unit else [x]


def _same_number(x: Quantity, y: Quantity) -> bool:
    """Equal, or for a decimal equal to six places."""
    if equal(x, y):
        return True
    if x.symbols or y.symbols or not (x.decimals or y.decimals) or not is_real(x.values[0]) or not is_real(y.values[0]):
        return False
    a, b = exactly.convert(x.values[0]), exactly.convert(y.values[0])
    return bool(abs(a - b) <= min(_ROUNDED, 20 * _ROUNDED * abs(b)))


def rounds_to(exact: Quantity, decimal: Quantity) -> bool:
    """Whether a decimal of three or more digits is a constant rounded to as many places."""
    if not decimal.decimals or exact.symbols or not is_real(exact.values[0]):
        return False
    step = exactly.mpf(10) ** -decimal.decimals
    a, b = (exactly.convert(x.values[0]) * (100 if decimal.unit == "%" else 1) for x in (exact, decimal))
    return abs(b) / step >= 10 ** (_SIGNIFICANT - 1) and bool(abs(a - b) <= step / 2)
