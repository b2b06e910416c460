"""Both implementations, each on the device where it is tested: Triton on a GPU if there is one, interpreted otherwise."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from int_lightning_kernels import Implementation


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Every test of this folder is about numbers."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker("numeric")


@pytest.fixture(params=["chunked", "triton"])
def implementation(request: pytest.FixtureRequest) -> Implementation:
    return request.param


@pytest.fixture
def device(implementation: Implementation) -> torch.device:
    return torch.device("cuda" if implementation == "triton" and torch.cuda.is_available() else "cpu")


@pytest.fixture(params=["float32", "bfloat16", "float16"])
def dtype_to_store(request: pytest.FixtureRequest, implementation: Implementation, device: torch.device) -> torch.dtype:
    """Dtypes in which gradients can be stored on the device of the test."""
    if (request.param, implementation, device.type) == ("bfloat16", "triton", "cpu"):
        pytest.skip("Triton's interpreter truncates float32 to bfloat16 where a GPU rounds")
    return getattr(torch, request.param)
