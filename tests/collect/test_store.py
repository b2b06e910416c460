"""The record store: exact round trips, append only, whole shards or none."""

import dataclasses
import os
import threading
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from int_lightning.collect.manifest import Manifest
from int_lightning.collect.statistics import collection_statistics
from int_lightning.collect.store import OUTCOMES, Store, from_row, schema_of
from int_lightning.defects import Defect, DefectKind
from int_lightning.types import (
    Completion,
    Intervention,
    Outcome,
    Problem,
    Proposal,
    Provenance,
    Rollout,
    Sampling,
    UserError,
)

from commands import without_its_last_line

PROVENANCE = Provenance("mini", "ab" * 16, "vllm", "solve@1f2e3d4c", Sampling(7, 0.1, 0.9, 20), 2**63 - 1)
LOGPROBS = torch.tensor([-0.1, -1e-30, -103.97, 0.0], dtype=torch.float32).tolist()
ROLLOUT = Rollout(
    "p/0", "p", 3, [5, 6], [7, 8, 9, 2**31 - 1], LOGPROBS, "π = 3\n\n🙂", "stop", "3", True, PROVENANCE, "p/i"
)
UNFINISHED = Rollout("p/1", "p", 1, [], [], [], "", "length", "", False, PROVENANCE)
PROPOSAL = Proposal("p/0/o/0", "p", "p/0", 0, "policy", '<intervention>{"location": 1}', 1, "x", None, PROVENANCE)
BY_PROGRAM = Proposal("p/0/o/1", "p", "p/0", 1, "program", "", -1, "", Defect(DefectKind.NO_PROPOSAL, "no tag"))
INTERVENTION = Intervention("p/i", "p", "p/0", "p/0/o/0", 1, 4, "x", [5, 6], [7], [8, 9], False, None, 3, 32, 0, 32)
REJECTED = Intervention("p/j", "p", "p/0", "p/0/o/1", -1, 4, "", [], [], [], True, Defect(DefectKind.LEAK, "2"))
PROBLEM = Problem("p", "1+1\x00", "", "2", "mini:easy")
OUTCOME = Outcome("p", "x.jsonl", "hard", 8, 0, 100)


def add(store: Store, table: str, records: list[Any]) -> None:
    store.commit({table: records, OUTCOMES: [OUTCOME]})


def column(store: Store, table: str, name: str) -> list[Any]:
    return [value for (value,) in store.columns(table, name)]


@pytest.mark.parametrize(
    "records",
    [
        [ROLLOUT, UNFINISHED],
        [UNFINISHED],
        [PROPOSAL, BY_PROGRAM],
        [BY_PROGRAM],
        [INTERVENTION, REJECTED],
        [REJECTED],
        [PROBLEM],
        [Completion([1, 2], LOGPROBS[:2], "stop"), Completion([], [], "length")],
        [OUTCOME],
        [PROVENANCE],
    ],
    ids=lambda records: type(records[0]).__name__,
)
def test_records_come_back_as_they_were(tmp_path: Path, records: list[object]) -> None:
    store = Store(tmp_path)
    add(store, "table", records)
    assert list(store.read("table", type(records[0]))) == records


@pytest.mark.parametrize("kind", DefectKind)
@pytest.mark.parametrize("detail", ["", "step 3 of 2", "HTTP 400: no: way", "'a: b' (stated)\n"])
def test_a_defect_and_the_text_that_datasets_hold_are_the_same(kind: DefectKind, detail: str) -> None:
    defect = Defect(kind, detail)
    assert str(defect) == (f"{kind.value}: {detail}" if detail else kind.value)
    assert Defect.parse(str(defect)) == defect


def test_rows_from_before_defects_had_kinds_give_the_same_counts(tmp_path: Path) -> None:
    said = [
        "",
        "another intervention of this attempt was kept",
        "it gives the final answer away: '1: 2' (stated)",
        "late: 1",
    ]
    records = [dataclasses.replace(INTERVENTION, id=text, rejected=Defect.parse(text)) for text in said]
    Store(tmp_path).commit({"attempts": [ROLLOUT], "interventions": records, OUTCOMES: [OUTCOME]})
    assert column(Store(tmp_path), "interventions", "rejected") == [*said[:3], "other: late: 1"]
    assert list(Store(tmp_path).read("interventions", Intervention)) == records
    assert collection_statistics(Store(tmp_path), {})["stages"]["rejected"].keys() == {
        *(text.partition(":")[0] for text in said[1:3]),
        "other",
    }


@settings(deadline=None)
@given(st.lists(st.floats(width=32, allow_nan=False), max_size=5), st.text(), st.integers(-(2**63), 2**63 - 1))
def test_float32_logprobs_text_and_integers_are_exact(logprobs: list[float], text: str, sample: int) -> None:
    rollout = Rollout("r", "p", sample, [], [0] * len(logprobs), logprobs, text, "stop", "", False, PROVENANCE)
    table = pa.Table.from_pylist([dataclasses.asdict(rollout)], schema=schema_of(Rollout))
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    (row,) = pq.read_table(pa.BufferReader(sink.getvalue())).to_pylist()
    assert from_row(Rollout, row) == rollout


def test_shards_are_read_in_the_order_they_were_written(tmp_path: Path) -> None:
    store = Store(tmp_path)
    problems = [Problem(f"p{i}", "", "", "") for i in range(24)]
    for i in range(0, 24, 2):
        add(store, "problems", problems[i : i + 2])
    assert list(store.read("problems", Problem)) == problems
    assert column(store, "problems", "id") == [p.id for p in problems]
    assert list(Store(tmp_path).read("problems", Problem)) == problems


def test_an_empty_store_and_a_batch_without_records_of_a_table(tmp_path: Path) -> None:
    store = Store(tmp_path / "later")
    assert list(store.read("problems", Problem)) == []
    assert not (tmp_path / "later").exists()
    add(store, "problems", [])
    assert list(store.read("problems", Problem)) == []
    assert list(store.read(OUTCOMES, Outcome)) == [OUTCOME]


def test_what_a_kill_left_of_a_batch_is_gone_with_the_next(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.commit({"attempts": [ROLLOUT], "guided": [UNFINISHED], OUTCOMES: [OUTCOME]})
    without_its_last_line(tmp_path)
    again = Store(tmp_path)
    assert list(again.read("attempts", Rollout)) == []
    again.commit({"attempts": [UNFINISHED], "guided": [], OUTCOMES: [OUTCOME]})
    assert list(again.read("attempts", Rollout)) == [UNFINISHED]
    assert list(again.read("guided", Rollout)) == []


def test_tables_are_apart(tmp_path: Path) -> None:
    store = Store(tmp_path)
    add(store, "attempts", [ROLLOUT])
    add(store, "guided", [UNFINISHED])
    assert list(store.read("attempts", Rollout)) == [ROLLOUT]
    assert list(store.read("guided", Rollout)) == [UNFINISHED]


def test_what_a_kill_left_half_written_is_ignored_and_replaced(tmp_path: Path) -> None:
    store = Store(tmp_path)
    add(store, "attempts", [ROLLOUT])
    (shard,) = (tmp_path / "attempts").glob("*.parquet")
    whole = shard.read_bytes()
    (tmp_path / "attempts" / "part-000001.tmp").write_bytes(whole[: len(whole) // 2])
    assert list(store.read("attempts", Rollout)) == [ROLLOUT]
    assert column(store, "attempts", "id") == ["p/0"]
    add(store, "attempts", [UNFINISHED])
    assert list(store.read("attempts", Rollout)) == [ROLLOUT, UNFINISHED]
    assert not list((tmp_path / "attempts").glob("*.tmp"))


def test_a_written_shard_is_never_touched_again(tmp_path: Path) -> None:
    store, problems = Store(tmp_path), [Problem(f"p{i}", "", "", "") for i in range(4)]
    for problem in problems[:3]:
        add(store, "problems", [problem])
    before = {shard: shard.stat().st_mtime_ns for shard in tmp_path.rglob("*.parquet")}
    add(Store(tmp_path), "problems", problems[3:])
    assert {shard: shard.stat().st_mtime_ns for shard in before} == before
    assert list(store.read("problems", Problem)) == problems


def test_a_shard_that_cannot_be_flushed_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    store = Store(tmp_path)
    add(store, "attempts", [ROLLOUT])
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(UserError, match="No space left on device") as caught:
            add(store, "attempts", [UNFINISHED])
    assert str(tmp_path / "attempts") in str(caught.value)
    assert list(store.read("attempts", Rollout)) == [ROLLOUT]
    add(store, "attempts", [UNFINISHED])
    assert list(store.read("attempts", Rollout)) == [ROLLOUT, UNFINISHED]


def test_a_file_in_place_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "dataset").write_text("mine")
    with pytest.raises(UserError, match="could not be written"):
        add(Store(tmp_path / "dataset"), "attempts", [ROLLOUT])
    assert (tmp_path / "dataset").read_text() == "mine"


def test_a_manifest_may_grow_while_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, reader = Store(tmp_path), Manifest(tmp_path)
    add(store, "problems", [Problem("a", "1+1", "", "2")])

    def read_late() -> None:
        add(store, "problems", [Problem("b", "1+2", "", "3")])
        Manifest._read(reader)

    monkeypatch.setattr(reader, "_read", read_late)
    reader.refresh()
    assert len(reader.batches) == 2


def test_a_reader_beside_a_writer_sees_whole_shards_only(tmp_path: Path) -> None:
    store, size, shards = Store(tmp_path), 500, 30
    failures: list[BaseException] = []

    def write() -> None:
        try:
            for i in range(shards):
                add(store, "problems", [Problem(f"{i * size + j}", "x" * 40, "", "") for j in range(size)])
        except BaseException as error:
            failures.append(error)

    writer = threading.Thread(target=write)
    writer.start()
    seen = []
    while writer.is_alive():
        ids = column(Store(tmp_path), "problems", "id")
        assert ids == [str(i) for i in range(len(ids))]
        seen.append(len(ids))
    writer.join()
    assert not failures
    assert seen
    assert all(n % size == 0 for n in seen)
    assert seen == sorted(seen)
    assert len(column(store, "problems", "id")) == size * shards
