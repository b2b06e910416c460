"""The text of a row token by token, and its characters by how they can be shown."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Literal

from int_lightning.steps import Decoder

Kind = Literal["plain", "space", "tab", "newline", "hidden"]

_KINDS: dict[str, Kind] = {" ": "space", "\t": "tab", "\n": "newline"}
_HIDDEN = {"Cc", "Cf", "Cs", "Zl", "Zp", "Zs"}
_WINDOW = 64  # tokens; a character takes a few
_BROKEN = "\ufffd"


def token_texts(token_ids: Sequence[int], tokenizer: Decoder) -> list[str]:
    """What each token adds to the text, special tokens included; joined, they are the text.

    A token that ends inside a character adds nothing: the last token of the character has it.
    """
    whole = _decode(tokenizer, token_ids)
    texts: list[str] = []
    anchor = shown = 0  # the text up to token ``shown`` is given out; it is decoded from ``anchor`` on, as context
    context, given = "", 0
    for end in range(1, len(token_ids) + 1):
        now = _decode(tokenizer, token_ids[anchor:end]) if end - anchor <= _WINDOW else None
        if now is None or not now.startswith(context) or not whole.startswith(now[len(context) :], given):
            texts.append("")
            continue
        texts.append(now[len(context) :])
        given += len(texts[-1])
        if not context.endswith(_BROKEN) or end - anchor == _WINDOW:
            anchor = shown
        shown = end
        context = _decode(tokenizer, token_ids[anchor:shown])
    if texts:
        texts[-1] += whole[given:]
    return texts


def _decode(tokenizer: Decoder, token_ids: Sequence[int]) -> str:
    return str(tokenizer.decode(list(token_ids), skip_special_tokens=False))


def runs(text: str) -> Iterator[tuple[Kind, str]]:
    """A text in runs of characters of one kind. ``hidden`` are those that cannot be seen or change how others are shown:
    control and format characters (terminal escapes, right-to-left overrides), separators, lone surrogates."""
    for kind, characters in groupby(text, _kind):
        yield kind, "".join(characters)


def code_points(text: str) -> str:
    """The names of characters, as ``U+202E``."""
    return " ".join(f"U+{ord(c):04X}" for c in text)


def visible(text: str) -> str:
    """A text with its hidden characters named, as ``⟨U+202E⟩``."""
    return "".join(f"⟨{code_points(run)}⟩" if kind == "hidden" else run for kind, run in runs(text))


def in_line(text: str) -> str:
    """The same on one line: line breaks are shown as ``↵``."""
    return visible(text).replace("\n", "↵")


def _kind(character: str) -> Kind:
    if character in _KINDS:
        return _KINDS[character]
    return "hidden" if unicodedata.category(character) in _HIDDEN else "plain"
