"""Kinds of first errors, as a model judges them: a wrong idea (HIGH) or a slip in carrying out a right one (EXECUTION)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, cast

from int_lightning.oracles.base import Attempt
from int_lightning.oracles.policy import ROOM
from int_lightning.prompts.chat import encode_chat
from int_lightning.prompts.prompt_set import fill
from int_lightning.rollout_sampler import RolloutSampler
from int_lightning.steps import decode, number_steps
from int_lightning.types import Intervention, Provenance, Sampling, derive_seed

Category = Literal["high", "execution", "unknown"]

TEMPLATE = "categorise"
"""The template that a prompt set needs for this, with ``{problem}``, ``{reference}``, ``{attempt}`` (numbered, up to the wrong
step), ``{location}`` and ``{intervention}``."""

GREEDY = Sampling(max_tokens=1024, temperature=0)

_TAG = re.compile(r"<category>(.*?)</category>", re.DOTALL | re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ErrorCategory:
    """What a model said about the step that an intervention replaces.

    Args:
        id: ``INTERVENTION/category``.
        problem_id: The problem x.
        proposal_id: The proposal that the intervention was parsed from.
        category: What kind of error it replaces.
        raw: All that the model said; "" if the question did not fit into its context.
        provenance: The model that was asked.
    """

    id: str
    problem_id: str
    proposal_id: str
    category: Category
    raw: str
    provenance: Provenance


async def error_categories(
    items: Sequence[tuple[Attempt, Intervention]], sampler: RolloutSampler, sampling: Sampling = GREEDY
) -> list[ErrorCategory]:
    """The category of the error that each intervention replaces, decoded together with what other coroutines ask for.

    Raises:
        KeyError: if the prompt set has no ``categorise.txt``.
        ValueError: if an intervention has no location.
    """
    prompts = [encode_chat(sampler.tokenizer, _question(sampler, *item)) for item in items]
    longest = sampler.engine.max_model_len - min(sampling.max_tokens, ROOM)
    asked = [i for i, prompt in enumerate(prompts) if len(prompt) <= longest]
    seeds = [derive_seed(sampler.seed, TEMPLATE, i.proposal_id) for _, i in items]
    completions = await sampler.loop.generate([prompts[i] for i in asked], sampling, [seeds[i] for i in asked])
    raw = dict(zip(asked, (decode(sampler.tokenizer, c.token_ids.tolist()) for c in completions), strict=True))
    return [
        ErrorCategory(
            f"{intervention.id}/category",
            intervention.problem_id,
            intervention.proposal_id,
            parse_category(raw.get(i, "")),
            raw.get(i, ""),
            sampler.provenance(TEMPLATE, sampling, seeds[i]),
        )
        for i, (_, intervention) in enumerate(items)
    ]


def parse_category(raw: str) -> Category:
    """The label in the last ``<category>`` tag; "unknown" if that holds anything else or there is none."""
    tags = _TAG.findall(raw)
    label = tags[-1].strip().lower() if tags else ""
    if label == "high" or label == "execution":
        return cast(Category, label)
    return "unknown"


def _question(sampler: RolloutSampler, attempt: Attempt, said: Intervention) -> list[dict[str, str]]:
    if not 0 <= said.location < len(attempt.steps):
        raise ValueError(f"{said.id} names step {said.location} of an attempt with {len(attempt.steps)} steps")
    parts = {
        "problem": attempt.problem.problem,
        "reference": attempt.problem.solution,
        "attempt": number_steps(attempt.steps[: said.location + 1]),
        "location": str(said.location),
        "intervention": said.content,
    }
    return [{"role": "user", "content": fill(sampler.prompts.templates[TEMPLATE], parts)}]
