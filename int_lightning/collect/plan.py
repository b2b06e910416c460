"""What a collection would do: problems, prompts as the model would see them, and how many tokens that comes to at most."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from transformers import PreTrainedTokenizerBase

from int_lightning.collect.config import CollectConfig
from int_lightning.prompts import PromptSet, encode_chat
from int_lightning.types import Problem

SAMPLE = 200
"""Problems whose prompts are measured."""


@dataclass(frozen=True)
class Stage:
    """A stage's work at most: completions, prompt tokens and generated tokens."""

    name: str
    completions: int
    prompt_tokens: int
    generated_tokens: int


@dataclass(frozen=True)
class Plan:
    """A collection that has not been run.

    Args:
        problems: How many there are.
        solve_prompt: Of the first problem, as text.
        stages: The work of each stage, if every problem turns out to be hard and nothing is rejected.
        longest_prompt: Tokens of the longest prompt among the first ``SAMPLE``.
    """

    problems: int
    solve_prompt: str
    stages: list[Stage]
    longest_prompt: int

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {**vars(self), "stages": [vars(s) for s in self.stages]}


def plan(
    problems: Iterable[Problem],
    tokenizer: PreTrainedTokenizerBase,
    prompts: PromptSet,
    config: CollectConfig,
    proposals: int,
    proposal_tokens: int,
) -> Plan:
    """Counts the problems, measures the prompts of the first, and multiplies.

    Args:
        proposals: Proposals per attempt; 0 for an oracle that is no model here.
        proposal_tokens: Tokens of a proposal at most.
    """
    count, solve_prompt, lengths = 0, "", list[int]()
    for problem in problems:
        if count < SAMPLE:
            ids = encode_chat(tokenizer, prompts.solve(problem))
            lengths.append(len(ids))
            solve_prompt = solve_prompt or str(tokenizer.decode(ids))
        count += 1
    prompt = sum(lengths) / max(1, len(lengths))
    longest = config.sampling.max_tokens
    attempts = count * config.attempts
    asked = count * min(config.attempts, config.attempts_per_problem)
    checked = asked * config.guided
    naive = count * config.guided
    stages = [
        Stage("attempts", attempts, int(attempts * prompt), attempts * longest),
        Stage(
            "proposals",
            asked * proposals,
            int(asked * proposals * (prompt + longest)),
            asked * proposals * proposal_tokens,
        ),
        Stage("guided", checked, int(checked * (prompt + longest / 2)), checked * longest),
        Stage("from the prefix", checked, int(checked * (prompt + longest / 2)), checked * longest),
        Stage("naive", naive, int(naive * prompt), naive * longest),
    ]
    return Plan(count, solve_prompt, stages, max(lengths, default=0))
