"""The prompts of every step, in the order in which ``RolloutData`` takes them, and whether a fit sampled from them."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import pyarrow.parquet as pq
from transformers import AutoTokenizer

from int_lightning.grpo.sampling import shuffled
from int_lightning.models.resolve import resolve_model
from int_lightning.prompts.chat import encode_chat
from int_lightning.prompts.prompt_set import PromptSet
from int_lightning.sources.reading import load_problems
from int_lightning.types import Problem, derive_seed

PROMPT_SET = "mini"


@dataclass(frozen=True, slots=True)
class Prompt:
    """A problem as messages, for TRL, and as the token ids that we sample from."""

    problem: Problem
    messages: list[dict[str, str]]
    token_ids: list[int]


@dataclass(frozen=True, slots=True)
class Plan:
    """The model's folder, and the prompts of each step, the warm-up's first.

    ``limit`` is how many of the source's problems are used: a whole number of steps, so that no step takes a problem twice.
    """

    model: str
    steps: list[list[Prompt]]
    group: int
    limit: int

    @property
    def longest_prompt(self) -> int:
        """Tokens."""
        return max(len(prompt.token_ids) for prompt in chain.from_iterable(self.steps))

    def write(self, path: Path) -> None:
        """All prompts as JSON lines, with answers and token ids."""
        rows = [
            {"prompt": prompt.messages, "answer": prompt.problem.answer, "token_ids": prompt.token_ids}
            for prompt in chain.from_iterable(self.steps)
        ]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def plan_prompts(options: argparse.Namespace) -> Plan:
    """Args:
        options: Those of the comparison.

    Raises:
        SystemExit: if the source has too few problems for a step.
    """
    problems = load_problems(options.problems, require_solution=False)
    size = options.prompts
    limit = len(problems) // size * size
    if not limit:
        raise SystemExit(f"{options.problems} has {len(problems)} problems, too few for a step of {size}")
    model, prompts = resolve_model(options.model), PromptSet(PROMPT_SET)
    tokenizer = AutoTokenizer.from_pretrained(model)
    taken: list[Problem] = []
    while len(taken) < (1 + options.steps) * size:
        taken += shuffled(problems[:limit], derive_seed(options.seed, "order", len(taken) // limit))
    made = [Prompt(p, prompts.solve(p), encode_chat(tokenizer, prompts.solve(p))) for p in taken]
    return Plan(model, [made[i * size : (i + 1) * size] for i in range(1 + options.steps)], options.group, limit)


def check_our_prompts(folder: Path, plan: Plan) -> None:
    """Compares the tables of rollouts that a fit left with the plan.

    Raises:
        SystemExit: if a step sampled from other prompts.
    """
    for number, step in enumerate(plan.steps):
        table = pq.read_table(folder / f"batch-{number:06d}.parquet", columns=["problem_id"])
        sampled = Counter(table.column("problem_id").to_pylist())
        if sampled != Counter({prompt.problem.id: plan.group for prompt in step}):
            raise SystemExit(f"int-lightning sampled from other prompts in step {number} than were planned")
