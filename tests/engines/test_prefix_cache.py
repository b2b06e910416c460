"""vLLM's prefix cache: what proposals share, for an attempt or for the attempts of a problem, is computed once."""

from __future__ import annotations

import asyncio
import string
from collections.abc import Sequence
from itertools import product
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import GenerationConfig, PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

from int_lightning.engines import vllm
from int_lightning.engines.base import EngineConfig
from int_lightning.engines.loop import EngineLoop
from int_lightning.engines.opening import open_engine
from int_lightning.grading.grader import Grader
from int_lightning.model_folder.weights import weights_of_folder
from int_lightning.models.resolve import resolve_model
from int_lightning.oracles.base import Attempt
from int_lightning.oracles.policy import PolicyOracle
from int_lightning.prompts.prompt_set import PromptSet
from int_lightning.rollout_sampler import RolloutSampler
from int_lightning.types import Completion, Problem, Provenance, Rollout, Sampling

pytestmark = pytest.mark.skipif(not vllm.available(), reason="vLLM is not installed")
CONFIG = EngineConfig(name="vllm", max_model_len=512, max_num_seqs=64, threads=1)
BLOCK = 32
HOT = Sampling(max_tokens=16, temperature=2.0)


def whole_blocks(tokens: int) -> int:
    """Tokens of a prompt that can come from the cache; the last one is always computed."""
    return (tokens - 1) // BLOCK * BLOCK


def draw(count: int, seed: int) -> list[int]:
    return torch.randint(5, 36, (count,), generator=torch.Generator().manual_seed(seed)).tolist()


def test_the_proposals_of_a_short_attempt_share_their_prompt() -> None:
    engine = open_engine(resolve_model("mini"), CONFIG)
    prompt, before = draw(70, 0), engine.prompt_tokens_cached
    together = engine.generate([prompt] * 4, HOT, range(4))
    assert engine.prompt_tokens_cached - before == 3 * 64
    for seed, completion in enumerate(together):
        engine.load_weights(weights_of_folder(resolve_model("mini")))  # empties the cache
        before = engine.prompt_tokens_cached
        (alone,) = engine.generate([prompt], HOT, [seed])
        assert engine.prompt_tokens_cached == before
        assert alone.token_ids.tolist() == completion.token_ids.tolist()
        assert alone.logprobs == pytest.approx(completion.logprobs, abs=1e-4)


def test_prompts_found_in_part_keep_their_seeds_where_a_step_has_no_room_for_all() -> None:
    engine = open_engine(resolve_model("mini"), CONFIG)
    shared, before = draw(300, 1), engine.prompt_tokens_cached
    prompts = [shared[: 300 - i] + draw(200 - i, i + 2) for i in range(50)]
    assert sum(len(p) - whole_blocks(len(shared) - i) for i, p in enumerate(prompts)) > 8192
    together = engine.generate(prompts, HOT, range(50))
    assert engine.prompt_tokens_cached - before >= sum(whole_blocks(300 - i) for i in range(1, 50))
    again = engine.generate(prompts[::-1], HOT, range(49, -1, -1))[::-1]
    assert [c.token_ids.tolist() for c in together] == [c.token_ids.tolist() for c in again]


ALPHABET = string.ascii_letters + string.digits + " :\n"
PAIRS = ["".join(pair) for pair in product(string.digits, repeat=2)]


def write_talker(folder: Path) -> PreTrainedTokenizerFast:
    """An untrained model that writes any of its 166 tokens, and seldom those that its tokenizer would choose for the text; with
    a prompt set of two turns in its words."""
    characters = [*pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False).pre_tokenize_str(ALPHABET)[0][0]]
    vocabulary = {piece: i for i, piece in enumerate(["<|end|>", *characters, *PAIRS])}
    core = Tokenizer(models.BPE(vocabulary, [(a, b) for a, b in PAIRS]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    template = (
        "{% for message in messages %}{{ message['role'] + '\n' + message['content'] + '<|end|>' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ 'assistant\n' }}{% endif %}"
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core, eos_token="<|end|>", pad_token="<|end|>", chat_template=template
    )
    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=32, num_hidden_layers=1, num_attention_heads=1,
        num_key_value_heads=1, head_dim=32, max_position_embeddings=1024, tie_word_embeddings=True, eos_token_id=0,
        pad_token_id=0, bos_token_id=None,
    )  # fmt: skip
    model = Qwen3ForCausalLM(config)
    model.generation_config = GenerationConfig(eos_token_id=0, pad_token_id=0)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / "solve.txt").write_text("Solve {problem}")
    (folder / "guide.txt").write_text("Solve {problem} like this\n{reference}")
    (folder / "verify.txt").write_text("Here is an attempt\n{attempt}\nWhat is wrong")
    return tokenizer


def attempt(problem: Problem, sample: int, steps: list[str]) -> Attempt:
    provenance = Provenance("m", "f", "e", "t", Sampling(), 0)
    rollout = Rollout(f"{problem.id}/{sample}", problem.id, sample, [], [], [], "", "stop", "", False, provenance)
    return Attempt(problem, rollout, steps)


class Recording(EngineLoop):
    """Remembers what was asked and answered."""

    def __init__(self, engine: object) -> None:
        super().__init__(engine)
        self.calls: list[tuple[Sequence[Sequence[int]], list[Completion]]] = []

    async def generate(self, prompts: Sequence[Sequence[int]], *rest: object) -> list[Completion]:
        completions = await super().generate(prompts, *rest)
        self.calls.append((prompts, completions))
        return completions


def test_turn_2_goes_on_from_the_tokens_of_turn_1_and_finds_them_cached(tmp_path: Path) -> None:
    tokenizer = write_talker(tmp_path)
    engine = open_engine(str(tmp_path), EngineConfig(name="vllm", max_model_len=1024, max_num_seqs=32, threads=1))
    problems = [Problem(f"p{i}", f"{i} plus 2 times {i}", f"it is {3 * i}", f"{3 * i}") for i in range(3)]
    attempts = [attempt(p, k, [f"first {k} times 12345\n\n" * 3, f"then {k}"]) for p in problems for k in range(2)]
    with Grader() as grader:
        sampler = RolloutSampler(engine, tokenizer, PromptSet(str(tmp_path)), grader, "m", "f", 0)
        sampler.loop = loop = Recording(engine)
        asyncio.run(PolicyOracle(3, Sampling(max_tokens=120)).propose(attempts, sampler))

    (asked, completions), (prompts, _) = loop.calls
    answers = [c.token_ids.tolist()[: -1 if c.finish == "stop" else None] for c in completions]
    turn_one = [[*ids, *answer] for ids, answer in zip(asked, answers, strict=True)]
    assert any(encode(tokenizer, tokenizer.decode(ids)) != ids for ids in turn_one)
    assert len(prompts) == 6 * 3
    for i, prompt in enumerate(prompts):
        one = turn_one[i // 6]
        assert prompt[: len(one)] == one
        conversation = sampler.prompts.verify(
            problems[i // 6], attempts[i // 3].steps, tokenizer.decode(answers[i // 6])
        )
        assert tokenizer.decode(prompt) == tokenizer.apply_chat_template(
            conversation, tokenize=False, add_generation_prompt=True
        )
    first_for_an_attempt = 2 * sum(whole_blocks(len(ids)) for ids in turn_one)
    others = 2 * sum(whole_blocks(len(p)) for p in prompts[::3])
    assert engine.prompt_tokens_cached >= first_for_an_attempt + others


def test_turn_2_is_encoded_anew_where_the_template_shows_turn_1_otherwise(tmp_path: Path) -> None:
    tokenizer = write_talker(tmp_path)
    tokenizer.chat_template = tokenizer.chat_template.replace("message['content']", "message['content'] | upper")
    engine = open_engine(str(tmp_path), EngineConfig(name="vllm", max_model_len=1024, max_num_seqs=32, threads=1))
    problem = Problem("p", "1 plus 1", "it is 2", "2")
    with Grader() as grader:
        sampler = RolloutSampler(engine, tokenizer, PromptSet(str(tmp_path)), grader, "m", "f", 0)
        sampler.loop = loop = Recording(engine)
        asyncio.run(PolicyOracle(1, Sampling(max_tokens=60)).propose([attempt(problem, 0, ["one", "two"])], sampler))
    (_, (answer,)), ((prompt,), _) = loop.calls
    worked = tokenizer.decode(answer.token_ids, skip_special_tokens=True)
    assert worked != worked.upper()
    conversation = sampler.prompts.verify(problem, ["one", "two"], worked)
    assert prompt == encode(
        tokenizer, tokenizer.apply_chat_template(conversation, tokenize=False, add_generation_prompt=True)
    )


def encode(tokenizer: PreTrainedTokenizerFast, text: str) -> list[int]:
    return list(tokenizer.encode(text, add_special_tokens=False))
