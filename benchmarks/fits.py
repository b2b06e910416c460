"""What the comparisons with TRL share: fits in processes of their own, TRL's interpreter, and what a fit reports."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from int_lightning.models.converted import cache_folder

OURS, TRL = "int-lightning", "trl"
TRL_VERSION = "1.16.0"
ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"


@dataclass(frozen=True, slots=True)
class Fit:
    """One fit: who, how, in which round, and what its process reported (see ``Clock.record``)."""

    provider: str
    way: str
    round: int
    seconds: float
    processor_seconds: float
    trained: int
    tokens: list[int]
    losses: list[float]
    peak: int
    neighbours: str
    versions: str

    @property
    def speed(self) -> float:
        """Trained tokens per second."""
        return self.trained / self.seconds

    @property
    def loss(self) -> float:
        """Mean over all trained tokens."""
        return sum(n * loss for n, loss in zip(self.tokens, self.losses, strict=True)) / sum(self.tokens)


def fastest(fits: Sequence[Fit], provider: str) -> str:
    """A provider's fastest way in the first round, in which every way runs."""
    return max((fit for fit in fits if fit.provider == provider and not fit.round), key=lambda fit: fit.speed).way


def first_note(fits: Sequence[Fit]) -> str:
    """What the first fit that noticed other processes says of them."""
    notes = [fit.neighbours for fit in fits if fit.neighbours]
    return notes[0] if notes else ""


def fit_environment(threads: int) -> dict[str, str]:
    """The environment of a fit's process, in which the modules of ``benchmarks`` are found."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    return {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": str(threads)}


def peer_python(device: str) -> Path:
    """The interpreter of a virtual environment with TRL and with our torch and transformers, made if it is not there."""
    ours = [f"{package}=={version(package)}" for package in ("torch", "transformers")]
    folder = cache_folder() / "peers" / f"trl-{TRL_VERSION}-{device}-{'-'.join(ours)}"
    python, done = folder / "bin" / "python", folder / "installed"
    if not done.exists():
        uv = [sys.executable, "-m", "uv"]
        kernels = ["liger-kernel", "kernels"] if device == "cuda" else []
        install = [*uv, "pip", "install", "--python", str(python), f"trl=={TRL_VERSION}", "psutil", *ours, *kernels]
        environment = {**os.environ, "UV_FIND_LINKS": os.environ.get("PIP_FIND_LINKS", "")}
        subprocess.run([*uv, "venv", "--clear", "--python", sys.executable, str(folder)], check=True)  # noqa: S603
        if subprocess.run(install, env=environment).returncode:  # noqa: S603
            # a CPU build of torch may have to come from PyTorch's own index
            subprocess.run(install, env={**environment, "UV_TORCH_BACKEND": "cpu"}, check=True)  # noqa: S603
        done.touch()
    return python
