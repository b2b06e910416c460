"""Which implementation runs, what the log says of it, and what the package needs to be imported."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
import torch

import int_lightning_kernels
from int_lightning_kernels import dispatch, implementation_for

PACKAGE = Path(int_lightning_kernels.__file__).parent


def python(code: str, *options: str, **environment: str) -> str:
    """What a fresh interpreter prints."""
    variables = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"} | environment
    done = subprocess.run(
        [sys.executable, *options, "-c", code], capture_output=True, text=True, env=variables, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_cpu_runs_chunked_pytorch() -> None:
    assert implementation_for(torch.zeros(1)) == implementation_for(torch.zeros(1), "auto") == "chunked"


def test_a_gpu_runs_triton() -> None:
    if not torch.cuda.is_available():
        pytest.skip("no GPU")
    assert implementation_for(torch.zeros(1, device="cuda")) == "triton"


@pytest.mark.parametrize("wanted", ["chunked", "reference"])
def test_what_is_asked_for_is_taken(wanted: dispatch.Chosen) -> None:
    assert implementation_for(torch.zeros(1), wanted) == wanted


def test_the_logger_says_once_which_implementation_a_device_takes(caplog: pytest.LogCaptureFixture) -> None:
    dispatch._say.cache_clear()
    with caplog.at_level(logging.INFO, "int_lightning_kernels"):
        for wanted in ("auto", "chunked", "reference", "auto", "reference"):
            implementation_for(torch.zeros(1), wanted)  # type: ignore[arg-type]
    said = [(record.name, record.getMessage()) for record in caplog.records]
    assert said == [
        ("int_lightning_kernels", "log-probs on cpu: chunked"),
        ("int_lightning_kernels", "log-probs on cpu: reference"),
    ]


def test_the_package_imports_without_lightning_transformers_a_checker_of_shapes_or_the_rest_of_the_project() -> None:
    code = "import sys, int_lightning_kernels; print(*sys.modules)"
    loaded = {name.partition(".")[0] for name in python(code).split()}
    assert "int_lightning_kernels" in loaded
    others = {"beartype", "int_lightning", "lightning", "lightning_fabric", "pytorch_lightning", "transformers"}
    assert not loaded & others


def test_without_triton_installed_everything_but_triton_works(tmp_path: Path) -> None:
    for entry in Path(sysconfig.get_path("purelib")).iterdir():
        if not entry.name.startswith(("triton", "int_lightning", "__editable__")):
            (tmp_path / entry.name).symlink_to(entry)
    code = (
        "import importlib.util, torch\n"
        "from int_lightning_kernels import linear_logprob\n"
        "assert importlib.util.find_spec('triton') is None\n"
        "x, w, y = torch.randn(3, 4, requires_grad=True), torch.randn(5, 4), torch.arange(3)\n"
        "linear_logprob(x, w, y).logprob.sum().backward()\n"
        "assert x.grad.abs().sum() > 0\n"
        "try:\n"
        "    linear_logprob(x, w, y, implementation='triton')\n"
        "except ValueError as error:\n"
        "    print(error)\n"
    )
    said = python(code, "-S", PYTHONPATH=os.pathsep.join([str(tmp_path), str(PACKAGE.parent)]))
    assert said == "implementation='triton': Triton is not installed; use implementation='chunked'"


def test_every_name_of_the_package_is_there() -> None:
    assert all(hasattr(int_lightning_kernels, name) for name in int_lightning_kernels.__all__)


def test_the_folder_kernels_is_not_a_package() -> None:
    assert PACKAGE.parent.name == "kernels"
    assert not (PACKAGE.parent / "__init__.py").exists()
    assert not (Path(__file__).parent / "__init__.py").exists()
