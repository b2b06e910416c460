"""Sampling and grading rollouts: the same for collection, GRPO and evaluation.

The seed of a rollout is derived from (run seed, stage, problem, sample) and nothing else, so what is sampled does not depend on
how the work was cut into batches or where it was resumed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product, starmap
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
from transformers import PreTrainedTokenizerBase

from int_lightning.engines.base import Engine, EngineConfig
from int_lightning.engines.loop import EngineLoop
from int_lightning.engines.opening import open_engine
from int_lightning.engines.tensor_parallel import TensorParallelEngine
from int_lightning.grading.extraction import final_answer
from int_lightning.grading.grader import Grader
from int_lightning.model_folder.tokenizer import load_tokenizer
from int_lightning.models.resolve import fingerprint, resolve_model
from int_lightning.prompts.chat import encode_chat, encode_text
from int_lightning.prompts.prompt_set import PromptSet
from int_lightning.prompts.round_trip import check_shown
from int_lightning.steps import decode
from int_lightning.types import Completion, Problem, Provenance, Rollout, Sampling, UserError, derive_seed

T = TypeVar("T")
_IDLE_SECONDS = 0.01


@dataclass(frozen=True, slots=True)
class Continuation:
    """Where a rollout starts.

    Args:
        problem: The problem x.
        token_ids: Tokens after the prompt: none, a prefix, or prefix + intervention; int32, shape (prefix,).
        parent: The record that these tokens belong to, "" if there are none.
        attempt: An attempt to rewrite as a whole, with the reference in view; if "", a solution is asked for.
        hint: The beginning of the reference, shown with the problem.
    """

    problem: Problem
    token_ids: list[int]
    parent: str
    attempt: str = ""
    hint: str = ""

    @property
    def template(self) -> str:
        """The template of its prompt."""
        if self.attempt:
            return "refine"
        return "hint" if self.hint else "solve"


def check_problem_text(tokenizer: PreTrainedTokenizerBase, prompts: PromptSet, problem: Problem) -> None:
    """Checks that the tokenizer gives back a problem's prompt and reference solution.

    Raises:
        UserError: if it does not.
    """
    conversation = prompts.solve(problem)
    ids, name = encode_chat(tokenizer, conversation), f"problem {problem.id!r}"
    check_shown(tokenizer, [message["content"] for message in conversation], ids, f"the prompt of {name}")
    check_shown(
        tokenizer, [problem.solution], encode_text(tokenizer, problem.solution), f"the reference solution of {name}"
    )


class Draw(NamedTuple):
    """One rollout to draw: where it starts, and its number among those that start there."""

    start: Continuation
    sample: int


@dataclass
class RolloutSampler:
    """Draws rollouts of one policy.

    Args:
        engine: Serves the policy's weights.
        tokenizer: The policy's.
        prompts: Templates.
        grader: Grades final answers.
        model: Name of the policy, for provenance.
        fingerprint: Hash of its weights, for provenance.
        seed: The run's seed.
    """

    engine: Engine
    tokenizer: PreTrainedTokenizerBase
    prompts: PromptSet
    grader: Grader
    model: str
    fingerprint: str
    seed: int

    def sample(
        self,
        problems: Sequence[Problem],
        samples: range,
        sampling: Sampling,
        stage: str,
        hints: Mapping[str, str] | None = None,
    ) -> list[list[Rollout]]:
        """Rollouts with the given sample numbers for each problem, graded; ``hints`` are shown with the problems of these ids."""
        starts = [Continuation(p, [], "", hint=(hints or {}).get(p.id, "")) for p in problems]
        draws = list(starmap(Draw, product(starts, samples)))
        prompts, seeds = self._requests(draws, stage)
        completions = self.engine.generate(prompts, sampling, seeds)
        texts = self._texts(draws, completions)
        answers = _answers(texts, completions)
        verdicts = self.grader.grade(answers, [d.start.problem.answer for d in draws])
        rollouts = self._rollouts(draws, sampling, stage, prompts, seeds, completions, texts, answers, verdicts)
        n = len(samples)
        return [rollouts[i : i + n] for i in range(0, len(rollouts), n)]

    async def draw(self, start: Continuation, samples: range, sampling: Sampling, stage: str) -> list[Rollout]:
        """Rollouts that continue after given tokens, graded on the whole text, including those tokens. The rollouts of other
        coroutines are decoded together with them, and grading does not hold them up."""
        draws = [Draw(start, i) for i in samples]
        prompts, seeds = self._requests(draws, stage)
        completions = await self.loop.generate(prompts, sampling, seeds)
        texts = self._texts(draws, completions)
        answers = _answers(texts, completions)
        verdicts = await asyncio.wrap_future(self.grader.submit(answers, [start.problem.answer] * len(texts)))
        return self._rollouts(draws, sampling, stage, prompts, seeds, completions, texts, answers, verdicts)

    @cached_property
    def loop(self) -> EngineLoop:
        """The engine as coroutines share it."""
        return EngineLoop(self.engine)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Runs a coroutine that draws. In a fit every rank calls it, also one that has nothing to draw: its engine may be part of
        one that other ranks draw from, and steps with theirs."""
        if not isinstance(self.engine, TensorParallelEngine):
            return asyncio.run(work)
        done = asyncio.run(self._beside_other_ranks(self.engine, work))
        self.engine.finish()
        return done

    async def _beside_other_ranks(self, engine: TensorParallelEngine, work: Coroutine[Any, Any, T]) -> T:
        """Steps the engine also while the work waits for something else, such as a server's proposals."""
        running = asyncio.create_task(work)
        while not running.done():
            if self.loop.idle:
                engine.step()
            await asyncio.sleep(_IDLE_SECONDS)
        return running.result()

    def _requests(self, draws: Sequence[Draw], stage: str) -> tuple[list[list[int]], list[int]]:
        starts = {(d.start.problem.id, d.start.attempt): d.start for d in draws}
        asked = {key: self._asked(start) for key, start in starts.items()}
        prompts = [asked[d.start.problem.id, d.start.attempt] + d.start.token_ids for d in draws]
        for draw, prompt in zip(draws, prompts, strict=True):
            if len(prompt) >= self.engine.max_model_len:
                raise UserError(
                    f"problem {draw.start.problem.id!r}: its prompt of {len(prompt)} tokens leaves no room in "
                    f"engine.max_model_len = {self.engine.max_model_len}: raise it, or take the problem out of its source"
                )
        seeds = [derive_seed(self.seed, stage, d.start.problem.id, d.start.parent, d.sample) for d in draws]
        return prompts, seeds

    def prompt(self, start: Continuation) -> list[int]:
        """Token ids of what the engine is asked to continue. Whoever asks about more than a problem, whose own prompt is known
        to fit, checks first that they leave room in ``engine.max_model_len``."""
        return self._asked(start) + start.token_ids

    def _asked(self, start: Continuation) -> list[int]:
        if start.attempt:
            conversation = self.prompts.refine(start.problem, start.attempt)
        elif start.hint:
            conversation = self.prompts.hint(start.problem, start.hint)
        else:
            conversation = self.prompts.solve(start.problem)
        return encode_chat(self.tokenizer, conversation)

    def _texts(self, draws: Sequence[Draw], completions: Sequence[Completion]) -> list[str]:
        return [
            decode(self.tokenizer, [*d.start.token_ids, *c.token_ids.tolist()])
            for d, c in zip(draws, completions, strict=True)
        ]

    def _rollouts(
        self,
        draws: Sequence[Draw],
        sampling: Sampling,
        stage: str,
        prompts: Sequence[list[int]],
        seeds: Sequence[int],
        completions: Sequence[Completion],
        texts: Sequence[str],
        answers: Sequence[str],
        verdicts: Sequence[bool],
    ) -> list[Rollout]:
        return [
            Rollout(
                id=f"{d.start.parent or d.start.problem.id}/{stage}/{d.sample}",
                problem_id=d.start.problem.id,
                sample=d.sample,
                prompt_ids=np.array(prompt, np.int32),
                token_ids=completion.token_ids,
                logprobs=completion.logprobs,
                text=text,
                finish=completion.finish,
                answer=answer,
                correct=correct,
                provenance=self.provenance(d.start.template, sampling, seed),
                parent=d.start.parent,
            )
            for d, prompt, seed, completion, text, answer, correct in zip(
                draws, prompts, seeds, completions, texts, answers, verdicts, strict=True
            )
        ]

    def provenance(self, template: str, sampling: Sampling, seed: int) -> Provenance:
        """Where a completion came from."""
        version = self.prompts.versions[template]
        return Provenance(self.model, self.fingerprint, self.engine.name, version, sampling, seed, self.engine.ends)


def _answers(texts: Sequence[str], completions: Sequence[Completion]) -> list[str]:
    """The answer that each text gives; if it was cut off, only a box counts."""
    return [final_answer(text, cut=c.finish == "length") for text, c in zip(texts, completions, strict=True)]


def open_sampler(model: str, prompts: str, grader: Grader, engine: EngineConfig, seed: int) -> RolloutSampler:
    """A sampler of a model's rollouts, on this process's engine.

    Args:
        model: ``mini``, ``smollm2-135m-instruct``, a model folder or a hub name.
        prompts: Prompt set.
        grader: Grades final answers.
        engine: How to start the engine.
        seed: The run's seed.
    """
    folder = resolve_model(model)
    tokenizer = load_tokenizer(folder)
    weights = weights_of(model)
    return RolloutSampler(open_engine(folder, engine), tokenizer, PromptSet(prompts), grader, model, weights, seed)


def weights_of(model: str) -> str:
    """The fingerprint of a model's weights; for a model on the hub, its id."""
    folder = resolve_model(model)
    return fingerprint(folder) if Path(folder).is_dir() else folder
