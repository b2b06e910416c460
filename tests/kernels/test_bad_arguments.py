"""Arguments that disagree: each refusal names the argument and its value, before anything is computed."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributed import ProcessGroup

from int_lightning_kernels import (
    Implementation,
    PolicyObjective,
    VocabShard,
    implementation_for,
    linear_cross_entropy,
    linear_logprob,
    linear_token_loss,
    logprob_from_logits,
    policy_loss,
)

from arithmetic import combined, draw, gradients

pytestmark = pytest.mark.usefixtures("own_refusals")

N, H, V = 6, 4, 10
ONES = torch.ones(N)


def nothing(logprob: Tensor, entropy: Tensor, rows: slice | Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    raise AssertionError("the loss was asked for")


FORMS: dict[str, Callable[..., Any]] = {
    "linear_logprob": linear_logprob,
    "linear_token_loss": lambda *args, **options: linear_token_loss(*args, nothing, **options),
    "policy_loss": lambda *args, **options: policy_loss(
        *args, advantage=torch.ones(args[2].shape), token_weight=torch.ones(args[2].shape), **options
    ),
    "linear_cross_entropy": linear_cross_entropy,
}


def arguments(**changed: Any) -> tuple[tuple[Tensor, Tensor, Tensor], dict[str, Any]]:
    """Good arguments of a linear form, except those given."""
    good = {"hidden": torch.randn(N, H), "weight": torch.randn(V, H), "targets": torch.arange(N)}
    every = good | changed
    return (every.pop("hidden"), every.pop("weight"), every.pop("targets")), every


def zeros(*shape: int, **options: Any) -> Tensor:
    return torch.zeros(*shape, **options)


REFUSALS: dict[str, tuple[dict[str, Any], list[str]]] = {
    "one axis": ({"hidden": zeros(H)}, ["hidden must be [..., H]", "[4]", "[10, 4]"]),
    "another H": ({"hidden": zeros(N, 5)}, ["weight [V, H]", "[6, 5]", "[10, 4]"]),
    "weight of one axis": ({"weight": zeros(H)}, ["weight [V, H]", "[6, 4]", "[4]"]),
    "too few targets": ({"targets": torch.arange(5)}, ["targets must be [6]", "[6, 4]", "[5]"]),
    "targets of another shape": ({"targets": torch.arange(N)[:, None]}, ["targets must be [6]", "[6, 1]"]),
    "bias of another size": ({"bias": zeros(V + 1)}, ["bias must be [V]", "[10, 4]", "[11]"]),
    "weight elsewhere": ({"weight": zeros(V, H, device="meta")}, ["weight is on meta and hidden on cpu"]),
    "targets elsewhere": ({"targets": torch.arange(N, device="meta")}, ["targets is on meta and hidden on cpu"]),
    "bias elsewhere": ({"bias": zeros(V, device="meta")}, ["bias is on meta and hidden on cpu"]),
    "softcap 0": ({"softcap": 0.0}, ["softcap must be positive, not 0.0"]),
    "softcap negative": ({"softcap": -2.0}, ["softcap", "-2.0"]),
    "softcap nan": ({"softcap": math.nan}, ["softcap", "nan"]),
    "empty vocabulary": ({"weight": zeros(0, H)}, ["weight [0, 4]", "empty vocabulary"]),
    "float targets": ({"targets": torch.arange(N).float()}, ["targets must be int64 token ids", "torch.float32"]),
    "boolean targets": ({"targets": torch.arange(N) > 2}, ["targets", "torch.bool"]),
    "a negative id": ({"targets": torch.tensor([0, 1, -7, 2, -8, 3])}, ["targets[2] is -7", "10 tokens"]),
    "an id of V": ({"targets": torch.tensor([0, 1, 2, 2, 10, 3])}, ["targets[4] is 10", "10 tokens"]),
    "temperature 0": ({"temperature": 0.0}, ["temperature must be positive, not 0.0"]),
    "temperature negative": ({"temperature": -1}, ["temperature must be positive, not -1"]),
    "temperature nan": ({"temperature": math.nan}, ["temperature must be positive, not nan"]),
    "a temperature of 0": ({"temperature": torch.tensor([1.0] * 5 + [0.0])}, ["temperature must be positive every"]),
    "too few temperatures": ({"temperature": torch.ones(5)}, ["temperature must be a number or [6]", "[5]"]),
    "temperature with gradient": ({"temperature": torch.ones(N, requires_grad=True)}, ["temperature gets no gradient"]),
    "two dtypes": ({"weight": zeros(V, H).bfloat16()}, ["weight is torch.bfloat16 and hidden torch.float32"]),
    "float64": (
        {"hidden": zeros(N, H).double(), "weight": zeros(V, H).double()},
        ["hidden and weight must be float32, bfloat16 or float16", "torch.float64"],
    ),
    "integers": ({"hidden": zeros(N, H).long(), "weight": zeros(V, H).long()}, ["hidden and weight", "torch.int64"]),
    "no implementation": ({"implementation": "cuda"}, ["implementation must be auto, triton, chunked", "'cuda'"]),
    "reference of a shard": (
        {"implementation": "reference", "shard": VocabShard(ProcessGroup(0, 1), 0, V, V)},
        ["shard: the reference implementation"],
    ),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("refusal", REFUSALS)
def test_every_linear_form_refuses_and_names_the_argument(form: str, refusal: str) -> None:
    changed, said = REFUSALS[refusal]
    tensors, options = arguments(**changed)
    with pytest.raises(ValueError, match=re.escape(said[0])) as caught:
        FORMS[form](*tensors, **options)
    assert [part for part in said if part not in str(caught.value)] == []


@pytest.mark.parametrize("form", ["linear_logprob", "linear_token_loss", "policy_loss"])
def test_logits_dtypes_other_than_our_floats_are_refused(form: str) -> None:
    tensors, _ = arguments()
    with pytest.raises(ValueError, match=r"logits_dtype must be float32, bfloat16 or float16, not torch\.float64"):
        FORMS[form](*tensors, logits_dtype=torch.float64)


def test_ids_outside_the_vocabulary_are_refused_beside_ignored_ones() -> None:
    for wrong in (-1, V):
        tensors, _ = arguments(targets=torch.tensor([-100, 0, 1, wrong, -100, 3]))
        for form in ("linear_logprob", "linear_token_loss", "linear_cross_entropy"):
            with pytest.raises(ValueError, match=rf"targets\[3\] is {wrong}, outside"):
                FORMS[form](*tensors, ignore_index=-100)
        with pytest.raises(ValueError, match=rf"targets\[3\] is {wrong}, outside"):
            logprob_from_logits(zeros(N, V), tensors[2], ignore_index=-100)


def test_ids_outside_the_vocabulary_give_nan_on_a_gpu() -> None:
    if not torch.cuda.is_available():
        pytest.skip("no GPU: on a CPU such ids raise")
    case = draw(device=torch.device("cuda"))
    case.targets[[2, 5]] = torch.tensor([-1, 50], device="cuda")
    out = case.outputs()
    assert out.logprob.isnan().nonzero().flatten().tolist() == [2, 5]
    assert out.entropy is not None
    assert out.entropy.isfinite().all()


def test_a_wrong_weight_is_refused_even_where_every_token_is_ignored() -> None:
    with pytest.raises(ValueError, match=r"weight \[V, H\]"):
        linear_cross_entropy(zeros(N, H), zeros(V, H + 1), torch.full((N,), -100))


@pytest.mark.parametrize("active", [torch.ones(N, dtype=torch.bool), torch.arange(3, dtype=torch.int32)])
def test_active_tokens_are_row_numbers(active: Tensor) -> None:
    tensors, _ = arguments()
    for form in ("linear_token_loss", "policy_loss"):
        with pytest.raises(ValueError, match=f"active must hold int64 row numbers, not {active.dtype}"):
            FORMS[form](*tensors, active=active)


@pytest.mark.parametrize(
    ("choices", "said"),
    [
        ({"form": "ppo"}, "form must be clip or cispo, not 'ppo'"),
        ({"kl": "k4"}, "kl must be k1, k2 or k3, not 'k4'"),
        ({"clip_low": -0.1}, "clip_low and clip_high must not be negative, not -0.1 and 0.28"),
        ({"clip_high": -0.2}, "clip_low and clip_high must not be negative, not 0.2 and -0.2"),
        ({"importance_cap": 0.0}, "importance_cap must be positive, not 0.0"),
        (
            {"importance_cap": 0.5, "importance": "mask"},
            "importance_cap must be at least 1 for importance: mask, not 0.5",
        ),
        ({"dual_clip": 1.0}, "dual_clip must be above 1, not 1.0"),
        ({"dual_clip": 3.0, "form": "cispo"}, "dual_clip is for form: clip"),
    ],
    ids=str,
)
def test_policy_objectives_that_do_not_exist_are_refused(choices: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        PolicyObjective(**choices)
    with pytest.raises(ValueError, match=said):
        policy_loss(*arguments()[0], advantage=ONES, token_weight=ONES, engine_logprob=ONES, **choices)


@pytest.mark.parametrize("name", ["advantage", "token_weight", "old_logprob", "reference_logprob", "engine_logprob"])
def test_per_token_arguments_have_the_shape_and_device_of_the_targets(name: str) -> None:
    given = {"advantage": ONES, "token_weight": ONES}
    with pytest.raises(ValueError, match=rf"{name} must be \[6\] like targets, not \[3\]"):
        policy_loss(*arguments()[0], **given | {name: ONES[:3]})
    with pytest.raises(ValueError, match=f"{name} is on meta and hidden on cpu"):
        policy_loss(*arguments()[0], **given | {name: ONES.to("meta")})


def test_a_term_without_what_it_is_made_of_is_refused() -> None:
    given = {"advantage": ONES, "token_weight": ONES}
    with pytest.raises(ValueError, match="importance_cap needs engine_logprob"):
        policy_loss(*arguments()[0], **given, importance_cap=2.0)
    with pytest.raises(ValueError, match="kl_coefficient needs reference_logprob"):
        policy_loss(*arguments()[0], **given, kl_coefficient=0.1)


def test_cross_entropy_names_its_own_arguments() -> None:
    with pytest.raises(ValueError, match=r"weights must be \[6\] like targets, not \[5\]"):
        linear_cross_entropy(*arguments()[0], weights=ONES[:5])
    with pytest.raises(ValueError, match="reduction must be mean or sum, not 'none'"):
        linear_cross_entropy(*arguments()[0], reduction="none")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("logits", "targets", "said"),
    [
        (zeros(V), torch.tensor(1), ["targets must have the shape of logits [10]"]),
        (zeros(N, V), torch.arange(5), ["logits [6, 10]", "not [5]"]),
        (zeros(N, 0), torch.arange(N), ["logits [6, 0]", "not empty"]),
        (zeros(N, V).double(), torch.arange(N), ["logits must be float32", "torch.float64"]),
        (zeros(N, V), torch.arange(N, device="meta"), ["targets is on meta and logits on cpu"]),
        (zeros(N, V), torch.arange(N) + 5, ["targets[5] is 10", "10 tokens"]),
        (zeros(N, V), torch.arange(N).float(), ["targets must be int64", "torch.float32"]),
    ],
    ids=["one axis", "rows", "empty", "float64", "device", "outside", "dtype"],
)
def test_logits_that_disagree_with_targets_are_refused(logits: Tensor, targets: Tensor, said: list[str]) -> None:
    with pytest.raises(ValueError, match=re.escape(said[0])) as caught:
        logprob_from_logits(logits, targets)
    assert [part for part in said if part not in str(caught.value)] == []


def test_triton_on_a_cpu_is_refused_unless_it_is_interpreted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    tensors, _ = arguments()
    with pytest.raises(ValueError, match=r"implementation='triton' needs CUDA tensors, these are on cpu.*'chunked'"):
        linear_logprob(*tensors, implementation="triton")
    with pytest.raises(ValueError, match="needs CUDA tensors"):
        logprob_from_logits(zeros(N, V), tensors[2], implementation="triton")
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    assert implementation_for(tensors[0], "triton") == "triton"


@pytest.mark.parametrize("rows", [9, 2])
def test_nan_in_a_token_stays_with_it_and_shows_in_the_shared_gradients(
    implementation: Implementation, device: torch.device, rows: int
) -> None:
    case = draw(device=device, bias=True)
    with torch.no_grad():
        case.hidden[3, 2] = torch.nan
    out = case.outputs(implementation=implementation, logits_bytes=rows * 200)
    others = torch.tensor([i for i in range(9) if i != 3], device=device)
    for values in out:
        assert values is not None
        assert values[3].isnan()
        assert values[others].isfinite().all()
    grad_hidden, grad_weight, grad_bias = gradients(combined(out), case)
    assert grad_hidden[3].isnan().all()
    assert grad_hidden[others].isfinite().all()
    assert grad_weight.isnan().all()
    assert grad_bias.isnan().all()
