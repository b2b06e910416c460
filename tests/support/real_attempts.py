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
    """Attempts of real models: short and long, with their steps given or not."""

    def rows(path: str) -> Iterator[dict[str, Any]]:
        with gzip.open(SHARED / path, "rt", encoding="utf-8") as file:
            yield from (json.loads(line) for line in file if line.strip())

    texts = [t for r in rows("skyt1_long_traces/SkyT1-reflection0.2-32B.amc23.jsonl.gz") for t in r["code"]]
    texts += [t for r in rows("rg_eval_qwen25_3b/olympiadbench.jsonl.gz") for t in r["code"]]
    for part in ("gsm8k", "math"):
        with gzip.open(SHARED / "processbench" / f"{part}.json.gz", "rt", encoding="utf-8") as file:
            texts += ["\n\n".join(row["steps"]) for row in json.load(file)]
    models = ("6b_finetuning", "175b_verification")
    return texts + [r[m]["solution"] for r in rows("gsm8k/example_model_solutions.jsonl.gz") for m in models]
