"""All ways of computing one thing, measured side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch

from benchmarks.kernels.agreement import Agreement
from benchmarks.kernels.inputs import Inputs, Shape
from benchmarks.kernels.measure import OUT_OF_MEMORY, Samples, alone, cuda_peak, floor, forward_and_full, interleaved
from benchmarks.kernels.providers import Kernel, Provider, providers, torch_linear_cross_entropy_settings
from benchmarks.kernels.report import Row, Setting
from benchmarks.machine import GIB, Neighbours, available_memory, free, is_out_of_memory


@dataclass(frozen=True, slots=True)
class Effort:
    """How long to measure: the least and the most rounds, and the seconds after which no further round begins."""

    least: int
    rounds: int
    seconds: float


def compare(setting: Setting, kernel: Kernel, inputs: Inputs, effort: Effort, *, peak_memory: bool) -> list[Row]:
    """Rows of all providers of a kernel and of the floor; a note says why a provider did not run."""
    candidates = providers(kernel, inputs.hidden.device.type)
    if kernel == "ce" and hasattr(torch.nn, "LinearCrossEntropyOptions"):  # since 2.13
        candidates.append(_fastest(torch_linear_cross_entropy_settings(setting.shape), inputs))
    judge = Agreement(_naive(candidates).call, inputs)
    checked = {p.name: _check(p, judge, setting.shape) for p in candidates}
    jobs = {
        p.name: partial(forward_and_full, p.call, inputs) for p in candidates if not isinstance(checked[p.name], str)
    }
    neighbours = Neighbours()
    samples = interleaved(
        {**jobs, "floor": partial(floor, inputs)}, rounds=effort.rounds, least=effort.least, seconds=effort.seconds
    )
    note = neighbours.note()
    bare = samples.pop("floor")
    assert not isinstance(bare, str), "no memory for the bare products"

    rows = _floor_rows(setting, kernel, bare, note)
    for provider in candidates:
        row = partial(setting.row, kernel, provider.name)
        error = checked[provider.name]
        if isinstance(error, str):
            rows.append(row("full", "ms", note=error))
            continue
        times = samples[provider.name]
        if isinstance(times, str):
            rows.append(row("full", "ms", note=times))
            continue
        rows += _time_rows(setting, kernel, provider.name, times, bare)
        rows.append(row("full", "error", [error]))
        peak = _peak(provider, setting, inputs) if peak_memory else None
        if peak is not None:
            rows.append(row("full", "GiB", [peak / GIB]))
    return rows


def ours_once(setting: Setting, kernel: Kernel, some: Inputs, bare: Samples) -> list[Row]:
    """Rows of our first provider alone, one pass in a process of its own, of the floor, and of what naive would need.

    Args:
        some: A few rows of the inputs, for the check.
        bare: One measurement of the floor.
    """
    candidates = providers(kernel, "cpu")
    ours, naive = candidates[0], _naive(candidates)
    rows = _floor_rows(setting, kernel, bare)
    row = partial(setting.row, kernel, ours.name)
    error = _check(ours, Agreement(naive.call, some), setting.shape)
    found = error if isinstance(error, str) else alone(ours, setting.shape, setting.hidden)
    if isinstance(error, str) or isinstance(found, str):
        rows.append(row("full", "ms", note=error if isinstance(error, str) else str(found)))
    else:
        rows += _time_rows(setting, kernel, ours.name, {"full": [found.milliseconds]}, bare)
        rows.append(row("full", "error", [error], found.note))
        if found.peak is not None:
            rows.append(row("full", "GiB", [found.peak / GIB]))
    note = "GiB computed from shapes, not measured"
    rows.append(setting.row(kernel, naive.name, "full", "GiB", [_need(naive, setting.shape) / GIB], note=note))
    return rows


def _naive(candidates: Sequence[Provider]) -> Provider:
    return next(p for p in candidates if p.name == "naive")


def _need(provider: Provider, shape: Shape) -> int:
    """Bytes of the [N, V] tensors that a provider holds at a time."""
    return provider.copies * shape.float32_logits


def _check(provider: Provider, judge: Agreement, shape: Shape) -> float | str:
    """A provider's error, or why it is not timed. Ours may fail only because memory runs out."""
    if not provider.installed:
        return "not installed"
    free()
    need = _need(provider, shape)
    if need > available_memory(judge.inputs.hidden.device.type):
        return f"would not fit: needs {need / GIB:.0f} GiB"
    try:
        error, right = judge.error_of(provider.call)
    except Exception as failure:
        if is_out_of_memory(failure):
            return OUT_OF_MEMORY
        if provider.ours:
            raise
        return f"failed: {type(failure).__name__}: {str(failure).splitlines()[0] if str(failure) else ''}"
    return error if right else f"wrong, not timed: error {error:.0e}"


def _fastest(settings: Sequence[Provider], inputs: Inputs) -> Provider:
    """The one with the fastest forward and backward pass, after a first pass that does not count."""
    jobs = {p.name: partial(forward_and_full, p.call, inputs) for p in settings}
    samples = interleaved(jobs, rounds=2, least=2, seconds=0)
    return min(settings, key=lambda p: _last_full(samples[p.name]))


def _last_full(samples: Samples | str) -> float:
    return float("inf") if isinstance(samples, str) else samples["full"][-1]


def _floor_rows(setting: Setting, kernel: Kernel, bare: Samples, note: str = "") -> list[Row]:
    rows = [
        setting.row(kernel, "three bare products", "forward", "ms", bare["forward"], note),
        setting.row(kernel, "three bare products", "full", "ms", bare["full"]),
        setting.row(kernel, "four bare products", "full", "ms", bare["full, four products"]),
    ]
    rate = [3 * setting.shape.unit / ms / 1e9 for ms in bare["full"]]
    rows.append(setting.row(kernel, "three bare products", "full", "TFLOP/s", rate))
    if "copy" in bare:
        rows.append(setting.row(kernel, "copy of 1 GiB", "full", "ms", bare["copy"]))
    return rows


def _time_rows(setting: Setting, kernel: Kernel, provider: str, times: Samples, bare: Samples) -> list[Row]:
    """Milliseconds of all modes; rates for the modes whose number of products is known."""
    row = partial(setting.row, kernel, provider)
    rows = [row(mode, "ms", samples) for mode, samples in times.items()]
    for mode, products in (("forward", 1), ("full", 3)):
        if mode in times:
            lowest = sorted(bare[mode])[len(bare[mode]) // 2]
            rows.append(row(mode, "TFLOP/s", [products * setting.shape.unit / ms / 1e9 for ms in times[mode]]))
            rows.append(row(mode, "percent of floor", [100 * lowest / ms for ms in times[mode]]))
    return rows


def _peak(provider: Provider, setting: Setting, inputs: Inputs) -> int | None:
    if inputs.hidden.is_cuda:
        return cuda_peak(provider.call, inputs)
    found = alone(provider, setting.shape, setting.hidden)
    return None if isinstance(found, str) else found.peak
