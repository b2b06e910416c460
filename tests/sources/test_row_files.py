"""Files of rows: every layout reads the same, and damage costs as few rows as possible."""

from __future__ import annotations

import csv
import gzip
import json
import random
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from int_lightning.sources.reading import read
from int_lightning.sources.source_config import Quarantined, SourceConfig
from int_lightning.types import Problem, UserError

from source_files import ROW, outcome, write, write_csv

LAYOUTS = {
    "list.json": json.dumps([ROW, ROW | {"answer": 5}]),
    "indented.json": json.dumps([ROW, ROW | {"answer": 5}], indent=2),
    "list.jsonl": json.dumps([ROW, ROW | {"answer": 5}]),
    "lines.json": json.dumps(ROW) + "\n" + json.dumps(ROW | {"answer": 5}) + "\n",
    "lines.ndjson": json.dumps(ROW) + "\r\n\r\n" + json.dumps(ROW | {"answer": 5}),
    "marked.json": "\ufeff" + json.dumps([ROW, ROW | {"answer": 5}]),
    "held.json": json.dumps({"version": "1.0", "data": [ROW, ROW | {"answer": 5}]}),
    "held-indented.json": json.dumps({"version": "1.0", "data": [ROW, ROW | {"answer": 5}]}, indent=1),
    "tabs.tsv": "problem\tsolution\tanswer\n2 + 2?\t2 + 2 = 4\t4\n2 + 2?\t2 + 2 = 4\t5\n",
    "semicolons.csv": "problem; solution;answer\n2 + 2?;2 + 2 = 4;4\n2 + 2?;2 + 2 = 4;5\n",
    "named.csv": "sep=;\nproblem;solution;answer\n2 + 2?;2 + 2 = 4;4\n2 + 2?;2 + 2 = 4;5\n",
    "late.csv": "\n\nproblem,,solution,answer,\n2 + 2?,,2 + 2 = 4,4,\n2 + 2?,,2 + 2 = 4,5,\n",
    "bars.csv": "problem|solution|answer\n2 + 2?|2 + 2 = 4|4\n2 + 2?|2 + 2 = 4|5\n",
    "excel.csv": "\ufeffproblem,solution,answer\r\n2 + 2?,2 + 2 = 4,4\r\n2 + 2?,2 + 2 = 4,5\r\n",
}


@pytest.mark.parametrize("packed", ["", ".gz", "unnamed"])
@pytest.mark.parametrize("name", LAYOUTS)
def test_rows_read_the_same_in_every_layout(tmp_path: Path, name: str, packed: str) -> None:
    path = tmp_path / (f"{name}.gz" if packed == ".gz" else name)
    path.write_bytes(gzip.compress(LAYOUTS[name].encode()) if packed else LAYOUTS[name].encode())
    problems = [item for item in read(str(path)) if isinstance(item, Problem)]
    assert [(p.problem, p.solution, p.answer) for p in problems] == [("2 + 2?", "2 + 2 = 4", a) for a in "45"]
    assert [p.id for p in problems] == [f"{name.rpartition('.')[0]}-{i:06d}" for i in range(2)]


def test_a_row_that_holds_a_list_of_objects_is_a_row(tmp_path: Path) -> None:
    row = {"prompt": [{"role": "user", "content": "2 + 2?"}], "answer": "4"}
    source = SourceConfig(write(tmp_path / "a.jsonl", row), {"problem": "prompt.0.content"}, require_solution=False)
    assert [item.problem for item in read(source) if isinstance(item, Problem)] == ["2 + 2?"]


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("[" + json.dumps(ROW) + ', {"problem": "cut o', ["a-000000", (2, "the file breaks off")]),
        ("[" + json.dumps(ROW) + json.dumps(ROW) + "]", ["a-000000", (2, "the file breaks off")]),
        (json.dumps([ROW]) + "\n" + json.dumps([ROW]), ["a-000000", (2, "the file continues after its list")]),
        ("[" + json.dumps(ROW) + ', 12, "x",]', ["a-000000", (2, "not a JSON object"), (3, "not a JSON object")]),
    ],
)
def test_a_broken_list_is_read_up_to_where_it_breaks(tmp_path: Path, text: str, rows: list[object]) -> None:
    (tmp_path / "a.json").write_text(text)
    assert outcome(str(tmp_path / "a.json")) == rows


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (json.dumps({"train": [ROW], "test": [ROW]}, indent=1), "lists in 'train', 'test': save the rows"),
        (json.dumps({"a": {"problem": "p"}, "b": {"problem": "q"}}, indent=1), "no list of rows in 'a', 'b'"),
        (json.dumps({"a": {"problem": "p"}, "b": {"problem": "q"}}), "no list of rows in 'a', 'b'"),
        (json.dumps({name: {"0": value, "1": value} for name, value in ROW.items()}), "one object of columns"),
    ],
)
def test_an_object_without_one_list_of_rows_is_a_mistake(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(UserError, match=said):
        list(read(str(tmp_path / "a.json")))


def test_a_row_of_nothing_but_nested_columns_is_a_row(tmp_path: Path) -> None:
    row = {
        "prompt": [{"role": "user", "content": "2 + 2?"}],
        "reward": {"truth": "4", "style": "rule"},
        "n": [[1], [2]],
    }
    source = SourceConfig(
        write(tmp_path / "a.jsonl", row),
        {"problem": "prompt.0.content", "answer": "reward.truth"},
        require_solution=False,
    )
    assert [item.answer for item in read(source) if isinstance(item, Problem)] == ["4"]


def test_the_list_whose_rows_have_the_named_columns_is_read(tmp_path: Path) -> None:
    held = {"features": [{"name": "problem"}], "rows": [{"row_idx": 0, "row": ROW}]}
    (tmp_path / "a.json").write_text(json.dumps(held))
    columns = {name: f"row.{name}" for name in ROW}
    assert [i.answer for i in read(SourceConfig(str(tmp_path / "a.json"), columns)) if isinstance(i, Problem)] == ["4"]


def test_a_list_longer_than_what_is_read_at_a_time_comes_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("int_lightning.sources.json_rows._PIECE", 7)
    rows = [ROW | {"solution": "é\n" * i, "answer": i} for i in range(1, 40)]
    (tmp_path / "a.json").write_text(json.dumps(rows, ensure_ascii=False, indent=3), encoding="utf-8")
    assert [item.answer for item in read(str(tmp_path / "a.json")) if isinstance(item, Problem)] == [
        str(row["answer"]) for row in rows
    ]


def test_utf_16_is_named(tmp_path: Path) -> None:
    for name in ("a.csv", "a.json"):
        (tmp_path / name).write_text("problem,answer\n1,2\n", encoding="utf-16")
        with pytest.raises(UserError, match="UTF-16: save it as UTF-8"):
            list(read(str(tmp_path / name)))


def test_a_pointer_of_git_lfs_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 123\n")
    with pytest.raises(UserError, match="git lfs pull"):
        list(read(str(tmp_path / "a.jsonl")))


def test_undecodable_bytes_cost_their_row(tmp_path: Path) -> None:
    path = tmp_path / "mixed.jsonl"
    row = json.dumps(ROW | {"problem": "größer?"}, ensure_ascii=False)
    path.write_bytes(b"\n".join(row.encode(encoding) for encoding in ("utf-8", "latin-1", "utf-8")))
    assert outcome(str(path)) == ["mixed-000000", (2, "key 'problem' is not UTF-8"), "mixed-000002"]
    path = tmp_path / "mixed.csv"
    path.write_bytes(b"problem,solution,answer\n\xfc,s,1\n" + "ü,s,1\n".encode())
    assert outcome(str(path)) == [(1, "key 'problem' is not UTF-8"), "mixed-000001"]


def test_a_csv_row_with_shifted_columns_is_quarantined(tmp_path: Path) -> None:
    source = write_csv(
        tmp_path / "a.csv",
        ["problem", "solution", "answer"],
        ["p", "s", "1"],
        ["a problem", " whose comma was not quoted", "s", "2"],
        ["p", "3"],
        [],
        ["p\nin two lines", 'with "quotes", and commas', "4"],
        ["p", "x" * 10_000_000, "5"],
        ["p", "s", "6"],
    )
    wrong = "wrong number of fields"
    assert outcome(source) == ["a-000000", (2, wrong), (3, wrong), "a-000003", (5, "not CSV"), "a-000005"]


def test_a_stray_quote_costs_few_csv_rows(tmp_path: Path) -> None:
    rows = [f'"problem {i}","s",{i}\n' for i in range(100)]
    rows[10] = '"problem 10,"s",10\n'
    (tmp_path / "a.csv").write_text("problem,solution,answer\n" + "".join(rows))
    answers = [item.answer for item in read(str(tmp_path / "a.csv")) if isinstance(item, Problem)]
    assert set(map(str, range(100))) - set(answers) <= {"10", "11"}


@pytest.mark.parametrize("kind", ["jsonl.gz", "csv.gz"])
def test_a_broken_gzip_tail_is_one_record_with_the_row_where_it_broke(tmp_path: Path, kind: str) -> None:
    rng = random.Random(0)
    rows = [ROW | {"solution": str(rng.getrandbits(2000))} for _ in range(1000)]
    path = tmp_path / f"a.{kind}"
    with gzip.open(path, "wt", newline="") as file:
        if kind == "jsonl.gz":
            file.writelines(json.dumps(row) + "\n" for row in rows)
        else:
            writer = csv.DictWriter(file, list(ROW))
            writer.writeheader()
            writer.writerows(rows)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    *problems, last = read(str(path))
    assert isinstance(last, Quarantined)
    assert last.kind == "the file breaks off"
    assert last.row == len(problems) + 1
    assert [p.solution for p in problems if isinstance(p, Problem)] == [r["solution"] for r in rows[: len(problems)]]
    assert 300 < len(problems) < 600


def test_a_damaged_parquet_row_group_costs_itself(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    rows = [ROW | {"solution": f"{i} " * 50} for i in range(300)]
    pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=100, compression="gzip")
    column = pq.ParquetFile(path).metadata.row_group(1).column(1)
    damaged = bytearray(path.read_bytes())
    start = column.dictionary_page_offset or column.data_page_offset
    damaged[start : start + column.total_compressed_size] = b"\xff" * column.total_compressed_size
    path.write_bytes(damaged)
    items = list(read(str(path)))
    (bad,) = [item for item in items if isinstance(item, Quarantined)]
    assert (bad.row, bad.kind) == (101, "the file is damaged")
    assert [i.solution for i in items if isinstance(i, Problem)] == [
        r["solution"].strip() for r in rows[:100] + rows[200:]
    ]


def test_undecodable_bytes_in_parquet_cost_their_row(tmp_path: Path) -> None:
    texts = [b"fine", b"\xff\xfe", b"fine too"]
    column = pa.Array.from_buffers(pa.string(), 3, pa.array(texts, pa.binary()).buffers())
    table = pa.table({"problem": column, "solution": ["s"] * 3, "answer": ["1"] * 3})
    pq.write_table(table, tmp_path / "a.parquet")
    assert outcome(str(tmp_path / "a.parquet")) == ["a-000000", (2, "not UTF-8"), "a-000002"]


STREAM = """
import resource, sys
import numpy as np, pyarrow as pa, pyarrow.parquet as pq

path, rows = sys.argv[1], 200_000
text = pa.array([f"{i} " * 40 for i in range(1000)])
solution = pa.array([f"{i} " * 120 for i in range(1000)])
def part(size):
    random = np.random.default_rng(0).integers(0, 1000, size)
    answers = pa.array(random.astype(str))
    texts = text.take(random)
    return pa.table({"problem": texts, "solution": solution.take(random), "answer": answers, "other": texts})
if sys.argv[2] == "write":
    with pq.ParquetWriter(path, part(1).schema) as writer:
        for _ in range(10):
            writer.write_table(part(rows // 10))
else:
    from int_lightning.sources.reading import read
    items = read(path)
    for _ in range(1000):
        next(items)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert sum(1 for _ in items) == rows - 1000
    print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""


def test_reading_200_000_rows_takes_no_more_memory_than_1000(tmp_path: Path) -> None:
    command = [sys.executable, "-c", STREAM, str(tmp_path / "a.parquet")]
    subprocess.run([*command, "write"], check=True)
    grown = subprocess.run([*command, "read"], check=True, capture_output=True, text=True).stdout
    assert float(grown) < 50  # MiB; the rows together are 130
