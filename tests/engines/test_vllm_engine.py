"""vLLM in this process: the same protocol as the transformers engine, and one engine after another."""

from __future__ import annotations

import pytest
import torch
from transformers import AutoModelForCausalLM

from int_lightning.engines import vllm
from int_lightning.engines.base import EngineConfig
from int_lightning.engines.opening import open_engine
from int_lightning.engines.transformers import TransformersEngine
from int_lightning.engines.vllm import VLLMEngine
from int_lightning.mini.mini_tokenizer import build_tokenizer
from int_lightning.mini.world import load_split
from int_lightning.model_folder.weights import weights_of_folder
from int_lightning.models.resolve import resolve_model
from int_lightning.prompts.chat import encode_chat
from int_lightning.prompts.prompt_set import PromptSet
from int_lightning.types import Sampling, UserError

from drawn_from import drawn_logprobs

pytestmark = pytest.mark.skipif(not vllm.available(), reason="vLLM is not installed")
CONFIG = EngineConfig(name="vllm", max_model_len=128, max_num_seqs=32, threads=1)
PROMPTS = [encode_chat(build_tokenizer(), PromptSet("mini").solve(p)) for p in load_split("easy", 6)]


def test_it_agrees_with_transformers() -> None:
    engine = open_engine(resolve_model("mini"), CONFIG)
    reference = TransformersEngine(resolve_model("mini"), CONFIG)
    greedy = Sampling(max_tokens=48, temperature=0.0)
    ours = engine.generate(PROMPTS, greedy, list(range(6)))
    theirs = reference.generate(PROMPTS, greedy, list(range(6)))
    assert [c.token_ids.tolist() for c in ours] == [c.token_ids.tolist() for c in theirs]
    for a, b in zip(ours, theirs, strict=True):
        assert a.logprobs == pytest.approx(b.logprobs, abs=1e-4)
    scores, expected = engine.score(PROMPTS), reference.score(PROMPTS)
    for a, b in zip(scores, expected, strict=True):
        assert a == pytest.approx(b, abs=1e-4)


@pytest.mark.parametrize("sampling", [Sampling(30, 0.6, 0.95, 20), Sampling(30, 2.0, 0.8), Sampling(30, 1.5)], ids=str)
def test_logprobs_are_those_of_the_distribution_that_tokens_are_drawn_from(sampling: Sampling) -> None:
    engine = open_engine(resolve_model("mini"), CONFIG)
    model = AutoModelForCausalLM.from_pretrained(resolve_model("mini"), dtype=torch.float32).eval()
    for prompt, completion in zip(PROMPTS, engine.generate(PROMPTS, sampling, list(range(6))), strict=True):
        expected = drawn_logprobs(model, prompt, completion, sampling)
        assert completion.logprobs == pytest.approx(expected, abs=1e-4)


def test_greedy_tokens_keep_their_logprobs_beside_others_that_are_truncated() -> None:
    engine = open_engine(resolve_model("mini"), CONFIG)
    greedy = Sampling(max_tokens=8, temperature=0.0)
    model = AutoModelForCausalLM.from_pretrained(resolve_model("mini"), dtype=torch.float32).eval()
    asked = {}
    for prompt, sampling in zip(PROMPTS, [greedy, Sampling(8, 2.0, 0.5)] * 3, strict=True):
        asked[engine.submit(prompt, sampling, 0)] = prompt, sampling
    found = dict(engine.step())
    while len(found) < len(PROMPTS):
        found |= engine.step()
    for number, (prompt, sampling) in asked.items():
        expected = drawn_logprobs(model, prompt, found[number], sampling)
        assert found[number].logprobs == pytest.approx(expected, abs=1e-4)


def test_a_completion_depends_on_its_seed_and_not_on_its_batch() -> None:
    engine = open_engine(resolve_model("mini"), CONFIG)
    hot = Sampling(max_tokens=48, temperature=2.0)
    together = engine.generate(PROMPTS, hot, list(range(6)))
    alone = [engine.generate([p], hot, [i])[0] for i, p in enumerate(PROMPTS)]
    assert [c.token_ids.tolist() for c in together] == [c.token_ids.tolist() for c in alone]


def test_a_prompt_that_fills_the_context_is_refused() -> None:
    engine = open_engine(resolve_model("mini"), CONFIG)
    with pytest.raises(UserError, match="max_model_len"):
        engine.generate([[5] * 128], Sampling(), [0])


def test_more_devices_than_the_machine_has_are_refused_before_vllm_starts() -> None:
    with pytest.raises(
        UserError, match=r"engine.tensor_parallel_size is 64, and this machine has .*: set it to at most"
    ):
        VLLMEngine(resolve_model("mini"), EngineConfig(name="vllm", tensor_parallel_size=64))


def test_another_configuration_starts_another_engine() -> None:
    first = open_engine(resolve_model("mini"), CONFIG)
    assert open_engine(resolve_model("mini"), CONFIG) is first
    other = open_engine(resolve_model("mini"), EngineConfig(name="vllm", max_model_len=96, max_num_seqs=16, threads=1))
    assert other is not first
    other.load_weights(weights_of_folder(resolve_model("mini")))
    assert other.generate(PROMPTS, Sampling(max_tokens=4, temperature=0.0), list(range(6)))
