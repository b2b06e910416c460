"""Remarks in brackets after an answer that do not change it.

"approximately ...", "about ...", "since ...", "rejecting ...", "exactly" and "in" with words are dropped; "(or ...)" is another
form of the answer, which must equal it. Conditions are not remarks: the parser of answers reads them.
"""

from __future__ import annotations

import re

_OPEN = r"\s*(?:\\text\s*\{\s*)?[(\[]\s*(?:\\text\s*\{\s*)?"
_SHUT = r"\s*\}?\s*[)\]]\s*\}?\s*\.?$"
_ABOUT = r"(?:or\s+)?(?:approximately|approx\.?|about|around|roughly|nearly|\\approx|i\.e\.,?)"
_WHY = r"(?:since|because|rejecting|discarding)\b"
_DROPPED = re.compile(  # 7/3 (approximately 2.3)
    rf"(?<=\S){_OPEN}(?:(?:{_ABOUT}|{_WHY})[^()]*|exactly|exact value|in [a-z ]+|rounded [a-z\d ]+){_SHUT}",
    re.IGNORECASE,
)
_ANOTHER_FORM = re.compile(  # 0.5 (or 1/2)
    r"(?<=\S)\s*(?:\\text\s*\{)?\s*\(\s*(?:\\text\s*\{\s*)?or(?:\s+equivalently,?)?(?![a-zA-Z])\s*\}?\s*([^()]*?)\s*\)\s*\}?$"
)


def without_remarks(latex: str) -> str:
    """The answer without the remark at its end, and with another form of it after an equals sign."""
    return _ANOTHER_FORM.sub(r" = \1", _DROPPED.sub("", latex))
