"""A model's own dropout: off in GRPO, which compares log-probs, and on in SFT."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor
from transformers import PhimoeConfig, PhimoeForCausalLM

from int_lightning.grpo.module import GRPOModule
from int_lightning.grpo.objective import ObjectiveConfig
from int_lightning.learn.micro_batches import MicroBatch, micro_batches
from int_lightning.learn.module import PolicyModule
from int_lightning.mini.mini_tokenizer import build_tokenizer
from int_lightning.sft.module import SFTModule
from int_lightning.types import UserError

from commands import ALTERNATING, COLD, PORTABLE_ENGINE, fit_grpo, metrics
from made_rows import made_row
from model_folders import DROPPING, with_dropout

RATE = 0.5
KL = "--model.init_args.objective={kl_coefficient: 0.1}"


def loaded(module: PolicyModule) -> PolicyModule:
    """A module whose policy is in train mode, as it is in a fit."""
    from lightning import Trainer

    module.trainer = Trainer(logger=False, enable_checkpointing=False, accelerator="cpu")
    module.configure_model()
    assert module.scorer.training
    return module


def batch(packed: bool) -> MicroBatch:
    rows = [made_row([6, 7, 8, 9, 10, 11], [0.0, 0.0, 1.0, 1.0, 1.0, 1.0]), made_row([12, 13, 14], [0.0, 1.0, 1.0])]
    (both,) = micro_batches(rows, 0, 64, packed)
    return both


def scores(module: PolicyModule, packed: bool) -> Tensor:
    rows = batch(packed)
    return module.scorer.log_probs(rows, rows.trained).logprob


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("style", DROPPING)
def test_grpo_trains_the_policy_that_is_scored_and_is_at_its_reference_at_first(
    style: str, checkpointing: bool, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = with_dropout(tmp_path / "model", style, RATE)
    objective = ObjectiveConfig(kl_coefficient=0.1)
    module = loaded(
        GRPOModule(folder, objective=objective, gradient_checkpointing=checkpointing, layers="transformers")
    )
    assert f"dropout {RATE}" in capfd.readouterr().out.replace("pdrop", "dropout")
    assert isinstance(module, GRPOModule)
    for packed in (False, True) if module.scorer.packs else (False,):
        ours, again = scores(module, packed), scores(module, packed)
        rows = batch(packed)
        assert module.reference is not None
        reference = module.reference.log_probs(rows, rows.trained).logprob
        assert torch.equal(ours, again)
        assert torch.equal(ours.detach(), reference)
    layers = [m for m in module.scorer.causal_lm.modules() if getattr(m, "gradient_checkpointing", False)]
    assert bool(layers) == checkpointing
    assert all(layer.training for layer in layers)


@pytest.mark.parametrize("style", DROPPING)
def test_sft_trains_with_the_models_own_dropout(style: str, tmp_path: Path) -> None:
    module = loaded(SFTModule(with_dropout(tmp_path / "model", style, RATE), layers="transformers"))
    drawn = [scores(module, False) for _ in range(8)]
    assert not all(torch.equal(drawn[0], other) for other in drawn)


@pytest.mark.parametrize("style", ["gpt2", "starcoder2"])
def test_a_fit_starts_with_ratio_1_and_no_kl_and_its_model_keeps_its_dropout(style: str, tmp_path: Path) -> None:
    folder = with_dropout(tmp_path / "model", style, RATE)
    model, small = f"--model.init_args.model={folder}", "--engine.max_model_len=128"
    twice = ["--data.init_args.updates_per_batch=2", "--data.init_args.steps=2"]
    assert fit_grpo(tmp_path / "run", PORTABLE_ENGINE, small, model, KL, COLD, ALTERNATING, *twice) == 0
    ratio, kl, gap = metrics(tmp_path / "run", "train/ratio", "train/kl", "train/engine_gap")[0]
    assert ratio == pytest.approx(1.0, abs=1e-5)
    assert kl == pytest.approx(0.0, abs=1e-7)
    assert gap < 1e-4
    before, after = (json.loads((f / "config.json").read_text()) for f in (Path(folder), tmp_path / "run" / "model"))
    assert {k: v for k, v in after.items() if "drop" in k} == {k: v for k, v in before.items() if "drop" in k}
    assert any(v == RATE for k, v in after.items() if "drop" in k)


def test_a_model_that_chooses_experts_at_random_in_training_is_refused_by_grpo_alone(tmp_path: Path) -> None:
    sizes = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 2, "num_local_experts": 4}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 2, "max_position_embeddings": 64}
    torch.manual_seed(0)
    PhimoeForCausalLM(PhimoeConfig(vocab_size=36, eos_token_id=1, **sizes, **heads)).save_pretrained(tmp_path)
    build_tokenizer().save_pretrained(tmp_path)
    before = torch.get_rng_state()
    with pytest.raises(UserError, match="its layers draw at random in training"):
        loaded(GRPOModule(str(tmp_path), layers="transformers"))
    loaded(SFTModule(str(tmp_path), layers="transformers"))
    assert torch.equal(torch.get_rng_state(), before)
