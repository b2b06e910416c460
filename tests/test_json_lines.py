"""Files of JSON lines, and what is said of those that are something else."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from int_lightning.json_lines import json_lines, json_object
from int_lightning.types import UserError


def test_rows_are_counted_with_the_blank_lines_between_them(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"a": 1}\r\n\r\n  \n{"a": "\xc3\xa9"}')
    assert list(json_lines(path)) == [(1, {"a": 1}), (4, {"a": "é"})]


def test_a_packed_file_is_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"a": 1}\n{"a": 2}\n'))
    assert list(json_lines(path)) == [(1, {"a": 1}), (2, {"a": 2})]


def test_the_rows_before_a_bad_one_are_given(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"a": 1}\n\n[1]\n')
    rows = json_lines(path)
    assert next(rows) == (1, {"a": 1})
    with pytest.raises(UserError, match=r"rows\.jsonl: row 3: not a JSON object: a list; write one a line"):
        next(rows)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "^not JSON: .*; write one object a line$"),
        ("[" * 100_000, "^not JSON: .*; write one object a line$"),
        (r'{"a": "\frac \pi"}', "^not JSON: .*; write every backslash twice$"),
        ("null", "^not a JSON object: a NoneType; write one a line$"),
        (b"\xff", "^not JSON: "),
    ],
)
def test_a_line_that_is_not_an_object_says_what_it_is(line: str | bytes, message: str) -> None:
    with pytest.raises(UserError, match=message):
        json_object(line)


@pytest.mark.parametrize("content", [b"\xff\xfe", b"{}"])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / ("rows.jsonl" if content == b"\xff\xfe" else "rows.jsonl.gz")
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"rows\.jsonl.*: cannot be read"):
        list(json_lines(path))
