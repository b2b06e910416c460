"""Attempts of real models, from the data beside the project."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from functools import cache
from typing import Any

from shared_data import SHARED


@cache
def real_texts() -> list[str]:
    """Attempts of real models: short and long, with and without given steps."""
    texts: list[str] = []
    for path in (
        "skyt1_long_traces/SkyT1-reflection0.2-32B.amc23.jsonl.gz",
        "rg_eval_qwen25_3b/olympiadbench.jsonl.gz",
    ):
        for row in _rows(path):
            texts += row["code"]
    for part in ("gsm8k", "math"):
        with gzip.open(SHARED / "processbench" / f"{part}.json.gz", "rt", encoding="utf-8") as file:
            texts += ["\n\n".join(row["steps"]) for row in json.load(file)]
    for row in _rows("gsm8k/example_model_solutions.jsonl.gz"):
        texts += [row[model]["solution"] for model in ("6b_finetuning", "175b_verification")]
    return texts


def _rows(path: str) -> Iterator[dict[str, Any]]:
    with gzip.open(SHARED / path, "rt", encoding="utf-8") as file:
        yield from (json.loads(line) for line in file if line.strip())
