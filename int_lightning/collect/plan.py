"""What a collection would do: problems, prompts as the model would see them, and an upper bound of the tokens."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

from transformers import PreTrainedTokenizerBase

from int_lightning.collect.config import CollectConfig
from int_lightning.oracles.base import Oracle
from int_lightning.oracles.policy import PolicyOracle
from int_lightning.prompts.chat import encode_chat
from int_lightning.prompts.prompt_set import PromptSet
from int_lightning.types import Problem

SAMPLE = 200
"""Problems whose prompts are measured."""

_EXAMPLE = ["(the first step of a wrong attempt)", "(its second step)"]
_WORKED = "(what the model answered to the first turn)"


@dataclass(frozen=True)
class Stage:
    """The most work of a stage: completions, prompt tokens and generated tokens."""

    name: str
    completions: int
    prompt_tokens: int
    generated_tokens: int


@dataclass(frozen=True)
class Plan:
    """A collection that has not been run.

    Args:
        problems: How many there are.
        prompts: Those of the first problem, as text, by template; the one that shows attempts holds a made-up attempt.
        stages: The work of each stage, if every problem turns out to be hard and nothing is rejected.
        longest_prompt: Tokens of the longest solve prompt among the first ``SAMPLE``.
    """

    problems: int
    prompts: dict[str, str]
    stages: list[Stage]
    longest_prompt: int

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {**vars(self), "stages": [vars(s) for s in self.stages]}


@dataclass
class _Prompts:
    """Prompts of the first problem, and token counts of those of the first ``SAMPLE``."""

    tokenizer: PreTrainedTokenizerBase
    prompts: PromptSet
    first: dict[str, str] = field(default_factory=dict)
    lengths: dict[str, list[int]] = field(default_factory=dict)

    def measure(self, problem: Problem, proposing: bool) -> None:
        conversations = {"solve": self.prompts.solve(problem)}
        if proposing and (turn_one := self.prompts.guide(problem)) is not None:
            conversations["guide"] = turn_one
        if proposing:
            conversations["verify"] = self.prompts.verify(problem, _EXAMPLE, _WORKED)
        for name, conversation in conversations.items():
            ids = encode_chat(self.tokenizer, conversation)
            self.lengths.setdefault(name, []).append(len(ids))
            self.first.setdefault(name, str(self.tokenizer.decode(ids)))

    def mean(self, name: str) -> float:
        return fmean(self.lengths[name]) if name in self.lengths else 0.0


def plan(
    problems: Iterable[Problem],
    tokenizer: PreTrainedTokenizerBase,
    prompts: PromptSet,
    config: CollectConfig,
    own_attempts: Mapping[str, int],
    oracle: Oracle,
) -> Plan:
    """Counts the problems, measures the prompts of the first, and multiplies.

    Args:
        own_attempts: Rollouts per problem for the hard filter, by source, for sources that have their own number.
        oracle: Its proposals are counted if the policy makes them.
    """
    policy = oracle if isinstance(oracle, PolicyOracle) else None
    seen = _Prompts(tokenizer, prompts)
    count = attempts = asked = 0
    for problem in problems:
        if count < SAMPLE:
            seen.measure(problem, policy is not None)
        drawn = own_attempts.get(problem.source, config.attempts)
        count, attempts, asked = count + 1, attempts + drawn, asked + min(drawn, config.attempts_per_problem)
    prompt, longest = seen.mean("solve"), config.sampling.max_tokens
    stages = [Stage("attempts", attempts, int(attempts * prompt), attempts * longest)]
    if policy is not None:
        answer = policy.sampling.max_tokens
        turn_one = count if "guide" in seen.first else 0
        proposals = asked * policy.proposals
        context = seen.mean("verify") + longest + (answer if turn_one else 0)
        if turn_one:
            stages.append(Stage("turn 1", turn_one, int(turn_one * seen.mean("guide")), turn_one * answer))
        stages.append(Stage("proposals", proposals, int(proposals * context), proposals * answer))
    guided, naive = asked * config.guided, count * config.guided
    stages.append(Stage("with intervention", guided, int(guided * (prompt + longest)), guided * longest))
    if config.conditioning:
        stages.append(Stage("from prefix", guided, int(guided * (prompt + longest)), guided * longest))
        stages.append(Stage("naive", naive, int(naive * prompt), naive * longest))
    return Plan(count, seen.first, stages, max(seen.lengths.get("solve", [0])))
