"""A collection that both files of on-policyness tests read."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small collection on the mini world, only to be read."""
    from onpolicy_runs import QUICK

    from commands import collect  # only then, because it imports what must find the settings of the outer conftest

    out = tmp_path_factory.mktemp("onpolicy") / "run"
    assert collect(out, QUICK) == 0
    return out
