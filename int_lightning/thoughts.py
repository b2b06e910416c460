"""The thoughts in a model's output, and what follows them."""

from __future__ import annotations

import re

_WORD = r"(?:think(?:ing)?|thoughts?|reasoning)\s{0,3}[>\]▷]"  # think>, reasoning], the end of a tag
_NAME = rf"\s{{0,3}}(?:[a-z]{{1,9}}:)?{_WORD}"  # as in <think> and <seed:think>
_ANY = re.compile(rf"{_WORD}|assistantfinal|<\|channel\|>", re.IGNORECASE)
_BEGIN = re.compile(rf"(?<![`'\"])[<\[◁]{_NAME}", re.IGNORECASE)  # <think>, but not in quotes
_END = re.compile(
    rf"""[<\[◁]/{_NAME}                        # </think>
    | assistantfinal                          # as in gpt-oss, its special tokens left out
    | <\|channel\|>final<\|message\|>         # and with them""",
    re.IGNORECASE | re.VERBOSE,
)


def after_thoughts(text: str) -> str | None:
    """The part of a text that follows the thoughts: all of it if there are none, None if it ends within them."""
    if not _ANY.search(text):
        return text
    ends = [end.end() for end in _END.finditer(text)]
    rest = text[ends[-1] :] if ends else text
    return None if _BEGIN.search(rest) else rest
