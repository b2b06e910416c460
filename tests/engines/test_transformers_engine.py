"""The transformers engine: seeds, order, log-probs, limits and truncated sampling."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, AutoTokenizer

import int_lightning.mini
from int_lightning.engines.base import EngineConfig
from int_lightning.engines.transformers import TransformersEngine, drawn_from
from int_lightning.mini.world import load_split
from int_lightning.prompts.chat import encode_chat
from int_lightning.prompts.prompt_set import PromptSet
from int_lightning.types import Completion, Sampling, UserError

from drawn_from import drawn_logprobs, written_out

pytestmark = pytest.mark.numeric

BASE = str(Path(int_lightning.mini.__file__).parent / "base")
TOKENIZER = AutoTokenizer.from_pretrained(BASE)
PROMPTS = [encode_chat(TOKENIZER, PromptSet("mini").solve(p)) for p in load_split("easy", 8)]
SEEDS = [2**62 + i for i in range(8)]
WARM = Sampling(max_tokens=50, temperature=1.5)
GREEDY = Sampling(max_tokens=50, temperature=0)
EOS = TOKENIZER.eos_token_id


def make(**options: int) -> TransformersEngine:
    return TransformersEngine(BASE, EngineConfig(**{"max_model_len": 128, "max_num_seqs": 64, **options}))


@pytest.fixture(scope="module")
def engine() -> TransformersEngine:
    return make()


def same(one: list[Completion], other: list[Completion]) -> None:
    assert [c.token_ids.tolist() for c in one] == [c.token_ids.tolist() for c in other]
    assert [c.finish for c in one] == [c.finish for c in other]
    for a, b in zip(one, other, strict=True):
        assert a.logprobs == pytest.approx(b.logprobs, abs=1e-4)


def test_prompts_differ_in_length() -> None:
    assert len({len(p) for p in PROMPTS}) > 1


def test_a_seed_gives_one_completion_whatever_the_batch(engine: TransformersEngine) -> None:
    together = engine.generate(PROMPTS, WARM, SEEDS)
    assert len({tuple(c.token_ids) for c in together}) > 4
    alone = [engine.generate([p], WARM, [s])[0] for p, s in zip(PROMPTS, SEEDS, strict=True)]
    same(together, alone)
    same(together, make(max_num_seqs=3).generate(PROMPTS, WARM, SEEDS))
    same(together[::-1], engine.generate(PROMPTS[::-1], WARM, SEEDS[::-1]))
    same(together + together[::-1], engine.generate(PROMPTS + PROMPTS[::-1], WARM, SEEDS + SEEDS[::-1]))
    copies = engine.generate([PROMPTS[0]] * 6, WARM, [SEEDS[0]] * 3 + [1, 2, 3])
    same(copies[:3], [together[0]] * 3)
    assert len({tuple(c.token_ids) for c in copies}) > 1


def test_completions_are_in_the_order_of_the_prompts(engine: TransformersEngine) -> None:
    problems = load_split("easy", 8)
    for completion, problem in zip(engine.generate(PROMPTS, GREEDY, SEEDS), problems, strict=True):
        assert TOKENIZER.decode(completion.token_ids).startswith(problem.problem[:3] + "=")
    assert engine.generate([], WARM, []) == []


def test_greedy_is_the_argmax_of_the_model(engine: TransformersEngine) -> None:
    model = AutoModelForCausalLM.from_pretrained(BASE, dtype=torch.float32).eval()
    (completion,) = engine.generate(PROMPTS[:1], GREEDY, [0])
    ids = list(PROMPTS[0])
    for token in completion.token_ids.tolist():
        with torch.no_grad():
            assert int(model(input_ids=torch.tensor([ids])).logits[0, -1].argmax()) == token
        ids.append(token)
    assert completion.token_ids[-1] == EOS


@pytest.mark.parametrize(
    "sampling", [WARM, GREEDY, Sampling(30, 0.6, 0.95, 20), Sampling(30, 4.0, 0.8), Sampling(30, 4.0, 1.0, 3)]
)
def test_logprobs_are_those_of_the_distribution_that_tokens_are_drawn_from(
    engine: TransformersEngine, sampling: Sampling
) -> None:
    model = AutoModelForCausalLM.from_pretrained(BASE, dtype=torch.float32).eval()
    for prompt, completion in zip(PROMPTS, engine.generate(PROMPTS, sampling, SEEDS), strict=True):
        assert len(completion.logprobs) == len(completion.token_ids)
        assert completion.logprobs == pytest.approx(drawn_logprobs(model, prompt, completion, sampling), abs=1e-4)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.floats(-5, 5, width=32), min_size=2, max_size=12, unique=True),
    st.floats(0.3, 3),
    st.floats(0.05, 1),
    st.integers(0, 13),
)
def test_truncation_is_the_written_out_one(logits: list[float], temperature: float, top_p: float, top_k: int) -> None:
    assume(np.diff(np.sort(logits)).min() > 1e-4)  # which of two equally likely tokens comes first is free
    sampling = Sampling(1, temperature, top_p, top_k)
    got = drawn_from(torch.tensor([logits]), sampling)[0]
    kept = got.isfinite()
    assert got.exp().sum() == pytest.approx(1, abs=1e-5)
    scores = written_out(np.array(logits), sampling)
    if np.isfinite(scores).sum() == kept.sum():  # a nucleus that ends within a rounding may have one token more or less
        assert got.numpy() == pytest.approx(scores, abs=1e-4)
    else:
        assert abs(int(np.isfinite(scores).sum()) - int(kept.sum())) == 1
        whole = written_out(np.array(logits), replace(sampling, top_p=1.0))
        sums = np.exp(np.sort(whole)[::-1]).cumsum()
        assert np.abs(sums - top_p).min() < 1e-5


def test_scores_are_neither_scaled_nor_truncated(engine: TransformersEngine) -> None:
    completions = engine.generate(PROMPTS, GREEDY, SEEDS)
    scores = engine.score([[*p, *c.token_ids.tolist()] for p, c in zip(PROMPTS, completions, strict=True)])
    for prompt, completion, score in zip(PROMPTS, completions, scores, strict=True):
        assert len(score) == len(prompt) + len(completion.token_ids) - 1
        assert completion.logprobs == pytest.approx(score[len(prompt) - 1 :], abs=1e-4)


def test_score_is_the_log_softmax_of_the_model(engine: TransformersEngine) -> None:
    model = AutoModelForCausalLM.from_pretrained(BASE, dtype=torch.float32).eval()
    sequences = [PROMPTS[0], PROMPTS[1] + [7, 8, 9], [5]]
    for sequence, score in zip(sequences, engine.score(sequences), strict=True):
        with torch.no_grad():
            logprobs = model(input_ids=torch.tensor([sequence])).logits[0].double().log_softmax(-1)
        expected = [float(logprobs[t, sequence[t + 1]]) for t in range(len(sequence) - 1)]
        assert score == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("max_tokens", [1, 4, 50])
def test_max_tokens_and_finish_reasons(engine: TransformersEngine, max_tokens: int) -> None:
    finishes = set()
    for completion in engine.generate(PROMPTS, Sampling(max_tokens=max_tokens, temperature=0), SEEDS):
        assert 1 <= len(completion.token_ids) <= max_tokens
        assert EOS not in completion.token_ids[:-1]
        ended = completion.token_ids[-1] == EOS
        assert completion.finish == ("stop" if ended else "length")
        assert ended or len(completion.token_ids) == max_tokens
        finishes.add(completion.finish)
    assert finishes == ({"stop"} if max_tokens == 50 else {"length"})


def test_the_context_ends_a_completion_and_a_full_one_is_an_error() -> None:
    longest = max(map(len, PROMPTS))
    engine = make(max_model_len=longest + 2)
    for prompt, completion in zip(PROMPTS, engine.generate(PROMPTS, GREEDY, SEEDS), strict=True):
        assert len(completion.token_ids) == longest + 2 - len(prompt)
        assert completion.finish == "length"
    with pytest.raises(UserError, match=f"{longest} tokens leaves no room in engine.max_model_len = {longest}"):
        make(max_model_len=longest).generate(PROMPTS, GREEDY, SEEDS)


@pytest.mark.parametrize("narrow", [{"top_k": 1}, {"top_p": 1e-6}, {"top_k": 1, "top_p": 0.5}])
def test_the_narrowest_truncation_is_greedy(engine: TransformersEngine, narrow: dict[str, float]) -> None:
    greedy = engine.generate(PROMPTS, GREEDY, SEEDS)
    narrowed = engine.generate(PROMPTS, Sampling(50, 1.5, **narrow), SEEDS)
    assert [c.token_ids.tolist() for c in narrowed] == [c.token_ids.tolist() for c in greedy]
    assert not any(c.logprobs.any() for c in narrowed)


def first_tokens(engine: TransformersEngine, sampling: Sampling, draws: int = 600) -> dict[int, float]:
    completions = engine.generate([PROMPTS[0][:1]] * draws, sampling, range(draws))
    counts = torch.bincount(torch.tensor([c.token_ids[0] for c in completions]), minlength=len(TOKENIZER))
    return {i: int(n) / draws for i, n in enumerate(counts) if n}


def first_distribution(temperature: float) -> torch.Tensor:
    model = AutoModelForCausalLM.from_pretrained(BASE, dtype=torch.float32).eval()
    with torch.no_grad():
        return (model(input_ids=torch.tensor([PROMPTS[0][:1]])).logits[0, -1].double() / temperature).softmax(-1)


def test_tokens_are_drawn_from_the_distribution_and_its_truncations(engine: TransformersEngine) -> None:
    probs = first_distribution(10.0)
    ordered, order = probs.sort(descending=True)
    assert ordered[0] < 0.5
    nuclei = [({"top_p": p}, int((ordered.cumsum(0) < p).sum()) + 1) for p in (0.4, 0.6, 0.8, 0.9)]
    assert len({kept for _, kept in nuclei}) == 4
    for options, kept in [({}, len(probs)), ({"top_k": 4}, 4), *nuclei]:
        shares = first_tokens(engine, Sampling(1, 10.0, **options))
        allowed = order[:kept].tolist()
        assert set(shares) <= set(allowed)
        total = float(ordered[:kept].sum())
        assert set(shares) >= {token for token in allowed if probs[token] / total > 0.02}
        for token in allowed:
            assert shares.get(token, 0.0) == pytest.approx(float(probs[token]) / total, abs=0.08)


def test_generated_tokens_are_counted() -> None:
    engine = make()
    completions = engine.generate(PROMPTS, WARM, SEEDS)
    assert engine.tokens_generated == sum(len(c.token_ids) for c in completions)
    engine.score(PROMPTS)
    engine.generate(PROMPTS[:1], Sampling(max_tokens=1), [0])
    assert engine.tokens_generated == sum(len(c.token_ids) for c in completions) + 1
