"""The user's own code and prompts, bare names of the shipped classes, help, and what is said before and after a fit."""

from __future__ import annotations

import importlib
import inspect
import os
import pkgutil
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import huggingface_hub.constants
import lightning as L
import pytest
import yaml
from jsonargparse import ArgumentParser
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers.logger import DummyLogger

import int_lightning
from int_lightning.__main__ import main
from int_lightning.cli.command_line import IntCLI
from int_lightning.cli.folder_claim import _REFUSED
from int_lightning.cli.help import COMMANDS, NOT_OFFERED, help_text
from int_lightning.cli.shipped import SHIPPED
from int_lightning.cli.signatures import arguments
from int_lightning.cli.suggestions import fields, flat
from int_lightning.learn.module import PolicyModule
from int_lightning.models.resolve import resolve_model
from int_lightning.oracles.base import Oracle
from int_lightning.types import UserError
from int_lightning.user_code import load, look_also_in

from commands import MINI, ROOT

REWARDS = "def short(problem, rollout):\n    return 1.0 / len(rollout.token_ids)\n"


@pytest.fixture
def beside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a config, with a module and a prompt set; the working directory is another one."""
    folder = tmp_path / "mine"
    (folder / "myset").mkdir(parents=True)
    (folder / "myset" / "solve.txt").write_text("{problem}")
    (folder / "my_rewards_beside.py").write_text(REWARDS)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return folder


@pytest.mark.parametrize(
    "name",
    [
        "my_rewards_beside.short",
        "./my_rewards_beside.short",
        "my_rewards_beside.py:short",
        "../mine/my_rewards_beside.py:short",
    ],
)
def test_a_function_beside_the_config_is_found(name: str, beside: Path) -> None:
    look_also_in([beside])
    assert load(name, "data.rewards").__name__ == "short"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("def f(: pass", "line 1: invalid syntax"),
        ("import nowhere", "line 1: ModuleNotFoundError"),
        ("x = 1", "has no 'f'"),
        ("raise SystemExit(3)", "line 1: SystemExit: 3"),
    ],
)
def test_a_module_that_cannot_be_imported_says_where(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text(text)
    with pytest.raises(UserError, match=said):
        load(f"{tmp_path}/broken.py:f", "data.rewards")


def test_an_installed_command_finds_short_names_and_what_lies_beside_the_config(beside: Path) -> None:
    optimizer = {"class_path": "AdamW", "init_args": {"lr": 1e-4}}
    schedule = {"class_path": "WarmupCosine", "init_args": {"warmup": 0.1, "minimum": 0.1}}
    data = {"problems": "mini:easy:4", "prompts": "myset", "rewards": [{"path": "my_rewards_beside.short"}]}
    config = {
        "model": {"class_path": "GRPOModule", "init_args": {"optimizer": optimizer, "scheduler": schedule}},
        "data": {"class_path": "RolloutData", "init_args": data},
        "trainer": {
            "callbacks": [{"class_path": "InterveneOnFailedGroups", "init_args": {"oracle": "GradeSchoolOracle"}}]
        },
    }
    (beside / "grpo.yaml").write_text(yaml.safe_dump(config))
    code = "import sys; from int_lightning.__main__ import main; sys.exit(main(sys.argv[1:]))"
    safe = {"PYTHONSAFEPATH": "1", "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'kernels'}"}  # as with a console script
    command = [sys.executable, "-c", code, "fit", "-c", str(beside / "grpo.yaml"), "--dry-run"]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | safe)
    assert done.returncode == 0, done.stderr
    assert "tokens" in done.stdout


def test_every_class_that_a_config_can_name_has_its_short_name() -> None:
    bases = (Oracle, PolicyModule, L.LightningDataModule, Callback)
    made_by_the_command = {
        "FitProgress",
        "ExportModel",
        "ExportSteps",
        "StepTimeLimit",
        "RunCheckpoint",
        "RanksAlive",
        "RunRecord",
    }
    found = set()
    for module in pkgutil.walk_packages(int_lightning.__path__, "int_lightning."):
        if module.name == "int_lightning.__main__":
            continue
        for name, cls in vars(importlib.import_module(module.name)).items():
            own = inspect.isclass(cls) and cls.__module__ == module.name and not name.startswith("_")
            if own and issubclass(cls, bases) and cls not in bases and not inspect.isabstract(cls):
                found.add(name)
    assert found - made_by_the_command <= set(SHIPPED)
    for name, module_name in SHIPPED.items():
        assert inspect.isclass(load(f"{module_name}.{name}", name))


class ParserOnlyError(Exception):
    """Carries the parsers out."""


class ParserOnly(IntCLI):
    def parse_arguments(self, parser: ArgumentParser, args: object) -> None:
        raise ParserOnlyError(parser._subcommands_action._name_parser_map)


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_a_command_has_every_key(command: str) -> None:
    with pytest.raises(ParserOnlyError) as raised, ExitStack() as resources:
        ParserOnly([command], resources)
    keys = {key for key in flat(fields(raised.value.args[0][command])) if not key.startswith("trainer.")}
    shown = help_text(command, [])
    assert all(f"--{key} " in shown for key in keys - {"model", "data"}), keys
    assert len(shown.splitlines()) < 150


def test_the_help_of_a_fit_shows_the_keys_of_its_configs_classes_and_no_flag_that_is_refused() -> None:
    shown = help_text("fit", ["-c", str(MINI / "grpo.yaml")])
    for key in (
        "model.init_args.objective.clip_low",
        "data.init_args.groups.advantage",
        "data.init_args.sampling.temperature",
    ):
        assert f"--{key} " in shown
    assert set(_REFUSED) <= NOT_OFFERED
    trainer = help_text("fit", ["trainer"])
    assert "--trainer.max_steps" in trainer
    assert not [name for name in NOT_OFFERED if f"--trainer.{name} " in trainer]
    assert "--data.help" not in shown
    with pytest.raises(UserError, match="did you mean GRPOModule"):
        help_text("fit", ["GRPOModul"])


@pytest.mark.parametrize("name", SHIPPED)
def test_every_key_of_a_shipped_class_is_described_in_its_help(name: str) -> None:
    assert all(argument.description for argument in arguments(SHIPPED[name], name))


def test_help_needs_no_torch() -> None:
    code = (
        "import sys; from int_lightning.__main__ import main; main(['fit', '--help']); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0


def test_a_collection_within_a_fit_is_shown_and_its_error_heard(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    config = yaml.safe_load((MINI / "collect.yaml").read_text()) | {"problems": "mini:easy:2"}
    config["engine"] |= {"name": "transformers"}
    config["collection"] |= {"attempts": 2}
    (tmp_path / "collect.yaml").write_text(yaml.safe_dump(config))
    given = [
        f"--data.init_args.folder={tmp_path / 'data'}",
        f"--data.init_args.collect_config={tmp_path / 'collect.yaml'}",
    ]
    assert main(["fit", "-c", str(MINI / "sft.yaml"), f"--out={tmp_path / 'fit'}", *given]) == 2
    said = capfd.readouterr()
    assert "collect: 2 problems" in said.out
    assert "the collection failed: none of the 2 problems is hard" in said.err


class WandbLike(DummyLogger):
    """A logger that writes where it is told, the working directory by default."""

    def __init__(self, save_dir: str = ".") -> None:
        super().__init__()
        self.folder = save_dir


class UpToTheObjectsError(Exception):
    """Ends a command line before its objects are made."""


class UpToTheObjects(IntCLI):
    def instantiate_classes(self) -> None:
        raise UpToTheObjectsError(self.config["fit"]["trainer"]["logger"]["init_args"]["save_dir"])


def test_a_logger_that_writes_into_the_working_directory_writes_into_the_runs_folder(tmp_path: Path) -> None:
    given = ["fit", "-c", str(MINI / "grpo.yaml"), f"--out={tmp_path}", "--trainer.logger=test_user_code.WandbLike"]
    with pytest.raises(UpToTheObjectsError, match=str(tmp_path)), ExitStack() as resources:
        UpToTheObjects(given, resources)


def test_a_hub_model_out_of_reach_is_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(UserError, match=r"nobody/nothing.*the hub cannot be reached.*give the path of a model folder"):
        resolve_model("nobody/nothing")
