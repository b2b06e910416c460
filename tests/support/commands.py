"""What tests of whole commands share: the command itself, in this process, and small sizes of the mini world."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import yaml

from int_lightning.__main__ import main

ROOT = Path(__file__).parents[2]
MINI = ROOT / "configs" / "mini"
ENGINE = "--engine={name: auto, threads: 1, max_model_len: 256, max_num_seqs: 64}"
PORTABLE_ENGINE = ENGINE.replace("auto", "transformers")  # which starts at once
LINEAR = "--model.init_args.optimizer={class_path: torch.optim.SGD, init_args: {lr: 0.01, momentum: 0.9}}"
"""For comparisons of weights: where a gradient is nearly zero, Adam turns a rounding into a whole step."""
COLD = "--data.init_args.sampling={max_tokens: 48, temperature: 1.0}"
ALTERNATING = "--data.init_args.rewards=[{path: example_rewards.alternating}]"
SMALL_COLLECT = [
    "--problems=mini:hard-train:12",
    "--collection.attempts=8",
    "--collection.guided=4",
    "--collection.batch_problems=5",
    ENGINE,
]


def collect(out: Path, *overrides: str) -> int:
    """A small collection on the mini world."""
    return main(["collect", "-c", str(MINI / "collect.yaml"), f"--out={out}", *SMALL_COLLECT, *overrides])


def fit_sft(out: Path, dataset: Path, *overrides: str) -> int:
    """A short SFT with the shipped configuration."""
    return main([*sft_command(out, dataset), *overrides])


def sft_command(out: Path, dataset: Path) -> list[str]:
    """Its arguments."""
    return ["fit", "-c", str(MINI / "sft.yaml"), f"--out={out}", *_short(dataset)]


def fit_sft_sharded(out: Path, dataset: Path, processes: int, *overrides: str) -> None:
    """The same under FSDP2, in processes of its own."""
    command = sharded(processes, "-c", str(MINI / "sft.yaml"), f"--out={out}", *_short(dataset), *overrides)
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout[-1000:] + done.stderr[-3000:]


def grpo_sharded(out: Path, processes: int, *overrides: str) -> list[str]:
    """The command of a GRPO under FSDP2, an engine in each process."""
    return sharded(processes, *short_grpo(out), *overrides)


def sharded(processes: int, *arguments: str) -> list[str]:
    """The command of a fit under FSDP2, in processes of its own."""
    sizes = f"{{data_parallel_size: {processes}, tensor_parallel_size: 1}}"
    return parallel(processes, f"{{class_path: ModelParallelStrategy, init_args: {sizes}}}", *arguments)


def parallel(processes: int, strategy: str, *arguments: str) -> list[str]:
    """The command of a fit under a strategy, in processes of its own."""
    command = ["env", "OMP_NUM_THREADS=1", sys.executable, "-m", "int_lightning", "fit", *arguments]
    return [*command, "--trainer.accelerator=cpu", f"--trainer.devices={processes}", f"--trainer.strategy={strategy}"]


def _short(dataset: Path) -> list[str]:
    return [f"--data.init_args.folder={dataset}", "--data.init_args.batch_size=4"]


def fit_grpo(out: Path, *overrides: str) -> int:
    """A short GRPO on problems that the base partly solves."""
    return main(["fit", *short_grpo(out), *overrides])


def short_grpo(out: Path) -> list[str]:
    """Its arguments."""
    sizes = ["--data.init_args.problems=mini:easy:8", "--data.init_args.prompts_per_batch=4"]
    sizes += ["--data.init_args.rollouts_per_prompt=4", "--data.init_args.steps=4"]
    hot = ["--data.init_args.sampling={max_tokens: 48, temperature: 1.5}"]
    return ["-c", str(MINI / "grpo.yaml"), f"--out={out}", ENGINE, *sizes, *hot]


def metrics(out: Path, *names: str) -> list[list[float]]:
    """The named columns of the rows of ``metrics.csv`` that hold them."""
    with (out / "metrics.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if all(row.get(n) for n in names)]
    return [[float(row[n]) for n in names] for row in rows]


def small_run_config(folder: Path) -> Path:
    """``configs/mini/run.yaml`` with every stage made small, written into ``folder``."""
    sizes = {
        "collect": {"problems": "mini:hard-train:12", "collection": {"attempts": 8, "guided": 4}},
        "sft": {"data": {"init_args": {"epochs": 2, "batch_size": 8}}},
        "grpo": {"data": {"init_args": {"steps": 2, "prompts_per_batch": 4, "rollouts_per_prompt": 4}}},
        "evaluate": {
            "problems": {"hard_test": "mini:hard-test:6", "easy": "mini:easy:6"},
            "evaluation": {"rollouts": 8},
        },
    }
    run = yaml.safe_load((MINI / "run.yaml").read_text())
    run["engine"] = {"threads": 1, "max_model_len": 256, "max_num_seqs": 64}
    for stage, changes in sizes.items():
        config = _merged(yaml.safe_load((MINI / f"{stage}.yaml").read_text()), changes)
        path = folder / f"{stage}.yaml"
        path.write_text(yaml.safe_dump(config))
        run[stage] = str(path)
    path = folder / "run.yaml"
    path.write_text(yaml.safe_dump(run))
    return path


def _merged(base: dict, changes: dict) -> dict:
    return base | {k: _merged(base[k], v) if isinstance(v, dict) and k in base else v for k, v in changes.items()}


def without_its_last_line(dataset: Path) -> None:
    """Leaves a dataset as a run that is killed just before a batch counts: its shards are there, its line is not."""
    manifest = dataset / "manifest.jsonl"
    manifest.write_bytes(b"".join(manifest.read_bytes().splitlines(keepends=True)[:-1]))
