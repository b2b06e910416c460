"""The command ``grade``: pairs of a file in, counts by tier and every verdict out, rows without a pair named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from int_lightning.__main__ import main
from int_lightning.grading.command import read_pairs

ROWS = [
    {"pred": "The answer is 5.", "gold": "5", "expected": True, "tier": "a"},
    {"pred": r"\frac12", "gold": "0.5", "label": False, "tier": "a"},
    {"pred": "6", "gold": "7", "expected": True, "tier": "b"},
    {"pred": r"\frac{1}{", "gold": "1"},
    {"pred": 3, "gold": 3},
]


def test_counts_and_verdicts_are_written_and_disagreements_are_named_by_row(tmp_path: Path) -> None:
    file, out = tmp_path / "pairs.jsonl", tmp_path / "out"
    file.write_text("\n".join(map(json.dumps, ROWS)) + "\nno json\n\n", encoding="utf-8")
    assert main(["grade", str(file), "--out", str(out), "--workers=1"]) == 0
    results = json.loads((out / "results.json").read_text(encoding="utf-8"))
    assert results["disagreements"] == [2, 3]
    assert results["bad_rows"] == [
        "row 6: not JSON: Expecting value: line 1 column 1 (char 0); write one object a line"
    ]
    counts = ("pairs", "equal", "labelled", "agree", "false_positives", "false_negatives", "undecided")
    assert {tier: tuple(found[key] for key in counts) for tier, found in results["tiers"].items()} == {
        "a": (2, 2, 2, 1, 1, 0, 0),
        "b": (1, 0, 1, 0, 0, 1, 0),
        "all": (5, 3, 3, 1, 1, 1, 1),
    }
    grades = [json.loads(line) for line in (out / "grades.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [(grade["row"], grade["verdict"], grade["note"]) for grade in grades] == [
        (1, True, ""), (2, True, ""), (3, False, ""), (4, False, "unparsable"), (5, True, "")
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("[1]", "row 1: not a JSON object: a list"),
        ('{"gold": "1"}', "row 1: key 'pred' is missing"),
        ('{"pred": "1", "gold": null}', "row 1: key 'gold' is null, not text"),
        ('{"pred": true, "gold": "1"}', "row 1: key 'pred' is bool, not text"),
        ('{"pred": "1", "gold": "1", "label": "yes"}', "row 1: key 'label' is \"yes\", not true or false"),
        ("[" * 100_000, "row 1: not JSON"),
    ],
)
def test_a_row_without_a_pair_is_named(tmp_path: Path, line: str, message: str) -> None:
    file = tmp_path / "pairs.jsonl"
    file.write_text(line + "\n", encoding="utf-8")
    pairs, bad = read_pairs(file)
    assert pairs == [] and len(bad) == 1 and bad[0].startswith(message)


def test_a_file_without_pairs_is_an_error(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "pairs.jsonl"
    file.write_text("{}\n", encoding="utf-8")
    assert main(["grade", str(file)]) == 2
    assert "no pair of answers" in " ".join(capfd.readouterr().err.split())
