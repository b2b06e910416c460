"""Attempts rewritten as a whole by the policy, with the reference in view."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

from int_lightning.defects import Defect, DefectKind
from int_lightning.oracles.base import Attempt
from int_lightning.rollout_sampler import Continuation, RolloutSampler
from int_lightning.types import Rollout, Sampling

TEMPLATE = "refine"
"""The template that a prompt set needs for this."""


@dataclass(frozen=True, slots=True)
class Unrefined:
    """An attempt that was not rewritten.

    Args:
        problem_id: The problem x.
        rollout_id: The attempt.
        defect: Why not.
    """

    problem_id: str
    rollout_id: str
    defect: Defect


async def refine(
    attempts: Sequence[Attempt], samples: range, sampling: Sampling, sampler: RolloutSampler
) -> tuple[list[Rollout], list[Unrefined]]:
    """Rewritings of each attempt, decoded together with what other coroutines ask for, and the attempts that are too long to be
    shown whole."""
    starts = [Continuation(a.problem, [], a.rollout.id, a.rollout.text) for a in attempts]
    lengths = [len(sampler.prompt(start)) for start in starts]
    longest = sampler.engine.max_model_len - 1
    asked = [start for start, length in zip(starts, lengths, strict=True) if length <= longest]
    drawn = await asyncio.gather(*(sampler.draw(start, samples, sampling, "refined") for start in asked))
    too_long = [
        Unrefined(a.problem.id, a.rollout.id, Defect(DefectKind.TOO_LONG, f"{length} tokens, {longest} fit"))
        for a, length in zip(attempts, lengths, strict=True)
        if length > longest
    ]
    return list(chain.from_iterable(drawn)), too_long
