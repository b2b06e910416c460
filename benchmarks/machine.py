"""The device, its memory, and the versions of what runs on it."""

from __future__ import annotations

import gc
import importlib.metadata
import platform
import re
import time
from pathlib import Path

import psutil
import torch

GIB = 2**30
NOTICED = 0.1  # cores
PACKAGES = ("torch", "triton", "liger-kernel", "cut-cross-entropy", "verl")


def device_name(device: str) -> str:
    """The GPU, or the processor with the number of torch's threads."""
    if device == "cuda":
        return torch.cuda.get_device_name()
    cpuinfo = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*:\s*(.+)", cpuinfo.read_text()) if cpuinfo.exists() else None
    return f"{found[1] if found else platform.processor()}, {torch.get_num_threads()} threads"


def version_of(package: str) -> str | None:
    """The version of an installed distribution, or None."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def versions() -> str:
    """Those of the packages that matter for a measurement and are installed."""
    found = {package: version_of(package) for package in PACKAGES}
    return "; ".join(f"{package} {version}" for package, version in found.items() if version)


def available_memory(device: str) -> int:
    """Bytes."""
    return torch.cuda.mem_get_info()[0] if device == "cuda" else psutil.virtual_memory().available


def is_out_of_memory(error: Exception) -> bool:
    """Whether an allocator gave up."""
    return isinstance(error, torch.OutOfMemoryError) or "allocate memory" in str(error)


def free() -> None:
    """Gives memory that nothing holds back to the device."""
    gc.collect()
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()


class Neighbours:
    """What other processes of the machine do from now on. Two threads that share a core with others can take ten times as
    long as alone, and code that synchronises its threads most often suffers most."""

    def __init__(self) -> None:
        self._began, self._busy, self._own = time.monotonic(), _busy_seconds(), time.process_time()

    def note(self) -> str:
        """How many cores they kept busy, if enough to matter."""
        own = time.process_time() - self._own
        cores = (_busy_seconds() - self._busy - own) / (time.monotonic() - self._began)
        return f"other processes kept {cores:.1f} of {psutil.cpu_count()} cores busy" if cores > NOTICED else ""


def _busy_seconds() -> float:
    """Of all cores, since the machine started."""
    times = psutil.cpu_times()
    return sum(getattr(times, kind, 0.0) for kind in ("user", "nice", "system", "irq", "softirq", "steal"))
