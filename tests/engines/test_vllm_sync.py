"""Syncs into vLLM: every way in which one may go wrong is found in any dtype, and equal weights raise no alarm."""

from __future__ import annotations

import pytest
import torch

from int_lightning.engines import vllm
from int_lightning.engines.base import Dtype, EngineConfig
from int_lightning.engines.opening import open_engine
from int_lightning.engines.vllm import VLLMEngine
from int_lightning.learn.model import Policy, load_policy
from int_lightning.learn.sync import TOLERANCE, SyncError, sync
from int_lightning.models.resolve import resolve_model
from int_lightning.types import UserError

from weight_faults import FAULTS, Weights, train_one_step

pytestmark = pytest.mark.skipif(not vllm.available(), reason="vLLM is not installed")


@pytest.fixture(scope="module", params=["float32", "bfloat16"])
def dtype(request: pytest.FixtureRequest) -> Dtype:
    chosen: Dtype = request.param
    return chosen


@pytest.fixture(scope="module")
def engine(dtype: Dtype) -> VLLMEngine:
    config = EngineConfig(name="vllm", dtype=dtype, max_model_len=128, max_num_seqs=32, threads=1)
    opened = open_engine(resolve_model("mini"), config)
    assert isinstance(opened, VLLMEngine)
    return opened


@pytest.fixture
def policy(dtype: Dtype) -> Policy:
    return load_policy(resolve_model("mini"), dtype=getattr(torch, dtype))


@pytest.mark.parametrize("fault", FAULTS)
def test_a_faulty_sync_is_found_at_the_smallest_rate(
    engine: VLLMEngine, policy: Policy, dtype: Dtype, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert sync(policy, engine) < TOLERANCE[dtype] / 4
    right = engine.load_weights

    def wrong(weights: Weights) -> None:
        right(FAULTS[fault](weights))

    monkeypatch.setattr(engine, "load_weights", wrong)
    train_one_step(policy, lr=1e-6)
    with pytest.raises(UserError):
        sync(policy, engine)


def test_a_tied_head_that_is_packed_from_old_weights_is_found(
    engine: VLLMEngine, policy: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    sync(policy, engine)
    right = engine.load_weights

    def keeping_the_old_head(weights: Weights) -> None:
        old = engine._llm.apply_model(lambda model: model.lm_head.cpu_linear)
        right(weights)
        engine._llm.apply_model(lambda model: setattr(model.lm_head, "cpu_linear", old[0]))

    monkeypatch.setattr(engine, "load_weights", keeping_the_old_head)
    train_one_step(policy, lr=1e-6)
    with pytest.raises(SyncError, match=r"rows of lm_head\.weight \(packed\)\. Nothing"):
        sync(policy, engine)


@pytest.mark.parametrize("trainers", ["float32", "bfloat16"])
def test_equal_weights_raise_no_alarm(engine: VLLMEngine, dtype: Dtype, trainers: Dtype) -> None:
    policy = load_policy(resolve_model("mini"), dtype=getattr(torch, trainers))
    for _ in range(3):
        train_one_step(policy)
        assert sync(policy, engine) < TOLERANCE["float32" if trainers == dtype == "float32" else "bfloat16"] / 4
