"""One fit by TRL's GRPOTrainer in a process of its own, run by an interpreter that has TRL:
``python -m benchmarks.grpo.trl_fit JOB.json RECORD.json`` writes the record."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from transformers import TrainerCallback
from trl import GRPOConfig, GRPOTrainer

from benchmarks.clock import Clock
from benchmarks.grpo.rewards import trl_reward

SETTINGS = {
    "lr_scheduler_type": "constant",
    "bf16": False,
    "use_cpu": True,
    "gradient_checkpointing": False,
    "temperature": 1.0,
    "top_p": 1.0,
    "top_k": 0,
    "beta": 0.0,
    "num_iterations": 1,
    "loss_type": "dapo",
    "scale_rewards": "none",
    "shuffle_dataset": False,
    "logging_steps": 1,
    "save_strategy": "no",
    "report_to": "none",
    "disable_tqdm": True,
    "dataloader_pin_memory": False,
    "model_init_kwargs": {"dtype": "float32"},
}


class Steps(TrainerCallback):
    """Marks the end of every optimiser step, with what the trainer logs for it."""

    def __init__(self, clock: Clock, trainer: WatchedTrainer) -> None:
        self.clock = clock
        self.trainer = trainer
        self.first_step = 0.0
        self.logs: list[dict[str, float]] = []

    def on_log(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """A step has ended if there is a loss."""
        logs: dict[str, float] = kwargs["logs"]
        if "loss" in logs:
            self.clock.mark(self.trainer.sampled[-1], logs["loss"])
            self.first_step = self.first_step or time.time()
            self.logs.append(logs)


class WatchedTrainer(GRPOTrainer):
    """Keeps, for each step, the prompts that were trained on, and what sampling and rewards took."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.sampled: list[int] = []
        self.generate: list[float] = []
        self.trained: list[tuple[int, torch.Tensor, torch.Tensor]] = []

    def _generate_and_score_completions(self, inputs: Any) -> Any:
        began = time.perf_counter()
        batch = super()._generate_and_score_completions(inputs)
        self.generate.append(time.perf_counter() - began)
        self.sampled.append(int(batch["completion_mask"].sum()))
        return batch

    def compute_loss(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """Keeps the prompts of a micro-batch."""
        self.trained.append((self.state.global_step, inputs["prompt_ids"], inputs["prompt_mask"]))
        return super().compute_loss(model, inputs, *args, **kwargs)

    def prompts(self, step: int) -> Counter[tuple[int, ...]]:
        """How often each prompt, as token ids, was trained on in a step."""
        found: Counter[tuple[int, ...]] = Counter()
        for number, ids, mask in self.trained:
            if number == step:
                found.update(_unpadded(ids, mask))
        return found


def main() -> None:
    """Trains, and writes what the clock saw."""
    job = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    torch.set_num_threads(job["threads"])
    clock = Clock("cpu")
    rows = [json.loads(line) for line in Path(job["prompts"]).read_text(encoding="utf-8").splitlines()]
    with tempfile.TemporaryDirectory() as folder:
        trainer = make_trainer(job, rows, folder)
        steps = Steps(clock, trainer)
        trainer.add_callback(steps)
        trainer.train()
    record = clock.record(("trl", "torch", "transformers", "accelerate"))
    check_prompts(trainer, rows, job["prompts_per_step"], job["config"]["num_generations"])
    names = {"lengths": "completions/mean_length", "rewards": "reward", "zero_advantage": "frac_reward_zero_std"}
    seen = {key: [logs[name] for logs in steps.logs] for key, name in names.items()}
    found = {**record, **seen, "generate": trainer.generate, "sync": [], "first_step": steps.first_step}
    Path(sys.argv[2]).write_text(json.dumps(found), encoding="utf-8")


def make_trainer(job: dict[str, Any], rows: Sequence[dict[str, Any]], folder: str) -> WatchedTrainer:
    """The trainer of a job, which takes the rows in order."""
    dataset = Dataset.from_list([{key: row[key] for key in ("prompt", "answer")} for row in rows])
    reward = trl_reward(job["reward"], job["config"]["num_generations"])
    config = GRPOConfig(output_dir=folder, **SETTINGS, **job["config"])
    return WatchedTrainer(job["model"], reward_funcs=reward, args=config, train_dataset=dataset)


def check_prompts(trainer: WatchedTrainer, rows: Sequence[dict[str, Any]], size: int, group: int) -> None:
    """Compares the token ids of the prompts that were trained on with ours.

    Raises:
        SystemExit: if a step had others.
    """
    for step in range(len(rows) // size):
        wanted = Counter({tuple(row["token_ids"]): group for row in rows[step * size : (step + 1) * size]})
        if trainer.prompts(step) != wanted:
            raise SystemExit(f"TRL trained on other prompts in step {step} than int-lightning")


def _unpadded(ids: torch.Tensor, mask: torch.Tensor) -> Iterator[tuple[int, ...]]:
    return (tuple(row[kept].tolist()) for row, kept in zip(ids, mask.bool(), strict=True))


if __name__ == "__main__":
    main()
