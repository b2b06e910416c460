"""Text files line by line, each line of bounded length, and the type of a row of any source."""

from __future__ import annotations

import gzip
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TextIO, cast

from int_lightning.types import UserError

MAX_FIELD = 1_000_000
"""Longest field, in characters."""

MAX_ROW = 16 * MAX_FIELD
"""Longest row of text, in characters."""

_LFS = b"version https://git-lfs"

SourceRow = tuple[int, Mapping[str, object] | str]
"""A row's number, from 1, and its columns, or the reason why it cannot be read."""


def open_text(path: Path) -> TextIO:
    """Opens a file as text, unpacking gzip even where the name does not say so.

    Bytes that are not UTF-8 become lone surrogates, which no field may contain.

    Raises:
        UserError: if the file is UTF-16 or a pointer of Git LFS.
    """
    with open(path, "rb") as file:
        packed = path.suffix == ".gz" or file.read(2) == b"\x1f\x8b"
    opener = gzip.open if packed else open
    with opener(path, "rb") as file:
        start = file.read(len(_LFS))
    if start[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise UserError(f"{path}: the file is UTF-16: save it as UTF-8")
    if start == _LFS:
        raise UserError(f"{path}: the file is a pointer of Git LFS: fetch the file itself with git lfs pull")
    return cast(TextIO, opener(path, "rt", encoding="utf-8-sig", errors="surrogateescape", newline=""))


def lines(path: Path) -> Iterator[str]:
    """The lines of a file; of a line longer than ``MAX_ROW`` characters, only the first ``MAX_ROW``."""
    with open_text(path) as file:
        while line := file.readline(MAX_ROW):
            rest = line
            while len(rest) == MAX_ROW and rest[-1] not in "\r\n":
                rest = file.readline(MAX_ROW)
            yield line
