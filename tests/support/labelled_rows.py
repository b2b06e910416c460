"""Files of labelled attempts in ProcessBench's format."""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from int_lightning.evaluation.labelled_attempts import LabelledAttempt, load_labelled_attempts

ROW: dict[str, Any] = {
    "id": "a-0",
    "generator": "some model",
    "problem": "What is 2 + 3?",
    "steps": ["2 + 3 is 6.", "So 6."],
    "label": 0,
    "final_answer_correct": False,
    "reference_solution": "2 + 3 = 5",
    "answer": "5",
}


def write(path: Path, rows: Sequence[object]) -> str:
    text = json.dumps(rows) if ".json" in path.suffixes else "\n".join(map(json.dumps, rows)) + "\n"
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text, encoding="utf-8")
    return str(path)


def items(tmp_path: Path, labels: Sequence[int], subset: str = "x") -> list[LabelledAttempt]:
    """Attempts of three steps each with these labels; the problem's text is the attempt's number."""
    steps = ["1 + 1 = 2", "2 + 2 = 4", "so 4"]
    rows = [
        ROW | {"id": f"{subset}-{i}", "problem": str(i), "steps": steps, "label": label}
        for i, label in enumerate(labels)
    ]
    return load_labelled_attempts({subset: write(tmp_path / f"{subset}.jsonl", rows)})
