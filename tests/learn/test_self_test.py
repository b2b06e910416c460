"""The self-test at load: a model whose rows would see each other is trained on padded rows, and one that cannot be scored is
refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn
from transformers import (
    AutoModelForCausalLM,
    BertConfig,
    FalconH1Config,
    GPT2Config,
    JambaConfig,
    Lfm2Config,
    MistralConfig,
    MixtralConfig,
    NemotronConfig,
    PretrainedConfig,
    PreTrainedModel,
    Qwen3Config,
)
from transformers.models.mistral.modeling_mistral import MistralAttention

from int_lightning.learn import model as model_file
from int_lightning.learn.lora import LoRAConfig
from int_lightning.learn.micro_batches import pack
from int_lightning.learn.model import Policy, load_policy
from int_lightning.types import UserError

from made_rows import made_row

SIZES = {
    "vocab_size": 50,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "initializer_range": 0.3,
}


def folder_of(path: Path, config: PretrainedConfig) -> str:
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(config).save_pretrained(path)
    return str(path)


def loaded(path: Path, config: PretrainedConfig) -> Policy:
    return load_policy(folder_of(path, config), dtype=torch.float32)


@pytest.mark.parametrize(
    "config",
    [
        Qwen3Config(**SIZES, head_dim=8),
        MistralConfig(**SIZES, sliding_window=4096),
        MixtralConfig(**SIZES, num_local_experts=4, num_experts_per_tok=2),
    ],
    ids=["qwen3", "a window", "experts"],
)
def test_rows_of_a_model_that_keeps_them_apart_are_packed(tmp_path: Path, config: PretrainedConfig) -> None:
    policy = loaded(tmp_path, config)
    assert policy.packs
    assert policy.training


def test_rows_of_a_model_that_drops_their_lengths_are_padded(tmp_path: Path) -> None:
    policy = loaded(tmp_path, NemotronConfig(**SIZES, head_dim=8))
    assert "moves by" in str(policy.unpackable)
    assert policy.causal_lm.config._attn_implementation == "sdpa"
    with pytest.raises(UserError, match="cannot take several rows in one sequence: a packed row moves by"):
        policy.log_probs(*(lambda b: (b, b.trained))(pack([made_row([1, 2, 3], [1.0] * 3)], 0, [0])))


@pytest.mark.parametrize(
    "config",
    [
        Lfm2Config(**SIZES, block_auto_adjust_ff_dim=False, layer_types=["conv", "full_attention"]),
        JambaConfig(
            **SIZES, num_experts=2, attn_layer_period=2, attn_layer_offset=1, use_mamba_kernels=False, mamba_dt_rank=4
        ),
        FalconH1Config(**SIZES, head_dim=8, mamba_d_ssm=32, mamba_n_heads=4, mamba_d_head=8, mamba_d_state=8),
    ],
    ids=["convolutions", "mamba", "mamba beside attention"],
)
def test_rows_of_layers_with_a_state_are_padded(tmp_path: Path, config: PretrainedConfig) -> None:
    assert not loaded(tmp_path, config).packs


def test_a_window_that_packed_attention_does_not_get_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = folder_of(tmp_path, MistralConfig(**SIZES, sliding_window=4096))
    forward = MistralAttention.forward

    def without_window(self: MistralAttention, *args: object, **kwargs: object) -> object:
        window, self.config.sliding_window = self.config.sliding_window, None
        try:
            return forward(self, *args, **kwargs)
        finally:
            self.config.sliding_window = window

    monkeypatch.setattr(MistralAttention, "forward", without_window)
    assert "a token off what each scores alone" in str(load_policy(folder, dtype=torch.float32).unpackable)


def test_a_model_that_sees_the_future_is_refused(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, BertConfig(**{**SIZES, "num_key_value_heads": 4}))
    with pytest.raises(
        UserError,
        match=r"BertLMHeadModel cannot be trained: the scores of a row's start move by .* when the row goes on",
    ):
        load_policy(folder, dtype=torch.float32)


def test_a_head_of_another_kind_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = folder_of(tmp_path, Qwen3Config(**SIZES, head_dim=8))
    load = model_file.load_causal_lm

    def with_scaled_head(name: str, **options: object) -> PreTrainedModel:
        causal_lm = load(name, **options)
        head: nn.Module = causal_lm.get_output_embeddings()
        head.register_forward_hook(lambda *call: call[-1] * 3)
        return causal_lm

    monkeypatch.setattr(model_file, "load_causal_lm", with_scaled_head)
    with pytest.raises(
        UserError, match="Qwen3ForCausalLM cannot be trained: it does more to its logits than is known here"
    ):
        load_policy(folder, dtype=torch.float32)


def test_dropout_and_windows_are_as_before(tmp_path: Path) -> None:
    policy = loaded(tmp_path / "window", MistralConfig(**SIZES, sliding_window=7, attention_dropout=0.5))
    assert policy.causal_lm.config.sliding_window == 7
    dropping = loaded(tmp_path / "gpt2", GPT2Config(vocab_size=50, n_embd=32, n_layer=2, n_head=2, resid_pdrop=0.5))
    assert all(module.training for module in dropping.modules())


def test_the_rounding_of_large_scores_in_bfloat16_is_not_taken_for_a_fault(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(Qwen3Config(**SIZES, head_dim=8, tie_word_embeddings=False))
    with torch.no_grad():
        model.lm_head.weight.mul_(64)
    model.save_pretrained(tmp_path)
    assert load_policy(str(tmp_path), dtype=torch.bfloat16, lora=LoRAConfig(rank=2)).packs
