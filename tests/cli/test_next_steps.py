"""The next command that a fit suggests has the problems and prompts of the fit."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from int_lightning.cli.next_steps import after_fit, said_of
from int_lightning.grpo.data import RolloutData
from int_lightning.sources.source_config import Sources
from int_lightning.yaml_text import load_yaml

MAPPING = {"path": "it's.csv", "columns": {"answer": "gold"}}


@pytest.mark.parametrize("source", ["mini:easy:8", MAPPING, ["a.jsonl", MAPPING]])
def test_the_next_command_evaluates_on_the_problems_of_the_fit(source: object, tmp_path: Path) -> None:
    data = RolloutData(Sources.of(source), prompts="mini")
    (line,) = after_fit(tmp_path, False, said_of(data), [])
    words = shlex.split(line.partition("next: ")[2])
    assert words[:3] == ["int-lightning", "evaluate", "--problems.mine"]
    assert Sources.of(load_yaml(words[3])) == Sources.of(source)
    assert words[4:] == ["--prompts", "mini", "--model", str(tmp_path / "model")]
