"""The verified weight sync: it passes if engine and trainer agree, and catches each way in which they may differ."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch.nn import functional
from transformers import AutoModelForCausalLM, AutoTokenizer

import int_lightning.mini
from int_lightning.engines.base import Dtype, EngineConfig
from int_lightning.engines.transformers import TransformersEngine
from int_lightning.learn.export import named_weights
from int_lightning.learn.lora import LoRAConfig
from int_lightning.learn.model import Policy, load_policy
from int_lightning.learn.sync import TOLERANCE, SyncError, sync, verify
from int_lightning.types import Sampling

from model_folders import with_dropout
from weight_faults import FAULTS, Q_PROJ, Weights, swapped, train_one_step, transposed, without

BASE = str(Path(int_lightning.mini.__file__).parent / "base")
CONFIG = EngineConfig(max_model_len=128)


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
    with pytest.raises(
        SyncError, match=r"does not hold the trainer's weights as float32: it has others in \d+ of \d+ rows of"
    ):
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


def test_weights_that_are_not_numbers(policy: Policy) -> None:
    engine = faulty(lambda weights: ((n, value * float("nan") if n == Q_PROJ else value) for n, value in weights))
    with pytest.raises(SyncError, match=rf"96 of 96 rows of {Q_PROJ}"):
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
    with pytest.raises(SyncError, match=r"rows of lm_head\.weight\. Nothing was sampled"):
        sync(policy, engine)


def test_an_untied_policy_names_its_head_once(untied_folder: str) -> None:
    policy = load_policy(untied_folder, dtype=torch.float32)
    assert [n for n, _ in named_weights(policy)].count("lm_head.weight") == 1
    train_one_step(policy)
    assert sync(policy, TransformersEngine(untied_folder, CONFIG)) < 1e-5
    with pytest.raises(SyncError):
        sync(policy, faulty(without("lm_head.weight"), untied_folder))


def test_an_engine_that_holds_the_weights_but_computes_another_model(
    policy: Policy, engine: TransformersEngine
) -> None:
    sync(policy, engine)
    engine._model.config.rms_norm_eps = 1.0
    for norm in (m for m in engine._model.modules() if hasattr(m, "variance_epsilon")):
        norm.variance_epsilon = 1.0
    with pytest.raises(SyncError, match=r"holds the trainer's weights, but .* nats a token"):
        verify(policy, engine)


def test_an_engine_without_a_kernel_for_the_model(policy: Policy, engine: TransformersEngine) -> None:
    def no_kernel(*_: object) -> None:
        raise NotImplementedError("no kernel")

    handle = engine._model.register_forward_pre_hook(no_kernel)
    try:
        with pytest.raises(
            SyncError, match=r"cannot compute the model as float32 \(NotImplementedError: no kernel\): set"
        ):
            verify(policy, engine)
    finally:
        handle.remove()


def test_a_policy_of_nan_is_not_sampled_from(policy: Policy, engine: TransformersEngine) -> None:
    policy.get_parameter(f"causal_lm.{Q_PROJ}").data[0] = torch.nan
    with pytest.raises(SyncError, match="nan"):
        sync(policy, engine)


def test_probes_are_not_counted_as_generated(policy: Policy, engine: TransformersEngine) -> None:
    engine.generate([[5, 6]], Sampling(max_tokens=3), [0])
    before = engine.tokens_generated
    sync(policy, engine)
    assert engine.tokens_generated == before > 0


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("fault", FAULTS.values(), ids=list(FAULTS))
def test_a_faulty_sync_is_found_at_the_smallest_rate(fault: Callable[[Weights], Weights], dtype: Dtype) -> None:
    policy = load_policy(BASE, dtype=getattr(torch, dtype))
    engine = FaultyEngine(BASE, EngineConfig(max_model_len=128, dtype=dtype))
    engine.fault = lambda weights: weights
    assert sync(policy, engine) < TOLERANCE[dtype] / 4
    engine.fault = fault
    train_one_step(policy, lr=1e-6)
    with pytest.raises(SyncError, match="does not hold the trainer's weights"):
        sync(policy, engine)


@pytest.mark.parametrize("trainers", ["float32", "bfloat16"])
@pytest.mark.parametrize("engines", ["float32", "bfloat16"])
def test_equal_weights_raise_no_alarm_in_any_dtypes(trainers: Dtype, engines: Dtype) -> None:
    policy = load_policy(BASE, dtype=getattr(torch, trainers))
    engine = TransformersEngine(BASE, EngineConfig(max_model_len=128, dtype=engines))
    for _ in range(3):
        train_one_step(policy)
        assert sync(policy, engine) < TOLERANCE["float32" if trainers == engines == "float32" else "bfloat16"] / 4


def test_merged_adapters_of_layers_whose_weights_are_transposed_raise_no_alarm(tmp_path: Path) -> None:
    folder = with_dropout(tmp_path / "model", "gpt2", 0.0)
    policy = load_policy(folder, dtype=torch.float32, lora=LoRAConfig(rank=2))
    for name, parameter in policy.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter)
    assert sync(policy, TransformersEngine(folder, CONFIG)) < 1e-5
