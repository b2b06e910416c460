"""Sampling and grading rollouts: the same for collection, GRPO and evaluation.

Every rollout has a seed derived from (run seed, stage, problem, sample) and nothing else, so that what is sampled does not
depend on how the work was cut into batches or where it was taken up again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from transformers import PreTrainedTokenizerBase

from int_lightning.engines.base import Engine
from int_lightning.grading import Grader, extract_answer
from int_lightning.prompts import PromptSet, encode_chat
from int_lightning.steps import decode
from int_lightning.types import Problem, Provenance, Rollout, Sampling, derive_seed


@dataclass(frozen=True, slots=True)
class Continuation:
    """Where a guided rollout starts: tokens after the solve prompt (a prefix, or prefix + intervention), and their owner."""

    problem: Problem
    token_ids: list[int]
    parent: str


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
        self, problems: Sequence[Problem], samples: range, sampling: Sampling, stage: str
    ) -> list[list[Rollout]]:
        """Rollouts with the given sample numbers for each problem, graded."""
        starts = [Continuation(p, [], "") for p in problems]
        return self.continue_from(starts, samples, sampling, stage)

    def continue_from(
        self, starts: Sequence[Continuation], samples: range, sampling: Sampling, stage: str
    ) -> list[list[Rollout]]:
        """Rollouts that continue after given tokens; they are graded on the whole text, those tokens included."""
        prompts = {s.problem.id: encode_chat(self.tokenizer, self.prompts.solve(s.problem)) for s in starts}
        items = [(start, sample) for start in starts for sample in samples]
        seeds = [derive_seed(self.seed, stage, s.problem.id, s.parent, i) for s, i in items]
        prompt_ids = [prompts[s.problem.id] + s.token_ids for s, _ in items]
        completions = self.engine.generate(prompt_ids, sampling, seeds)
        texts = [
            decode(self.tokenizer, s.token_ids + c.token_ids) for (s, _), c in zip(items, completions, strict=True)
        ]
        verdicts = self.grader.grade(texts, [s.problem.answer for s, _ in items])
        rollouts = [
            Rollout(
                id=f"{start.parent or start.problem.id}/{stage}/{sample}",
                problem_id=start.problem.id,
                sample=sample,
                prompt_ids=prompt,
                token_ids=completion.token_ids,
                logprobs=completion.logprobs,
                text=text,
                finish=completion.finish,
                answer=extract_answer(text),
                correct=correct,
                provenance=self.provenance("solve", sampling, seed),
                parent=start.parent,
            )
            for (start, sample), prompt, completion, text, correct, seed in zip(
                items, prompt_ids, completions, texts, verdicts, seeds, strict=True
            )
        ]
        n = len(samples)
        return [rollouts[i : i + n] for i in range(0, len(rollouts), n)]

    def provenance(self, template: str, sampling: Sampling, seed: int) -> Provenance:
        """Where a completion came from."""
        version = self.prompts.versions[template]
        return Provenance(self.model, self.fingerprint, self.engine.name, version, sampling, seed)
