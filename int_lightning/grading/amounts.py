"""Whether two numbers or expressions mean the same, with their units and as they are rounded."""

from __future__ import annotations

from int_lightning.grading.arithmetic import UnreadableError, exactly, is_real
from int_lightning.grading.functions import radians
from int_lightning.grading.quantities import Quantity, constant, equal, scaled

_ROUNDED = 5e-7
_SIGNIFICANT = 3
_HUNDRED = constant(100)


def same_amount(x: Quantity, y: Quantity) -> bool:
    """Equal with units; one of the two may leave out its unit, and degrees may be given in radians."""
    if x.unit.startswith("base ") and y.unit.startswith("base "):
        return _in_base(x) == _in_base(y)
    if x.unit and y.unit and x.unit != y.unit and {x.unit, y.unit} != {"°", "rad"}:
        return False
    return any(_same_number(a, b) for a in _forms(x, y) for b in _forms(y, x))


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
