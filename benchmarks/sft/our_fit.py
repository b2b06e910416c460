"""One fit by int-lightning in a process of its own: ``python -m benchmarks.sft.our_fit JOB.json`` ends with a line of JSON."""

from __future__ import annotations

import functools
import json
import sys
from pathlib import Path
from typing import Any

import lightning as L
import torch

from benchmarks.clock import Clock
from int_lightning.cli.fit_setup import FIT_DEFAULTS
from int_lightning.learn.micro_batches import Step
from int_lightning.sft.data import InterventionData
from int_lightning.sft.module import SFTModule


class Steps(L.Callback):
    """Marks the end of every optimiser step, as soon as Lightning reports it."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Step, batch_idx: int
    ) -> None:
        self.clock.mark(int(batch.count), float(trainer.callback_metrics["train/loss"]))


def main() -> None:
    """Trains, and prints what the clock saw."""
    job = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    torch.set_num_threads(job["threads"])
    way, clock = job["way"], Clock(job["device"])
    adamw = functools.partial(torch.optim.AdamW, lr=0.0, weight_decay=0.0, fused=True)
    module = SFTModule(job["model"], adamw, dtype=job["dtype"], max_grad_norm=1.0, **way.pop("module"))
    data = InterventionData(job["collection"], epochs=1, batch_size=job["batch_size"], **way)
    trainer = L.Trainer(
        **FIT_DEFAULTS,
        accelerator=job["device"],
        devices=1,
        logger=False,
        enable_checkpointing=False,
        callbacks=[Steps(clock)],
    )
    trainer.fit(module, data)
    print(json.dumps(clock.record(("int-lightning", "torch", "transformers", "lightning"))))


if __name__ == "__main__":
    main()
