"""Keys of servers: read from the environment, and hidden where a server repeats them, whole or in part, plain or escaped."""

from __future__ import annotations

import os
import re

SHORTEST = 8
"""Length of a key, or of a piece of it, from which it is hidden; shorter "keys" are placeholders for servers that want none."""

_ESCAPED = re.compile(
    r"""
      (?<!\\) \\++ u \{? 0{0,6} ([0-9a-f]{2}) \}?   # \u002d, however often it was escaped
    | (?<!\\) \\++ x ([0-9a-f]{2})
    | % ([0-9a-f]{2})
    | & \# x 0{0,6} ([0-9a-f]{2}) ;?
    | & \# 0{0,6} ([0-9]{2,3}) ;?
    | (?<!\\) \\++ ([^\w\s\\])                      # \-
    | [\u00ad\u200b-\u200f\u2060-\u2064\ufeff]  # invisible
    """,
    re.VERBOSE | re.IGNORECASE,
)


def key_in(variable: str) -> str:
    """The key in a variable of the environment, "" for none."""
    return os.environ.get(variable, "").strip()


def hide(text: str, key: str, name: str) -> str:
    """A text with ``name`` in place of a key, and of its pieces that have at least ``SHORTEST`` letters and are neither a plain
    word nor a number.

    Args:
        text: Any text.
        key: The key.
        name: What to put in its place.
    """
    if len(key) < SHORTEST:
        return text
    plain, starts = _unescaped(text)
    spans: list[list[int]] = []
    for start, end in sorted(_found(plain, key)):
        if spans and start <= spans[-1][1]:
            spans[-1][1] = max(end, spans[-1][1])
        else:
            spans.append([start, end])
    for start, end in reversed(spans):
        piece = plain[start:end]
        if piece == key or not (piece.isdigit() or (piece.isalpha() and piece.islower())):
            text = text[: starts[start]] + name + text[starts[end] :]
    return text


def _unescaped(text: str) -> tuple[str, list[int]]:
    """A text without its escapes; and where in the text each of its letters begins, then where the last one ends."""
    letters: list[str] = []
    starts: list[int] = []
    last = 0
    for escape in _ESCAPED.finditer(text):
        letters += text[last : escape.start()]
        starts += range(last, escape.start())
        last = escape.end()
        *hexadecimal, decimal, itself = escape.groups()
        digits = "".join(h for h in hexadecimal if h)  # of the one group that matched
        code = int(digits, 16) if digits else int(decimal or 0)
        if letter := itself or (chr(code) if code else ""):
            letters.append(letter)
            starts.append(escape.start())
    letters += text[last:]
    starts += range(last, len(text) + 1)
    return "".join(letters), starts


def _found(text: str, key: str) -> list[tuple[int, int]]:
    """Where pieces of the key that have ``SHORTEST`` letters stand in a text."""
    spans = []
    for piece in {key[i : i + SHORTEST] for i in range(len(key) - SHORTEST + 1)}:
        at = text.find(piece)
        while at >= 0:
            spans.append((at, at + SHORTEST))
            at = text.find(piece, at + 1)
    return spans
