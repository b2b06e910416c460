"""Packed sequences: each row is scored and trained as if it were alone, in every architecture that can take them."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn
from torch.nn.attention import varlen
from torch.nn.functional import scaled_dot_product_attention
from transformers import (
    AutoModelForCausalLM,
    DeepseekV3Config,
    Gemma2Config,
    LlamaConfig,
    MistralConfig,
    PretrainedConfig,
    Qwen3Config,
    Qwen3NextConfig,
)

from int_lightning.learn.micro_batches import MicroBatch, TrainingRow, micro_batches, pack
from int_lightning.learn.model import Policy
from int_lightning.learn.packed_attention import flash_attention, flash_takes, packed_attention
from int_lightning.types import UserError

from made_rows import made_row

pytestmark = pytest.mark.numeric

TINY = {"vocab_size": 50, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
GROUPED = {**TINY, "num_key_value_heads": 2, "head_dim": 8}
ARCHITECTURES: dict[str, PretrainedConfig] = {
    "qwen3": Qwen3Config(**GROUPED, tie_word_embeddings=True),
    "llama": LlamaConfig(**TINY),
    "mistral, a window of 4": MistralConfig(**GROUPED, sliding_window=4),
    "deepseek, values smaller than keys": DeepseekV3Config(
        **TINY,
        num_key_value_heads=4,
        first_k_dense_replace=2,
        q_lora_rank=None,
        kv_lora_rank=8,
        qk_nope_head_dim=8,
        qk_rope_head_dim=4,
        v_head_dim=8,
    ),
}
PAD = 0


def policy_of(config: PretrainedConfig) -> Policy:
    torch.manual_seed(0)
    return Policy(AutoModelForCausalLM.from_config(config, dtype=torch.float32))


def rows(lengths: Sequence[int] = (7, 12, 3, 9)) -> list[TrainingRow]:
    generator = torch.Generator().manual_seed(1)
    drawn = [torch.randint(1, 50, (n,), generator=generator).tolist() for n in lengths]
    return [made_row(ids, [0.0] * (len(ids) // 3) + [1.0] * (len(ids) - len(ids) // 3)) for ids in drawn]


def scores(policy: Policy, batches: Sequence[MicroBatch], count: int) -> list[list[float]]:
    found: list[list[float]] = [[] for _ in range(count)]
    for batch in batches:
        logprobs = policy.log_probs(batch, batch.trained).logprob.detach()
        for i, values in zip(batch.row_index, batch.spread(logprobs), strict=True):
            found[i] = values.tolist()
    return found


def gradient(policy: Policy, batches: Sequence[MicroBatch]) -> torch.Tensor:
    policy.zero_grad()
    for batch in batches:
        weights = batch.weights[:, 1:][batch.trained]
        policy.loss(batch, lambda logprob, _, part, w=weights: (-(w[part] * logprob).sum(), {})).loss.backward()
    return torch.cat([p.grad.flatten() for p in policy.parameters()])


@pytest.mark.parametrize("name", ARCHITECTURES)
@torch.no_grad()
def test_a_packed_row_scores_as_alone(name: str) -> None:
    policy, some = policy_of(ARCHITECTURES[name]), rows()
    alone = [scores(policy, micro_batches([row], PAD, 100), 1)[0] for row in some]
    packed = scores(policy, micro_batches(some, PAD, 20, packed=True), len(some))
    for one, other in zip(alone, packed, strict=True):
        torch.testing.assert_close(torch.tensor(other), torch.tensor(one), rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_packed_and_padded_gradients_agree(name: str) -> None:
    policy = policy_of(ARCHITECTURES[name])
    padded = gradient(policy, micro_batches(rows(), PAD, 100))
    packed = gradient(policy, micro_batches(rows(), PAD, 100, packed=True))
    torch.testing.assert_close(packed, padded, rtol=1e-5, atol=1e-6)


@torch.no_grad()
def test_a_row_does_not_see_the_one_before_it() -> None:
    policy = policy_of(ARCHITECTURES["qwen3"])
    first, second = rows((9, 8))
    other = made_row(first.token_ids % 49 + 1, first.weights)
    before, after = (scores(policy, [pack([row, second], PAD, [0, 1])], 2) for row in (first, other))
    assert before[0] != after[0]
    assert before[1] == after[1]


@pytest.mark.parametrize(
    "config",
    [
        Qwen3NextConfig(**GROUPED, num_experts=2, num_experts_per_tok=1, moe_intermediate_size=16),
        Gemma2Config(**GROUPED, attn_logit_softcapping=5.0),
    ],
    ids=["a state from token to token", "softcapped scores"],
)
def test_what_cannot_be_packed_says_so(config: PretrainedConfig) -> None:
    policy = policy_of(config)
    batch = pack(rows(), PAD, [0, 1, 2, 3])
    with pytest.raises(UserError, match="cannot take several rows in one sequence"):
        policy.log_probs(batch, batch.trained)
    assert all(len(s) for s in scores(policy, micro_batches(rows(), PAD, 100), 4))


@pytest.mark.parametrize(
    ("head", "value", "dtype", "takes"),
    [
        (64, 64, torch.bfloat16, True),
        (256, 256, torch.float16, True),
        (512, 512, torch.bfloat16, False),
        (192, 128, torch.bfloat16, False),
        (36, 36, torch.bfloat16, False),
        (64, 64, torch.float32, False),
    ],
)
def test_flash_attention_gets_only_what_it_takes(head: int, value: int, dtype: torch.dtype, takes: bool) -> None:
    assert flash_takes(torch.empty(1, 4, 3, head, dtype=dtype), torch.empty(1, 2, 3, value, dtype=dtype)) == takes


@pytest.mark.parametrize("key_heads", [2, 4])
def test_without_grouped_queries_in_torch_keys_and_values_are_repeated(
    monkeypatch: pytest.MonkeyPatch, key_heads: int
) -> None:
    def of_torch_2_11(
        query: Tensor,
        key: Tensor,
        value: Tensor,
        cu_seq_q: Tensor,
        cu_seq_k: Tensor,
        max_q: int,
        max_k: int,
        *,
        scale: float | None = None,
        window_size: tuple[int, int] = (-1, -1),
    ) -> Tensor:
        assert query.shape == key.shape == value.shape
        assert window_size == (-1, 0)
        documents = [t.transpose(0, 1).tensor_split(cu_seq_q[1:-1].long(), 1) for t in (query, key, value)]
        outputs = [
            scaled_dot_product_attention(q, k, v, is_causal=True, scale=scale)
            for q, k, v in zip(*documents, strict=True)
        ]
        return torch.cat(outputs, 1).transpose(0, 1)

    torch.manual_seed(0)
    query, key, value = (torch.randn(1, heads, 11, 8) for heads in (4, key_heads, key_heads))
    expected, _ = packed_attention(nn.Identity(), query, key, value, None, lengths=[4, 7])
    monkeypatch.setattr(varlen, "varlen_attn", of_torch_2_11)
    torch.testing.assert_close(flash_attention(query, key, value, [4, 7], None, None), expected)
