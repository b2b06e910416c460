"""Reading sources row by row: what each bad row says, what is still read, and which mistakes stop at once."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from int_lightning.sources.lines import MAX_FIELD
from int_lightning.sources.reading import load_problems, read
from int_lightning.sources.source_config import Quarantined, SourceConfig
from int_lightning.types import Problem, UserError

from shared_data import SHARED, needs_shared
from source_files import ROW, outcome, write, write_csv


@pytest.mark.parametrize(
    ("row", "kind"),
    [
        ("{", "not JSON"),
        ('{"problem": "2 + 2?", "sol', "not JSON"),
        ("[1]", "not a JSON object"),
        ({"problem": "p", "solution": "s"}, "key 'answer' is missing"),
        (ROW | {"solution": None}, "key 'solution' is null"),
        (ROW | {"solution": " "}, "no reference solution"),
        (ROW | {"answer": None}, "key 'answer' is null"),
        (ROW | {"answer": float("nan")}, "key 'answer' is null"),
        (ROW | {"answer": ["1", "2"]}, "key 'answer' is a list"),
        (ROW | {"answer": [["1"]]}, "key 'answer' is a list"),
        (ROW | {"answer": {"value": "4"}}, "key 'answer' is a dict"),
        (ROW | {"answer": r"\frac{1}{2"}, "key 'answer' does not parse"),
        (ROW | {"answer": ""}, "key 'answer' has no final answer"),
        (ROW | {"problem": ""}, "the problem text is empty"),
        (ROW | {"problem": "a \ud800 b"}, "key 'problem' is not UTF-8"),
        (ROW | {"problem": "x" * 10_000_000}, "key 'problem' is too long"),
        (ROW | {"id": ["a"], "problem": "x" * 20_000_000}, "the row is too long"),
    ],
)
def test_a_bad_row_is_quarantined_and_reading_continues(tmp_path: Path, row: object, kind: str) -> None:
    source = write(tmp_path / "a.jsonl", ROW, row, ROW)
    assert outcome(source) == ["a-000000", (2, kind), "a-000002"]
    (bad,) = [item for item in read(source) if isinstance(item, Quarantined)]
    assert (bad.source, bad.id) == (source, "a-000001")
    assert str(bad).startswith(f"{source}: row 2: {kind}")


def test_a_quarantined_row_says_little(tmp_path: Path) -> None:
    source = write(tmp_path / "a.jsonl", ROW | {"answer": "x" * MAX_FIELD}, ROW | {"problem": "y" * 2 * MAX_FIELD})
    assert all(len(item.reason) < 200 for item in read(source) if isinstance(item, Quarantined))


def test_a_column_that_no_row_has_is_a_mistake(tmp_path: Path) -> None:
    rows = [{"question": "q", "solution": "s", "final": "1"}] * 1000
    columns = {"problem": "question", "answer": "result"}
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    write_csv(tmp_path / "a.csv", list(rows[0]), *(list(row.values()) for row in rows))
    write(tmp_path / "a.jsonl", *rows)
    for kind in ("parquet", "csv", "jsonl"):
        items = islice(read(SourceConfig(str(tmp_path / f"a.{kind}"), columns)), 101)
        with pytest.raises(UserError, match="100 rows has 'result': the last one has question, solution, final"):
            list(items)
    with pytest.raises(UserError, match="'result'"):
        list(read(SourceConfig(write(tmp_path / "short.jsonl", *rows[:3]), columns)))


def test_a_column_that_one_row_lacks_is_not_a_mistake(tmp_path: Path) -> None:
    source = write(tmp_path / "a.jsonl", {"problem": "p", "answer": "1"}, *[ROW] * 200)
    assert outcome(source)[:2] == [(1, "key 'solution' is missing"), "a-000001"]


def test_mistakes_in_a_source_stop_at_once(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("problem")
    (tmp_path / "a.parquet").write_bytes(b"no parquet")
    for name in ("missing.jsonl", "a.txt", "a.parquet"):
        with pytest.raises(UserError, match=name):
            read(str(tmp_path / name))
    (tmp_path / "a.jsonl.gz").write_bytes(b"no gzip")
    with pytest.raises(UserError, match="cannot be read"):
        list(read(str(tmp_path / "a.jsonl.gz")))
    with pytest.raises(UserError, match="'answer' twice"):
        list(read(write_csv(tmp_path / "a.csv", ["problem", "answer", "answer"], ["p", "1", "2"])))
    with pytest.raises(UserError, match="difficulty"):
        SourceConfig("a.jsonl", {"difficulty": "level"})
    with pytest.raises(UserError, match="weight is 0"):
        SourceConfig("a.jsonl", weight=0)
    with pytest.raises(UserError, match="attempts is 0"):
        SourceConfig("a.jsonl", attempts=0)


def test_a_whole_source_config_can_be_loaded_strictly(tmp_path: Path) -> None:
    source = SourceConfig(write(tmp_path / "a.jsonl", {"q": "2 + 2?", "a": 4}), {"problem": "q", "answer": "a"})
    with pytest.raises(UserError, match=r"row 1: key 'solution' is missing"):
        load_problems(source)
    assert load_problems(source, require_solution=False)[0].problem == "2 + 2?"


@needs_shared
def test_dapo_as_published() -> None:
    path = str(SHARED / "dapo_17k" / "dapo_math_17k.parquet")
    source = SourceConfig(
        path, {"problem": "prompt.0.content", "answer": "reward_model.ground_truth"}, require_solution=False
    )
    items = list(read(source))
    assert len(items) == 17917
    assert all(isinstance(item, Problem) for item in items)
    assert isinstance(items[0], Problem)
    assert (items[0].id, items[0].answer) == ("dapo_math_17k-000000", "34")


@needs_shared
def test_omni_math_loses_only_the_answers_that_break_off() -> None:
    items = list(read(str(SHARED / "omni_math_rule" / "omni_math_rule.jsonl.gz")))
    assert len(items) == 2821
    assert [i.row for i in items if isinstance(i, Quarantined)] == [184, 683, 711, 1470]


@needs_shared
def test_imo_answerbench_reads_from_csv() -> None:
    columns = {"id": "Problem ID", "problem": "Problem", "answer": "Short Answer"}
    source = SourceConfig(str(SHARED / "imo_answerbench" / "answerbench.csv"), columns, require_solution=False)
    items = list(read(source))
    assert len(items) == 400
    assert isinstance(items[0], Problem)
    assert (items[0].id, items[0].answer) == ("imo-bench-algebra-001", "3")
    assert not [str(item) for item in items if isinstance(item, Quarantined)]
