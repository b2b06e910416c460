"""Interventions inside GRPO beside InT-then-GRPO, hint-guided RL and plain GRPO, at equal generated tokens on the mini world.

    python -m benchmarks.in_loop --out runs/in-loop

InT-then-GRPO sets the budget: the tokens of its collection (attempts, proposals, guided rollouts) and of its GRPO. The others are
GRPO from the base model for as many batches as that budget pays for; every model is evaluated by ``configs/mini/evaluate.yaml``.
What is already done is not done again.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

from benchmarks.ablations import CONFIGS, evaluated, run, scores, shown
from int_lightning.collect.store import OUTCOMES, Store
from int_lightning.console import say, show_table
from int_lightning.mini.mini_tokenizer import build_tokenizer

IN_LOOP = str(CONFIGS / "in-loop.yaml")
ARMS = {
    "GRPO": [],
    "GRPO with hints": ["-c", str(CONFIGS / "hints.yaml")],
    "in the loop, guided": ["-c", IN_LOOP, "--trainer.callbacks.init_args.use=guided"],
    "in the loop, SFT term": ["-c", IN_LOOP, "--trainer.callbacks.init_args.use=sft"],
    "in the loop, both": ["-c", IN_LOOP],
}
COLUMNS = ("arm", "batches", "tokens", "hard pass@1", "low", "high", "hard pass@8", "easy pass@1")


def main() -> None:
    """Runs what is missing, prints the table and writes it as ``in-loop.csv``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--problems", type=int, default=96, help="hard training problems (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=20, help="steps of the GRPO after InT (default: %(default)s)")
    given = parser.parse_args()
    out, source = given.out, f"mini:hard-train:{given.problems}"
    collection, patched = out / "collect", out / "int" / "sft"
    run(
        "collect",
        "collect",
        collection,
        f"--problems={source}",
        "--collection.conditioning=false",
        "--collection.refined=0",
    )
    run("fit", "sft", patched, f"--data.init_args.folder={collection}")
    rows = [["base", 0, 0, *scores(evaluated(out / "base", "mini"))]]
    collected = tokens_collected(Store(collection / "dataset"))
    rows.append(["InT", 0, collected, *scores(evaluated(out / "int", str(patched / "model")))])
    budget, batches = grpo(out / "int-grpo", source, given.steps, [f"--model.init_args.model={patched / 'model'}"])
    budget += collected
    rows.append(["InT, then GRPO", batches, budget, *arm_scores(out / "int-grpo")])
    say(f"budget: {budget:,} tokens")
    for arm, options in ARMS.items():
        folder = out / arm.replace(", ", "-").replace(" ", "-")
        used, batches = spend(folder, source, budget, options)
        rows.append([arm, batches, used, *arm_scores(folder)])
    title = f"{given.problems} hard problems of the mini world"
    show_table(title, list(COLUMNS), [list(map(shown, row)) for row in rows])
    with (out / "in-loop.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([COLUMNS, *rows])


def tokens_collected(store: Store) -> int:
    """Tokens that a collection generated: those of rollouts, and those of the proposals' text."""
    rollouts = sum(tokens for (tokens,) in store.columns(OUTCOMES, "tokens"))
    tokenizer = build_tokenizer()
    return rollouts + sum(len(tokenizer.encode(raw)) for (raw,) in store.columns("proposals", "raw"))


def grpo(folder: Path, source: str, steps: int, options: list[str]) -> tuple[int, int]:
    """Runs GRPO; its generated tokens and batches."""
    sizes = [f"--data.init_args.problems={source}", f"--data.init_args.steps={steps}"]
    run("fit", "grpo", folder / "grpo", *options, *sizes)
    spent = tokens_of_batches(folder / "grpo")
    return sum(spent), len(spent)


def spend(folder: Path, source: str, budget: int, options: list[str]) -> tuple[int, int]:
    """Runs GRPO for as many batches as the budget pays for at the price of the first few; its tokens and batches."""
    trial = folder.with_name(f"{folder.name}-price")
    spent, batches = grpo(trial, source, 3, options)
    return grpo(folder, source, round(budget / (spent / batches)), options)


def tokens_of_batches(folder: Path) -> list[int]:
    """What each batch generated."""
    with (folder / "metrics.csv").open(encoding="utf-8") as file:
        return [int(float(row["train/tokens"])) for row in csv.DictReader(file) if row.get("train/tokens")]


def arm_scores(folder: Path) -> list[float]:
    """The scores of the model that an arm ended with."""
    return scores(evaluated(folder, str(folder / "grpo" / "model")))


if __name__ == "__main__":
    main()
