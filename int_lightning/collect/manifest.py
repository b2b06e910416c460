"""What a store holds: ``manifest.jsonl``, a line a batch with the rows, bytes and SHA-256 of each of its shards.

A batch's line is written after its shards, and makes it count. So a shard without a line, or one that differs from its line, is
damaged; except the shards of the batch that was being written when a run was killed: they bear the store's id and the next
number, and the next batch replaces them. All shards are hashed when a store is opened, at about 1 GB a second and core.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from int_lightning.run_files import replacing, written
from int_lightning.types import UserError

NAME = "manifest.jsonl"
_REMEDY = "put back a copy of it, or collect again into another folder"
_THREADS = 4
_MARK = b"int_lightning"


@dataclass(frozen=True, slots=True)
class Shard:
    """A file with the records of one table and one batch.

    Args:
        rows: How many records it has.
        bytes: Its size.
        sha256: Hash of its content, in hex.
    """

    rows: int
    bytes: int
    sha256: str


class Manifest:
    """The batches of a store, each with its shards by table.

    Args:
        folder: The store's.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / NAME
        self.batches: list[Mapping[str, Shard]] = []
        self._id = ""
        self._end = 0  # bytes of the lines that were read

    def refresh(self) -> None:
        """Reads the new lines and checks the shards they name; the first time also that there are no other shards.

        Raises:
            UserError: naming the first file that is damaged, missing or not of a batch of this store.
        """
        # listed before the lines are read, which then name every one of them
        found = [] if self._end else sorted(self.folder.rglob("*.parquet"))
        try:
            size = self.path.stat().st_size
        except OSError as error:
            if not self._end and not found:
                return
            what = "was deleted meanwhile"
            if not self._end:
                what = f"is missing, but {found[0].relative_to(self.folder)} is there"
            raise UserError(
                f"{self.path} {what}: put it back, or collect again into another folder (datasets from before there were "
                "manifests cannot be checked)"
            ) from error
        if self._end and size == self._end:
            return
        known, end = len(self.batches), self._end
        self._read()
        if not self._id or size < end:  # by now the file may be longer than it was
            raise UserError(f"{self.path} is damaged, lines are missing: {_REMEDY}")
        self._check(range(known, len(self.batches)))
        listed = {file for file, _ in self._shards(range(len(self.batches)))} if found else set()
        for file in found:
            if file not in listed and not self._left_by_a_kill(file) and file.exists():
                raise UserError(
                    f"{file} is not a shard that was collected here (it is a copy of one, or of another run): move it out of "
                    f"{self.folder}"
                )

    def begin(self) -> None:
        """Makes the store if it is missing, and checks it if it is there.

        Raises:
            UserError: see ``refresh``; also if it cannot be written.
        """
        self.refresh()
        if self._end:
            return
        self._id = secrets.token_hex(8)
        line = _line({"store": self._id})
        with replacing(self.path) as aside:
            self.folder.mkdir(parents=True, exist_ok=True)
            aside.write_bytes(line)
        self._end = len(line)

    def mark(self, schema: pa.Schema, table: str, number: int) -> pa.Schema:
        """The schema of a shard, marked with the store, table and batch that it belongs to."""
        return schema.with_metadata({_MARK: f"{self._id}/{table}/{number}".encode()})

    def add(self, shards: Mapping[str, Shard]) -> None:
        """Makes a batch count.

        Raises:
            UserError: if the manifest cannot be written, or another process changed it.
        """
        line = _line({"batch": len(self.batches), "shards": {t: asdict(s) for t, s in shards.items()}})
        with written(self.path), open(self.path, "r+b") as file:
            file.seek(self._end)
            if os.fstat(file.fileno()).st_size < self._end or b"\n" in file.read():
                raise UserError(
                    f"{self.path} was changed by another process: let only one command at a time write to it"
                )
            file.seek(self._end)
            file.truncate()
            file.write(line)
            file.flush()
            os.fsync(file.fileno())
        self._end += len(line)
        self.batches.append(dict(shards))

    def file(self, table: str, number: int) -> Path:
        """Where a shard is."""
        return self.folder / table / f"part-{number:06d}.parquet"

    def _shards(self, numbers: Iterable[int]) -> Iterator[tuple[Path, Shard]]:
        for number in numbers:
            for table, shard in self.batches[number].items():
                yield self.file(table, number), shard

    def _read(self) -> None:
        with open(self.path, "rb") as file:
            file.seek(self._end)
            lines = file.read().split(b"\n")
        for line in lines[:-1]:  # what follows the last newline is still being written, or was cut off
            number = len(self.batches) + bool(self._id)
            record = _record(line)
            if record is None or record.get("batch", -1) != number - 1:
                raise UserError(f"{self.path}: line {number + 1} is damaged: {_REMEDY}")
            if self._id:
                self.batches.append({t: Shard(**s) for t, s in record["shards"].items()})
            else:
                self._id = record["store"]
            self._end += len(line) + 1

    def _check(self, numbers: Iterable[int]) -> None:
        shards = list(self._shards(numbers))
        for file, shard in shards:
            _check_size(file, shard)
        with ThreadPoolExecutor(_THREADS) as pool:
            try:
                for (file, shard), digest in zip(shards, pool.map(sha256_of, (f for f, _ in shards)), strict=True):
                    if digest != shard.sha256:
                        raise UserError(f"{file} is damaged, its content is not what was collected: {_REMEDY}")
            finally:
                pool.shutdown(cancel_futures=True)

    def _left_by_a_kill(self, file: Path) -> bool:
        """Whether it belongs to the batch that was being written; also while another process is writing it."""
        table, number = file.parent.name, len(self.batches)
        if file != self.file(table, number):
            return False
        try:
            metadata = pq.read_schema(file).metadata or {}
        except (OSError, pa.ArrowInvalid):
            return False
        return bool(metadata.get(_MARK) == f"{self._id}/{table}/{number}".encode())


def sha256_of(file: Path) -> str:
    """The hash of a file's content."""
    with open(file, "rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _check_size(file: Path, shard: Shard) -> None:
    try:
        size = file.stat().st_size
    except OSError as error:
        raise UserError(f"{file} is missing ({shard.rows} rows were collected into it): {_REMEDY}") from error
    if size != shard.bytes:
        raise UserError(f"{file} is damaged, it has {size:,} bytes of {shard.bytes:,}: {_REMEDY}")


def _line(record: Mapping[str, Any]) -> bytes:
    """A record as a line with a checksum, which shows whether it is whole."""
    return json.dumps({**record, "check": _digest(record)}).encode() + b"\n"


def _record(line: bytes) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
        check = record.pop("check")
    except (ValueError, KeyError, AttributeError):
        return None
    return record if check == _digest(record) else None


def _digest(record: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(record).encode()).hexdigest()[:16]
