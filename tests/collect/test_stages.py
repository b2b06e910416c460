"""Which attempts of a problem are taken to the oracle, and which of its proposals are kept."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from int_lightning.collect.config import CollectConfig
from int_lightning.collect.stages import ProblemStages, Work
from int_lightning.defects import Defect, DefectKind
from int_lightning.engines.base import EngineConfig
from int_lightning.grading.grader import Grader
from int_lightning.oracles.base import Attempt, Oracle
from int_lightning.oracles.policy import PolicyOracle
from int_lightning.rollout_sampler import Continuation, RolloutSampler, open_sampler
from int_lightning.types import Intervention, Problem, Proposal, Provenance, Rollout, Sampling

from commands import PORTABLE_ENGINE, collect

PROBLEM = Problem("p", "1+2@4", "3 > 2 > \\boxed{2}", "2")
CONTEXT = 96
SHORT = Sampling(max_tokens=8)
STEP = "1+2=3\n\n"
SAYABLE, UNSAYABLE = "3@4=5", "3☃4=5"


@pytest.fixture(scope="module")
def sampler() -> RolloutSampler:
    """The mini model, with a context in which attempts of many steps leave no room for a conversation about them."""
    return open_sampler(
        "mini", "mini", Grader(), EngineConfig("transformers", threads=1, max_model_len=CONTEXT), seed=0
    )


def attempt(sampler: RolloutSampler, sample: int, steps: int) -> Rollout:
    """A wrong attempt of some right steps and an answer."""
    text = STEP * steps + "\\boxed{7}"
    ids, end = sampler.tokenizer.encode(text), sampler.tokenizer.eos_token_id
    prompt = sampler.tokenizer.encode("<|user|>1+2@4<|assistant|>")
    provenance = Provenance("mini", "", "transformers", "solve@1f2e3d4c", SHORT, 0, [end])
    logprobs = [-1.0] * (len(ids) + 1)
    return Rollout(f"p/{sample}", "p", sample, prompt, [*ids, end], logprobs, text, "stop", "7", False, provenance)


def run(sampler: RolloutSampler, oracle: Oracle, config: CollectConfig, attempts: list[Rollout]) -> Work:
    stages = ProblemStages(sampler, oracle, config)
    return asyncio.run(stages.run(PROBLEM, Work(PROBLEM, attempts=attempts)))


def small(**sizes: int) -> CollectConfig:
    return CollectConfig(guided=2, conditioning=False, correctness_filter=False, sampling=SHORT, **sizes)  # type: ignore[arg-type]


def asked_about(work: Work) -> list[str]:
    """The attempts with proposals, each once."""
    return list(dict.fromkeys(p.rollout_id for p in work.proposals))


def too_long(work: Work) -> set[str]:
    return {p.rollout_id for p in work.proposals if p.defect and p.defect.kind is DefectKind.TOO_LONG}


@pytest.mark.parametrize(
    ("steps", "asked", "without_room"),
    [
        ([20, 3, 1], ["p/0", "p/2"], {"p/0"}),  # the shortest of the others takes its place
        ([3, 20, 1], ["p/0"], set()),
        ([20, 21, 22], ["p/0"], {"p/0"}),  # no other attempt is shorter
        ([30, 21, 22], ["p/0", "p/1"], {"p/0", "p/1"}),
    ],
)
def test_an_attempt_too_long_for_the_context_gives_its_place_to_a_shorter_one(
    steps: list[int], asked: list[str], without_room: set[str], sampler: RolloutSampler
) -> None:
    oracle = PolicyOracle(1, Sampling(max_tokens=16))
    attempts = [attempt(sampler, i, n) for i, n in enumerate(steps)]
    work = run(sampler, oracle, small(attempts_per_problem=1), attempts)
    assert asked_about(work) == asked
    assert too_long(work) == without_room


class Saying(Oracle):
    """Proposes given texts in place of the second step."""

    def __init__(self, *contents: str) -> None:
        self.contents = contents

    async def propose(self, attempts: Sequence[Attempt], sampler: RolloutSampler) -> list[list[Proposal]]:
        return [[self._said(a, i, content) for i, content in enumerate(self.contents)] for a in attempts]

    def _said(self, attempt: Attempt, sample: int, content: str) -> Proposal:
        return replace(self.proposal(attempt, sample, ""), location=1, content=content, defect=None)


def kinds(interventions: Sequence[Intervention]) -> list[DefectKind | None]:
    defects: list[Defect | None] = [i.rejected for i in interventions]
    return [defect and defect.kind for defect in defects]


def test_a_proposal_the_tokenizer_cannot_say_leaves_its_place_to_the_next(sampler: RolloutSampler) -> None:
    oracle = Saying(UNSAYABLE, SAYABLE, SAYABLE)
    work = run(sampler, oracle, small(kept_per_attempt=1), [attempt(sampler, 0, 3)])
    assert kinds(work.interventions) == [DefectKind.UNSAYABLE, None, DefectKind.NOT_KEPT]
    assert [i.guided_total for i in work.interventions] == [0, 2, 0]
    assert {r.parent for r in work.guided} == {work.interventions[1].id}


def test_a_proposal_that_leaves_no_room_leaves_its_place_to_the_next(sampler: RolloutSampler) -> None:
    oracle = Saying("1+3=4 > " * 20, SAYABLE)
    work = run(sampler, oracle, small(kept_per_attempt=1), [attempt(sampler, 0, 3)])
    assert kinds(work.interventions) == [DefectKind.NO_ROOM, None]


def test_a_proposal_that_comes_after_those_kept_says_what_is_wrong_with_it(sampler: RolloutSampler) -> None:
    work = run(sampler, Saying(SAYABLE, UNSAYABLE), small(kept_per_attempt=1), [attempt(sampler, 0, 3)])
    assert kinds(work.interventions) == [None, DefectKind.UNSAYABLE]


def test_an_attempt_too_long_to_be_rewritten_is_left_out_with_the_reason(sampler: RolloutSampler) -> None:
    attempts = [attempt(sampler, 0, 20), attempt(sampler, 1, 3)]
    work = run(sampler, Saying(SAYABLE), small(attempts_per_problem=2, refined=2), attempts)
    assert [r.parent for r in work.refined] == ["p/1", "p/1"]
    (left_out,) = work.unrefined
    shown = len(sampler.prompt(Continuation(PROBLEM, [], "p/0", attempts[0].text)))
    assert left_out.rollout_id == "p/0"
    assert str(left_out.defect) == f"{DefectKind.TOO_LONG}: {shown} tokens, {CONTEXT - 1} fit"


def test_an_intervention_on_an_attempt_that_saw_a_hint_must_leave_room_after_that_too(sampler: RolloutSampler) -> None:
    hinted = attempt(sampler, 0, 3)
    filled = [*hinted.prompt_ids, *hinted.token_ids[:1]] * CONTEXT
    longer = replace(hinted, prompt_ids=filled[: CONTEXT - 12])
    work = run(sampler, Saying(SAYABLE), small(), [longer])
    assert kinds(work.interventions) == [DefectKind.NO_ROOM]


def test_a_collection_goes_on_where_attempts_fill_the_context_and_counts_them(tmp_path: Path) -> None:
    assert collect(tmp_path, PORTABLE_ENGINE, "--engine.max_model_len=64") == 0
    summary = json.loads((tmp_path / "results.json").read_text())
    assert summary["not_rewritten"][DefectKind.TOO_LONG] > 0
    assert summary["hard"] == 12
