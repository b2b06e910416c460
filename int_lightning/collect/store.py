"""Records as Parquet shards that are appended and never rewritten.

A shard is written aside, flushed to disk and renamed: it is there whole or not at all. A run killed at any moment loses the
batch in flight; started again it skips the keys that are there.
"""

from __future__ import annotations

import dataclasses
import os
import types
import typing
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from int_lightning.types import UserError

R = TypeVar("R")
_SCALARS = {str: pa.string(), int: pa.int64(), float: pa.float64(), bool: pa.bool_()}
_LISTS = {int: pa.list_(pa.int32()), float: pa.list_(pa.float32()), str: pa.list_(pa.string())}


class Store:
    """A folder with one sub-folder of shards per table.

    Args:
        folder: Where the tables are.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def append(self, table: str, records: Sequence[Any]) -> None:
        """Adds records (dataclass instances of one type) as one shard, durably.

        Raises:
            UserError: if the shard cannot be written; earlier shards are intact.
        """
        if not records:
            return
        folder = self.folder / table
        rows = [dataclasses.asdict(r) for r in records]
        data = pa.Table.from_pylist(rows, schema=schema_of(type(records[0])))
        try:
            folder.mkdir(parents=True, exist_ok=True)
            last = max((int(shard.stem.removeprefix("part-")) for shard in self._shards(table)), default=-1)
            final = folder / f"part-{last + 1:06d}.parquet"
            aside = final.with_suffix(".tmp")
            with open(aside, "wb") as file:
                pq.write_table(data, file, compression="zstd")
                file.flush()
                os.fsync(file.fileno())
            aside.rename(final)
            directory = os.open(folder, os.O_RDONLY)
            os.fsync(directory)
            os.close(directory)
        except OSError as error:
            raise UserError(
                f"{folder}: a shard could not be written ({error.strerror}). What was written before is intact: make room or "
                "access and run the command again"
            ) from error

    def read(self, table: str, record: type[R]) -> Iterator[R]:
        """All records of a table, in the order they were written."""
        for shard in self._shards(table):
            for row in pq.read_table(shard).to_pylist():
                yield from_row(record, row)

    def column(self, table: str, name: str) -> list[Any]:
        """One column of a table."""
        return [v for shard in self._shards(table) for v in pq.read_table(shard, columns=[name])[name].to_pylist()]

    def _shards(self, table: str) -> list[Path]:
        return sorted((self.folder / table).glob("part-*.parquet"))


def schema_of(record: type[Any]) -> pa.Schema:
    """The Arrow schema of a dataclass: scalars, lists of scalars, and nested (optional) dataclasses."""
    hints = typing.get_type_hints(record)
    return pa.schema([(f.name, _arrow_type(hints[f.name])) for f in dataclasses.fields(record)])


def from_row(record: type[R], row: dict[str, Any]) -> R:
    """A dataclass instance from a row of its table."""
    hints = typing.get_type_hints(record)
    values = {}
    for name, value in row.items():
        inner: Any = _required(hints[name])
        nested = value is not None and dataclasses.is_dataclass(inner)
        values[name] = from_row(inner, value) if nested else value
    return record(**values)


def _arrow_type(hint: Any) -> pa.DataType:
    hint = _required(hint)
    if dataclasses.is_dataclass(hint):
        return pa.struct(list(schema_of(typing.cast(type, hint))))
    if typing.get_origin(hint) is list:
        return _LISTS[typing.get_args(hint)[0]]
    return _SCALARS[hint]


def _required(hint: Any) -> Any:
    if isinstance(hint, types.UnionType):
        return next(a for a in typing.get_args(hint) if a is not type(None))
    return hint
