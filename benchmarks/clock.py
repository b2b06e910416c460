"""The clock of a fit, the same for TRL and for us: what each optimiser step took, and the process's peak memory."""

from __future__ import annotations

import resource
import time
from collections.abc import Sequence
from typing import Any

import torch

from benchmarks.machine import Neighbours, version_of


class Clock:
    """Marks the ends of optimiser steps. The first is a warm-up: time is measured from its end.

    Args:
        device: ``cpu`` or ``cuda``.
    """

    def __init__(self, device: str) -> None:
        self.device = device
        self.ends: list[float] = []
        self.processor: list[float] = []
        self.tokens: list[int] = []
        self.losses: list[float] = []
        self.neighbours: Neighbours | None = None

    def mark(self, tokens: int, loss: float) -> None:
        """A step has ended.

        Args:
            tokens: Those that carried loss.
            loss: Their mean.
        """
        if self.device == "cuda":
            torch.cuda.synchronize()
        self.ends.append(time.perf_counter())
        self.processor.append(time.process_time())
        self.tokens.append(tokens)
        self.losses.append(loss)
        self.neighbours = self.neighbours or Neighbours()

    def record(self, packages: Sequence[str]) -> dict[str, Any]:
        """What happened after the warm-up: seconds by the clock and of all cores together, trained tokens, and what other
        processes did; trained tokens and mean loss of each step, the warm-up's included; peak memory in bytes; versions of
        packages."""
        assert self.neighbours is not None
        return {
            "seconds": self.ends[-1] - self.ends[0],
            "processor_seconds": self.processor[-1] - self.processor[0],
            "trained": sum(self.tokens[1:]),
            "tokens": self.tokens,
            "losses": self.losses,
            "peak": self._peak(),
            "neighbours": self.neighbours.note(),
            "versions": "; ".join(f"{package} {version_of(package)}" for package in packages),
        }

    def _peak(self) -> int:
        """On CUDA the most that torch allocated, elsewhere the largest resident set (which Linux counts in KiB)."""
        if self.device == "cuda":
            return torch.cuda.max_memory_allocated()
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
