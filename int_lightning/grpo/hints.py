"""Hint-guided RL: problems are shown with the beginning of their reference solution, and less of it as training continues."""

from __future__ import annotations

import re
from dataclasses import dataclass

from int_lightning.types import Problem, UserError


@dataclass(frozen=True)
class HintConfig:
    """How much of the reference is shown with each training problem; held-out problems are shown without.

    Args:
        first: Share of the reference's words at the start of the run.
        last: Share at the end of the schedule, which is linear, and from then on.
        until: Share of the run's optimiser steps after which the schedule ends.

    Raises:
        UserError: for a share outside 0 to 1.
    """

    first: float = 0.5
    last: float = 0.0
    until: float = 1.0

    def __post_init__(self) -> None:
        for name in ("first", "last", "until"):
            if not 0 <= getattr(self, name) <= 1:
                raise UserError(f"data.hints.{name} is {getattr(self, name)}: give a share from 0 to 1")

    def share(self, progress: float) -> float:
        """The share shown once ``progress`` (0 to 1) of the run is done."""
        done = min(1.0, progress / self.until) if self.until else 1.0
        return self.first + (self.last - self.first) * done


def hint(problem: Problem, share: float) -> str:
    """The leading share of the reference's words, "" if that is less than one word."""
    words = list(re.finditer(r"\S+", problem.solution))
    shown = int(share * len(words))
    return problem.solution[words[0].start() : words[shown - 1].end()] if shown else ""
