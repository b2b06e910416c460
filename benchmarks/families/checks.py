"""What int-lightning does with a model family: pack or pad its rows, and train it; or refuse it in one line."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.families.tiny_models import FAMILIES, VOCABULARY, tiny_model
from int_lightning.learn.micro_batches import MicroBatch, TrainingRow, pack, pad
from int_lightning.learn.model import PREFIX, Policy, load_policy
from int_lightning.types import UserError

_LENGTHS = 13, 19, 6
_SEEN = 0.02
"""In nats a token: what a row's scores must move by when it continues another one. Otherwise a leak could not be seen."""


@dataclass(frozen=True, slots=True)
class Checked:
    """A family's row of the table, without the engine's column.

    Args:
        family: transformers' model type.
        architecture: The class.
        rows: ``packed``, ``padded`` with the reason, or the line that refuses the family.
        trains: What got a gradient; empty without a policy.
    """

    family: str
    architecture: str
    rows: str
    trains: str = ""


def check(family: str, folder: Path) -> Checked:
    """Builds a tiny model of a family in an empty folder and trains it for one step.

    Raises:
        AssertionError: if something is wrong that the self-test at load let pass.
    """
    row = family, FAMILIES[family]
    try:
        tiny_model(family, folder)
    except Exception as error:  # transformers and what it needs: its validators raise classes of their own
        return Checked(*row, f"not built: {_line(error)}")
    try:
        policy = load_policy(str(folder), dtype=torch.float32)
    except UserError as error:
        return Checked(*row, f"refused: {str(error).replace(str(folder), 'the folder')}")
    policy.eval()  # dropout aside
    rows = _rows()
    if policy.packs:
        _check_isolation(policy, rows)
    return Checked(*row, "packed" if policy.packs else f"padded: {policy.unpackable}", _train(policy, rows))


def _rows() -> list[TrainingRow]:
    generator = torch.Generator().manual_seed(1)
    drawn = [torch.randint(3, VOCABULARY - 1, (n,), generator=generator, dtype=torch.int32) for n in _LENGTHS]
    return [TrainingRow(ids.numpy(), torch.ones(len(ids)).numpy()) for ids in drawn]


@torch.no_grad()
def _check_isolation(policy: Policy, rows: list[TrainingRow]) -> None:
    """Packed rows score as padded ones, which differ from those of one long row."""
    padded, packed = pad(rows, 0, [0, 1, 2]), pack(rows, 0, [0, 1, 2])
    apart = [torch.from_numpy(line) for line in padded.spread(policy.log_probs(padded, padded.trained).logprob)]
    found = [torch.from_numpy(line) for line in packed.spread(policy.log_probs(packed, packed.trained).logprob)]
    for one, other in zip(found, apart, strict=True):
        assert (one - other).abs().max() < 1e-3, "packed rows do not score as padded ones"
    packed.lengths = [sum(packed.lengths)]
    scores = policy.log_probs(packed, packed.trained).logprob
    packed.lengths = list(_LENGTHS)
    joined = [torch.from_numpy(line) for line in packed.spread(scores)]
    moved = min(float((one - other)[1:].abs().mean()) for one, other in zip(joined[1:], apart[1:], strict=True))
    assert moved > _SEEN, f"a row that continues another moves by {moved:.2g} nats only: too little to see a leak"


def _train(policy: Policy, rows: list[TrainingRow]) -> str:
    """Which parameters get a gradient, the same from packed and padded rows."""
    found = _gradients(policy, pad(rows, 0, [0, 1, 2]))
    assert all(bool(torch.isfinite(g).all()) for g in found.values() if g is not None), "a gradient is not finite"
    if policy.packs:
        packed = _gradients(policy, pack(rows, 0, [0, 1, 2]))
        largest = max(float(g.abs().max()) for g in found.values() if g is not None)
        for name, gradient in found.items():
            other = packed[name]
            assert (gradient is None) == (other is None), f"{name} has a gradient from packed or padded rows only"
            if gradient is not None and other is not None:
                assert (gradient - other).abs().max() < 1e-3 * largest, f"the gradient of {name} differs if packed"
    without = [name for name, gradient in found.items() if gradient is None]
    if not without:
        return "all"
    parts = sorted({re.sub(r"\.\d+\.", ".*.", name).rpartition(".")[0] or name for name in without})
    named = ", ".join(parts[:2]) + (", ..." if len(parts) > 2 else "")
    return f"all but {len(without)} of {len(found)}: {named}"


def _gradients(policy: Policy, batch: MicroBatch) -> dict[str, Tensor | None]:
    policy.zero_grad()
    policy.loss(batch, lambda logprob, _, part: (-logprob.mean(), {})).loss.backward()
    named = ((name.removeprefix(PREFIX), p) for name, p in policy.named_parameters())
    return {name: p.grad for name, p in named if p.requires_grad}


def _line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:160]
