"""Learning-rate schedule of the paper: linear warm-up, then cosine down to a share of the peak.

Not transformers' own: its cosine with a minimum rate takes the first step at rate 0, its variant that does not runs the cosine
one step early, and both let the rate rise again after the end.
"""

from __future__ import annotations

import math

from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler


class WarmupCosine(LRScheduler):
    """Linear warm-up over a share of the run, then a cosine down to a share of the peak rate at its end.

    Args:
        optimizer: The optimiser, whose rate is the peak.
        warmup: Share of the run's steps.
        minimum: Share of the peak rate.
        total_steps: Optimiser steps of the run; for 0 the module fills in the length of the data's stream.
    """

    def __init__(self, optimizer: Optimizer, warmup: float = 0.1, minimum: float = 0.1, total_steps: int = 0) -> None:
        self.warmup = warmup
        self.minimum = minimum
        self.total_steps = total_steps
        super().__init__(optimizer)

    def get_lr(self) -> list[float | Tensor]:
        """The rates of the next step, one for each parameter group."""
        return [peak * self.factor(self.last_epoch) for peak in self.base_lrs]

    def factor(self, step: int) -> float:
        """Share of the peak rate at a step, counted from 0."""
        warmup_steps = round(self.warmup * self.total_steps)
        if step < warmup_steps:
            return (step + 1) / warmup_steps
        progress = min(1.0, (step - warmup_steps) / max(1, self.total_steps - warmup_steps))
        return self.minimum + (1 - self.minimum) * 0.5 * (1 + math.cos(math.pi * progress))

    def set_total_steps(self, total_steps: int) -> None:
        """Tells the schedule how long the run is, and sets the rates of the current step accordingly."""
        self.total_steps = total_steps
        self._last_lr = self.get_lr()
        for group, rate in zip(self.optimizer.param_groups, self._last_lr, strict=True):
            group["lr"] = rate
