"""Every shipped config parses, and the package is laid out as it must be."""

from __future__ import annotations

import inspect
from contextlib import ExitStack
from pathlib import Path

import pytest
import yaml
from docstring_parser import parse

from int_lightning.cli.command_line import IntCLI
from int_lightning.engines.base import EngineConfig
from int_lightning.grpo.data import RolloutData
from int_lightning.grpo.groups import GroupConfig
from int_lightning.grpo.module import GRPOModule
from int_lightning.grpo.objective import ObjectiveConfig
from int_lightning.types import Sampling

from commands import ROOT

CONFIGS = sorted((ROOT / "configs").glob("*/*.yaml"))
COMMANDS = {"pretrain": "fit", "sft": "fit", "grpo": "fit", "collect": "collect", "evaluate": "evaluate", "run": "run"}


class ParsedOnlyError(Exception):
    """Ends a command line once it is parsed."""


class ParseOnly(IntCLI):
    def after_parsing(self) -> None:
        raise ParsedOnlyError


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_a_shipped_config_parses(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    sources = path.parent.name == "sources"
    overlay = not sources and "out" not in yaml.safe_load(path.read_text(encoding="utf-8"))
    command = "collect" if sources else "fit" if overlay else COMMANDS[path.stem.rsplit("-", 1)[-1]]
    under = ["-c", str(ROOT / "configs" / "mini" / "grpo.yaml")] if overlay else []
    with pytest.raises(ParsedOnlyError), ExitStack() as resources:
        ParseOnly([command, *under, "-c", str(path)], resources)


def test_all_kinds_of_config_are_there() -> None:
    assert {p.parent.name for p in CONFIGS} >= {"mini", "smollm2", "paper", "sources"}


def test_fewer_than_sixty_five_documented_keys_decide_a_grpo_run() -> None:
    keys = {"seed_everything", "out", "checkpoint_every", "ckpt_path"}
    for part in (GRPOModule, ObjectiveConfig, RolloutData, GroupConfig, Sampling, EngineConfig):
        names = set(inspect.signature(part).parameters)
        described = {p.arg_name for p in parse(part.__doc__ or "").params if p.description}
        assert names <= described, part
        keys |= {f"{part.__name__}.{name}" for name in names}
    assert len(keys - {"GRPOModule.objective", "RolloutData.groups", "RolloutData.sampling"}) < 65
