"""Two processes share a head in uneven parts: results and gradients are those of one process."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor, Replicate, Shard, distribute_tensor

from int_lightning_kernels import VocabShard, linear_cross_entropy, linear_logprob, policy_loss

import checked_shapes  # noqa: F401 (the spawned processes do not see conftest.py)
from arithmetic import assert_close, assert_gradients, assert_values, combined, draw, gradients

RANKS, N, V, CUT = 2, 8, 300, 187
OPTIONS: dict[str, Any] = {"bias": True, "per_token": True, "softcap": 7.0}
POLICY: dict[str, Any] = {"kl_coefficient": 0.1, "entropy_coefficient": 0.05, "importance_cap": 1.5}
FORMS = ["linear_logprob", "linear_logprob, rows", "policy_loss", "policy_loss, rows", "linear_cross_entropy"]
Result = dict[str, list[Tensor]]


def tokens(n: int) -> dict[str, Tensor]:
    g = torch.Generator().manual_seed(5)
    advantage = torch.randn(n, generator=g)
    names = ("token_weight", "old_logprob", "reference_logprob", "engine_logprob")
    return {"advantage": advantage} | {name: torch.randn(n, generator=g) - 2 for name in names}


def run(form: str, leaves: Sequence[Tensor], shard: VocabShard | None, **more: Any) -> list[Tensor]:
    """Values and gradients of hidden, weight and bias."""
    case = draw(N, 8, V, **OPTIONS)
    hidden, weight, bias = leaves
    options = {"bias": bias, "temperature": case.temperature, "softcap": case.softcap, "shard": shard} | more
    if form.endswith("rows"):
        options["logits_bytes"] = 3 * (len(weight) if shard is None else shard.largest) * 4
    if form.startswith("linear_logprob"):
        targets = case.targets.clone()
        targets[5] = -100
        values: list[Tensor] = list(
            linear_logprob(hidden, weight, targets, entropy=True, ignore_index=-100, **options)  # type: ignore[arg-type]
        )
        scalar = combined(values)
    elif form.startswith("policy_loss"):
        loss = policy_loss(hidden, weight, case.targets, **tokens(N), **POLICY, **options)
        scalar, values = loss.loss, [loss.loss, *loss.metrics.values()]
    else:
        scalar = linear_cross_entropy(hidden, weight, case.targets, **options)
        values = [scalar]
    return [v.detach() for v in values] + list(torch.autograd.grad(scalar, leaves))


def parts(rank: int, cut: int) -> list[Tensor]:
    """Hidden states, and one rank's part of weight and bias."""
    case = draw(N, 8, V, **OPTIONS)
    rows = slice(0, cut) if rank == 0 else slice(cut, V)
    assert case.bias is not None
    return [t.detach().requires_grad_() for t in (case.hidden, case.weight[rows], case.bias[rows])]


def sharded(rank: int) -> Result:
    leaves, found = parts(rank, CUT), {}
    shard = VocabShard.of(leaves[1], dist.group.WORLD)
    found["shard"] = [torch.tensor([shard.offset, shard.vocabulary])]
    for form in FORMS:
        for implementation in ("chunked", "triton") if form.endswith("rows") else ("chunked",):
            found[f"{form} {implementation}"] = run(form, leaves, shard, implementation=implementation)
    low = [leaf.detach().bfloat16().requires_grad_() for leaf in leaves]
    found["bfloat16"] = run("linear_logprob", low, shard)
    return found


def with_an_empty_part(rank: int) -> Result:
    leaves = parts(rank, V)
    shard = VocabShard.of(leaves[1], dist.group.WORLD)
    return {form: run(form, leaves, shard, implementation="chunked") for form in FORMS}


def with_one_budget(rank: int) -> Result:
    leaves = parts(rank, CUT)
    shard = VocabShard.of(leaves[1], dist.group.WORLD)
    return {form: run(form, leaves, shard, logits_bytes=4 * CUT * 4) for form in ("linear_logprob", "policy_loss")}


def distributed(rank: int) -> Result:
    """A head kept as a DTensor, and tokens that differ between the ranks."""
    mesh = init_device_mesh("cpu", (RANKS,))
    case, own = draw(N, 8, V, bias=True), draw(N, 8, V, seed=rank + 1)
    assert case.bias is not None
    found = {}
    for name, placement in {"sharded": Shard(0), "replicated": Replicate()}.items():
        weight, bias = (
            torch.nn.Parameter(distribute_tensor(t.detach(), mesh, [placement])) for t in (case.weight, case.bias)
        )
        out = linear_logprob(own.hidden, weight, own.targets, bias=bias, entropy=True)
        combined(out).backward()
        cross_entropy = linear_cross_entropy(own.hidden, weight, own.targets, bias=bias)
        cross_entropy.backward()
        assert isinstance(weight.grad, DTensor) and isinstance(bias.grad, DTensor)
        assert weight.grad.placements == bias.grad.placements == (placement,)
        assert own.hidden.grad is not None
        whole = [weight.grad.full_tensor(), bias.grad.full_tensor()]
        found[name] = [*(o.detach() for o in out if o is not None), own.hidden.grad.clone(), *whole]
        own.hidden.grad = None
    return found


def work(rank: int, folder: Path) -> None:
    torch.set_num_threads(1)
    for name, job in JOBS.items():
        rendezvous = f"file://{folder / name}"
        dist.init_process_group(
            "gloo", init_method=rendezvous, rank=rank, world_size=RANKS, timeout=timedelta(seconds=20)
        )
        try:
            result: Result | str = job(rank)
        except Exception:
            result = traceback.format_exc()
        torch.save(result, folder / f"{name}-{rank}.pt")
        dist.destroy_process_group()


JOBS: dict[str, Callable[[int], Result]] = {
    "sharded": sharded,
    "distributed": distributed,
    "with_an_empty_part": with_an_empty_part,
    "with_one_budget": with_one_budget,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("ranks")
    mp.spawn(work, (place,), nprocs=RANKS)
    return place


def results(folder: Path, job: str) -> list[Result]:
    found = [torch.load(folder / f"{job}-{rank}.pt") for rank in range(RANKS)]
    broken = [f"rank {rank}: {result}" for rank, result in enumerate(found) if isinstance(result, str)]
    assert not broken, "\n".join(broken)
    return found


def alone(form: str) -> list[Tensor]:
    case = draw(N, 8, V, **OPTIONS)
    return run(form, case.leaves, None, implementation="chunked")


def assert_one_head(found: list[list[Tensor]], expected: list[Tensor]) -> None:
    """Every rank has the values and hidden's gradient; the ranks' parts of weight's and bias's gradients make the whole."""
    for mine in found:
        assert_values(mine[:-3], expected[:-3])
        assert_gradients([mine[-3]], [expected[-3]])
    for place in (-2, -1):
        assert_gradients([torch.cat([mine[place] for mine in found])], [expected[place]])


def test_parts_know_their_place(folder: Path) -> None:
    first, second = results(folder, "sharded")
    assert first["shard"][0].tolist() == [0, V]
    assert second["shard"][0].tolist() == [CUT, V]


@pytest.mark.parametrize("form", FORMS)
def test_two_uneven_parts_give_what_one_process_gives(folder: Path, form: str) -> None:
    assert_one_head([result[f"{form} chunked"] for result in results(folder, "sharded")], alone(form))


@pytest.mark.parametrize("form", [form for form in FORMS if form.endswith("rows")])
def test_triton_combines_parts_the_same_way(folder: Path, form: str) -> None:
    assert_one_head([result[f"{form} triton"] for result in results(folder, "sharded")], alone(form))


def test_every_rank_has_the_same_numbers(folder: Path) -> None:
    first, second = results(folder, "sharded")
    for form in FORMS:
        for mine, theirs in zip(first[f"{form} chunked"][:-2], second[f"{form} chunked"][:-2], strict=True):
            assert torch.equal(mine, theirs)


def test_bfloat16_parts_have_the_gradient_of_the_whole(folder: Path) -> None:
    case = draw(N, 8, V, **OPTIONS)
    whole = run("linear_logprob", [leaf.detach().bfloat16().requires_grad_() for leaf in case.leaves], None)
    for mine in (result["bfloat16"] for result in results(folder, "sharded")):
        assert_close(mine[:3], whole[:3], 1e-4, 1e-5)
        assert mine[3].dtype == torch.bfloat16
        assert (mine[3] - whole[3]).norm() < 0.01 * whole[3].norm()


def test_a_rank_without_any_token_of_the_vocabulary_takes_part(folder: Path) -> None:
    found = results(folder, "with_an_empty_part")
    for form in FORMS:
        assert_one_head([result[form] for result in found], alone(form))


def test_a_budget_that_holds_more_rows_of_a_smaller_part_keeps_the_ranks_in_step(folder: Path) -> None:
    found = results(folder, "with_one_budget")
    for form in ("linear_logprob", "policy_loss"):
        assert_one_head([result[form] for result in found], alone(form))


@pytest.mark.parametrize("placement", ["sharded", "replicated"])
def test_a_dtensor_head_is_gathered_and_its_gradient_summed_over_the_ranks(folder: Path, placement: str) -> None:
    head, found = draw(N, 8, V, bias=True), results(folder, "distributed")
    totals = [torch.zeros(V, 8, dtype=torch.float64), torch.zeros(V, dtype=torch.float64)]
    for rank in range(RANKS):
        own, exact = draw(N, 8, V, seed=rank + 1).exact(), head.exact()
        assert exact.bias is not None
        case = type(exact)(own.hidden, exact.weight, own.targets, exact.bias)
        out = case.written_out()
        grad_hidden, *grad_head = gradients(combined(out) - out.logprob.mean(), case)
        mine = found[rank][placement]
        assert_values(mine[:3], out)
        assert_gradients([mine[3]], [grad_hidden])
        totals = [a + b for a, b in zip(totals, grad_head, strict=True)]
    for rank in range(RANKS):
        assert_gradients(found[rank][placement][4:], totals)
