"""Liger's layers and cross-entropy compute what transformers' layers and our own head do, only in the model that asks for them.

Without a GPU, Triton's interpreter runs the kernels. It lacks libdevice and leaves Python floats as they are, while a compiled
kernel gets float32 scalars: ``kernels`` makes up for both.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import (
    AutoModelForCausalLM,
    CohereConfig,
    LlamaConfig,
    PreTrainedConfig,
    PreTrainedModel,
    Qwen3Config,
    Qwen3MoeConfig,
)

from int_lightning.learn.liger_layers import Layers, use_layers
from int_lightning.learn.lora import LoRAConfig, adapt
from int_lightning.learn.micro_batches import MicroBatch, micro_batches
from int_lightning.learn.model import NegativeLogLikelihood, Policy, load_policy
from int_lightning.models.resolve import resolve_model
from int_lightning.types import UserError

from commands import LINEAR, fit_sft, metrics
from made_rows import made_row

triton = pytest.importorskip("triton")
pytest.importorskip("liger_kernel")
monkey_patch = pytest.importorskip("liger_kernel.transformers.monkey_patch")

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
SMALL = {
    "vocab_size": 37,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "pad_token_id": 0,
}
ARCHITECTURES = [Qwen3Config(**SMALL, tie_word_embeddings=True), LlamaConfig(**SMALL, tie_word_embeddings=False)]


@pytest.fixture
def kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    if DEVICE.type == "cuda":
        return
    from liger_kernel.ops import cross_entropy, rms_norm
    from triton import language as tl
    from triton.runtime import interpreter

    convert = interpreter._implicit_cvt

    def with_floats(value: object) -> object:
        if isinstance(value, float):
            handle = interpreter.TensorHandle(np.array([value], dtype=np.float32), tl.float32)
            return tl.core.tensor(handle, tl.float32)
        return convert(value)

    monkeypatch.setattr(interpreter, "_implicit_cvt", with_floats)
    monkeypatch.setattr(rms_norm, "rsqrt", lambda x: tl.rsqrt(x))
    monkeypatch.setattr(cross_entropy, "tanh", lambda x: 2 * tl.sigmoid(2 * x) - 1)


def small_model(config: PreTrainedConfig, layers: Layers = "transformers") -> PreTrainedModel:
    torch.manual_seed(0)
    causal_lm = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    with torch.no_grad():
        for parameter in causal_lm.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.1)
    use_layers(causal_lm, layers, DEVICE)
    return causal_lm.to(DEVICE)


def batch(packed: bool, weights: tuple[float, ...] = (1.0,)) -> MicroBatch:
    rows = [
        made_row([5, 7, 11, 6, 9], [0.0, *weights * (4 // len(weights))]),
        made_row([8, 5, 30], [0.0, 0.0, weights[0]]),
    ]
    (batch,) = micro_batches(rows, pad_id=0, max_tokens=100, packed=packed)
    return batch.to(DEVICE)


def loss_and_gradients(policy: Policy, of: MicroBatch) -> tuple[Tensor, dict[str, Tensor]]:
    loss = policy.loss(of, NegativeLogLikelihood(of.weights[:, 1:][of.trained] / 3)).loss
    trained = {name: p for name, p in policy.named_parameters() if p.requires_grad}
    return loss, dict(zip(trained, torch.autograd.grad(loss, list(trained.values())), strict=True))


def assert_equal_losses(found: Policy, expected: Policy, of: MicroBatch) -> None:
    (loss, gradients), (right_loss, right_gradients) = (loss_and_gradients(p, of) for p in (found, expected))
    torch.testing.assert_close(loss, right_loss, atol=1e-5, rtol=1e-5)
    assert gradients.keys() == right_gradients.keys()
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, right_gradients[name], atol=1e-5, rtol=1e-5)


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("config", ARCHITECTURES, ids=lambda c: c.model_type)
def test_ligers_layers_have_the_values_and_gradients_of_transformers(config: PreTrainedConfig, packed: bool) -> None:
    expected, found = small_model(config), small_model(config, "liger")
    assert "LigerRMSNorm" in repr(found)
    assert "LigerSwiGLUMLP" in repr(found)
    attention = found.get_decoder().layers[0].self_attn
    assert attention.forward.__func__.__globals__["apply_rotary_pos_emb"].__module__.startswith("liger_kernel")
    assert_equal_losses(Policy(found), Policy(expected), batch(packed))


@pytest.mark.usefixtures("kernels")
def test_adapters_go_with_ligers_layers_and_head() -> None:
    config = ARCHITECTURES[0]
    policies = []
    for layers, head in (("liger", "liger"), ("transformers", "auto")):
        causal_lm = small_model(config, layers)
        adapt(causal_lm, LoRAConfig(rank=2))
        policies.append(Policy(causal_lm, head=head).to(DEVICE))
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameters in zip(*(p.parameters() for p in policies), strict=True):
            if parameters[0].requires_grad:
                values = torch.randn(parameters[0].shape, generator=generator) / 10
                for parameter in parameters:
                    parameter.copy_(values)
    assert_equal_losses(*policies, batch(packed=True))


@pytest.mark.parametrize("config", ARCHITECTURES, ids=lambda c: c.model_type)
def test_other_models_keep_their_layers(config: PreTrainedConfig) -> None:
    before = small_model(config)
    small_model(config, "liger")
    after = small_model(config)
    for causal_lm in (before, after):
        assert "Liger" not in repr(causal_lm)
        assert not any("forward" in vars(module) for module in causal_lm.modules())
    attention = type(after.get_decoder().layers[0].self_attn)
    assert attention.forward.__globals__["apply_rotary_pos_emb"].__module__ == attention.__module__


def test_auto_leaves_a_model_on_a_cpu_as_it_is() -> None:
    causal_lm = small_model(ARCHITECTURES[0])
    use_layers(causal_lm, "auto", torch.device("cpu"))
    assert not any("forward" in vars(module) for module in causal_lm.modules())


def test_an_unknown_architecture_is_refused_on_demand_and_left_as_it_is_otherwise() -> None:
    causal_lm = small_model(CohereConfig(**SMALL))
    with pytest.raises(UserError, match="layers: liger: it does not know the architecture cohere: set layers to"):
        use_layers(causal_lm, "liger", DEVICE)
    use_layers(causal_lm, "auto", torch.device("cuda"))
    assert "Liger" not in repr(causal_lm)


def test_experts_are_refused_on_demand_and_left_as_they_are_otherwise(capsys: pytest.CaptureFixture[str]) -> None:
    causal_lm = small_model(Qwen3MoeConfig(**SMALL, moe_intermediate_size=16, num_experts=4, num_experts_per_tok=2))
    with pytest.raises(
        UserError, match="layers: liger: its experts are not tested here, and qwen3_moe has experts: set"
    ):
        use_layers(causal_lm, "liger", DEVICE)
    use_layers(causal_lm, "auto", torch.device("cuda"))
    assert "layers auto: transformers' layers, because Liger's cannot be used" in capsys.readouterr().out
    assert "Liger" not in repr(causal_lm)


def test_a_model_that_liger_fails_to_change_is_left_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(rope: bool = True, model: PreTrainedModel | None = None) -> None:
        assert model is not None
        model.model.norm.forward = torch.relu
        raise NotImplementedError("liger_rotary_pos_emb is not available")

    monkeypatch.setitem(monkey_patch.MODEL_TYPE_TO_APPLY_LIGER_FN, "llama", refuse)
    causal_lm = small_model(ARCHITECTURES[1])
    with pytest.raises(
        UserError, match=r"it cannot change the architecture llama \(liger_rotary_pos_emb is not available\)"
    ):
        use_layers(causal_lm, "liger", DEVICE)
    assert not any("forward" in vars(module) for module in causal_lm.modules())


@pytest.mark.parametrize("setting", [{"layers": "liger"}, {"head": "liger"}])
def test_kernels_that_cannot_run_are_refused_when_the_model_is_loaded(
    setting: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    with pytest.raises(UserError, match=r": liger: its kernels need a CUDA device, and this is cpu: set \w+ to auto"):
        load_policy(resolve_model("mini"), dtype=torch.float32, device=torch.device("cpu"), **setting)


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize("weights", [(0.5,), (0.5, 2.0)], ids=["equal weights", "unequal weights"])
def test_ligers_head_honours_the_tokens_weights(weights: tuple[float, ...]) -> None:
    policies = [Policy(small_model(ARCHITECTURES[0]), 0.7, head=head) for head in ("liger", "reference")]
    assert_equal_losses(*policies, batch(packed=False, weights=weights))


def test_ligers_head_costs_nothing_where_no_token_is_trained() -> None:
    policy, empty = Policy(small_model(ARCHITECTURES[1]), head="liger"), batch(packed=False, weights=(0.0,))
    loss, gradients = loss_and_gradients(policy, empty)
    assert float(loss) == 0
    assert not any(gradient.any() for gradient in gradients.values())


@pytest.mark.usefixtures("kernels")
def test_ligers_head_refuses_a_softcap_with_a_temperature() -> None:
    causal_lm = small_model(ARCHITECTURES[0])
    causal_lm.config.final_logit_softcapping = 0.5
    with pytest.raises(UserError, match="liger cannot softcap logits with a temperature: set head to auto"):
        loss_and_gradients(Policy(causal_lm, 0.7, head="liger"), batch(packed=False))
    assert_equal_losses(Policy(causal_lm, head="liger"), Policy(causal_lm), batch(packed=False))


@pytest.mark.usefixtures("kernels")
def test_sft_trains_the_same_with_ligers_head(dataset: Path, tmp_path: Path) -> None:
    names = ["train/loss", "train/grad_norm"]
    runs = {}
    for head in ("auto", "liger"):
        two_steps = ["--trainer.max_steps=2", f"--model.init_args.head={head}", LINEAR]
        assert fit_sft(tmp_path / head, dataset, *two_steps) == 0
        runs[head] = metrics(tmp_path / head, *names)
    assert len(runs["auto"]) == 2
    torch.testing.assert_close(torch.tensor(runs["auto"]), torch.tensor(runs["liger"]), atol=1e-5, rtol=1e-4)
