"""Reading sources row by row: what each bad row says, what is read all the same, and which mistakes stop at once."""

import csv
import gzip
import json
import os
import random
from itertools import islice
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from int_lightning.sources import Quarantined, SourceConfig, load_problems, read
from int_lightning.sources.lines import MAX_FIELD
from int_lightning.types import Problem, UserError

SHARED = Path(os.environ.get("INT_SHARED_DATA", Path(__file__).parents[2] / "shared" / "data"))
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="no shared data: set INT_SHARED_DATA to its folder")

ROW = {"problem": "2 + 2?", "solution": "2 + 2 = 4", "answer": "4"}


def write(path: Path, *rows: object) -> str:
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return str(path)


def write_csv(path: Path, *rows: list[str]) -> str:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return str(path)


def outcome(source: SourceConfig | str) -> list[tuple[int, str] | str]:
    """Id of each problem, row and kind of each quarantined row."""
    return [(i.row, i.kind) if isinstance(i, Quarantined) else i.id for i in read(source)]


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
def test_a_bad_row_is_quarantined_and_reading_goes_on(tmp_path: Path, row: object, kind: str) -> None:
    source = write(tmp_path / "a.jsonl", ROW, row, ROW)
    assert outcome(source) == ["a-000000", (2, kind), "a-000002"]
    (bad,) = [item for item in read(source) if isinstance(item, Quarantined)]
    assert (bad.source, bad.id) == (source, "a-000001")
    assert str(bad).startswith(f"{source}: row 2: {kind}")


def test_a_quarantined_row_says_little(tmp_path: Path) -> None:
    source = write(tmp_path / "a.jsonl", ROW | {"answer": "x" * MAX_FIELD}, ROW | {"problem": "y" * 2 * MAX_FIELD})
    assert all(len(item.reason) < 200 for item in read(source) if isinstance(item, Quarantined))


def test_a_list_of_one_string_is_that_string(tmp_path: Path) -> None:
    (problem,) = read(write(tmp_path / "a.jsonl", ROW | {"answer": ["4"], "solution": ["two and two"]}))
    assert isinstance(problem, Problem)
    assert (problem.answer, problem.solution) == ("4", "two and two")


@pytest.mark.parametrize(
    ("answer", "read_as"),
    [
        (r"\boxed{1999}", "1999"),
        (r"The number is \(\boxed{\frac{1}{2}}\).", r"\frac{1}{2}"),
        (r"\boxed{1} or \boxed{2}", None),
        ("16\\\\\n\\noindent", "16"),
        ("$C$\n\n\\noindent", "$C$"),
        (4, "4"),
        (0.5, "0.5"),
    ],
)
def test_answers_lose_their_wrapping(tmp_path: Path, answer: object, read_as: str | None) -> None:
    (problem,) = read(write(tmp_path / "a.jsonl", ROW | {"answer": answer}))
    assert (problem.answer if isinstance(problem, Problem) else None) == read_as


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


def test_columns_are_found_by_dotted_paths(tmp_path: Path) -> None:
    rows = [
        {"prompt": [{"role": "user", "content": "How much?"}], "reward": {"truth": "4"}, "a.b": "flat", "nr": 7},
        {"prompt": [], "reward": {"truth": "4"}, "a.b": "flat", "nr": 8},
    ]
    columns = {"id": "nr", "problem": "prompt.0.content", "answer": "reward.truth", "solution": "a.b"}
    pq.write_table(pa.Table.from_pylist([row | {"unused": "x"} for row in rows]), tmp_path / "a.parquet")
    for source in (write(tmp_path / "a.jsonl", *rows), str(tmp_path / "a.parquet")):
        first, second = read(SourceConfig(source, columns))
        assert first == Problem("7", "How much?", "flat", "4", source)
        assert isinstance(second, Quarantined)
        assert second.kind == "key 'prompt.0.content' is missing"


def test_a_star_is_the_only_value_there_is(tmp_path: Path) -> None:
    rows = [{"Problem_1": ROW, "Problem_2": None}, {"Problem_1": None, "Problem_2": ROW | {"problem": "3 + 3?"}}]
    columns = {name: f"*.{name}" for name in ROW}
    items = list(read(SourceConfig(write(tmp_path / "a.jsonl", *rows), columns)))
    assert [i.problem for i in items if isinstance(i, Problem)] == ["2 + 2?", "3 + 3?"]


def test_the_wrapping_of_a_problem_is_taken_off_where_it_is(tmp_path: Path) -> None:
    texts = ["Solve this.\nLast line: $Answer.\n\nWhat is 1 + 1?\n\nRemember that.", "What is 1 + 1?", "Solve this."]
    source = SourceConfig(
        write(tmp_path / "a.jsonl", *(ROW | {"problem": text} for text in texts)),
        prefix="Solve this. Last line: $Answer.",
        suffix="Remember that.",
    )
    assert [i.problem for i in read(source) if isinstance(i, Problem)] == ["What is 1 + 1?"] * 2 + ["Solve this."]


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


def test_a_column_that_one_row_lacks_is_no_mistake(tmp_path: Path) -> None:
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
