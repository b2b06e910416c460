"""GRPO beside TRL's GRPOTrainer on the CPU: optimiser steps per minute and peak memory on the same model, prompts and rewards.

    python -m benchmarks.grpo.beside_trl --device cpu
    python -m benchmarks.grpo.beside_trl --device cpu --reward answer --steps 20 --repeats 5

Ours is ``int-lightning fit`` with either of its engines; TRL samples with transformers, its default. Every fit is a process of
its own: a first step that does not count, then ``--steps`` more. All ways run once; then the fastest of each side take turns. We
train only on groups in which rewards differ, TRL on all: with the right answer as the reward, the mini world's hard problems
leave next to nothing to train on; ``alternate`` rewards every other rollout of a group, so that both train on all.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from benchmarks.csv_file import write_csv
from benchmarks.fits import OURS, RESULTS, ROOT, TRL, fastest, fit_environment, peer_python
from benchmarks.grpo.prompts import PROMPT_SET, Plan, check_our_prompts, plan_prompts
from benchmarks.grpo.report import Fit, Line, Setting, check_same_work, lines, print_table
from benchmarks.grpo.rewards import OURS as OUR_REWARDS
from benchmarks.machine import device_name

CONFIG = ROOT / "configs" / "mini" / "grpo.yaml"
ENGINES = ("vllm", "transformers")
PAGE = 32  # tokens
CLIP = {"low": 0.2, "high": 0.35}
WEIGHT_DECAY, MAX_GRAD_NORM = 0.0, 1.0

Ways = dict[str, dict[str, Any]]


def trl_ways(rows: int, longest: int) -> Ways:
    """Arguments of ``GRPOConfig``, which differ in the rows of a micro-batch. All sample the whole batch at once.

    Args:
        rows: Rollouts of an optimiser step.
        longest: Tokens of the longest prompt and completion together.
    """

    def micro(parts: int) -> dict[str, Any]:
        return {"per_device_train_batch_size": rows // parts, "gradient_accumulation_steps": parts}

    # the default cache takes half the machine's memory
    cache = {"page_size": PAGE, "num_blocks": rows * -(-longest // PAGE) + 8, "max_batch_tokens": max(512, rows)}
    batching = {"use_transformers_continuous_batching": True, "transformers_continuous_batching_config": cache}
    ways = {f"{rows // parts} rows": micro(parts) for parts in (1, 4, 16) if rows % parts == 0}
    return {**ways, f"{rows} rows, continuous batching": {**micro(1), **batching}}


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the process's exit status."""
    options = _parser().parse_args(arguments)
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 170)
    torch.set_num_threads(options.threads)
    peer = peer_python(options.device)
    found: list[Line] = []
    with tempfile.TemporaryDirectory() as folder:
        plan = plan_prompts(options)
        plan.write(Path(folder) / "prompts.jsonl")
        for reward in dict.fromkeys(options.reward or OUR_REWARDS):
            fits = _measure(options, peer, plan, reward, Path(folder), console)
            check_same_work(fits)
            setting = Setting(
                device_name(options.device),
                options.model,
                options.problems,
                reward,
                options.prompts,
                options.group,
                options.max_tokens,
                options.threads,
                options.steps,
            )
            table = lines(fits, setting)
            print_table(console, table)
            found += table
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / f"grpo-{options.device}.csv"
    write_csv(found, path)
    console.print(f"wrote {path}")
    return 0


def our_command(
    options: argparse.Namespace, plan: Plan, reward: str, engine: str, out: Path, record: Path
) -> list[str]:
    """The command line of a fit, which differs from a user's by the callback alone."""
    data = {
        "problems": options.problems,
        "prompts": PROMPT_SET,
        "limit": plan.limit,
        "steps": 1 + options.steps,
        "prompts_per_batch": options.prompts,
        "rollouts_per_prompt": options.group,
        "sampling": json.dumps({"max_tokens": options.max_tokens, "temperature": 1.0}),
        "rewards": json.dumps([{"path": OUR_REWARDS[reward]}]),
    }
    module = {
        "model": plan.model,
        "optimizer.init_args.lr": options.lr,
        "optimizer.init_args.weight_decay": WEIGHT_DECAY,
        "max_grad_norm": MAX_GRAD_NORM,
        "objective.clip_low": CLIP["low"],
        "objective.clip_high": CLIP["high"],
    }
    return [
        *(str(Path(sys.executable).with_name("int-lightning")), "fit", f"--config={CONFIG}", f"--out={out}"),
        *(f"--data.init_args.{key}={value}" for key, value in data.items()),
        *(f"--model.init_args.{key}={value}" for key, value in module.items()),
        *(f"--engine.name={engine}", f"--engine.threads={options.threads}", f"--seed_everything={options.seed}"),
        f"--checkpoint_every={2 + options.steps}",
        f"--trainer.accelerator={options.device}",
        "--trainer.callbacks+=benchmarks.grpo.step_times.StepTimes",
        f"--trainer.callbacks.record={record}",
    ]


def _measure(
    options: argparse.Namespace, peer: Path, plan: Plan, reward: str, folder: Path, console: Console
) -> list[Fit]:
    """All ways once, then the fastest of each side in turns, every second round in reverse."""
    ways = trl_ways(options.prompts * options.group, plan.longest_prompt + options.max_tokens)
    fits: list[Fit] = []
    for number in range(options.repeats):
        every = [(OURS, engine) for engine in ENGINES] + [(TRL, way) for way in ways]
        turns = [(provider, fastest(fits, provider)) for provider in (OURS, TRL)] if number else every
        for provider, way in reversed(turns) if number % 2 else turns:
            name = folder / f"{reward}-{number}-{len(fits)}"
            if provider == OURS:
                fit = Fit(provider, way, number, **_our_fit(options, plan, reward, way, name))
            else:
                fit = Fit(provider, way, number, **_trl_fit(options, peer, plan, ways[way], reward, name))
            console.print(
                f"{reward}, {provider}, {way}: {fit.speed:.1f} steps/min, {fit.peak / 2**30:.2f} GiB, "
                f"{fit.length:.1f} tokens a rollout, first step after {fit.first_step:.1f} s {fit.neighbours}"
            )
            fits.append(fit)
    return fits


def _our_fit(options: argparse.Namespace, plan: Plan, reward: str, engine: str, out: Path) -> dict[str, Any]:
    """What the callback saw, after a check of which prompts were sampled."""
    record = out.with_suffix(".record")
    found = _run(our_command(options, plan, reward, engine, out, record), options, record)
    check_our_prompts(out / "rollouts", plan)
    return found


def _trl_fit(
    options: argparse.Namespace, python: Path, plan: Plan, way: dict[str, Any], reward: str, name: Path
) -> dict[str, Any]:
    """What TRL's process reports, which checks the prompts itself."""
    job = {
        "model": plan.model,
        "prompts": str(name.parent / "prompts.jsonl"),
        "reward": reward,
        "threads": options.threads,
        "prompts_per_step": options.prompts,
        "config": {
            "max_steps": 1 + options.steps,
            "num_generations": options.group,
            "max_completion_length": options.max_tokens,
            "learning_rate": options.lr,
            "weight_decay": WEIGHT_DECAY,
            "max_grad_norm": MAX_GRAD_NORM,
            "epsilon": CLIP["low"],
            "epsilon_high": CLIP["high"],
            "seed": options.seed,
            **way,
        },
    }
    file, record = name.with_suffix(".json"), name.with_suffix(".record")
    file.write_text(json.dumps(job), encoding="utf-8")
    command = [str(python), "-m", "benchmarks.grpo.trl_fit", str(file), str(record)]
    return _run(command, options, record)


def _run(command: list[str], options: argparse.Namespace, record: Path) -> dict[str, Any]:
    """One fit in a process of its own; what it recorded, with the seconds from the command to the end of its first step.

    Bytecode is kept: without it, most of a start would be the compiling of imports.
    """
    environment = fit_environment(options.threads) | {"CUDA_VISIBLE_DEVICES": ""}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    began = time.time()
    done = subprocess.run(command, env=environment, capture_output=True, text=True)  # noqa: S603
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
    found = json.loads(record.read_text(encoding="utf-8"))
    return {**found, "first_step": found["first_step"] - began}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--device", choices=("cpu",), default="cpu", help="on a GPU TRL would use vLLM, which is not done here"
    )
    parser.add_argument("--model", default="mini", help="a model as `int-lightning fit` takes it")
    parser.add_argument("--problems", default="mini:hard-train", help="a source of problems")
    parser.add_argument("--reward", action="append", choices=list(OUR_REWARDS), help="may be given twice; else both")
    parser.add_argument("--prompts", type=int, default=32, help="of an optimiser step")
    parser.add_argument("--group", type=int, default=8, help="rollouts of a prompt")
    parser.add_argument("--max-tokens", type=int, default=64, help="of a completion")
    parser.add_argument("--lr", type=float, default=2e-4, help="of AdamW")
    parser.add_argument("--steps", type=int, default=8, help="optimiser steps that are measured")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1, help="of torch")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder for the CSV file")
    return parser


if __name__ == "__main__":
    sys.exit(main())
