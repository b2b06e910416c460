"""Reading sources row by row: what each bad row says, what is read all the same, and which mistakes stop at once."""

import csv
import gzip
import json
import random
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
        (12.0, "12"),
        (-3.0, "-3"),
        (1e-07, "0.0000001"),
        (1e22, "1" + "0" * 22),
    ],
)
def test_answers_lose_their_wrapping(tmp_path: Path, answer: object, read_as: str | None) -> None:
    (problem,) = read(write(tmp_path / "a.jsonl", ROW | {"answer": answer}))
    assert (problem.answer if isinstance(problem, Problem) else None) == read_as


@pytest.mark.parametrize(
    ("row", "cure"),
    [
        (ROW | {"solution": ["first way", "second way"]}, "of 2 parts, .* columns: {solution: solution.0}"),
        (ROW | {"answer": [4]}, "columns: {answer: answer.0}"),
        (ROW | {"answer": {"value": "4", "unit": "m"}}, "with value, unit, .* columns: {answer: answer.value}"),
        (ROW | {"answer": True}, 'such as "yes" or "no"'),
        (ROW | {"answer": float("inf")}, "infinite"),
        ({"Problem": "p", "solution": "s", "answer": "1"}, "columns: {problem: Problem}"),
        ({"problem": "p", "solution": "s", "Short Answer": "1"}, "columns: {answer: Short Answer}"),
        ({"ID": 1, "Problem": "p", "Answer": "1"}, "columns: {id: ID, problem: Problem, answer: Answer}"),
        ({"problem": "p", "solution": r"so \boxed{4}"}, "columns: {answer: solution}"),
    ],
)
def test_what_is_wrong_with_a_field_comes_with_its_cure(tmp_path: Path, row: object, cure: str) -> None:
    with pytest.raises(UserError, match=rf"row 1: .*{cure}"):
        load_problems(write(tmp_path / "a.jsonl", row), require_solution="solution" in cure)


def test_a_named_part_of_a_list_is_read(tmp_path: Path) -> None:
    rows = [ROW | {"solution": ["first way", "second way"], "answer": [4, 5]}]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    columns = {"solution": "solution.1", "answer": "answer.0"}
    for source in (write(tmp_path / "a.jsonl", *rows), str(tmp_path / "a.parquet")):
        (problem,) = read(SourceConfig(source, columns))
        assert isinstance(problem, Problem)
        assert (problem.solution, problem.answer) == ("second way", "4")


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


def test_numbers_of_parquet_read_as_they_were_written(tmp_path: Path) -> None:
    values = [33.3, 0.1, 12.0, 2.5e-5]
    kinds = {
        "single": pa.array(values, pa.float32()),
        "double": pa.array(values, pa.float64()),
        "decimal": pa.array(["33.30", "0.10", "12.00", "0.000025"]).cast(pa.decimal128(12, 6)),
        "nested": pa.array([{"all": [v]} for v in values], pa.struct([("all", pa.list_(pa.float32()))])),
    }
    texts = pa.array(["p"] * 4)
    pq.write_table(pa.table({"problem": texts, "solution": texts, **kinds}), tmp_path / "a.parquet")
    for column in ("single", "double", "decimal", "nested.all.0"):
        items = list(read(SourceConfig(str(tmp_path / "a.parquet"), {"answer": column})))
        assert [i.answer for i in items if isinstance(i, Problem)] == ["33.3", "0.1", "12", "0.000025"]


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
