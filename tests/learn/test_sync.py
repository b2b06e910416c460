"""The verified weight sync: it passes if engine and trainer agree, and catches each way in which they may differ."""

from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional
from transformers import AutoModelForCausalLM, AutoTokenizer

import int_lightning.mini
from int_lightning.engines.base import EngineConfig
from int_lightning.engines.transformers import TransformersEngine
from int_lightning.learn.export import named_weights
from int_lightning.learn.model import Policy, load_policy
from int_lightning.learn.sync import SyncError, sync, verify

BASE = str(Path(int_lightning.mini.__file__).parent / "base")
CONFIG = EngineConfig(max_model_len=128)
Q_PROJ = "model.layers.1.self_attn.q_proj.weight"
Weights = Iterable[tuple[str, Tensor]]


@pytest.fixture
def policy() -> Policy:
    return load_policy(BASE, dtype=torch.float32)


@pytest.fixture
def engine() -> TransformersEngine:
    return TransformersEngine(BASE, CONFIG)


@pytest.fixture(scope="module")
def untied_folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The base model with its own head, equal to the embedding."""
    folder = str(tmp_path_factory.mktemp("untied"))
    model = AutoModelForCausalLM.from_pretrained(BASE)
    model.config.tie_word_embeddings = False
    model.lm_head.weight = torch.nn.Parameter(model.get_input_embeddings().weight.detach().clone())
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(BASE).save_pretrained(folder)
    return folder


class FaultyEngine(TransformersEngine):
    """Loads what ``fault`` makes of its weights."""

    fault: Callable[[Weights], Weights]

    def load_weights(self, weights: Weights) -> None:
        super().load_weights(self.fault(weights))


def faulty(fault: Callable[[Weights], Weights], folder: str = BASE) -> FaultyEngine:
    engine = FaultyEngine(folder, CONFIG)
    engine.fault = fault
    return engine


def without(name: str) -> Callable[[Weights], Weights]:
    return lambda weights: ((n, value) for n, value in weights if n != name)


def train_one_step(policy: Policy, lr: float = 1e-3) -> None:
    """One optimiser step, as in training."""
    optimizer = torch.optim.AdamW(policy.parameters(), lr=lr)
    ids = torch.randint(5, 36, (4, 24), generator=torch.Generator().manual_seed(0))
    scored = torch.ones(4, 23, dtype=torch.bool)
    policy(ids, torch.ones_like(ids), [24] * 4, scored).logprob.mean().neg().backward()
    optimizer.step()
    optimizer.zero_grad()


def transposed(weights: Weights) -> Weights:
    return ((n, value.T if n == Q_PROJ else value) for n, value in weights)


def swapped(weights: Weights) -> Weights:
    """The weights with keys and queries of one layer exchanged."""
    k_proj = Q_PROJ.replace("q_proj", "k_proj")
    names = {Q_PROJ: k_proj, k_proj: Q_PROJ}
    return ((names.get(n, n), value) for n, value in weights)


def test_engine_and_policy_of_one_folder_agree(policy: Policy, engine: TransformersEngine) -> None:
    assert verify(policy, engine) < 1e-5


def test_after_a_sync_the_engine_serves_the_new_weights(policy: Policy, engine: TransformersEngine) -> None:
    train_one_step(policy)
    assert sync(policy, engine) < 1e-5
    own = dict(engine._model.named_parameters(remove_duplicate=False))
    for name, value in named_weights(policy):
        assert torch.equal(own[name], value)
    train_one_step(policy)
    assert not torch.equal(own[Q_PROJ], dict(named_weights(policy))[Q_PROJ])


def test_the_scoring_temperature_plays_no_part_and_is_kept(policy: Policy, engine: TransformersEngine) -> None:
    policy.temperature = 0.3
    assert sync(policy, engine) < 1e-5
    assert policy.temperature == 0.3


def test_dropout_plays_no_part_and_training_goes_on(policy: Policy, engine: TransformersEngine) -> None:
    layer = policy.causal_lm.get_decoder().layers[0]
    layer.register_forward_hook(lambda module, _, output: functional.dropout(output, 0.5, module.training))
    assert sync(policy, engine) < 1e-5
    assert policy.training
    assert layer.training


def test_weights_one_step_old(policy: Policy, engine: TransformersEngine) -> None:
    sync(policy, engine)
    train_one_step(policy)
    with pytest.raises(SyncError, match="nats a token"):
        verify(policy, engine)
    assert sync(policy, engine) < 1e-5


@pytest.mark.parametrize("lr", [2e-4, 1e-5])
def test_weights_a_small_step_old(policy: Policy, lr: float) -> None:
    engine = faulty(lambda weights: ())
    train_one_step(policy, lr)
    with pytest.raises(SyncError):
        sync(policy, engine)


@pytest.mark.parametrize(
    "name",
    [
        Q_PROJ,
        "model.layers.0.mlp.down_proj.weight",
        "model.layers.2.post_attention_layernorm.weight",
        "model.norm.weight",
    ],
)
def test_a_dropped_tensor(policy: Policy, name: str) -> None:
    assert name in dict(named_weights(policy))
    engine = faulty(without(name))
    assert sync(policy, engine) < 1e-5
    train_one_step(policy)
    with pytest.raises(SyncError):
        sync(policy, engine)


@pytest.mark.parametrize("fault", [transposed, swapped])
def test_a_square_tensor_the_wrong_way(policy: Policy, fault: Callable[[Weights], Weights]) -> None:
    shape = dict(named_weights(policy))[Q_PROJ].shape
    assert shape[0] == shape[1]
    with pytest.raises(SyncError):
        sync(policy, faulty(fault))


def test_nan_is_no_agreement(policy: Policy) -> None:
    engine = faulty(lambda weights: ((n, value * float("nan") if n == Q_PROJ else value) for n, value in weights))
    with pytest.raises(SyncError, match="nan"):
        sync(policy, engine)


def test_an_engine_with_a_head_of_its_own_gets_the_tied_one(policy: Policy, untied_folder: str) -> None:
    engine = TransformersEngine(untied_folder, CONFIG)
    own = dict(engine._model.named_parameters(remove_duplicate=False))
    assert own["lm_head.weight"] is not own["model.embed_tokens.weight"]
    assert [n for n, _ in named_weights(policy)].count("lm_head.weight") == 1
    train_one_step(policy)
    assert sync(policy, engine) < 1e-5


def test_a_stale_head(policy: Policy, untied_folder: str) -> None:
    engine = faulty(without("lm_head.weight"), untied_folder)
    assert sync(policy, engine) < 1e-5
    train_one_step(policy)
    with pytest.raises(SyncError, match="does not serve the trainer's weights"):
        sync(policy, engine)


def test_an_untied_policy_names_its_head_once(untied_folder: str) -> None:
    policy = load_policy(untied_folder, dtype=torch.float32)
    assert [n for n, _ in named_weights(policy)].count("lm_head.weight") == 1
    train_one_step(policy)
    assert sync(policy, TransformersEngine(untied_folder, CONFIG)) < 1e-5
    with pytest.raises(SyncError):
        sync(policy, faulty(without("lm_head.weight"), untied_folder))


def test_an_engine_of_a_coarser_dtype_is_held_to_its_rounding(policy: Policy) -> None:
    coarse = TransformersEngine(BASE, EngineConfig(max_model_len=128, dtype="bfloat16"))
    assert 1e-4 < sync(policy, coarse) < 0.15
    coarse.load_weights((name, value.flip(0)) for name, value in named_weights(policy))
    with pytest.raises(SyncError, match=r"engine\.dtype bfloat16 beside model\.dtype float32"):
        verify(policy, coarse)
