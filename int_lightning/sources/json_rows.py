"""Rows of JSON files in any layout: one object a line, a list of objects, or an object that holds the list."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from int_lightning.json_lines import json_object
from int_lightning.sources.lines import MAX_ROW, SourceRow, lines, open_text
from int_lightning.types import UserError

_PIECE = 1 << 18  # characters read at a time
_WHOLE = 1 << 28  # most characters of a file that is decoded whole
_LOST = "all rows from here on are lost, get an intact copy"
_SPACE = re.compile(r"\s*")
_DECODER = json.JSONDecoder()


def json_rows(path: Path, needed: Sequence[str]) -> Iterator[SourceRow]:
    """The rows of a JSON file. A list is decoded row by row; an object that holds a list is decoded whole.

    Args:
        path: The file. Its name does not tell how it is laid out.
        needed: Dotted paths of a row's columns; they tell a row from an object that holds rows.

    Raises:
        UserError: if the file is one object that holds no list of rows, or several lists.
    """
    first = next((line for line in lines(path) if line.strip()), "")
    if first.lstrip().startswith("["):
        return _listed(path)
    whole = _decoded(first.strip())
    in_one_line = whole is not None
    if whole is None:
        with open_text(path) as file:  # the object may continue in the next lines
            whole = _decoded(file.read(_WHOLE))
    if not isinstance(whole, dict):
        return _lines(path)
    tables = {key: value for key, value in whole.items() if _is_table(value)}
    if _is_row(whole, needed):
        plain = [whole[name] for name in needed if name in whole]  # each a text or a number if the object is a row
        if plain and all(isinstance(value, list | dict) and len(value) > 1 for value in plain):
            raise UserError(f"{path}: one object of columns: save it as a list of rows (pandas: orient='records')")
        return _lines(path) if in_one_line else iter([(1, whole)])
    held = [key for key, rows in tables.items() if _is_row(rows[0], needed)] or list(tables)
    if len(held) == 1:
        return enumerate(tables[held[0]], 1)
    if held or not in_one_line or (whole and all(isinstance(value, dict) for value in whole.values())):
        found = f"lists in {_named(held)}" if held else f"no list of rows in {_named(list(whole)) or 'it'}"
        raise UserError(f"{path}: one object with {found}: save the rows as a list of objects, or one object a line")
    return _lines(path)


def _named(keys: Sequence[str]) -> str:
    return ", ".join(map(repr, keys[:5])) + (", ..." if len(keys) > 5 else "")


def _is_row(value: Mapping[str, object], needed: Sequence[str]) -> bool:
    return any(name in value or name.partition(".")[0] in (*value, "*") for name in needed)


def _is_table(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(row, dict) for row in value)


def _decoded(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _lines(path: Path) -> Iterator[SourceRow]:
    for number, line in enumerate(lines(path), 1):
        if not line.strip():
            continue
        if len(line) == MAX_ROW:
            yield number, f"the row is too long: {MAX_ROW} characters or more"
            continue
        try:
            row = json_object(line)
        except UserError as error:
            yield number, str(error)
            continue
        yield number, row


def _listed(path: Path) -> Iterator[SourceRow]:
    with open_text(path) as file:
        text, number = _Text(file), 0
        text.take("[")
        while not text.take("]"):
            number += 1
            try:
                row = text.value()
            except (ValueError, RecursionError) as error:
                reason = getattr(error, "msg", error)
                yield number, f"the file breaks off: {reason} in the list's element {number}; {_LOST}"
                return
            yield number, row if isinstance(row, dict) else f"not a JSON object: a {type(row).__name__}; write objects"
            if not text.take(",") and text.next != "]":
                yield number + 1, f"the file breaks off: no comma or ] after the list's element {number}; {_LOST}"
                return
        if text.next:
            yield number + 1, "the file continues after its list: write one list, or one object a line"


class _Text:
    """A text whose JSON values are decoded one by one; only as much of the file is read as they need."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._text = ""
        self._at = 0

    @property
    def next(self) -> str:
        """The next character that is not white space; "" at the end."""
        while True:
            space = _SPACE.match(self._text, self._at)
            assert space is not None
            self._at = space.end()
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._more():
                return ""

    def take(self, sign: str) -> bool:
        """Whether the next character is this one; if so, it is consumed."""
        found = self.next == sign
        self._at += found
        return found

    def value(self) -> Any:
        """The next JSON value.

        Raises:
            ValueError: if there is none within ``MAX_ROW`` characters.
        """
        while True:
            if not self.next:
                raise ValueError("the text ends")
            try:
                value, end = _DECODER.raw_decode(self._text, self._at)
            except ValueError:
                if len(self._text) - self._at > MAX_ROW or not self._more():
                    raise
                continue
            if end < len(self._text) or not self._more():  # a number may continue in the next piece
                self._at = end
                return value

    def _more(self) -> bool:
        left = self._text[self._at :]
        piece = self._file.read(max(_PIECE, len(left)))
        self._text, self._at = left + piece, 0
        return bool(piece)
