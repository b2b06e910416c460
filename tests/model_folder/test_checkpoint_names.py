"""Weights leave a policy under the names that a checkpoint has, and an engine takes those, also where transformers fuses
experts or holds a part of a larger model."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from mixtures import larger_folder, text_config, text_folder
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedModel

from int_lightning.engines import vllm
from int_lightning.engines.base import EngineConfig
from int_lightning.engines.opening import open_engine
from int_lightning.engines.transformers import TransformersEngine
from int_lightning.learn.export import export, named_weights
from int_lightning.learn.lora import FACTOR, LoRAConfig
from int_lightning.learn.model import Policy, load_policy
from int_lightning.mini.mini_tokenizer import build_tokenizer
from int_lightning.model_folder.checkpoint_names import as_stored, layer_of, load_stored
from int_lightning.model_folder.weights import load_causal_lm, weights_of_folder
from int_lightning.types import UserError

KINDS = ["qwen3_moe", "mixtral", "gpt_oss", "deepseek_v3", "granitemoe", "qwen3_5_moe_text", "gpt_neox"]
PROBE = [[5 + 7 * i % 50 for i in range(24)], [9 + 11 * i % 50 for i in range(24)]]
SMALL = EngineConfig(max_model_len=64)


def changed(policy: Policy) -> Policy:
    """The policy after a step, as it were."""
    with torch.no_grad():
        for tensor in policy.causal_lm.state_dict().values():
            tensor.add_(torch.randn_like(tensor), alpha=0.05)
    return policy.eval()


def log_probs(policy: Policy) -> Tensor:
    ids = torch.tensor(PROBE)
    with torch.no_grad():
        logits = policy.causal_lm(input_ids=ids).logits[:, :-1]
    return logits.log_softmax(-1).gather(-1, ids[:, 1:, None]).squeeze(-1)


def without_values(model: PreTrainedModel) -> PreTrainedModel:
    with torch.no_grad():
        for tensor in model.state_dict().values():
            tensor.zero_()
    return model


def assert_same(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.equal(found[name], value), name


@pytest.mark.parametrize("kind", KINDS)
def test_names_shapes_and_values_are_those_that_save_pretrained_writes(kind: str, tmp_path: Path) -> None:
    stored = load_file(Path(text_folder(tmp_path / "model", kind)) / "model.safetensors")
    policy = load_policy(str(tmp_path / "model"), dtype=torch.float32)
    named = dict(named_weights(policy))
    if policy.causal_lm.config.tie_word_embeddings:
        assert torch.equal(named.pop("lm_head.weight"), policy.causal_lm.get_input_embeddings().weight)
    assert_same(named, stored)
    assert len(list(named_weights(policy))) == len(dict(named_weights(policy)))


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_takes_what_another_gives_and_what_its_folder_holds_in_several_files(kind: str, tmp_path: Path) -> None:
    folder = text_folder(tmp_path / "model", kind, max_shard_size="20KB")
    assert len(list((tmp_path / "model").glob("*.safetensors"))) > 3
    policy = load_policy(folder, dtype=torch.float32)
    model = without_values(load_causal_lm(folder, dtype=torch.float32))
    load_stored(model, weights_of_folder(folder))
    assert_same(model.state_dict(), policy.causal_lm.state_dict())
    load_stored(model, named_weights(changed(policy)))
    assert_same(model.state_dict(), policy.causal_lm.state_dict())


@pytest.mark.parametrize("kind", KINDS)
def test_tensors_are_drawn_layer_by_layer_and_those_of_a_layer_come_together(kind: str) -> None:
    model = AutoModelForCausalLM.from_config(text_config(kind))
    state = model.state_dict()
    drawn: list[str] = []

    def drawing() -> Iterator[tuple[str, Tensor]]:
        for name, value in state.items():
            drawn.append(layer_of(name))
            yield name, value

    layers: list[str] = []
    for name, _ in as_stored(model, drawing()):
        assert len(set(drawn) - {*layers, layer_of(name)}) <= 1  # that of the tensor which ended the layer
        if layer_of(name) not in layers:
            layers.append(layer_of(name))
        assert layers[-1] == layer_of(name)


def test_a_tensor_that_the_model_does_not_have_is_refused(tmp_path: Path) -> None:
    model = load_causal_lm(text_folder(tmp_path / "model", "qwen3_moe"))
    name = "model.layers.0.self_attn.r_proj.weight"
    with pytest.raises(UserError, match=rf"Qwen3MoeForCausalLM does not have a tensor {name}: give the weights of"):
        load_stored(model, [(name, torch.ones(2))])


def test_experts_of_which_one_is_missing_are_refused(tmp_path: Path) -> None:
    folder = text_folder(tmp_path / "model", "mixtral")
    model = load_causal_lm(folder)
    some = [(n, value) for n, value in weights_of_folder(folder) if ".experts.2." not in n]
    with pytest.raises(UserError, match=r"experts\.\w+ of MixtralForCausalLM has shape \[4, .*, and was given \[3, "):
        load_stored(model, some)


@pytest.mark.parametrize("kind", ["qwen3_5", "gemma3"])
def test_a_text_model_inside_a_larger_one_has_that_ones_names_and_is_exported_whole(kind: str, tmp_path: Path) -> None:
    folder = larger_folder(tmp_path / "model", kind)
    stored = dict(weights_of_folder(folder))
    policy = load_policy(folder, dtype=torch.float32)
    named = dict(named_weights(policy))
    assert named.keys() <= stored.keys()
    assert {n for n in stored if "visual" not in n} <= named.keys()
    for name, value in named.items():
        assert torch.equal(value, stored[name])
    engine = TransformersEngine(folder, SMALL)
    engine.load_weights(named_weights(changed(policy)))
    torch.testing.assert_close(torch.tensor(engine.score(PROBE)), log_probs(policy), atol=1e-5, rtol=0)
    engine.load_weights(weights_of_folder(folder))  # with the towers that the policy leaves out
    export(policy, tmp_path / "exported", build_tokenizer(), is_writer=True)
    exported = TransformersEngine(str(tmp_path / "exported"), SMALL)
    torch.testing.assert_close(torch.tensor(exported.score(PROBE)), log_probs(policy), atol=1e-5, rtol=0)


def test_an_export_in_half_precision_keeps_a_routers_correction(tmp_path: Path) -> None:
    folder = text_folder(tmp_path / "model", "deepseek_v3")
    export(load_policy(folder, dtype=torch.bfloat16), tmp_path / "exported", build_tokenizer(), is_writer=True)
    stored, exported = dict(weights_of_folder(folder)), dict(weights_of_folder(str(tmp_path / "exported")))
    correction = "model.layers.1.mlp.gate.e_score_correction_bias"
    assert torch.equal(exported[correction], stored[correction])
    assert exported["lm_head.weight"].dtype == torch.bfloat16


@pytest.mark.parametrize("kind", ["qwen3_moe", "gpt_oss"])
def test_adapters_leave_experts_frozen_and_are_merged(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = text_folder(tmp_path / "model", kind)
    policy = load_policy(folder, dtype=torch.float32, lora=LoRAConfig(rank=2))
    assert "lora.targets all-linear: the experts of" in " ".join(capsys.readouterr().out.split())
    assert not [n for n, p in policy.named_parameters() if p.requires_grad and ("mlp" in n or FACTOR not in n)]
    with torch.no_grad():
        for parameter in policy.parameters():
            if parameter.requires_grad:
                parameter.normal_(std=0.1)
    named = dict(named_weights(policy))
    assert named.keys() == dict(weights_of_folder(folder)).keys()
    engine = TransformersEngine(folder, SMALL)
    engine.load_weights(named.items())
    torch.testing.assert_close(torch.tensor(engine.score(PROBE)), log_probs(policy.eval()), atol=1e-5, rtol=0)


def test_experts_named_as_targets_of_adapters_are_refused(tmp_path: Path) -> None:
    folder = text_folder(tmp_path / "model", "qwen3_moe")
    with pytest.raises(
        UserError,
        match=r"lora.targets: \['up_proj'\] of Qwen3MoeForCausalLM name experts, .*: choose from k_proj, o_proj, q_proj, v_proj",
    ):
        load_policy(folder, dtype=torch.float32, lora=LoRAConfig(targets=["q_proj", "up_proj"]))


@pytest.mark.skipif(not vllm.available(), reason="vLLM is not installed")
@pytest.mark.parametrize("kind", ["qwen3_moe", "gpt_oss"])
def test_vllm_scores_as_the_policy_after_every_load(kind: str, tmp_path: Path) -> None:
    folder = text_folder(tmp_path / "model", kind)
    policy = load_policy(folder, dtype=torch.float32)
    engine = open_engine(folder, EngineConfig(name="vllm", max_model_len=64, max_num_seqs=4, threads=1))
    for _ in range(2):
        before = torch.tensor(engine.score(PROBE))
        engine.load_weights(named_weights(changed(policy)))
        scores = torch.tensor(engine.score(PROBE))
        assert (scores - before).abs().max() > 0.01
        torch.testing.assert_close(scores, log_probs(policy), atol=1e-4, rtol=0)
