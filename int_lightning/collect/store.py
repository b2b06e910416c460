"""Records as Parquet shards that are appended and never rewritten.

A shard is written aside, flushed to disk and renamed: it is there whole or not at all. A batch counts once its line is in the
manifest (see ``manifest``): a run killed at any moment loses the batch in flight; started again it skips what is there. Before
a store is read or added to, its shards are checked.
"""

from __future__ import annotations

import dataclasses
import functools
import types
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from int_lightning.collect.manifest import Manifest, Shard, sha256_of
from int_lightning.defects import Defect
from int_lightning.run_files import read, replacing
from int_lightning.types import TokenIds, TokenValues

R = TypeVar("R")
OUTCOMES = "outcomes"
_SCALARS = {str: pa.string(), int: pa.int64(), float: pa.float64(), bool: pa.bool_(), Defect: pa.string()}
_LISTS = {int: pa.list_(pa.int32()), float: pa.list_(pa.float32()), str: pa.list_(pa.string())}
_SCALARS |= {TokenIds: pa.list_(pa.int32()), TokenValues: pa.list_(pa.float32())}


class Store:
    """A folder with one sub-folder of shards per table.

    Args:
        folder: Where the tables are.
        only: Read only this batch; all of them if not given.
    """

    def __init__(self, folder: Path, only: int | None = None) -> None:
        self.folder = folder
        self.only = only
        self._manifest = Manifest(folder)

    def begin(self) -> None:
        """Makes the store if it is missing, and checks it if it is there; the first thing that a run does which adds to it.

        Raises:
            UserError: naming the first file that is damaged, missing or foreign; also if the folder cannot be written.
        """
        self._manifest.begin()

    def batches(self) -> list[int]:
        """The numbers of the batches that count, in the order they were written.

        Raises:
            UserError: naming the first file that is damaged, missing or foreign.
        """
        self._manifest.refresh()
        return list(range(len(self._manifest.batches)))

    def batch(self, number: int) -> Store:
        """The store as if it held only one batch, for reading."""
        view = Store(self.folder, number)
        view._manifest = self._manifest
        return view

    def commit(self, batch: Mapping[str, Sequence[Any]]) -> None:
        """Adds records to several tables at once: all of them, or none if the process is killed.

        Every table that has records gets a shard of the same number. The next batch overwrites what a kill left of one.

        Raises:
            UserError: if a shard cannot be written; earlier batches are intact.
        """
        self._manifest.begin()
        number = len(self._manifest.batches)
        for left in self.folder.glob(f"*/{self._manifest.file('', number).name}"):
            left.unlink(missing_ok=True)
        shards = {table: self._write(table, number, records) for table, records in batch.items() if records}
        self._manifest.add(shards)

    def _write(self, table: str, number: int, records: Sequence[Any]) -> Shard:
        schema = schema_of(type(records[0]))
        rows = pa.Table.from_pylist([to_row(r) for r in records], self._manifest.mark(schema, table, number))
        final = self._manifest.file(table, number)
        with replacing(final) as aside:
            final.parent.mkdir(exist_ok=True)
            pq.write_table(rows, aside, compression="zstd")
            return Shard(len(records), aside.stat().st_size, sha256_of(aside))

    def read(self, table: str, record: type[R]) -> Iterator[R]:
        """All records of a table, in the order they were written."""
        for shard in self._shards(table):
            for row in _table(shard).to_pylist():
                yield from_row(record, row)

    def columns(self, table: str, *names: str, newest_first: bool = False) -> Iterator[tuple[Any, ...]]:
        """Some columns of a table, row by row, in the order they were written or in reverse."""
        for shard in reversed(self._shards(table)) if newest_first else self._shards(table):
            data = _table(shard, names)
            rows = zip(*(data[name].to_pylist() for name in names), strict=True)
            yield from reversed(list(rows)) if newest_first else rows

    def last_outcomes(self, *names: str) -> Iterator[tuple[Any, ...]]:
        """Some columns of each problem's last outcome, newest first."""
        seen: set[int] = set()
        for problem_id, *values in self.columns(OUTCOMES, "problem_id", *names, newest_first=True):
            if hash(problem_id) not in seen:
                seen.add(hash(problem_id))
                yield problem_id, *values

    def arrow(self, table: str, *names: str) -> Iterator[pa.Table]:
        """Some columns of a table, shard by shard, as Arrow holds them: token lists would be very many Python objects."""
        for shard in self._shards(table):
            yield _table(shard, names)

    def _shards(self, table: str) -> list[Path]:
        wanted = self.batches() if self.only is None else [self.only]
        return [self._manifest.file(table, n) for n in wanted if table in self._manifest.batches[n]]


def _table(shard: Path, columns: Sequence[str] | None = None) -> pa.Table:
    with read(shard):
        return pq.read_table(shard, columns=None if columns is None else list(columns))


def schema_of(record: type[Any]) -> pa.Schema:
    """The Arrow schema of a dataclass: scalars, lists of scalars, and nested (optional) dataclasses."""
    return pa.schema([(name, _arrow_type(hint)) for name, hint in _fields(record).items()])


def to_row(record: Any) -> dict[str, Any]:
    """A dataclass instance as the row of its table; lists are not copied."""
    return {name: _to_value(getattr(record, name), hint) for name, hint in _fields(type(record)).items()}


def from_row(record: type[R], row: dict[str, Any]) -> R:
    """A dataclass instance from a row of its table."""
    fields = _fields(record)
    return record(**{name: _from_value(value, fields[name]) for name, value in row.items()})


def _to_value(value: Any, hint: Any) -> Any:
    if hint is Defect:
        return "" if value is None else str(value)
    return to_row(value) if dataclasses.is_dataclass(hint) and value is not None else value


def _from_value(value: Any, hint: Any) -> Any:
    if hint is Defect:
        return Defect.parse(value)
    nested = dataclasses.is_dataclass(hint) and value is not None
    return from_row(typing.cast(type, hint), value) if nested else value


def _arrow_type(hint: Any) -> pa.DataType:
    if hint in _SCALARS:
        return _SCALARS[hint]
    if typing.get_origin(hint) is typing.Literal:
        return pa.string()
    if dataclasses.is_dataclass(hint):
        return pa.struct(list(schema_of(typing.cast(type, hint))))
    return _LISTS[typing.get_args(hint)[0]]


def _read_fields(record: Any) -> dict[str, Any]:
    """The type of each field of a dataclass; of an optional one, the type it has where it is given."""
    hints = typing.get_type_hints(record)
    return {f.name: _required(hints[f.name]) for f in dataclasses.fields(record)}


_fields: Callable[[Any], dict[str, Any]] = functools.cache(_read_fields)  # 0.3 ms for each of many rows otherwise


def _required(hint: Any) -> Any:
    if not isinstance(hint, types.UnionType):
        return hint
    (given,) = set(typing.get_args(hint)) - {type(None)}
    return given
