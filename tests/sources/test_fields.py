"""Fields of a row: where they are found, how they are written, and what is said about those that cannot be used."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from int_lightning.sources.reading import load_problems, read
from int_lightning.sources.source_config import Quarantined, SourceConfig
from int_lightning.types import Problem, UserError

from source_files import ROW, write


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
