"""Thoughts of a model in its output, and what follows them."""

from __future__ import annotations

import re

_NAME = r"\s{0,3}(?:[a-z]{1,9}:)?(?:think(?:ing)?|thoughts?|reasoning)\s{0,3}[>\]▷]"
_ANY = re.compile(r"(?:think(?:ing)?|thoughts?|reasoning)\s{0,3}[>\]▷]|assistantfinal|<\|channel\|>", re.IGNORECASE)
_BEGIN = re.compile(rf"(?<![`'\"])[<\[◁]{_NAME}", re.IGNORECASE)
_END = re.compile(rf"[<\[◁]/{_NAME}|assistantfinal|<\|channel\|>final<\|message\|>", re.IGNORECASE)


def after_thoughts(text: str) -> str | None:
    """What follows the thoughts, all of a text without any; None where it ends inside of them."""
    if not _ANY.search(text):
        return text
    ends = [end.end() for end in _END.finditer(text)]
    rest = text[ends[-1] :] if ends else text
    return None if _BEGIN.search(rest) else rest
