"""Settings of every test. Property tests have no deadline, for a busy machine is no defect, and the same examples every time, but
with ``--hypothesis-profile explore``. Without a GPU, Triton's kernels are interpreted, which has to be said before anything
imports Triton. Workers share out the cores before anything imports PyTorch, whose threads would wait for one another."""

import os
from pathlib import Path

if workers := int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "0")):
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // workers)))

if os.environ.get("ATEN_CPU_CAPABILITY") == "default":
    os.environ.setdefault(
        "TORCHDYNAMO_DISABLE", "1"
    )  # it writes vector code, which does not compile under this setting

import jaxtyping
import pytest
import torch
from hypothesis import settings

import checked_shapes  # noqa: F401

if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"

# commands that tests start find their helpers, rewards and callbacks
folders = [str(folder) for folder in Path(__file__).parent.iterdir() if folder.is_dir()]
os.environ["PYTHONPATH"] = os.pathsep.join([*folders, os.environ.get("PYTHONPATH", "")])

settings.register_profile("explore", deadline=None)
settings.register_profile("repeatable", deadline=None, derandomize=True)
settings.load_profile("repeatable")


@pytest.fixture
def own_refusals(monkeypatch: pytest.MonkeyPatch) -> None:
    """Annotations are not checked, as outside of the tests: wrong arguments reach the code, which has to refuse them itself."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small collection on the mini world, only to be read."""
    from commands import collect  # only then, for what it imports must find the settings above

    out = tmp_path_factory.mktemp("data") / "collect"
    assert collect(out) == 0
    return out
