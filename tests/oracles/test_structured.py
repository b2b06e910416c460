"""Structured decoding of interventions: under the vLLM engine, and as the policy's oracle asks for it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from int_lightning.defects import DefectKind
from int_lightning.engines import vllm
from int_lightning.engines.base import Engine, EngineConfig
from int_lightning.engines.loop import EngineLoop
from int_lightning.engines.opening import open_engine
from int_lightning.engines.transformers import TransformersEngine
from int_lightning.grading.grader import Grader
from int_lightning.mini.make import write_untrained
from int_lightning.mini.mini_tokenizer import build_tokenizer
from int_lightning.mini.world import load_split
from int_lightning.models.resolve import resolve_model
from int_lightning.oracles.base import Attempt
from int_lightning.oracles.grammar import intervention_tag
from int_lightning.oracles.policy import PolicyOracle
from int_lightning.oracles.proposals.parse import Parsed, parse_proposal
from int_lightning.prompts.chat import encode_chat
from int_lightning.prompts.prompt_set import PromptSet
from int_lightning.rollout_sampler import RolloutSampler
from int_lightning.steps import split_steps
from int_lightning.types import Completion, Problem, Proposal, Provenance, Rollout, Sampling, UserError

needs_vllm = pytest.mark.skipif(not vllm.available(), reason="vLLM is not installed")

TOKENIZER = build_tokenizer()
HOT = Sampling(max_tokens=100, temperature=2.0)
UNUSABLE = set(DefectKind) - {DefectKind.NO_ERROR, DefectKind.REPEATS}


def kind(said: Parsed | Proposal) -> DefectKind | None:
    return said.defect.kind if said.defect else None


def attempts(count: int) -> list[Attempt]:
    """Attempts with the base model's own mistake: @ taken for +."""
    found = []
    for problem in load_split("hard-train", count):
        value, steps, rest = problem.problem[0], [], problem.problem[1:]
        for op, b in zip(rest[::2], rest[1::2], strict=True):
            result = {"-": int(value) - int(b), "*": int(value) * int(b)}.get(op, int(value) + int(b)) % 10
            steps.append(f"{value}{op}{b}={result}")
            value = str(result)
        found.append(attempt(problem, "\n\n".join([*steps, f"\\boxed{{{value}}}"])))
    return found


def attempt(problem: Problem, text: str) -> Attempt:
    provenance = Provenance("m", "f", "e", "t", Sampling(), 0)
    rollout = Rollout(f"{problem.id}/0", problem.id, 0, [1], [2], [0.0], text, "stop", "", False, provenance)
    return Attempt(problem, rollout, split_steps(text))


def propose(oracle: PolicyOracle, engine: Engine, of: Sequence[Attempt], prompts: str = "mini") -> list[list[Proposal]]:
    with Grader() as grader:
        sampler = RolloutSampler(engine, TOKENIZER, PromptSet(prompts), grader, "mini", "f", 0)
        return asyncio.run(oracle.propose(of, sampler))


@pytest.fixture(scope="module")
def untrained(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("untrained")
    write_untrained(folder)
    return str(folder)


def engine_of(folder: str) -> Engine:
    return open_engine(folder, EngineConfig(name="vllm", max_model_len=256, max_num_seqs=64, threads=1))


@needs_vllm
@pytest.mark.parametrize("trained", [True, False])
def test_a_structured_proposal_is_inside_the_attempt(trained: bool, untrained: str) -> None:
    engine = engine_of(resolve_model("mini") if trained else untrained)
    of = attempts(4)

    def said(structured: bool) -> list[Parsed]:
        """The first object after the first tag of each proposal, if there is such a tag and the object ended."""
        oracle = PolicyOracle(24, HOT, structured)
        found = []
        for attempt, proposals in zip(of, propose(oracle, engine, of), strict=True):
            for proposal in proposals:
                body, end, _ = proposal.raw.partition("<intervention>")[2].partition("</intervention>")
                if end:
                    found.append(parse_proposal(f"<intervention>{body}</intervention>", attempt.steps))
        return found

    assert any(kind(parsed) in UNUSABLE for parsed in said(structured=False))
    structured = said(structured=True)
    assert len(structured) > 20
    assert not [p for p in structured if kind(p) in UNUSABLE - {DefectKind.NO_CONTENT}]
    assert {parsed.location for parsed in structured} >= {0, 1, 2}


@needs_vllm
def test_structure_binds_its_own_completions_only_and_keeps_to_seeds(untrained: str) -> None:
    engine = engine_of(untrained)
    prompts = [encode_chat(TOKENIZER, PromptSet("mini").solve(p)) for p in load_split("easy", 12)]
    tag = json.dumps(intervention_tag(3))
    structures = [None, tag] * 6

    async def draw(structures: list[str | None] | None) -> list[list[int]]:
        return [c.token_ids.tolist() for c in await EngineLoop(engine).generate(prompts, HOT, range(12), structures)]

    free, mixed, again = asyncio.run(draw(None)), asyncio.run(draw(structures)), asyncio.run(draw(structures))
    assert mixed == again
    assert mixed[::2] == free[::2]
    assert mixed[1::2] != free[1::2]


@needs_vllm
def test_a_structured_proposal_that_max_tokens_cuts_inside_its_object_is_a_defect(untrained: str) -> None:
    oracle = PolicyOracle(128, Sampling(max_tokens=12, temperature=2.0), structured=True)
    (proposals,) = propose(oracle, engine_of(untrained), attempts(1))
    cut = [p for p in proposals if "<intervention>" in p.raw and "</intervention>" not in p.raw]
    inside = [p for p in cut if not p.raw.endswith(("{}", '"}'))]
    assert len(inside) > 5
    assert {kind(p) for p in inside} == {DefectKind.TRUNCATED}


def decode_one(engine: Engine, prompt: list[int], sampling: Sampling, structure: dict[str, Any]) -> Completion:
    engine.submit(prompt, sampling, 0, json.dumps(structure))
    while not (ended := engine.step()):
        pass
    return ended[0][1]


@needs_vllm
def test_log_probs_are_those_of_the_tokens_that_were_allowed(untrained: str) -> None:
    engine = engine_of(untrained)
    prompt = encode_chat(TOKENIZER, [{"role": "user", "content": "1+2"}])
    one_or_two = {"type": "or", "elements": [{"type": "const_string", "value": digit} for digit in "12"]}
    completion = decode_one(engine, prompt, Sampling(max_tokens=1), {"type": "structural_tag", "format": one_or_two})
    digits = TOKENIZER.convert_tokens_to_ids(["1", "2"])
    raw = torch.tensor([scores[-1] for scores in engine.score([[*prompt, digit] for digit in digits])])
    expected = raw.log_softmax(0)[digits.index(completion.token_ids[0])].item()
    assert completion.logprobs == pytest.approx([expected], abs=1e-4)


@needs_vllm
def test_a_structure_that_the_vocabulary_cannot_write_is_an_error(untrained: str) -> None:
    engine = engine_of(untrained)
    unknown = {"type": "structural_tag", "format": {"type": "token", "token": 99999}}
    with pytest.raises(UserError, match="`structured`"):
        decode_one(engine, [5, 6], HOT, unknown)


def test_the_transformers_engine_refuses_structure_before_anything_is_sampled(tmp_path: Path) -> None:
    (tmp_path / "solve.txt").write_text("{problem}")
    (tmp_path / "guide.txt").write_text("{problem}\n{reference}")
    (tmp_path / "verify.txt").write_text("{attempt}")
    engine = TransformersEngine(resolve_model("mini"), EngineConfig(max_model_len=256, threads=1))
    with pytest.raises(UserError, match="structured decoding needs vLLM"):
        propose(PolicyOracle(1, HOT, structured=True), engine, attempts(1), str(tmp_path))
    with pytest.raises(UserError, match="structured decoding needs vLLM"):
        engine.submit([5], HOT, 0, json.dumps(intervention_tag(2)))
    assert engine.tokens_generated == 0
