"""Text from outside made safe to show: characters that would steer a terminal, or cannot be seen, are named instead."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from itertools import groupby
from typing import Literal

Kind = Literal["plain", "space", "tab", "newline", "hidden"]

_KINDS: dict[str, Kind] = {" ": "space", "\t": "tab", "\n": "newline"}
_HIDDEN = {"Cc", "Cf", "Cs", "Zl", "Zp", "Zs"}


def runs(text: str) -> Iterator[tuple[Kind, str]]:
    """A text in runs of characters of one kind.

    ``hidden`` are characters that cannot be seen or change how others are shown: control and format characters (terminal escapes,
    right-to-left overrides), separators, lone surrogates.
    """
    for kind, characters in groupby(text, _kind):
        yield kind, "".join(characters)


def code_points(text: str) -> str:
    """The code points of characters, such as ``U+202E``."""
    return " ".join(f"U+{ord(c):04X}" for c in text)


def visible(text: str) -> str:
    """A text with its hidden characters named, as in ``⟨U+202E⟩``; line breaks and tabs are kept."""
    if text.isascii() and text.replace("\n", "").replace("\t", "").isprintable():
        return text
    return "".join(_named(kind, run) for kind, run in runs(text))


def in_line(text: str) -> str:
    """A text with its hidden characters named, on one line: line breaks are shown as ``↵``."""
    return visible(text).replace("\n", "↵")


def _named(kind: Kind, run: str) -> str:
    return f"⟨{code_points(run)}⟩" if kind == "hidden" else run


def _kind(character: str) -> Kind:
    if character in _KINDS:
        return _KINDS[character]
    return "hidden" if unicodedata.category(character) in _HIDDEN else "plain"
