"""The policy's log-probs against the model's own logits, for every way in which an architecture forms them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor
from transformers import (
    AutoModelForCausalLM,
    CohereConfig,
    Gemma2Config,
    GraniteConfig,
    LlamaConfig,
    PhiConfig,
    PreTrainedConfig,
    Qwen3Config,
)

from int_lightning.learn.micro_batches import MicroBatch, pad
from int_lightning.learn.model import Policy
from int_lightning_kernels import Implementation, Metrics, Rows

from commands import ALTERNATING, LINEAR, fit_grpo, fit_sft, metrics
from made_rows import made_row

SMALL = {
    "vocab_size": 67,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
ARCHITECTURES = {
    "tied head": Qwen3Config(**SMALL, tie_word_embeddings=True),
    "untied head": LlamaConfig(**SMALL, tie_word_embeddings=False),
    "softcap": Gemma2Config(**SMALL, final_logit_softcapping=0.5),
    "divided logits": GraniteConfig(**SMALL, logits_scaling=4.0),
    "multiplied logits": CohereConfig(**SMALL, logit_scale=0.25),
    "bias": PhiConfig(**SMALL),
}


@pytest.mark.parametrize("head", ["auto", "reference"])
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_log_probs_are_those_of_the_models_own_logits(name: str, head: Implementation) -> None:
    policy, batch = small_policy(ARCHITECTURES[name], head)
    ids, scored = batch.input_ids, batch.trained
    found = policy.log_probs(batch, scored, entropy=True)
    with torch.no_grad():
        logp = (policy.causal_lm(input_ids=ids).logits.double() / 0.7).log_softmax(-1)[:, :-1]
    expected = logp.gather(-1, ids[:, 1:, None]).squeeze(-1)
    torch.testing.assert_close(found.logprob.double(), expected[scored], atol=1e-5, rtol=1e-5)
    assert found.entropy is not None
    torch.testing.assert_close(found.entropy.double(), -(logp.exp() * logp).sum(-1)[scored], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_fused_loss_has_the_gradients_of_one_made_of_log_probs(name: str) -> None:
    policy, batch = small_policy(ARCHITECTURES[name], "auto")
    upstream = torch.randn(2, int(batch.trained.sum()), generator=torch.Generator().manual_seed(3))

    def token_loss(logprob: Tensor, entropy: Tensor, rows: Rows) -> tuple[Tensor, Metrics]:
        return (upstream[0, rows] * logprob + upstream[1, rows] * entropy).sum(), {"entropy": entropy.sum()}

    loss, found = policy.loss(batch, token_loss, entropy=True)
    fused = torch.autograd.grad(loss, list(policy.parameters()))
    scores = policy.log_probs(batch, batch.trained, entropy=True)
    assert scores.entropy is not None
    plain, _ = token_loss(scores.logprob, scores.entropy, slice(None))
    torch.testing.assert_close(loss, plain)
    torch.testing.assert_close(found["entropy"], scores.entropy.sum().detach())
    for a, b in zip(fused, torch.autograd.grad(plain, list(policy.parameters())), strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-4)


@pytest.mark.numeric
def test_the_reference_head_trains_the_same(dataset: Path, tmp_path: Path) -> None:
    names = ["train/loss", "train/grad_norm"]
    runs = {}
    for head in ("auto", "reference"):
        assert fit_sft(tmp_path / head, dataset, LINEAR, "--trainer.max_steps=3", f"--model.head={head}") == 0
        runs[head] = metrics(tmp_path / head, *names)
    assert len(runs["auto"]) == 3
    torch.testing.assert_close(torch.tensor(runs["auto"]), torch.tensor(runs["reference"]), atol=1e-5, rtol=1e-4)


def test_grpo_takes_the_reference_head_too(tmp_path: Path) -> None:
    names = ["train/loss", "train/grad_norm", "train/entropy"]
    runs = {}
    for head in ("auto", "reference"):
        assert fit_grpo(tmp_path / head, ALTERNATING, "--trainer.max_steps=1", f"--model.head={head}") == 0
        runs[head] = metrics(tmp_path / head, *names)
    assert runs["auto"][0][1] > 0
    torch.testing.assert_close(torch.tensor(runs["auto"]), torch.tensor(runs["reference"]), atol=1e-5, rtol=1e-3)


def small_policy(config: PreTrainedConfig, head: Implementation) -> tuple[Policy, MicroBatch]:
    torch.manual_seed(0)
    causal_lm = AutoModelForCausalLM.from_config(config, dtype=torch.float32, attn_implementation="eager").eval()
    with torch.no_grad():
        for parameter in causal_lm.parameters():
            parameter.mul_(2)
    ids, scored = torch.randint(3, 67, (2, 9)).tolist(), (torch.rand(2, 9) < 0.7).float().tolist()
    rows = [made_row(*row) for row in zip(ids, scored, strict=True)]
    return Policy(causal_lm, temperature=0.7, head=head), pad(rows, 0, [0, 1])
