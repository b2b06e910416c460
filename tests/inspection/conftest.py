"""Collections to inspect."""

from __future__ import annotations

from pathlib import Path

import pytest

from commands import collect
from hostile_run import hostile_run


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A collection of one problem with one accepted intervention and two rejected ones; all its text is hostile."""
    return hostile_run(tmp_path)


@pytest.fixture(scope="session")
def collected(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real collection of four problems of the mini world, only to be read."""
    out = tmp_path_factory.mktemp("inspect") / "collection"
    assert collect(out, "--engine.name=transformers", "--problems=mini:hard-train:4") == 0
    return out
