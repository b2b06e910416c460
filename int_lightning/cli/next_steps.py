"""What a command says when it ends: where the result is, and which command continues from there."""

from __future__ import annotations

import csv
import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import lightning as L

from int_lightning.grpo.data import RolloutData
from int_lightning.run_files import RESULTS

_ADVANTAGE = "train/zero_advantage_ratio"


def after_collect(out: Path, model: str, configs: Sequence[str]) -> Iterator[str]:
    """Lines at the end of a collection."""
    summary = json.loads((out / RESULTS).read_text(encoding="utf-8"))
    yield f"the collection is in {out}; look at its rows: {_command('inspect', str(out))}"
    if not summary.get("accepted"):
        yield "no intervention was accepted, so there is nothing to train on: the table above says what was rejected and why"
        return
    if sft := _beside(configs, "sft"):
        yield f"next: {_command('fit', '-c', sft, '--data.init_args.folder', str(out))}"
    else:
        model_args = ("--model", "SFTModule", "--model.init_args.model", model)
        yield f"next: {_command('fit', *model_args, '--data', 'InterventionData', '--data.init_args.folder', str(out))}"


def after_fit(out: Path, grpo: bool, problems: Mapping[str, str], configs: Sequence[str]) -> Iterator[str]:
    """Lines at the end of a fit.

    Args:
        out: The run's folder.
        grpo: Whether it was GRPO.
        problems: Source and prompt set of its problems, if it has any.
        configs: Configs that it was given.
    """
    if grpo and _never_an_advantage(out / "metrics.csv"):
        yield (
            "no group had an advantage in any step, so the weights are those the run started from: give problems of which the "
            "policy solves some, or patch it by interventions first (int-lightning collect, then fit on InterventionData)"
        )
    model = str(out / "model")
    if evaluate := _beside(configs, "evaluate"):
        sets: list[str] = ["-c", evaluate]
    else:
        sets = [
            "--problems.mine",
            problems.get("problems", "PROBLEMS.jsonl"),
            "--prompts",
            problems.get("prompts", "math"),
        ]
    yield f"the model is in {model}; next: {_command('evaluate', *sets, '--model', model)}"


def _never_an_advantage(metrics: Path) -> bool:
    if not metrics.is_file():
        return False
    with metrics.open(encoding="utf-8", newline="") as file:
        shares = [row[_ADVANTAGE] for row in csv.DictReader(file) if row.get(_ADVANTAGE)]
    return bool(shares) and all(float(share) >= 1 for share in shares)


def _beside(configs: Sequence[str], kind: str) -> str | None:
    """The config of another stage beside a given one: ``sft.yaml``, or ``MODEL-sft.yaml``."""
    for config in map(Path, configs):
        stem, dash, _ = config.stem.rpartition("-")
        other = config.with_name(f"{stem}{dash}{kind}{config.suffix}")
        if other.is_file() and other != config:
            return str(other)
    return None


def _command(*words: str) -> str:
    return shlex.join(["int-lightning", *words])


def said_of(data: L.LightningDataModule) -> dict[str, str]:
    """Source and prompt set of a data module's problems as the command line takes them, if it has any."""
    if not isinstance(data, RolloutData):
        return {}
    source = data.source.plain()
    return {"problems": source if isinstance(source, str) else json.dumps(source), "prompts": data.prompt_set}
