"""One fit by TRL's SFTTrainer in a process of its own, run by an interpreter that has TRL:
``python -m benchmarks.sft.trl_fit JOB.json`` ends with a line of JSON."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from datasets import load_dataset
from transformers import TrainerCallback
from trl import SFTConfig, SFTTrainer

from benchmarks.clock import Clock


class Steps(TrainerCallback):
    """Marks the end of every optimiser step, with the loss that the trainer logs for it."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.trained = 0

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float], **kwargs: Any) -> None:
        if "loss" in logs:
            self.clock.mark(self.trained, logs["loss"])


class CountingTrainer(SFTTrainer):
    """Tells a callback how many tokens of a step carry loss."""

    def compute_loss(self, *args: Any, num_items_in_batch: Any = None, **kwargs: Any) -> Any:
        self.steps.trained = int(num_items_in_batch)
        return super().compute_loss(*args, num_items_in_batch=num_items_in_batch, **kwargs)


def main() -> None:
    """Trains, and prints what the clock saw."""
    job = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    torch.set_num_threads(job["threads"])
    way, clock = job["way"], Clock(job["device"])
    model = {"dtype": "float32", **way.pop("model", {})}
    with tempfile.TemporaryDirectory() as folder:
        rows = load_dataset("json", data_files=job["rows"], split="train", cache_dir=folder)
        settings = {
            "output_dir": folder,
            "num_train_epochs": 1,
            "learning_rate": 0.0,
            "lr_scheduler_type": "constant",
            "weight_decay": 0.0,
            "max_grad_norm": 1.0,
            "bf16": job["dtype"] == "bfloat16",
            "use_cpu": job["device"] == "cpu",
            "completion_only_loss": True,
            "max_length": None,
            "train_sampling_strategy": "sequential",
            "gradient_checkpointing": False,
            "logging_steps": 1,
            "save_strategy": "no",
            "report_to": "none",
            "disable_tqdm": True,
            "dataloader_pin_memory": job["device"] == "cuda",
            "model_init_kwargs": model,
        }
        trainer = CountingTrainer(job["model"], SFTConfig(**{**settings, **way}), train_dataset=rows)
        trainer.steps = Steps(clock)
        trainer.add_callback(trainer.steps)
        trainer.train()
    print(json.dumps(clock.record(("trl", "torch", "transformers", "accelerate"))))


if __name__ == "__main__":
    main()
