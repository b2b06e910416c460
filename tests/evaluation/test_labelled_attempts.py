"""Attempts with a labelled first wrong step: every kind of file gives the same, and what cannot be used is named."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from labelled_rows import ROW, items, write

from int_lightning.evaluation.labelled_attempts import NO_ERROR, load_labelled_attempts
from int_lightning.steps import split_steps
from int_lightning.types import UserError


@pytest.mark.parametrize("name", ["x.json", "x.json.gz", "x.jsonl", "x.jsonl.gz"])
def test_every_kind_of_file_gives_the_same_attempts(tmp_path: Path, name: str) -> None:
    rows = [ROW, ROW | {"id": "a-1", "label": -1, "steps": ["2 + 3 = 5.\n\nBy\u2028counting.", "So 5."]}]
    one, two = load_labelled_attempts({"x": write(tmp_path / name, rows)})
    assert (one.subset, one.label, two.label) == ("x", 0, NO_ERROR)
    problem = one.attempt.problem
    assert (problem.id, problem.problem, problem.solution, problem.answer) == (
        "a-0",
        "What is 2 + 3?",
        "2 + 3 = 5",
        "5",
    )
    assert one.attempt.steps == ["2 + 3 is 6.\n\n", "So 6."]
    assert one.attempt.rollout.text == "2 + 3 is 6.\n\nSo 6."
    assert one.attempt.rollout.provenance.model == "some model"
    assert not one.attempt.rollout.correct
    assert [s.strip() for s in two.attempt.steps] == ["2 + 3 = 5.\n\nBy\u2028counting.", "So 5."]


def test_references_come_from_a_file_of_their_own(tmp_path: Path) -> None:
    bare = [{k: v for k, v in ROW.items() if k not in ("reference_solution", "answer")} | {"id": i} for i in ("p", "q")]
    source = write(tmp_path / "x.json", bare)
    rows = [{"id": i, "reference_solution": f"as {i}", "answer": "5"} for i in ("q", "p", "r")]
    labelled = load_labelled_attempts({"x": source}, write(tmp_path / "refs.jsonl.gz", rows))
    assert [item.attempt.problem.solution for item in labelled] == ["as p", "as q"]
    with pytest.raises(UserError, match=r"x\.json: row 2: no reference solution for 'q'"):
        load_labelled_attempts({"x": source}, write(tmp_path / "some.jsonl", rows[1:]))
    with pytest.raises(UserError, match=r"row 1: key 'answer' is missing \(it has: id"):
        load_labelled_attempts({"x": source}, write(tmp_path / "bad.jsonl", [{"id": "p", "reference_solution": "5"}]))


def test_the_limit_is_of_each_kind_in_each_subset(tmp_path: Path) -> None:
    items(tmp_path, [0, 1, 2, -1, -1, -1], "one")
    items(tmp_path, [-1, 2, -1, 1], "two")
    sources = {name: str(tmp_path / f"{name}.jsonl") for name in ("one", "two")}
    found = [(i.subset, i.label) for i in load_labelled_attempts(sources, limit=2)]
    assert found == [*(("one", n) for n in (0, 1, -1, -1)), *(("two", n) for n in (-1, 2, -1, 1))]
    with pytest.raises(UserError, match="limit is 0"):
        load_labelled_attempts(sources, limit=0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"label": 2}, "key 'label' is 2: give the index of the first wrong step, 0 to 1, or -1"),
        ({"label": -2}, "key 'label' is -2"),
        ({"label": True}, "key 'label' is of type bool: write int"),
        ({"label": "0"}, "key 'label' is of type str"),
        ({"label": None}, "key 'label' is of type NoneType"),
        ({"steps": []}, "key 'steps'"),
        ({"steps": "all"}, "key 'steps' is of type str: write list"),
        ({"steps": ["a", " "]}, "key 'steps'"),
        ({"steps": ["a", 1]}, "key 'steps'"),
        ({"problem": " "}, "key 'problem' is empty"),
        ({"id": 3}, "key 'id' is of type int"),
        ({"final_answer_correct": 1}, "key 'final_answer_correct' is of type int"),
    ],
)
def test_a_bad_row_is_named_with_its_key(tmp_path: Path, change: dict[str, object], message: str) -> None:
    source = write(tmp_path / "x.jsonl", [ROW, ROW | {"id": "a-1"} | change])
    with pytest.raises(UserError) as caught:
        load_labelled_attempts({"x": source})
    assert f"{source}: row 2: {message}" in str(caught.value)


@pytest.mark.parametrize("key", ["id", "problem", "steps", "label", "final_answer_correct"])
def test_a_missing_key_is_named(tmp_path: Path, key: str) -> None:
    source = write(tmp_path / "x.json", [{k: v for k, v in ROW.items() if k != key}])
    with pytest.raises(UserError, match=f"row 1: key '{key}' is missing"):
        load_labelled_attempts({"x": source})


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.json", b"{}", "not a list of rows but a dict"),
        ("x.json", b"[", "not JSON"),
        ("x.json", b"[1]", "row 1 is a int"),
        ("x.json", b"[]", "nothing in it"),
        ("x.json", b"[" * 100_000, "not JSON"),
        ("x.jsonl", b"\n\n", "nothing in it"),
        ("x.jsonl", b'{"id": 1}\nid', "row 2: not JSON"),
        ("x.jsonl", b"\xff\xfe", "cannot be read"),
        ("x.jsonl.gz", b"no gzip", "cannot be read"),
        ("x.json.gz", gzip.compress(b"[]" * 5000, mtime=0)[:-9], "cannot be read"),
    ],
)
def test_a_file_that_is_no_benchmark_is_named(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(UserError) as caught:
        load_labelled_attempts({"x": str(path)})
    assert str(path) in str(caught.value)
    assert message in str(caught.value)
    with pytest.raises(UserError, match="gone"):
        load_labelled_attempts({"x": str(tmp_path / "gone.json")})


def test_an_id_that_comes_twice_is_refused(tmp_path: Path) -> None:
    source = write(tmp_path / "x.jsonl", [ROW, ROW])
    with pytest.raises(UserError, match=r"x\.jsonl: id 'a-0' is there twice"):
        load_labelled_attempts({"x": source})


def test_mini_attempts_written_out() -> None:
    labelled = load_labelled_attempts({"hard": "mini:hard-test:20", "easy": "mini:easy:6"})
    assert [item.subset for item in labelled] == ["hard"] * 20 + ["easy"] * 6
    assert [item.label == NO_ERROR for item in labelled] == [True, False] * 13
    for item in labelled:
        problem, rollout = item.attempt.problem, item.attempt.rollout
        assert item.attempt.steps == split_steps(rollout.text)
        assert rollout.correct == rollout.text.endswith(f"\\boxed{{{problem.answer}}}")
        values = [v for v in problem.solution.split(" > ") if "boxed" not in v]
        said = [step.strip().partition("=")[2] for step in item.attempt.steps[:-1]]
        first = next((i for i, (a, b) in enumerate(zip(said, values, strict=True)) if a != b), NO_ERROR)
        assert first == item.label
    assert load_labelled_attempts({"hard": "mini:hard-test:20", "easy": "mini:easy:6"}) == labelled
    for source in ("mini:hard-test:x", "mini:hard-test:0", "mini:nowhere"):
        with pytest.raises(UserError):
            load_labelled_attempts({"x": source})
