"""Configs name the shipped classes without their modules, so that a run's own config outlives a move of the code."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from int_lightning.__main__ import main
from int_lightning.cli.shipped import SHIPPED, with_short_names
from int_lightning.run_folder.checkpoints import RECORD, newest

from commands import COLD, MINI, PORTABLE_ENGINE, fit_grpo, fit_sft

FITS = f"fit -c {MINI}/sft.yaml"
COLLECTS = f"collect -c {MINI}/collect.yaml"
MOVED = [
    (FITS, "model", "int_lightning.learn.sft.SFTModule"),
    (FITS, "model", "int_lightning.learn.SFTModule"),
    (FITS, "data", "int_lightning.data.interventions.InterventionData"),
    (FITS, "data", "int_lightning.data.InterventionData"),
    (FITS, "model.init_args.scheduler", "int_lightning.learn.WarmupCosine"),
    (FITS, "trainer.callbacks", "int_lightning.collect.callback.CollectInterventions"),
    (FITS, "trainer.callbacks", "int_lightning.collect.in_loop.InterveneOnFailedGroups"),
    (COLLECTS, "oracle", "int_lightning.collect.gradeschool.GradeSchoolOracle"),
    (COLLECTS, "oracle", "int_lightning.collect.oracles.PolicyOracle"),
]


def nested(key: str, path: str) -> str:
    """A config that names a class: each part of the key on a line of its own, the class on the last."""
    *groups, last = key.split(".")
    lines = [f"{'  ' * depth}{name}:" for depth, name in enumerate([*groups, last])]
    item = "- " if last == "callbacks" else "  "
    return "\n".join([*lines, f"{'  ' * len(groups)}{item}class_path: {path}", ""])


@pytest.mark.parametrize(("command", "key", "path"), MOVED, ids=[path for _, _, path in MOVED])
def test_the_old_path_of_a_class_is_one_line_that_says_its_name(
    command: str, key: str, path: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "old.yaml"
    config.write_text(text := nested(key, path))
    words = [*command.split(" "), "-c", str(config), f"--out={tmp_path / 'out'}"]
    assert main(words) == 2
    (line,) = capfd.readouterr().err.splitlines()
    name = path.rpartition(".")[2]
    number = text.partition(path)[0].count("\n") + 1
    assert line.startswith(f"int-lightning: {config}, line {number}: {key}")
    assert line.endswith(f"{path} has moved: write {name}, which needs no module")


def test_a_long_path_that_is_right_is_not_blamed_for_another_mistake(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    command = [*FITS.split(" "), f"--out={tmp_path}", f"--model={SHIPPED['SFTModule']}.SFTModule"]
    assert main([*command, "--data.init_args.epochs=many"]) == 2
    assert "data.init_args.epochs takes a whole number" in capfd.readouterr().err


def test_every_shipped_class_is_shortened_and_others_are_left() -> None:
    for name, module in SHIPPED.items():
        assert with_short_names(f"- class_path: {module}.{name}\n") == f"- class_path: {name}\n"
        assert with_short_names(f"class_path: my.{name}\n") == f"class_path: my.{name}\n"
    assert with_short_names("class_path: int_lightning.learn.lora.LoRAConfig") == (
        "class_path: int_lightning.learn.lora.LoRAConfig"
    )


def test_the_config_of_an_sft_names_no_module_of_ours_and_repeats_the_run(dataset: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    assert fit_sft(first, dataset, "--trainer.max_steps=2") == 0
    written = (first / "config.yaml").read_text()
    assert "class_path: WarmupCosine" in written
    assert "int_lightning." not in written
    assert main(["fit", "-c", str(first / "config.yaml"), f"--out={second}"]) == 0
    assert (second / "config.yaml").read_text() == written.replace(str(first), str(second))
    weights = [load_file(out / "model" / "model.safetensors") for out in (first, second)]
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])


def test_a_grpo_with_callbacks_resumes_with_its_own_config(tmp_path: Path) -> None:
    callbacks = "{class_path: InterveneOnFailedGroups, init_args: {guided: 2, oracle: PolicyOracle}}"
    held_out = "{class_path: HeldOutPassAtK, init_args: {problems: 'mini:easy:2', prompts: mini, rollouts: 2}}"
    command = [f"--trainer.callbacks=[{callbacks}, {held_out}]", COLD, PORTABLE_ENGINE, "--trainer.max_steps=1"]
    command += ["--data.init_args.rewards=[{weight: 1.0}]"]
    assert fit_grpo(tmp_path, *command) == 0
    written = (tmp_path / "config.yaml").read_text()
    for name in ("GRPOModule", "RolloutData", "InterveneOnFailedGroups", "PolicyOracle", "HeldOutPassAtK"):
        assert f"class_path: {name}\n" in written
    assert "int_lightning." not in written
    saved = newest(tmp_path / "checkpoints")
    assert saved is not None
    assert not [value for value in saved.settings.values() if "int_lightning." in str(value)]
    again = ["fit", "-c", str(tmp_path / "config.yaml"), "--ckpt_path=last", "--trainer.max_steps=2"]
    assert main(again) == 0


def test_a_checkpoint_of_another_format_is_one_line(
    dataset: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert fit_sft(tmp_path, dataset, "--trainer.max_steps=1") == 0
    last = tmp_path / "checkpoints" / "last.ckpt"
    checkpoint = torch.load(last, weights_only=True)
    checkpoint[RECORD].pop("format")  # as the first format was
    shutil.rmtree(last.parent)
    last.parent.mkdir()
    torch.save(checkpoint, last)
    capfd.readouterr()
    assert fit_sft(tmp_path, dataset, "--ckpt_path=last") == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith(f"int-lightning: {last} ")
    assert "another version of int-lightning wrote it" in line
