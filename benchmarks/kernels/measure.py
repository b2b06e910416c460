"""Timing of several ways side by side, and their peak memory."""

from __future__ import annotations

import ctypes
import gc
import multiprocessing
import re
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path

import torch

from benchmarks.kernels.inputs import HiddenKind, Inputs, Shape, make_inputs
from benchmarks.kernels.providers import Call, Provider
from benchmarks.machine import Neighbours, free, is_out_of_memory

OUT_OF_MEMORY = "out of memory"
TINY = (16, 32, 64)  # tokens, width, vocabulary
COPIED_BYTES = 2**30
FLOOR_ROWS = 4096

Job = Callable[[], Mapping[str, float]]
Samples = dict[str, list[float]]


def forward_and_full(call: Call, inputs: Inputs) -> dict[str, float]:
    """Milliseconds of one forward pass without autograd, and of one forward and backward pass, with the backward's share.

    Gradients of earlier runs are freed first, outside the measured time. Where a function forms gradients in its forward
    pass, as losses do, ``backward`` is next to nothing.
    """
    clock = _Clock(inputs.hidden.device)
    with torch.no_grad():
        start = clock.mark()
        call(inputs)
        forward = clock.between(start, clock.mark())
    inputs.clear()
    start = clock.mark()
    loss = inputs.scalar(call(inputs))
    middle = clock.mark()
    loss.backward()
    end = clock.mark()
    full, backward = clock.between(start, end), clock.between(middle, end)
    inputs.clear()
    return {"forward": forward, "backward": backward, "full": full}


def floor(inputs: Inputs) -> dict[str, float]:
    """Milliseconds of the bare matrix products: the logits alone (``forward``), with the gradients' two (``full``), and with
    logits formed twice (``full, four products``); on CUDA also of a copy of 1 GiB (``copy``).

    ``FLOOR_ROWS`` tokens at a time pass through one buffer, so that the floor needs no more memory than what is measured
    against it; all memory is touched first, so that the time is that of the products alone.
    """
    hidden, weight = inputs.hidden.detach(), inputs.weight.detach()
    clock = _Clock(hidden.device)
    grad_hidden, grad_weight = torch.empty_like(hidden).fill_(0), torch.empty_like(weight).fill_(0)
    logits = hidden.new_empty(min(len(hidden), FLOOR_ROWS), len(weight)).fill_(0)
    logits_time = gradient_time = 0.0
    for start in range(0, len(hidden), FLOOR_ROWS):
        x = hidden[start : start + FLOOR_ROWS]
        z = logits[: len(x)]
        a = clock.mark()
        torch.mm(x, weight.T, out=z)
        b = clock.mark()
        torch.mm(z, weight, out=grad_hidden[start : start + FLOOR_ROWS])
        grad_weight.addmm_(z.T, x)
        c = clock.mark()
        logits_time += clock.between(a, b)
        gradient_time += clock.between(b, c)
    times = {"forward": logits_time, "full": logits_time + gradient_time}
    times["full, four products"] = 2 * logits_time + gradient_time
    if hidden.is_cuda:
        source = torch.empty(COPIED_BYTES, dtype=torch.uint8, device=hidden.device)
        target = torch.empty_like(source)
        a = clock.mark()
        target.copy_(source)
        times["copy"] = clock.between(a, clock.mark())
    return times


class _Clock:
    """Marks in time, and milliseconds between two of them: CUDA events on CUDA, the processor's clock elsewhere."""

    def __init__(self, device: torch.device) -> None:
        self.cuda = device.type == "cuda"
        if self.cuda:
            torch.cuda.synchronize(device)

    def mark(self) -> torch.cuda.Event | float:
        if not self.cuda:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def between(self, start: torch.cuda.Event | float, end: torch.cuda.Event | float) -> float:
        if not self.cuda:
            return (end - start) * 1000
        end.synchronize()
        return start.elapsed_time(end)


def interleaved(jobs: Mapping[str, Job], *, rounds: int, least: int, seconds: float) -> dict[str, Samples | str]:
    """Runs all jobs once a round, each round beginning with another of them, and collects what they measure.

    On CUDA a job begins its turn with a run that is not measured, after the allocator has given back what the previous job
    left, so that no job pays for another's memory.

    Args:
        jobs: By name; they have run before, so that nothing is loaded or compiled now.
        rounds: The most rounds.
        least: The least rounds, however long they take.
        seconds: No round begins after this time.

    Returns:
        By name, the samples of every mode, or ``OUT_OF_MEMORY``.
    """
    out: dict[str, Samples | str] = {name: {} for name in jobs}
    names, began = list(jobs), time.monotonic()
    for number in range(rounds):
        if number >= least and time.monotonic() - began > seconds:
            break
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            samples = out[name]
            if isinstance(samples, str):
                continue
            try:
                if torch.cuda.is_initialized():
                    free()
                    jobs[name]()
                for mode, milliseconds in jobs[name]().items():
                    samples.setdefault(mode, []).append(milliseconds)
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
                out[name] = OUT_OF_MEMORY
    return out


def cuda_peak(call: Call, inputs: Inputs) -> int:
    """Peak bytes of one forward and backward pass beyond the inputs and the gradient of hidden.

    The gradient of the weight is included for every provider.
    """
    inputs.clear()
    free()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    inputs.scalar(call(inputs)).backward()
    peak = torch.cuda.max_memory_allocated() - before - inputs.hidden.nbytes
    inputs.clear()
    return peak


@dataclass(frozen=True, slots=True)
class Alone:
    """One forward and backward pass in a process of its own: milliseconds, peak bytes where the system tells them, and a note
    about other processes that were busy meanwhile."""

    milliseconds: float
    peak: int | None
    note: str


def alone(provider: Provider, shape: Shape, kind: HiddenKind) -> Alone | str:
    """Runs a provider once on the CPU in a fresh process, after a tiny call that starts the thread pools.

    The peak is the resident set's highest point above its level just before the call, less the gradient of hidden, so that
    it means the same as on CUDA: the gradient of the weight is included for every provider. Only Linux tells it.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch", "int_lightning_kernels"])  # imports alone, no threads
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        try:
            return pool.submit(_run_alone, provider, shape, kind).result()
        except BrokenProcessPool:  # the system ended the process
            return OUT_OF_MEMORY
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            return OUT_OF_MEMORY


def _run_alone(provider: Provider, shape: Shape, kind: HiddenKind) -> Alone:
    tiny = make_inputs(Shape(*TINY, shape.dtype), kind, "cpu")
    tiny.scalar(provider.call(tiny)).backward()
    inputs = make_inputs(shape, kind, "cpu", old=provider.computes == "policy loss")
    before = _reset_high_water()
    neighbours = Neighbours()
    start = time.perf_counter()
    inputs.scalar(provider.call(inputs)).backward()
    milliseconds = (time.perf_counter() - start) * 1000
    note = neighbours.note()
    peak = None if before is None else _resident("VmHWM") - before - inputs.hidden.nbytes
    return Alone(milliseconds, peak, note)


def _reset_high_water() -> int | None:
    """Resets the process's peak resident set to what is resident now, and returns that in bytes."""
    if sys.platform != "linux":
        return None
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    return _resident("VmRSS")


def _resident(field: str) -> int:
    found = re.search(rf"{field}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return 1024 * int(found[1])
