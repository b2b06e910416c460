"""The person as oracle: attempts go out, annotations come back, and nothing that a person wrote is lost or misread."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from int_lightning.defects import DefectKind
from int_lightning.oracles.base import Attempt, is_waiting
from int_lightning.oracles.person import AnnotationOracle, append_records, blank_record, read_annotations
from int_lightning.steps import split_steps
from int_lightning.types import Problem, Proposal, Provenance, Rollout, Sampling, UserError

TEXT = "x + 2 = 5\n\nso x = 7\n\n\\boxed{7}"


def attempt(name: str = "p", text: str = TEXT, problem: str = "Solve x + 2 = 5 für x") -> Attempt:
    rollout = Rollout(
        f"{name}/attempt/0", name, 0, [1], [2], [0.0], text, "stop", "", False,
        Provenance("m", "f", "e", "t", Sampling(), 0),
    )  # fmt: skip
    return Attempt(Problem(name, problem, "x = 3 > \\boxed{3}", "3"), rollout, split_steps(text))


def run(file: Path, *attempts: Attempt) -> list[Proposal]:
    """One run of the pipeline: a fresh oracle, one call a problem."""
    oracle = AnnotationOracle(str(file), "kim")
    return [asyncio.run(oracle.propose([a], None))[0][0] for a in attempts]


def rows(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def fill_in(file: Path, *annotations: dict[str, Any]) -> None:
    """What a person does: changes keys of the first records."""
    records = rows(file)
    for record, annotation in zip(records, annotations, strict=False):
        record.update(annotation)
    file.write_text("".join(json.dumps(r, ensure_ascii=False) + "\n" for r in records))


def test_what_goes_out_is_what_a_person_needs(tmp_path: Path) -> None:
    (proposal,) = run(file := tmp_path / "new" / "annotations.jsonl", attempt())
    assert is_waiting(proposal)
    assert str(file) in str(proposal.defect)
    assert "für x" in file.read_text()
    (record,) = rows(file)
    del record["seal"]
    assert record == {
        "id": "p/attempt/0",
        "location": None,
        "content": "",
        "problem": "Solve x + 2 = 5 für x",
        "reference": "x = 3 > \\boxed{3}",
        "steps": ["Step 0: x + 2 = 5", "Step 1: so x = 7", "Step 2: \\boxed{7}"],
    }


def test_annotations_come_back_and_what_is_not_annotated_keeps_waiting(tmp_path: Path) -> None:
    file, attempts = tmp_path / "a.jsonl", [attempt("p"), attempt("q"), attempt("r")]
    assert all(map(is_waiting, run(file, *attempts)))
    fill_in(file, {"location": 1, "content": " so x = \\frac{6}{2}\n"}, {"location": "none"})
    p, q, r, s = run(file, *attempts, attempt("s"))
    assert (p.location, p.content, p.defect) == (1, "so x = \\frac{6}{2}", None)
    assert (p.id, p.oracle, p.rollout_id) == ("p/attempt/0/person:kim/0", "person:kim", "p/attempt/0")
    assert json.loads(p.raw.removeprefix("<intervention>").removesuffix("</intervention>")) == {
        "location": 1,
        "content": "so x = \\frac{6}{2}",
    }
    assert (q.location, q.content) == (-1, "")
    assert q.defect is not None and q.defect.kind is DefectKind.NO_ERROR
    assert not is_waiting(q)
    assert is_waiting(r)
    assert is_waiting(s)
    assert [x["id"] for x in rows(file)] == [f"{name}/attempt/0" for name in "pqrs"]


def test_a_run_never_touches_what_is_in_the_file(tmp_path: Path) -> None:
    run(file := tmp_path / "a.jsonl", attempt("p"))
    fill_in(file, {"location": 1, "content": "so x = 3", "note": "easy"})
    edited = "\ufeff" + file.read_text().rstrip("\n").replace('": ', '":  ')
    file.write_text(edited)
    run(file, attempt("p"), attempt("q"))
    assert file.read_text().startswith(edited + "\n{")
    assert [p.content for p in run(file, attempt("p"))] == ["so x = 3"]
    assert len(file.read_text().splitlines()) == 2


def test_an_editor_that_writes_other_line_ends_does_no_harm(tmp_path: Path) -> None:
    run(file := tmp_path / "a.jsonl", attempt("p"), attempt("q"))
    fill_in(file, {"location": 1, "content": "so x = 3"})
    file.write_bytes(b"\n" + file.read_bytes().replace(b"\n", b"\r\n\r\n"))
    assert [p.content for p in run(file, attempt("p"), attempt("q"))] == ["so x = 3", ""]


def test_the_step_may_be_said_in_lines_that_look_like_latex(tmp_path: Path) -> None:
    run(file := tmp_path / "a.jsonl", attempt())
    fill_in(file, {"location": 1, "content": "so\nx = 3,\n\nnext"})
    assert run(file, attempt())[0].content == "so\nx = 3,\n\nnext"


@pytest.mark.parametrize(
    ("annotation", "key", "said"),
    [
        ({"location": 3, "content": "so x = 3"}, "location", "step 3 does not exist; the steps are 0 to 2"),
        ({"location": -1, "content": "so x = 3"}, "location", "step -1 does not exist"),
        ({"location": "1", "content": "so x = 3"}, "location", "neither a step number"),
        ({"location": True, "content": "so x = 3"}, "location", "neither a step number"),
        ({"location": 1.0, "content": "so x = 3"}, "location", "neither a step number"),
        ({"location": [1], "content": "so x = 3"}, "location", "neither a step number"),
        ({"location": 1, "content": ""}, "content", "empty"),
        ({"location": 1, "content": " \n"}, "content", "empty"),
        ({"location": 1, "content": None}, "content", "not a text"),
        ({"location": 1, "content": ["so"]}, "content", "not a text"),
        ({"location": 1, "content": "so x = 7 "}, "content", "the same as step 1"),
        ({"location": 1, "content": "Step 1: so x = 3"}, "content", "leave the number out"),
        ({"location": 1, "content": "so x = \frac{6}{2}"}, "content", "write it twice"),
        ({"location": 1, "content": "so x = 3 \times 1"}, "content", "write it twice"),
        ({"location": 1, "content": "so x \neq 7"}, "content", "write it twice"),
        ({"location": 1, "content": "so \ud835 = 3"}, "content", "half a character"),
        ({"location": None, "content": "so x = 3"}, "content", "while location is null"),
        ({"location": "none", "content": "so x = 3"}, "content", 'while location is "none"'),
        ({"steps": ["Step 0: x + 2 = 5"]}, "seal", "were changed"),
        ({"problem": "Solve x + 2 = 6"}, "seal", "were changed"),
        ({"reference": ""}, "seal", "were changed"),
        ({"id": "q/attempt/0"}, "seal", "were changed"),
    ],
)
def test_a_defect_is_named_with_file_row_and_key(
    tmp_path: Path, annotation: dict[str, Any], key: str, said: str
) -> None:
    run(file := tmp_path / "a.jsonl", attempt("o"), attempt("p"))
    lines = file.read_text().splitlines()
    file.write_text(f"{lines[0]}\n\n{json.dumps(json.loads(lines[1]) | annotation)}\n")
    with pytest.raises(UserError) as caught:
        AnnotationOracle(str(file))
    assert f"{file}: 1 defect in what" in str(caught.value)
    assert f"row 3, key {key}: " in str(caught.value)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda line: line[:-2], "row 2, not JSON"),
        (lambda line: line.replace('"content": ""', '"content": "\\sqrt{9}"'), "write every backslash twice"),
        (lambda line: "[" * 100_000, "row 2, not JSON"),
        (lambda line: "[1]", "row 2, not a JSON object: a list"),
        (lambda line: "{}", "row 2, key id: missing"),
        (lambda line: line.replace('"content"', '"contents"'), "row 2, key content: missing"),
    ],
)
def test_a_row_that_is_not_a_record_is_named(tmp_path: Path, change: Callable[[str], str], said: str) -> None:
    run(file := tmp_path / "a.jsonl", attempt("o"), attempt("p"))
    first, second = file.read_text().splitlines()
    file.write_text(f"{first}\n{change(second)}\n")
    with pytest.raises(UserError) as caught:
        AnnotationOracle(str(file))
    assert str(file) in str(caught.value)
    assert said in str(caught.value)


def test_an_attempt_that_stands_there_twice_is_refused(tmp_path: Path) -> None:
    run(file := tmp_path / "a.jsonl", attempt("o"), attempt("p"))
    file.write_text(file.read_text() + file.read_text().splitlines()[0] + "\n")
    with pytest.raises(UserError, match="row 3, key id: attempt 'o/attempt/0' is in row 1 already"):
        AnnotationOracle(str(file))


def test_all_defects_are_named_at_once_up_to_twenty(tmp_path: Path) -> None:
    run(file := tmp_path / "a.jsonl", *(attempt(str(i)) for i in range(25)))
    fill_in(file, *[{"location": 9, "content": "x"}, {"location": 1}] * 12)
    with pytest.raises(UserError) as caught:
        AnnotationOracle(str(file))
    said = str(caught.value).splitlines()
    assert said[0].endswith("24 defects in what was filled in:")
    assert [line.split(",")[0].strip() for line in said[1:21]] == [f"row {i}" for i in range(1, 21)]
    assert said[21:] == ["  and 4 more"]


def test_the_file_of_another_collection_is_refused(tmp_path: Path) -> None:
    run(file := tmp_path / "a.jsonl", attempt("p"))
    fill_in(file, {"location": 1, "content": "so x = 3"})
    with pytest.raises(UserError, match="another collection") as caught:
        run(file, attempt("p", text="x = 5 - 2\n\nx = 4"))
    assert str(file) in str(caught.value)
    assert "p/attempt/0" in str(caught.value)


def test_a_file_that_cannot_be_read_or_written_is_named(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_bytes(b"\xff\xfe{}")
    with pytest.raises(UserError, match=r"a\.jsonl: cannot be read"):
        AnnotationOracle(str(file))
    (tmp_path / "folder").mkdir()
    with pytest.raises(UserError, match="folder: cannot be read"):
        AnnotationOracle(str(tmp_path / "folder"))
    file.write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        run(file / "below.jsonl", attempt())


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


@given(st.lists(st.tuples(TEXTS, TEXTS), max_size=4, unique_by=lambda t: t[0]))
def test_every_attempt_survives_the_way_out_and_back(tmp_path_factory: pytest.TempPathFactory, found: list) -> None:
    file = tmp_path_factory.mktemp("way") / "a.jsonl"
    records = [blank_record(attempt(name, text=f"a{text}\n\nb{text}", problem=text)) for name, text in found]
    for record in records:
        append_records(file, [record])
    assert read_annotations(file) == {r["id"]: r for r in records}
