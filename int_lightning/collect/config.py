"""Sizes and rules of a collection."""

from __future__ import annotations

from dataclasses import dataclass

from int_lightning.collect.leakage import LeakagePolicy
from int_lightning.steps import Segmentation
from int_lightning.types import Sampling, UserError


@dataclass(frozen=True)
class CollectConfig:
    """Sizes of the collection.

    Args:
        attempts: Rollouts per problem for the hard filter (the paper: 32, 64 or 128).
        first_wave: Rollouts of the first wave; each further wave draws as many as all before it. The first wave with a right
            rollout is the last, so that easy problems cost little.
        attempts_per_problem: Wrong attempts of each hard problem that the oracle is asked about; where one turns out to be too
            long for the context, it is asked about a shorter one too.
        kept_per_attempt: Interventions of each attempt that are checked, out of those that could be.
        refined: Rewritings of each of these attempts as a whole by the policy, with the reference in view: what SFT on
            self-refined solutions trains on. The prompt set needs ``refine.txt`` for them.
        guided: Guided rollouts per intervention, and rollouts per problem of each row of the conditioning table.
        guided_until_success: Draw guided rollouts in waves too, until one is right; counts are then of those drawn.
        conditioning: Draw the same number of rollouts from the prefix alone and from the bare problem too, for the conditioning
            table.
        leakage: What counts as giving the final answer away.
        correctness_filter: Whether an intervention needs a right guided rollout to be accepted.
        segmentation: Where a step ends.
        categories: Ask the policy, for each checked intervention, whether the error was a wrong idea or a slip.
        batch_problems: Most problems that a kill can cost: half of them are worked on side by side, half stored at a time.
        sampling: How attempts and guided rollouts are drawn.
    """

    attempts: int = 64
    first_wave: int = 8
    attempts_per_problem: int = 1
    kept_per_attempt: int = 1
    refined: int = 0
    guided: int = 32
    guided_until_success: bool = False
    conditioning: bool = True
    leakage: LeakagePolicy = "stated"
    correctness_filter: bool = True
    segmentation: Segmentation = "blank_lines"
    categories: bool = False
    batch_problems: int = 128
    sampling: Sampling = Sampling(max_tokens=16384, temperature=1.0)

    def __post_init__(self) -> None:
        for name in ("attempts", "first_wave", "attempts_per_problem", "kept_per_attempt", "guided", "batch_problems"):
            if getattr(self, name) < 1:
                raise UserError(f"collection.{name} is {getattr(self, name)}: give at least 1")
        if self.refined < 0:
            raise UserError(f"collection.refined is {self.refined}: give 0 or more")
