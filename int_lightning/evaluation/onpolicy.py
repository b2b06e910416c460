"""How on-policy SFT datasets are: negative log-likelihood and next-token entropy of their tokens under a model, in nats.

Every token but the first of a row is scored. Tokens are counted by span (``prompt``, ``prefix``, ``intervention``, ...), as
``trained`` (those with a loss weight) and as ``all``. With the sum s_i of a quantity over the n_i tokens of row i of such a part:

    per token     sum_i s_i / sum_i n_i
    per row       mean_i s_i / n_i
    per sequence  mean_i s_i
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from int_lightning.learn.micro_batches import MicroBatch, TrainingRow, micro_batches
from int_lightning.learn.model import Policy
from int_lightning.metrics import bootstrap_ratios
from int_lightning.types import SFTExample, TokenValues, UserError, derive_seed

TRAINED, ALL = "trained", "all"

_WINDOW = 8  # micro-batches that are cut from the same rows: more of them, less padding


@dataclass(frozen=True, slots=True)
class Part:
    """Sums over one kind of token, one entry for each row that has any: hash of its problem's id, tokens, NLL, entropy."""

    problems: array[int] = field(default_factory=lambda: array("q"))
    tokens: array[int] = field(default_factory=lambda: array("q"))
    nll: array[float] = field(default_factory=lambda: array("d"))
    entropy: array[float] = field(default_factory=lambda: array("d"))


@dataclass(frozen=True, slots=True)
class Scores:
    """The rows of a dataset under one model, as parts by name."""

    parts: dict[str, Part] = field(default_factory=dict)

    def add(self, example: SFTExample, nll: list[float], entropy: list[float]) -> None:
        """Adds a row; both lists have an entry for each of its tokens, the first of which is ignored.

        Raises:
            UserError: if the row's scores are not finite.
        """
        sums: dict[str, list[float]] = {}
        start = 0
        for span in example.spans:
            scored = slice(max(start, 1), start + span.tokens)
            start += span.tokens
            values = len(nll[scored]), sum(nll[scored]), sum(entropy[scored])
            for name in (span.name, TRAINED, ALL) if span.weight else (span.name, ALL):
                sums[name] = [a + b for a, b in zip(sums.get(name, (0, 0.0, 0.0)), values, strict=True)]
        if not all(map(math.isfinite, sums[ALL])):
            raise UserError(
                f"row {example.id!r}: the model's scores are not finite: its weights are damaged, or dtype bfloat16 overflows"
            )
        for name, (count, *totals) in sums.items():
            part = self.parts.setdefault(name, Part())
            if count:
                part.problems.append(derive_seed(example.problem_id))
                part.tokens.append(int(count))
                part.nll.append(totals[0])
                part.entropy.append(totals[1])

    def estimates(self) -> dict[str, dict[str, Any]]:
        """For each part ``rows``, ``problems``, ``tokens``, and ``nll`` and ``entropy`` with ``per_token``, ``per_row`` and
        ``per_sequence``: mean and 95% bootstrap interval over problems."""
        names = [n for n in self.parts if n not in (TRAINED, ALL)]
        return {n: _estimates(self.parts[n]) for n in (*names, TRAINED, ALL) if self.parts[n].tokens}


@torch.no_grad()
def score(
    policy: Policy,
    examples: Iterable[SFTExample],
    pad_id: int,
    max_tokens: int = 16384,
    packed: bool = False,
    done: Callable[[int], None] = lambda rows: None,
) -> Scores:
    """Scores rows as they arrive.

    Args:
        policy: On the device that does the work.
        examples: Read a few micro-batches at a time.
        pad_id: Token to pad with.
        max_tokens: Budget of a micro-batch.
        packed: Rows end to end in one sequence.
        done: Called with the number of rows scored.

    Raises:
        UserError: if a row's scores are not finite.
    """
    scores = Scores()
    for window in _windows(examples, _WINDOW * max_tokens):
        rows = [TrainingRow(np.array(e.token_ids, np.int32), np.ones(len(e.token_ids), np.float32)) for e in window]
        for batch in micro_batches(rows, pad_id, max_tokens, packed):
            for i, nll, entropy in zip(batch.row_index, *_token_scores(policy, batch), strict=True):
                scores.add(window[i], nll.tolist(), entropy.tolist())
            done(len(batch.row_index))
    return scores


def _estimates(part: Part) -> dict[str, Any]:
    tokens = torch.frombuffer(part.tokens, dtype=torch.int64).double()
    sums = torch.stack([torch.frombuffer(v, dtype=torch.float64) for v in (part.nll, part.entropy)], 1)
    problems, owner = torch.unique(torch.frombuffer(part.problems, dtype=torch.int64), return_inverse=True)
    counts, one = tokens[:, None].expand_as(sums), torch.ones_like(sums)
    above, below = torch.cat([sums, sums / counts, sums], 1), torch.cat([counts, one, one], 1)
    none = torch.zeros(len(problems), above.shape[1], dtype=torch.float64)
    found = bootstrap_ratios(none.index_add(0, owner, above), none.index_add(0, owner, below))
    kinds = ("per_token", "per_row", "per_sequence")
    return {
        "rows": len(tokens),
        "problems": len(problems),
        "tokens": sum(part.tokens),
        "nll": dict(zip(kinds, found[0::2], strict=True)),
        "entropy": dict(zip(kinds, found[1::2], strict=True)),
    }


def _windows(examples: Iterable[SFTExample], tokens: int) -> Iterator[list[SFTExample]]:
    """Consecutive rows, about ``tokens`` tokens together."""
    window: list[SFTExample] = []
    size = 0
    for example in examples:
        window.append(example)
        size += len(example.token_ids)
        if size >= tokens:
            yield window
            window, size = [], 0
    if window:
        yield window


def _token_scores(policy: Policy, batch: MicroBatch) -> tuple[list[TokenValues], list[TokenValues]]:
    """NLL and entropy of every token, row by row, 0 at the first of each."""
    parameter = next(policy.parameters())
    batch = batch.to(parameter.device)
    scores = policy.log_probs(batch, batch.trained, entropy=True)
    assert scores.entropy is not None
    return batch.spread(-scores.logprob), batch.spread(scores.entropy)
