"""Rows of JSON, CSV and Parquet files, one by one. A bad row comes as a reason instead of columns, and reading continues."""

from __future__ import annotations

import csv
import re
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from int_lightning.sources.json_rows import json_rows
from int_lightning.sources.lines import MAX_FIELD, SourceRow, lines
from int_lightning.sources.parquet_values import converted, shortest_floats
from int_lightning.types import UserError

_PARQUET_ROWS = 128  # rows decoded at a time
_PARQUET_BUFFER = 1 << 20  # bytes of a column chunk read at a time
_DELIMITERS = ",\t;|"
_SEPARATOR = re.compile(r"sep=(.)\s*", re.IGNORECASE)  # the first line of a file that Excel wrote: sep=;
_KINDS = ".jsonl, .json, .csv, .tsv (each also as .gz) or .parquet"


def file_rows(path: Path, needed: Sequence[str], optional: Sequence[str]) -> Iterator[SourceRow]:
    """The rows of a file.

    A file that breaks off ends with one bad row, which stands for all rows that are lost. Of a Parquet file, only the needed and
    optional columns are read, provided that it has all needed ones.

    Args:
        needed: Dotted paths of the columns that the source must have.
        optional: Dotted paths of the columns that are read where there are any.

    Raises:
        UserError: at once, if the file does not exist, is of an unknown kind, or nothing of it can be read.
    """
    name = path.name.lower().removesuffix(".gz")
    if path.is_dir():
        raise UserError(f"{path}: a folder: give a file in it, or hf:{path} for a dataset in the hub's layout")
    if not path.is_file():
        raise UserError(f"{path}: no such file: give a path to {_KINDS}, or hf:, gym: or mini:")
    if name.endswith(".parquet"):
        file = _open_parquet(path)
        columns = project(file.schema_arrow.names, needed, optional)
        rows = _until_broken(path, lambda: _parquet_rows(file, columns))
    elif name.endswith((".jsonl", ".json", ".ndjson")):
        rows = _until_broken(path, lambda: json_rows(path, needed))
    elif name.endswith((".csv", ".tsv")):
        rows = _until_broken(path, lambda: _csv_rows(path))
    else:
        raise UserError(f"{path}: unknown kind of file: give {_KINDS}")
    return rows


def project(names: Sequence[str], needed: Sequence[str], optional: Sequence[str]) -> list[str] | None:
    """The columns that hold some dotted paths; None, for all columns, if a needed one is missing.

    >>> project(["a", "b", "c"], ["a.0.x"], ["c", "d"])
    ['a', 'c']
    """

    def column(path: str) -> str:
        return path if path in names else path.partition(".")[0]

    top = set(map(column, needed))
    if not top <= set(names):
        return None
    top.update(map(column, optional))
    return [name for name in names if name in top]


def _until_broken(path: Path, rows: Callable[[], Iterator[SourceRow]]) -> Iterator[SourceRow]:
    number = 0
    try:
        for number, row in rows():
            yield number, row
    except (EOFError, OSError, csv.Error, zlib.error) as error:
        if not number:
            raise UserError(f"{path}: cannot be read ({error}): give an intact file") from error
        yield number + 1, f"the file breaks off: {error}; all rows from here on are lost, get an intact copy"


def _csv_rows(path: Path) -> Iterator[SourceRow]:
    csv.field_size_limit(MAX_FIELD)
    rest = lines(path)
    first = next((line for line in rest if line.strip()), "")
    delimiter = max(_DELIMITERS, key=first.count)  # a comma if the line has none of them
    if named := _SEPARATOR.fullmatch(first):
        delimiter = named[1]
        first = next(rest, "")
    reader = csv.reader(chain([first], rest), strict=True, delimiter=delimiter)
    names = next(reader, [])
    header = [name.strip() for name in names]
    if twice := sorted({name for name in header if name and header.count(name) > 1}):
        raise UserError(f"{path}: the header has {', '.join(map(repr, twice))} twice: rename one of them")
    number = 0
    while True:
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            number += 1
            yield number, f"not CSV: {error}"
            continue
        if not fields:
            continue
        number += 1
        if len(fields) == len(header):
            yield number, dict(zip(header, fields, strict=True))
        else:
            yield number, f"wrong number of fields: {len(fields)} where the header has {len(header)}; quote the commas"


def _open_parquet(path: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path, buffer_size=_PARQUET_BUFFER, pre_buffer=False)
    except (pa.ArrowInvalid, OSError) as error:
        raise UserError(f"{path}: not a Parquet file ({error}): export it again, or give .jsonl") from error


def _parquet_rows(file: pq.ParquetFile, columns: list[str] | None) -> Iterator[SourceRow]:
    converters = shortest_floats(file.schema_arrow)
    first = 1
    for group in range(file.num_row_groups):
        number = first
        try:
            for batch in file.iter_batches(_PARQUET_ROWS, [group], columns, use_threads=False):
                for row in _decoded(batch):
                    yield number, row if isinstance(row, str) else converted(row, converters)
                    number += 1
        except (pa.ArrowException, OSError) as error:
            yield number, f"the file is damaged: {error}; the rest of its row group {group} is lost, export it again"
        first += file.metadata.row_group(group).num_rows


def _decoded(batch: pa.RecordBatch) -> Iterator[Mapping[str, object] | str]:
    try:
        yield from batch.to_pylist()
    except UnicodeDecodeError:
        for index in range(batch.num_rows):
            try:
                yield batch.slice(index, 1).to_pylist()[0]
            except UnicodeDecodeError as error:
                yield f"not UTF-8: {error}"
