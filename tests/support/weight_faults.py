"""Weights on their way into an engine, and what may go wrong with them there."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from int_lightning.learn.model import Policy

Q_PROJ = "model.layers.1.self_attn.q_proj.weight"
V_PROJ = Q_PROJ.replace("q_proj", "v_proj")
NORM = "model.layers.0.input_layernorm.weight"
Weights = Iterable[tuple[str, Tensor]]


def without(name: str) -> Callable[[Weights], Weights]:
    return lambda weights: ((n, value) for n, value in weights if n != name)


def transposed(weights: Weights) -> Weights:
    return ((n, value.T if n == Q_PROJ else value) for n, value in weights)


def swapped(weights: Weights) -> Weights:
    """The weights with keys and queries of one layer exchanged."""
    k_proj = Q_PROJ.replace("q_proj", "k_proj")
    names = {Q_PROJ: k_proj, k_proj: Q_PROJ}
    return ((names.get(n, n), value) for n, value in weights)


def train_one_step(policy: Policy, lr: float = 1e-3) -> None:
    """One optimiser step, as in training."""
    optimizer = torch.optim.AdamW(policy.parameters(), lr=lr)
    ids = torch.randint(5, 36, (4, 24), generator=torch.Generator().manual_seed(0))
    scored = torch.ones(4, 23, dtype=torch.bool)
    policy(ids, torch.ones_like(ids), [24] * 4, scored).logprob.mean().neg().backward()
    optimizer.step()
    optimizer.zero_grad()


def edited(name: str, edit: Callable[[Tensor], Tensor]) -> Callable[[Weights], Weights]:
    return lambda weights: ((n, edit(value.clone()) if n == name else value) for n, value in weights)


def one_bit(value: Tensor) -> Tensor:
    """Its smallest weight, changed in the last bit of bfloat16."""
    smallest = value.abs().argmin()
    value.view(-1)[smallest] = value.view(-1)[smallest].bfloat16().view(torch.int16).add(1).view(torch.bfloat16).float()
    return value


def layers_exchanged(weights: Weights) -> Weights:
    other = {"0": "1", "1": "0"}
    return ((re.sub(r"(?<=layers\.)[01]\b", lambda m: other[m[0]], n), value) for n, value in weights)


def twice_rounded(weights: Weights) -> Weights:
    return ((n, value.half().to(value.dtype)) for n, value in weights)


FAULTS: dict[str, Callable[[Weights], Weights]] = {
    "nothing is loaded": lambda weights: (),
    "a tensor is dropped": without(V_PROJ),
    "a square tensor is transposed": edited(Q_PROJ, lambda value: value.T),
    "two tensors are exchanged": swapped,
    "two layers are exchanged": layers_exchanged,
    "rows are shifted": edited(V_PROJ, lambda value: value.roll(1, 0)),
    "columns are shifted": edited(V_PROJ, lambda value: value.roll(1, 1)),
    "a row is missing": edited(V_PROJ, lambda value: value.index_fill(0, torch.tensor([3]), 0)),
    "a tensor is scaled": edited(NORM, lambda value: value * (1 + 2**-7)),
    "one bit of one weight": edited(V_PROJ, one_bit),
    "signs are turned": edited(V_PROJ, torch.neg),
    "values went through another dtype": twice_rounded,
    "not a number": edited(V_PROJ, lambda value: value * torch.nan),
}
