"""One vLLM engine over two processes of a fit: they train as one process with an engine of its own does."""

from __future__ import annotations

import subprocess
from itertools import chain
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from int_lightning.__main__ import main
from int_lightning.collect.store import Store
from int_lightning.engines import opening, vllm
from int_lightning.engines.base import EngineChoice, EngineConfig
from int_lightning.engines.opening import open_engine
from int_lightning.models.resolve import resolve_model
from int_lightning.types import UserError

from commands import ENGINE, LINEAR, MINI, metrics, parallel, short_grpo
from model_folders import with_four_heads

needs_vllm = pytest.mark.skipif(not vllm.available(), reason="vLLM is not installed")
OWN_ENGINE = ENGINE.replace("auto", "vllm")
SHARED = [OWN_ENGINE, "--engine.tensor_parallel_size=2"]
ORACLE = "{class_path: PolicyOracle, init_args: {proposals: 2, sampling: {max_tokens: 24}}}"
HELD_OUT = "{problems: 'mini:hard-test:5', prompts: mini, rollouts: 2, sampling: {max_tokens: 48, temperature: 1.5}}"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = with_four_heads(tmp_path_factory.mktemp("model") / "four-heads")
    return f"--model.init_args.model={folder}"


def fit_alone(out: Path, *given: str) -> None:
    """In this process."""
    assert main(["fit", *given, f"--out={out}", OWN_ENGINE, LINEAR]) == 0


def fit_sharing(out: Path, *given: str) -> None:
    """In two processes that share an engine."""
    command = parallel(2, "ddp", *given, f"--out={out}", *SHARED, LINEAR)
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout[-1000:] + done.stderr[-3000:]


def assert_close(one: Path, two: Path, *names: str) -> None:
    """Metrics and final weights to 1e-5."""
    left, right = (torch.tensor(metrics(out, *names)) for out in (one, two))
    assert left.numel()
    torch.testing.assert_close(left, right, atol=1e-5, rtol=1e-5)
    alone, shared = (load_file(out / "model" / "model.safetensors") for out in (one, two))
    assert all(torch.allclose(alone[name], shared[name], atol=1e-5) for name in alone)


@needs_vllm
def test_grpo_samples_validates_and_intervenes_as_one_process_does(model: str, tmp_path: Path) -> None:
    """Three problems, so that one process has more to draw than the other, and adapters, which are loaded into both parts."""
    callbacks = f"[{{class_path: InterveneOnFailedGroups, init_args: {{use: both, guided: 4, oracle: {ORACLE}}}}}, "
    callbacks += f"{{class_path: HeldOutPassAtK, init_args: {HELD_OUT}}}]"
    given = [model, "--data.init_args.problems=mini:hard-train:3", "--data.init_args.prompts_per_batch=3"]
    given += ["--data.init_args.steps=2", "--data.init_args.validation=mini:easy:3", f"--trainer.callbacks={callbacks}"]
    given += ["--trainer.val_check_interval=1", "--model.init_args.lora={rank: 4}"]
    one, two = tmp_path / "one", tmp_path / "two"
    fit_alone(one, *short_grpo(one), *given)
    fit_sharing(two, *short_grpo(two), *given)
    assert_close(one, two, "train/loss", "train/grad_norm", "train/length", "train/tokens", "train/interventions")
    assert_close(one, two, "val/pass@1", "val/length")
    failed_and_interventions = metrics(two, "train/failed_groups", "train/interventions")
    assert all(failed and interventions for failed, interventions in failed_and_interventions)


@needs_vllm
def test_a_fit_collects_from_weights_that_move_what_one_process_collects(model: str, tmp_path: Path) -> None:
    sizes = "{attempts: 4, guided: 2, batch_problems: 2, leakage: stated, sampling: {max_tokens: 64}}"
    collecting = f"{{problems: 'mini:hard-train:5', prompts: mini, collection: {sizes}, oracle: {ORACLE}}}"
    given = ["-c", str(MINI / "sft.yaml"), model, "--data.init_args.streaming=true", "--data.init_args.steps=3"]
    given += [f"--trainer.callbacks=[{{class_path: CollectInterventions, init_args: {collecting}}}]"]
    for fit, name in ((fit_alone, "one"), (fit_sharing, "two")):
        fit(tmp_path / name, *given, "--data.init_args.batch_size=2", f"--data.init_args.folder={tmp_path / name}-data")
    assert_close(tmp_path / "one", tmp_path / "two", "train/loss", "train/grad_norm")
    for table in ("attempts", "interventions", "guided"):
        assert collected(tmp_path / "one-data", table) == collected(tmp_path / "two-data", table) != []
    versions = {p["fingerprint"] for (p,) in Store(tmp_path / "two-data" / "dataset").columns("attempts", "provenance")}
    assert len(versions) > 1


def collected(folder: Path, table: str) -> list[str]:
    column = "content" if table == "interventions" else "text"
    return list(chain.from_iterable(Store(folder / "dataset").columns(table, column)))


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("transformers", "set engine.name to vllm, or tensor_parallel_size to 1"),
        ("server", "start the server with --tensor-parallel-size 2, and set it to 1 here"),
    ],
)
def test_engines_that_span_one_device_refuse_two(name: EngineChoice, remedy: str) -> None:
    said = f"engine.tensor_parallel_size is 2, which engine.name {name} would ignore: {remedy}"
    with pytest.raises(UserError, match=said):
        EngineConfig(name, tensor_parallel_size=2)


@needs_vllm
def test_heads_that_two_devices_cannot_share_are_refused_before_vllm_starts() -> None:
    with pytest.raises(UserError, match=r"engine\.tensor_parallel_size is 2, and .* has 3 attention heads"):
        open_engine(resolve_model("mini"), EngineConfig("vllm", max_model_len=64, tensor_parallel_size=2))


def test_two_devices_are_refused_where_vllm_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening.vllm, "available", lambda: False)
    with pytest.raises(UserError, match=r"tensor_parallel_size is 2, which engine\.name transformers would ignore"):
        open_engine(resolve_model("mini"), EngineConfig("auto", max_model_len=64, tensor_parallel_size=2))
