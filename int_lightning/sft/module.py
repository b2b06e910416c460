"""Masked SFT: the patch. D_InT = {(x, y_<t*, intervention)},

    max_theta  sum over D_InT of  log pi(y_<t*, intervention | x),

loss on prefix and intervention, none on the prompt, no end-of-sequence after the intervention, the suffix discarded.
The loss is a mean over the trained tokens of the whole optimiser step, over all micro-batches and ranks.
"""

from __future__ import annotations

from typing import Any

import torch

from int_lightning.learn.callbacks import log_held_out
from int_lightning.learn.micro_batches import MicroBatch, Step
from int_lightning.learn.model import NegativeLogLikelihood
from int_lightning.learn.module import PolicyModule
from int_lightning_kernels import Loss


class SFTModule(PolicyModule):
    """Supervised fine-tuning on rows with loss weights.

    Held-out rows are scored before the first step and whenever Lightning validates. ``val/nll`` and ``val/entropy``, that of the
    next-token distribution, are means over the tokens that carry weight, in nats; ``val/entropy_drift`` is the entropy minus that
    of the weights the run started from, at the same tokens.
    """

    _base: dict[str, float] | None = None
    _resumed = False

    def training_step(self, step: Step, _: int) -> None:
        """One optimiser step."""
        totals = self.optimise(step.batches, lambda batch: self._loss(batch, step.count))
        self.log_totals(totals, "train")

    def on_train_start(self) -> None:
        """Scores the held-out rows under the weights that a fresh run starts from."""
        if not self._resumed and self.trainer.enable_validation:
            self.trainer.validating = True
            self.trainer.fit_loop.epoch_loop.val_loop.run()
            self.trainer.training = True

    def validation_step(self, step: Step, _: int) -> None:
        """Scores the held-out rows, which are one step; the same numbers on every rank."""
        sums = torch.zeros(2, dtype=torch.float64, device=self.device)
        for batch in step.batches:
            scores = self.scorer.log_probs(batch, batch.trained, entropy=True)
            assert scores.entropy is not None
            weights = batch.weights[:, 1:][batch.trained]
            sums += torch.stack([-(weights * scores.logprob).sum(), (weights * scores.entropy).sum()])
        nll, entropy = (self.trainer.strategy.reduce(sums, reduce_op="sum") / step.count).tolist()
        if not self._resumed and self._base is None:
            self._base = {"entropy": entropy, "tokens": step.count}
        metrics = {"nll": nll, "entropy": entropy}
        if self._base is not None and self._base["tokens"] == step.count:
            metrics["entropy_drift"] = entropy - self._base["entropy"]
        log_held_out(self.trainer, metrics)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keeps the entropy of the weights the run started from."""
        super().on_save_checkpoint(checkpoint)
        checkpoint["held_out_base"] = self._base

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restores it; a checkpoint of a run that held nothing out has none, and then no drift is logged."""
        super().on_load_checkpoint(checkpoint)
        self._resumed = True
        self._base = checkpoint.get("held_out_base")

    def _loss(self, batch: MicroBatch, count: float) -> Loss:
        weights = batch.weights[:, 1:][batch.trained] / count
        return self.scorer.loss(batch, NegativeLogLikelihood(weights))
