"""How rows are cut, packed, spread over processes and saved does not change what SFT computes; through the real command line."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from benchmarks.families.tiny_models import tiny_model
from int_lightning.sft.targets import Target

from commands import LINEAR, collect, fit_sft, fit_sft_sharded, metrics

WATCHED = ("train/loss", "train/grad_norm")
ROWS = "--data.init_args.batch_size=8"


@pytest.fixture(scope="module")
def packed(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Under an optimiser whose steps are linear in the gradients."""
    out = tmp_path_factory.mktemp("fit") / "packed"
    assert fit_sft(out, dataset, ROWS, LINEAR) == 0
    return out


@pytest.fixture(scope="module")
def shipped(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("fit") / "shipped"
    assert fit_sft(out, dataset, ROWS) == 0
    return out


def weights(out: Path) -> dict[str, torch.Tensor]:
    return load_file(out / "model" / "model.safetensors")


def assert_close(a: Path, b: Path) -> None:
    """Loss, gradient norm and final weights to 1e-5."""
    left, right = (torch.tensor(metrics(out, *WATCHED)) for out in (a, b))
    assert len(left) == len(right) > 0
    torch.testing.assert_close(left, right, atol=1e-5, rtol=1e-5)
    one, two = weights(a), weights(b)
    assert one.keys() == two.keys()
    assert all(torch.allclose(one[k], two[k], atol=1e-5) for k in one)


@pytest.mark.numeric
@pytest.mark.parametrize(
    "layout",
    [
        ["--data.init_args.max_tokens=90"],
        ["--data.init_args.packing=false"],
        ["--data.init_args.packing=false", "--data.init_args.max_tokens=90"],
        ["--model.init_args.gradient_checkpointing=true"],
    ],
    ids=["packed, accumulated", "padded", "padded, accumulated", "checkpointed"],
)
def test_one_batch_however_it_is_laid_out(layout: list[str], packed: Path, dataset: Path, tmp_path: Path) -> None:
    assert fit_sft(tmp_path / "run", dataset, ROWS, LINEAR, *layout) == 0
    assert_close(packed, tmp_path / "run")


def test_rows_that_would_see_each_other_are_padded_and_a_line_says_so(
    dataset: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "nemotron"
    tiny_model("nemotron", folder)
    model, short = f"--model.init_args.model={folder}", "--trainer.max_steps=2"
    note = "note: rows of NemotronForCausalLM are padded and not packed, which costs time: a packed row moves by"
    assert fit_sft(tmp_path / "packed", dataset, ROWS, LINEAR, model, short) == 0
    assert capfd.readouterr().out.count(note) == 1
    assert fit_sft(tmp_path / "padded", dataset, ROWS, LINEAR, model, short, "--data.init_args.packing=false") == 0
    assert note not in capfd.readouterr().out
    assert_close(tmp_path / "packed", tmp_path / "padded")


def test_two_processes_are_one_and_checkpoints_go_from_one_to_two_and_back(
    packed: Path, dataset: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    assert fit_sft(out, dataset, ROWS, LINEAR, "--trainer.max_steps=2") == 0
    fit_sft_sharded(out, dataset, 2, ROWS, LINEAR, "--trainer.max_steps=4", "--ckpt_path=last")
    assert fit_sft(out, dataset, ROWS, LINEAR, "--ckpt_path=last") == 0
    assert_close(packed, out)


@pytest.mark.parametrize("stop", [1, 2, 3, 4, 5])
def test_resumed_from_any_step_the_weights_are_the_same_bit_for_bit(
    stop: int, shipped: Path, dataset: Path, tmp_path: Path
) -> None:
    out = tmp_path / "parts"
    assert fit_sft(out, dataset, ROWS, f"--trainer.max_steps={stop}") == 0
    assert fit_sft(out, dataset, ROWS, "--ckpt_path=last") == 0
    whole, parts = weights(shipped), weights(out)
    assert all(torch.equal(whole[k], parts[k]) for k in whole)


@pytest.mark.parametrize(
    "target",
    [
        "prefix_intervention",
        "intervention_only",
        "prefix_intervention_suffix",
        "reference",
        "self_refined",
        "rollout",
    ],
)
def test_every_target_trains(target: Target, tmp_path: Path, mixed: Path) -> None:
    assert fit_sft(tmp_path / "fit", mixed, f"--data.target={target}", "--data.init_args.epochs=3") == 0
    losses = [loss for (loss,) in metrics(tmp_path / "fit", "train/loss")]
    assert losses[-1] < losses[0]


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A collection of hard and easy problems, so that some rollouts are right, with rewritings."""
    out = tmp_path_factory.mktemp("mixed") / "collect"
    sources = "--problems=[{path: 'mini:hard-train:12'}, {path: 'mini:easy:12'}]"
    assert collect(out, sources, "--collection.refined=1") == 0
    return out
