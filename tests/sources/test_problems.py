"""Sources of problems: what is read, and what each mistake says."""

import csv
import gzip
import json
import string
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from int_lightning.sources.reading import load_problems
from int_lightning.types import UserError

from shared_data import SHARED, needs_shared
from source_files import ROW, write


def test_rows_become_problems_with_stable_ids(tmp_path: Path) -> None:
    source = write(tmp_path / "algebra.jsonl", ROW, "", ROW | {"id": "mine"}, ROW | {"id": 7, "answer": 4})
    problems = load_problems(source)
    assert [p.id for p in problems] == ["algebra-000000", "mine", "7"]
    assert problems[0].problem == "2 + 2?"
    assert problems[0].solution == "2 + 2 = 4"
    assert [p.answer for p in problems] == ["4", "4", "4"]
    assert {p.source for p in problems} == {source}


def test_gsm8k_rows_are_split_at_the_final_answer(tmp_path: Path) -> None:
    path = tmp_path / "gsm8k.jsonl.gz"
    row = {"question": "How much?", "answer": "It is 2*600=$<<2*600=1200>>1,200.\nSo 1,200.\n#### 1,200"}
    with gzip.open(path, "wt") as file:
        file.write(json.dumps(row) + "\n")
    (problem,) = load_problems(str(path))
    assert problem.id == "gsm8k-000000"
    assert problem.solution == "It is 2*600=$1,200.\nSo 1,200."
    assert problem.answer == "1200"


def test_parquet_and_csv_read_as_jsonl_does(tmp_path: Path) -> None:
    rows = [ROW, ROW | {"problem": 'Say "x",\nthen y', "answer": "007"}]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "set.parquet")
    with open(tmp_path / "set.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, list(ROW))
        writer.writeheader()
        writer.writerows(rows)
    write(tmp_path / "set.jsonl", *rows)
    read = [
        [(p.id, p.problem, p.solution, p.answer) for p in load_problems(str(tmp_path / f"set.{kind}"))]
        for kind in ("jsonl", "parquet", "csv")
    ]
    assert read[0] == read[1] == read[2]
    assert read[0][1][3] == "007"


def test_limit_stops_before_later_rows(tmp_path: Path) -> None:
    source = write(tmp_path / "a.jsonl", ROW, ROW, "not json")
    assert len(load_problems(source, limit=2)) == 2
    with pytest.raises(UserError, match="limit is 0"):
        load_problems(source, limit=0)


def test_a_solution_is_needed_unless_told_otherwise(tmp_path: Path) -> None:
    for row in ({"problem": "p", "answer": "1"}, ROW | {"solution": ""}, {"question": "q", "answer": "18"}):
        source = write(tmp_path / "a.jsonl", row)
        assert load_problems(source, require_solution=False)[0].solution == ""
        with pytest.raises(UserError, match=r"row 1.*solution"):
            load_problems(source)


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([], ["no problems"]),
        ([ROW, "{"], ["row 2", "not JSON"]),
        ([ROW, "[1]"], ["row 2", "list"]),
        ([{"problem": "p", "solution": "s"}], ["row 1", "'answer'", "missing", "problem, solution"]),
        ([{"solution": "s", "answer": "1"}], ["row 1", "'problem'", "missing"]),
        ([ROW | {"problem": " "}], ["row 1", "problem text is empty"]),
        ([ROW, "", ROW | {"answer": " "}], ["row 3", "'answer'"]),
        ([ROW | {"answer": [4]}], ["row 1", "'answer'", "list"]),
        ([ROW | {"answer": True}], ["row 1", "'answer'", "bool"]),
        ([ROW | {"answer": None}], ["row 1", "'answer'", "null"]),
        ([ROW | {"id": "a"}, ROW, ROW | {"id": "a"}], ["rows 1 and 3", "'a'"]),
    ],
)
def test_mistakes_name_file_row_and_key(tmp_path: Path, rows: list[object], words: list[str]) -> None:
    source = write(tmp_path / "a.jsonl", *rows)
    with pytest.raises(UserError) as caught:
        load_problems(source)
    for word in [source, *words]:
        assert word in str(caught.value)


def test_unreadable_files_are_user_errors(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl.gz").write_bytes(b"plain text")
    (tmp_path / "b.jsonl").write_bytes(b'{"problem": "\xff\xfe"}')
    (tmp_path / "c.parquet").write_bytes(b"no parquet")
    (tmp_path / "d.txt").write_text("problem")
    for name in ("a.jsonl.gz", "b.jsonl", "c.parquet", "d.txt", "missing.jsonl"):
        with pytest.raises(UserError, match=name):
            load_problems(str(tmp_path / name))


def test_mini_splits() -> None:
    problems = load_problems("mini:hard-test:5")
    assert len(problems) == len({p.id for p in problems}) == 5
    assert all(p.solution and p.answer for p in problems)
    assert load_problems("mini:hard-test:5", limit=3) == load_problems("mini:hard-test", limit=3) == problems[:3]
    for source in ("mini:nothing", "mini:", "mini", "mini:easy:0", "mini:easy:many"):
        with pytest.raises(UserError):
            load_problems(source)


TEXT = st.text(string.printable.translate(str.maketrans("", "", "{}\\")), min_size=1).filter(str.strip)


@given(st.lists(st.tuples(TEXT, TEXT, TEXT), min_size=1, max_size=5))
def test_text_survives_the_file(tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str, str]]) -> None:
    path = tmp_path_factory.mktemp("rows") / "a.jsonl"
    source = write(path, *({"problem": p, "solution": s, "answer": a} for p, s, a in rows))
    read = [(p.problem, p.solution, p.answer) for p in load_problems(source)]
    assert read == [(p.strip(), s.strip(), a.strip()) for p, s, a in rows]


@needs_shared
def test_gsm8k_as_published() -> None:
    train = load_problems(str(SHARED / "gsm8k" / "train.jsonl.gz"))
    assert len(train) == 7473
    assert not any("<<" in p.solution or "####" in p.solution or "," in p.answer for p in train)
    assert train[0].id == "train-000000"
    assert train[0].answer == "72"
