"""Files of JSON lines: one object a line, UTF-8, also as ``.gz``."""

from __future__ import annotations

import gzip
import json
import os
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO, cast

from int_lightning.types import UserError


def json_lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The objects of a file, each with the number of its line, counted from 1. Blank lines are passed over.

    Raises:
        UserError: naming the file, and the row that is not a JSON object.
    """
    for number, line in numbered_lines(path):
        try:
            value = json_object(line)
        except UserError as error:
            raise UserError(f"{path}: row {number}: {error}") from error
        yield number, value


def numbered_lines(path: Path) -> Iterator[tuple[int, str]]:
    """The lines of a file that are not blank, each with its number, counted from 1: for those who report every defect with
    ``json_object``.

    Raises:
        UserError: if the file cannot be read.
    """
    with readable(path) as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                yield number, line


def json_object(line: str | bytes) -> dict[str, Any]:
    """The JSON object in a line.

    Raises:
        UserError: saying what is there instead.
    """
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        remedy = "write every backslash twice" if "escape" in str(error) else "write one object a line"
        raise UserError(f"not JSON: {error}; {remedy}") from error
    if not isinstance(value, dict):
        raise UserError(f"not a JSON object: a {type(value).__name__}; write one a line")
    return value


@contextmanager
def readable(path: Path) -> Iterator[TextIO]:
    """Opens a UTF-8 text file, unpacked where it is ``.gz``.

    Raises:
        UserError: if it cannot be opened, or cannot be read to the end of the block.
    """
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rt", encoding="utf-8-sig") as file:
            yield cast(TextIO, file)
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read ({error}): give an intact UTF-8 file") from error


def append_lines(path: Path, lines: Iterable[str]) -> None:
    """Adds lines at the end of a file, which is made if it is missing. A line that a kill cut short is ended first.

    Raises:
        OSError: if it cannot be written.
    """
    with path.open("ab+") as file:
        end = file.seek(0, os.SEEK_END)
        file.seek(max(0, end - 1))
        torn = file.read() not in (b"", b"\n")
        file.write((b"\n" if torn else b"") + "".join(f"{line}\n" for line in lines).encode())
