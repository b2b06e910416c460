"""Low-rank adapters: only they are trained, vLLM gets only them, and everything else that leaves the trainer has them merged."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer

from int_lightning.engines import vllm
from int_lightning.engines.base import EngineConfig
from int_lightning.engines.opening import open_engine
from int_lightning.engines.vllm import VLLMEngine
from int_lightning.grpo.module import GRPOModule, Unadapted
from int_lightning.learn.export import export, named_weights
from int_lightning.learn.lora import FACTOR, LoRAConfig
from int_lightning.learn.micro_batches import MicroBatch, micro_batches
from int_lightning.learn.model import Policy, load_policy
from int_lightning.learn.sync import SyncError, sync, verify
from int_lightning.models.resolve import resolve_model
from int_lightning.sft.module import SFTModule
from int_lightning.types import Sampling, UserError

from commands import ALTERNATING, COLD, LINEAR, fit_grpo, fit_sft, fit_sft_sharded, metrics
from made_rows import made_row

BASE = resolve_model("mini")
RANK_4 = "--model.init_args.lora={rank: 4}"
FAST = "--model.init_args.optimizer.init_args.lr=0.003"


@pytest.fixture(scope="module")
def fitted(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An uninterrupted fit of one process."""
    out = tmp_path_factory.mktemp("fit") / "whole"
    assert fit_sft(out, dataset, RANK_4, FAST) == 0
    return out


@pytest.fixture
def adapted() -> Policy:
    """A policy whose adapters have moved."""
    torch.manual_seed(0)
    policy = load_policy(BASE, dtype=torch.float32, lora=LoRAConfig(rank=4, alpha=6))
    with torch.no_grad():
        for parameter in policy.parameters():
            if parameter.requires_grad:
                parameter.normal_(std=0.1)
    return policy


def batch() -> MicroBatch:
    generator = torch.Generator().manual_seed(1)
    rows = [
        made_row(torch.randint(3, 36, (n,), generator=generator).tolist(), [0.0] + [1.0] * (n - 1)) for n in (9, 14)
    ]
    (batch,) = micro_batches(rows, pad_id=0, max_tokens=100)
    return batch


def log_probs(policy: Policy | Unadapted) -> Tensor:
    with torch.no_grad():
        return policy.log_probs(batch(), batch().trained).logprob


def scored_by(causal_lm: torch.nn.Module) -> Tensor:
    """The same log-probs, from a model's own logits."""
    ids, mask = batch().input_ids, batch().attention_mask
    with torch.no_grad():
        logp = causal_lm(input_ids=ids, attention_mask=mask).logits.log_softmax(-1)[:, :-1]
    return logp.gather(-1, ids[:, 1:, None]).squeeze(-1)[batch().trained]


def test_fresh_adapters_change_nothing() -> None:
    base = load_policy(BASE, dtype=torch.float32)
    fresh = load_policy(BASE, dtype=torch.float32, lora=LoRAConfig(rank=4))
    assert torch.equal(log_probs(fresh), log_probs(base))


def test_frozen_weights_have_the_dtype_of_the_arithmetic_and_adapters_float32() -> None:
    policy = load_policy(BASE, dtype=torch.bfloat16, lora=LoRAConfig(rank=4))
    assert {p.dtype for p in policy.parameters() if p.requires_grad} == {torch.float32}
    assert {p.dtype for p in policy.parameters() if not p.requires_grad} == {torch.bfloat16}
    assert all((FACTOR in name) == p.requires_grad for name, p in policy.named_parameters())


def test_a_fit_moves_adapters_alone_and_keeps_them_alone(dataset: Path, tmp_path: Path) -> None:
    targets = "--model.init_args.lora={rank: 4, targets: [q_proj, layers.1.mlp.down_proj]}"
    assert fit_sft(tmp_path, dataset, targets, FAST, "--trainer.max_steps=2") == 0
    base, trained = load_file(Path(BASE) / "model.safetensors"), load_file(tmp_path / "model" / "model.safetensors")
    layers = [f"model.layers.{i}.self_attn.q_proj" for i in range(3)] + ["model.layers.1.mlp.down_proj"]
    assert base.keys() == trained.keys()
    assert {name for name in base if not torch.equal(base[name], trained[name])} == {f"{n}.weight" for n in layers}
    checkpoint = torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)
    factors = [f"policy.causal_lm.{layer}.lora_{factor}.default.weight" for layer in layers for factor in "AB"]
    assert sorted(checkpoint["state_dict"]) == sorted(factors)
    (optimizer,) = checkpoint["optimizer_states"]
    assert len(optimizer["state"]) == len(factors)


def test_an_engine_gets_the_merged_weights_under_their_plain_names(adapted: Policy) -> None:
    plain = load_policy(BASE, dtype=torch.float32)
    weights = dict(named_weights(adapted))
    assert weights.keys() == dict(named_weights(plain)).keys()
    del weights["lm_head.weight"]
    plain.causal_lm.load_state_dict(weights, strict=False)
    assert not torch.allclose(log_probs(adapted), log_probs(load_policy(BASE, dtype=torch.float32)), atol=0.1)
    torch.testing.assert_close(log_probs(plain), log_probs(adapted), atol=1e-5, rtol=1e-5)


def test_an_exported_folder_and_its_adapter_score_as_the_policy_does(adapted: Policy, tmp_path: Path) -> None:
    expected = log_probs(adapted)
    export(adapted, tmp_path, AutoTokenizer.from_pretrained(BASE), is_writer=True)
    whole = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32)
    torch.testing.assert_close(scored_by(whole), expected, atol=1e-5, rtol=1e-5)
    base = AutoModelForCausalLM.from_pretrained(BASE, dtype=torch.float32)
    with_adapter = PeftModel.from_pretrained(base, tmp_path / "adapter")
    torch.testing.assert_close(scored_by(with_adapter), expected, atol=1e-5, rtol=1e-5)
    assert torch.equal(log_probs(adapted), expected)


def test_a_tied_head_is_exported_once_in_every_dtype(tmp_path: Path) -> None:
    policy = load_policy(BASE, dtype=torch.bfloat16)
    export(policy, tmp_path, AutoTokenizer.from_pretrained(BASE), is_writer=True)
    assert load_file(tmp_path / "model.safetensors").keys() == load_file(Path(BASE) / "model.safetensors").keys()


def test_the_reference_is_the_policy_without_its_adapters(adapted: Policy) -> None:
    before = log_probs(adapted)
    assert torch.equal(log_probs(Unadapted(adapted)), log_probs(load_policy(BASE, dtype=torch.float32)))
    assert torch.equal(log_probs(adapted), before)
    assert all((FACTOR in name) == p.requires_grad for name, p in adapted.named_parameters())


def test_vllm_gets_the_adapters_alone_and_old_ones_show(adapted: Policy, monkeypatch: pytest.MonkeyPatch) -> None:
    if not vllm.available():
        pytest.skip("vLLM is not installed")
    config = EngineConfig(name="vllm", max_model_len=128, max_num_seqs=16, threads=1)
    engine = open_engine(BASE, config, lora_rank=4)
    assert isinstance(engine, VLLMEngine) and engine.takes_adapters
    monkeypatch.setattr(engine, "load_weights", None)  # a sync that used it would raise
    assert sync(adapted, engine) <= 1e-4
    prompts, cold = [[5, 9, 7, 11]] * 3, Sampling(max_tokens=24, temperature=1.0)
    before = engine.generate(prompts, cold, [1, 2, 3])
    whole = [[*p, *c.token_ids.tolist()] for p, c in zip(prompts, before, strict=True)]
    for completion, scores in zip(before, engine.score(whole), strict=True):
        assert completion.logprobs == pytest.approx(scores[3:], abs=1e-4)
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if FACTOR in name:
                parameter.mul_(1.1)
    with pytest.raises(SyncError):
        verify(adapted, engine)
    assert sync(adapted, engine) <= 1e-4
    assert engine.generate(prompts, cold, [1, 2, 3]) != before
    merged_engine = open_engine(BASE, config)
    assert isinstance(merged_engine, VLLMEngine) and not merged_engine.takes_adapters
    assert sync(adapted, merged_engine) <= 1e-4


@pytest.mark.parametrize("engine", ["vllm", "transformers"])
def test_grpo_samples_from_the_adapted_policy_whether_merged_or_not(engine: str, tmp_path: Path) -> None:
    assert fit_grpo(tmp_path, RANK_4, FAST, COLD, ALTERNATING, f"--engine.name={engine}") == 0
    gaps = metrics(tmp_path, "train/sync_gap", "train/engine_gap")
    assert len(gaps) == 4
    assert all(gap <= 1e-4 and apart <= 1e-4 for gap, apart in gaps)


def test_grpo_keeps_its_reference(tmp_path: Path) -> None:
    terms = [RANK_4, "--model.init_args.objective.kl_coefficient=0.1", "--data.init_args.updates_per_batch=2"]
    assert fit_grpo(tmp_path / "kl", *terms, ALTERNATING, "--model.init_args.optimizer.init_args.lr=0.003") == 0
    kl = [value for (value,) in metrics(tmp_path / "kl", "train/kl")]
    assert kl[0] == pytest.approx(0.0, abs=1e-6)
    assert max(kl) > 1e-6


def test_a_resumed_fit_is_the_uninterrupted_one(dataset: Path, fitted: Path, tmp_path: Path) -> None:
    assert fit_sft(tmp_path, dataset, RANK_4, FAST, "--trainer.max_steps=3") == 0
    assert fit_sft(tmp_path, dataset, RANK_4, FAST, "--ckpt_path=last") == 0
    for name in ("model.safetensors", "adapter/adapter_model.safetensors"):
        whole, parts = (load_file(out / "model" / name) for out in (fitted, tmp_path))
        assert whole.keys() == parts.keys()
        assert all(torch.equal(whole[k], parts[k]) for k in whole)


def test_a_resumed_grpo_is_the_uninterrupted_one(tmp_path: Path) -> None:
    """It is cut short within a batch."""
    options = [RANK_4, FAST, ALTERNATING, "--data.init_args.updates_per_batch=2"]
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert fit_grpo(whole, *options) == 0
    assert fit_grpo(parts, *options, "--trainer.max_steps=1") == 0
    assert fit_grpo(parts, *options, "--ckpt_path=last") == 0
    one, other = (
        load_file(out / "adapter" / "adapter_model.safetensors") for out in (whole / "model", parts / "model")
    )
    assert all(torch.equal(one[k], other[k]) for k in one)
    watched = ("step", "train/loss", "train/grad_norm", "train/length")
    assert metrics(whole, *watched) == metrics(parts, *watched)


@pytest.mark.parametrize("lora", ["{rank: 4, targets: [q_proj]}", "{rank: 2}", "null"])
def test_a_checkpoint_of_other_adapters_is_refused(
    lora: str, dataset: Path, fitted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = fitted / "checkpoints" / "last.ckpt"
    assert fit_sft(tmp_path, dataset, f"--model.init_args.lora={lora}", f"--ckpt_path={checkpoint}") == 2
    assert "model.init_args.lora." in capsys.readouterr().err


def test_two_processes_are_one(dataset: Path, tmp_path: Path) -> None:
    assert fit_sft(tmp_path / "one", dataset, RANK_4, LINEAR) == 0
    fit_sft_sharded(tmp_path / "two", dataset, 2, RANK_4, LINEAR)
    for name in ("model.safetensors", "adapter/adapter_model.safetensors"):
        one, two = (load_file(out / "model" / name) for out in (tmp_path / "one", tmp_path / "two"))
        assert one.keys() == two.keys()
        assert all(torch.allclose(one[k], two[k], atol=1e-5) for k in one)


@pytest.mark.parametrize("targets", [["q_proj", "query"], ["lm_head"], ["mlp"], []])
def test_targets_that_match_nothing_are_named_with_those_that_exist(targets: list[str]) -> None:
    with pytest.raises(UserError, match=r"lora.targets: \[.*choose from down_proj, gate_proj, k_proj, o_proj") as error:
        load_policy(BASE, dtype=torch.float32, lora=LoRAConfig(targets=targets))
    assert repr(targets[-1:]) in str(error.value)


@pytest.mark.parametrize(("setting", "value"), [("rank", 0), ("alpha", 0), ("dropout", 1.0)])
def test_settings_out_of_range_are_refused(setting: str, value: float) -> None:
    with pytest.raises(UserError, match=f"lora.{setting}: {value}"):
        LoRAConfig(**{setting: value})


def test_dropout_under_grpo_and_adapters_of_random_weights_are_refused() -> None:
    with pytest.raises(UserError, match=r"lora.dropout"):
        GRPOModule(lora=LoRAConfig(dropout=0.1))
    with pytest.raises(UserError, match="random_init"):
        SFTModule(lora=LoRAConfig(), random_init=True)
