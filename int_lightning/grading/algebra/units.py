"""Units of measure, and what the words after a number make of it."""

from __future__ import annotations

import re
from dataclasses import dataclass

_FORMS = {
    "mm": "millimeter millimeters millimetre millimetres мм",
    "cm": "centimeter centimeters centimetre centimetres см",
    "dm": "decimeter decimeters decimetre decimetres дм",
    "m": "meter meters metre metres м",
    "km": "kilometer kilometers kilometre kilometres км",
    "in": "inch inches",
    "ft": "foot feet",
    "yd": "yard yards",
    "mi": "mile miles",
    "mg": "milligram milligrams мг",
    "g": "gram grams г",
    "kg": "kilogram kilograms кг",
    "t": "ton tons tonne tonnes",
    "lb": "lbs pound pounds",
    "oz": "ounce ounces",
    "s": "sec secs second seconds",
    "min": "mins minute minutes мин",
    "h": "hr hrs hour hours ч",
    "day": "days",
    "week": "weeks",
    "month": "months",
    "year": "years yr yrs",
    "ml": "milliliter milliliters millilitre millilitres",
    "cl": "centiliter centiliters centilitre centilitres",
    "l": "liter liters litre litres л",
    "gallon": "gallons gal",
    "quart": "quarts",
    "pint": "pints",
    "cup": "cups",
    "acre": "acres",
    "hectare": "hectares ha",
    "km/h": "kmh kph",
    "mi/h": "mph",
    "N": "newton newtons",
    "J": "joule joules",
    "W": "watt watts",
    "V": "volt volts",
    "A": "ampere amperes amp amps",
    "Pa": "pascal pascals",
    "Hz": "hertz",
    "K": "kelvin kelvins",
    "$": "dollar dollars usd",
    "¢": "cent cents",
    "€": "euro euros eur",
    "£": "gbp",
    "¥": "yen yuan jpy rmb",
    "₹": "rupee rupees inr",
    "%": "percent percents pct percentage",
    "°": "degree degrees deg",
    "rad": "radian radians",
    "unit": "units",
}
"""Other forms of each unit of measure."""

UNITS = {unit: unit for unit in _FORMS}
"""The shortest form of a unit of measure, by any of its forms."""
for _unit, _others in _FORMS.items():
    UNITS |= dict.fromkeys(_others.split(), _unit)

_SYSTEMS = (
    {"mm": 1, "cm": 10, "dm": 100, "m": 1000, "km": 10**6},
    {"in": 1, "ft": 12, "yd": 36, "mi": 63_360},
    {"mg": 1, "g": 1000, "kg": 10**6},
    {"oz": 1, "lb": 16},
    {"s": 1, "min": 60, "h": 3600, "day": 86_400, "week": 604_800},
    {"month": 1, "year": 12},
    {"ml": 1, "cl": 10, "l": 1000},
    {"cup": 1, "pint": 2, "quart": 4, "gallon": 16},
    {"¢": 1, "$": 100},
)
"""Units as multiples of the smallest unit of their system."""

_FACTORS = {"hundred": 100, "thousand": 1000, "million": 10**6, "billion": 10**9, "trillion": 10**12, "dozen": 12}
_POWERS = {"square": "^2", "sq": "^2", "squared": "^2", "cubic": "^3", "cu": "^3", "cubed": "^3"}
_PIECE = re.compile(r"[^\W\d_]+|[$¢€£¥₹%°/]|\^-?\d+")
_FILLING = "a an the of in old long wide high tall total different possible distinct"
_FILLERS = frozenset(_FILLING.split())
_CHANGES = re.compile(
    r"""\b(?:
        not | no | none | isn | cannot | impossible | unsolvable | wrong | incorrect
      | if | when | whenever | while | unless | where | because | since | except | without | otherwise | else | but
      | is | are | was | as | for | or | we
      | suppose | assume | consider | let | given | case | counterexample
      | more | less | many | fewer | greater | smaller | larger | least | most | bound
      | than | over | under | above | below | beyond
      | squared | cubed | factorial | minus | plus | modulo | remainder | base
      | half | halves | thirds? | quarters? | tenths? | hundredths? | thousandths?
      | (?:even|odd|prime|positive|negative)(?!\s+[a-z])
    )\b""",
    re.VERBOSE | re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Measure:
    """What the words after a number say.

    Args:
        factor: What they multiply it by, as "dozen" does.
        unit: A unit of measure in its shortest form, "" if there is none.
        counted: The words that name what is counted, without plurals; empty if there is only a unit of measure.
    """

    factor: int
    unit: str
    counted: frozenset[str]


def multiples(unit: str, other: str) -> tuple[int, int] | None:
    """Two units of the same system as multiples of its smallest unit; None for units of different systems."""
    for system in _SYSTEMS:
        if unit in system and other in system:
            return system[unit], system[other]
    return None


def changes_number(words: str) -> bool:
    """Whether words next to a number make it another answer, as in "5 or more" and "no solution for n = 5".

    Names of things do not.
    """
    return _CHANGES.search(words) is not None


def measure(words: str) -> Measure:
    """The meaning of the words after a number, such as "km per hour", "dozen" or "red marbles"."""
    factor, unit, power = 1, "", ""
    counted: set[str] = set()
    for piece in _PIECE.findall(words):
        low = piece.lower()
        known = UNITS.get(piece) or UNITS.get(low)
        multiple = _FACTORS.get(low.removesuffix("s"))
        if multiple and not unit and not counted:
            factor *= multiple
        elif low in _POWERS and unit and not power:
            unit += _POWERS[low]
        elif low in _POWERS:
            power = _POWERS[low]
        elif low in ("/", "per"):
            unit += "/"
        elif piece.startswith("^"):
            unit += piece
        elif known and not counted and (not unit or unit.endswith("/")):
            unit, power = unit + known + power, ""
        elif low not in _FILLERS:
            counted.add(low.removesuffix("s") if len(low) > 3 else low)
    if power:
        counted.add(power)
    return Measure(factor, unit, frozenset(counted))
