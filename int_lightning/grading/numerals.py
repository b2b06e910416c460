r"""Numbers as people write them, in digits with a decimal point.

``{,}``, ``,\!``, ``\,`` and a space separate thousands; a comma alone may separate values, see ``without_thousands``.
"""

from __future__ import annotations

import re
from fractions import Fraction

_THIN = r"(?:\\!|\s)*"
_SEPARATOR = rf"(?:{_THIN}\{{,\}}{_THIN}|{_THIN}\\!\s*,{_THIN}|\s*,\s*\\!{_THIN}|,\s(?=0\d\d(?!\d))|\\,|\\?\s|~)"
_SEPARATED = re.compile(  # 12,\!345
    rf"(?<![\d.,/^_\\])(?<!\d\s)([1-9]\d{{0,2}}(?:{_SEPARATOR}\d{{3}})+)(?![\d/]|{_SEPARATOR}\d|,\d|\s*\\[dtc]?frac)"
)
_GROUPED = re.compile(r"(?<![\d.,])[1-9]\d{0,2}(?:,\d{3})+(?![\d,])")
_SMALL_GROUP = re.compile(r",0\d\d(?!\d)")
_DECIMAL_COMMA = re.compile(r"(?<=\d)\{,\}(?=\d)")
_REPEATING = re.compile(
    r"""(?<![\w.]) (?P<whole>\d{0,20}) \. (?P<before>\d{0,20}?)
    (?: \\(?:overline|bar|dot) \s* \{ (?P<barred>\d{1,50}) \} | \( (?P<bracketed>\d{1,50}) \)
      | (?P<dotted>\d{1,6}?) (?P=dotted)+ \s* (?: \.\.\. | \\(?:[lc]?dots) (?![a-zA-Z]) ) )
    """,
    re.VERBOSE,
)
_POWER_OF_TEN = re.compile(r"(?<=\d)\s*[xX]\s*(?=10\s*(?:\^|\*\*))")
_EXPONENT = re.compile(r"(?<![\w.])(\d+(?:\.\d+)?)[eE]([+-]?\d+)(?![\w.])")
_MIXED = re.compile(r"(?<![\w.,/^}])(\d+)(?:\s|~|\\ )+(\d+)/(\d+)(?![\w/.^])")


def in_digits(latex: str) -> str:
    """The text with its numbers in digits, and with fractions for repeating decimals and mixed numbers."""
    latex = _SEPARATED.sub(lambda number: re.sub(r"\D", "", number[1]), latex)
    latex = _DECIMAL_COMMA.sub(".", latex)
    latex = _REPEATING.sub(_fraction, latex)
    latex = _POWER_OF_TEN.sub(r"\\times ", latex)
    latex = _EXPONENT.sub(r"\1\\cdot 10^{\2}", latex)
    return _MIXED.sub(r"\1\\frac{\2}{\3}", latex)


def _fraction(number: re.Match[str]) -> str:
    r"""``0.1\overline{6}`` as a fraction."""
    whole, before = number["whole"], number["before"]
    period = number["barred"] or number["bracketed"] or number["dotted"]
    scale = 10 ** len(before)
    value = Fraction(int(whole + before or 0), scale) + Fraction(int(period), scale * (10 ** len(period) - 1))
    return rf"\frac{{{value.numerator}}}{{{value.denominator}}}"


def without_thousands(latex: str) -> str:
    """The answer with ``1,000`` as 1000; as it is if it has brackets, in which that may be two numbers."""
    if re.search(r"[(\[]|\\\{", latex):
        return latex
    return _GROUPED.sub(lambda number: number[0].replace(",", ""), latex)


def is_grouped_only(latex: str) -> bool:
    """Whether a comma cannot separate values, because what follows it starts with 0, as in ``1,000``."""
    return any(_SMALL_GROUP.search(number[0]) for number in _GROUPED.finditer(latex))


_TEENS = "ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen"
_ONES = f"zero one two three four five six seven eight nine {_TEENS}".split()
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
_VALUES = dict(zip(_ONES, range(20), strict=True)) | dict(zip(_TENS.split(), range(20, 100, 10), strict=True))
_SCALES = {"hundred": 100, "thousand": 1000, "million": 10**6}


def from_words(text: str) -> str:
    """A number in words, such as "twenty-one" or "five dollars", in digits; anything else as it is."""
    words = text.split()
    for end in range(len(words), max(0, len(words) - 3), -1):
        value = _value(" ".join(words[:end]))
        if value is not None:
            return " ".join([str(value), *words[end:]])
    return text


def _value(text: str) -> int | None:
    words = text.lower().replace("-", " ").split()
    if not words or words[0] not in _VALUES:
        return None
    total, part, last = 0, 0, 100
    for word in words:
        value, scale = _VALUES.get(word), _SCALES.get(word)
        follows = last >= 100 or (20 <= last < 100 and value in range(1, 10))  # twenty-one, but not one-twenty
        if value is not None and follows:
            part, last = part + value, value
        elif scale and part:
            part, last = part * scale, scale
            if scale > 100:
                total, part = total + part, 0
        elif word != "and" or last < 100:
            return None
    return total + part
