"""The paper's ablations and baselines of the SFT stage on one collection: every target trained and evaluated the same way.

    python -m benchmarks.ablations --out runs/ablations

The collection is that of ``configs/mini/collect.yaml``; every arm is ``configs/mini/sft.yaml`` with its own ``data.target`` and
the same number of optimiser steps; every model is evaluated by ``configs/mini/evaluate.yaml``; all through the command line. What
is already done is not done again.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
from itertools import chain
from pathlib import Path
from typing import Any

from int_lightning.collect.store import Store
from int_lightning.console import show_table
from int_lightning.mini.mini_tokenizer import build_tokenizer
from int_lightning.sft.targets import TargetConfig, examples

CONFIGS = Path(__file__).parents[1] / "configs" / "mini"
ARMS = {
    "prefix, filter": TargetConfig("prefix_intervention"),
    "prefix, no filter": TargetConfig("prefix_intervention", correctness_filter=False),
    "no prefix": TargetConfig("intervention_only"),
    "with suffix": TargetConfig("prefix_intervention_suffix"),
    "reference": TargetConfig("reference"),
    "self-refined": TargetConfig("self_refined"),
    "right rollouts": TargetConfig("rollout"),
}
COLUMNS = ("arm", "rows", "trained tokens", "hard pass@1", "low", "high", "hard pass@8", "easy pass@1")


def main() -> None:
    """Runs what is missing, prints the table and writes it as ``ablations.csv``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--steps", type=int, default=32, help="optimiser steps of every arm (default: %(default)s)")
    given = parser.parse_args()
    collection = given.out / "collect"
    run("collect", "collect", collection)
    rows = [["base", 0, 0, *scores(evaluated(given.out / "base", "mini"))]]
    for arm, target in ARMS.items():
        found = list(examples(Store(collection / "dataset"), target, build_tokenizer()))
        folder = given.out / arm.replace(", ", "-").replace(" ", "-")
        options = [
            f"--data.init_args.folder={collection}",
            f"--data.init_args.target={target.target}",
            f"--data.init_args.correctness_filter={json.dumps(target.correctness_filter)}",
            f"--data.init_args.epochs={given.steps}",
            f"--trainer.max_steps={given.steps}",
        ]
        run("fit", "sft", folder / "sft", *options)
        trained = sum(weight > 0 for weight in chain.from_iterable(example.loss_weights for example in found))
        rows.append([arm, len(found), trained, *scores(evaluated(folder, str(folder / "sft" / "model")))])
    show_table("SFT on one collection of the mini world", list(COLUMNS), [list(map(shown, row)) for row in rows])
    with (given.out / "ablations.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([COLUMNS, *rows])


def run(command: str, config: str, out: Path, *options: str) -> None:
    """Runs a command of int-lightning, unless its folder shows that it has finished."""
    if (out / "results.json").exists() or (out / "model").exists():
        return
    program = [sys.executable, "-m", "int_lightning", command, "-c", str(CONFIGS / f"{config}.yaml"), f"--out={out}"]
    subprocess.run([*program, *options], check=True)  # noqa: S603


def evaluated(folder: Path, model: str) -> dict[str, Any]:
    """The scores of a model on the held-out problem sets."""
    run("evaluate", "evaluate", folder / "evaluate", f"--model={model}")
    sets: dict[str, Any] = json.loads((folder / "evaluate" / "results.json").read_text(encoding="utf-8"))["sets"]
    return sets


def scores(sets: dict[str, Any]) -> list[float]:
    """The scores that the table shows."""
    hard, easy = sets["hard_test"], sets["easy"]
    estimate = hard["pass@1"]
    return [estimate["mean"], estimate["low"], estimate["high"], hard["pass@8"]["mean"], easy["pass@1"]["mean"]]


def shown(value: object) -> str:
    """A cell."""
    if isinstance(value, float):
        return f"{value:.3f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


if __name__ == "__main__":
    main()
