"""The clock of a fit, the same on both sides of sft.py: what each optimiser step took, and the process's peak memory."""

from __future__ import annotations

import resource
import time
from collections.abc import Sequence
from typing import Any

import torch

from benchmarks.machine import Neighbours, version_of


class Clock:
    """Marks the ends of optimiser steps. The first is a warm-up, from whose end on time is measured.

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
        """What happened after the warm-up: seconds, those of all cores together, trained tokens and what other processes did;
        each step's trained tokens and mean loss, the warm-up's too; peak memory in bytes, and versions of packages."""
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
        """On CUDA what torch allocated at most, elsewhere the highest resident set (Linux counts it in KiB)."""
        if self.device == "cuda":
            return torch.cuda.max_memory_allocated()
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
