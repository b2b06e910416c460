"""Every shipped config parses, and the package is laid out as it must be."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest
import yaml

from commands import ROOT
from int_lightning.cli import IntCLI

CONFIGS = sorted((ROOT / "configs").glob("*/*.yaml"))
COMMANDS = {"pretrain": "fit", "sft": "fit", "grpo": "fit", "collect": "collect", "evaluate": "evaluate", "run": "run"}


class ParsedOnlyError(Exception):
    """Ends a command line once it is parsed."""


class ParseOnly(IntCLI):
    def _set_seed(self) -> None:
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
