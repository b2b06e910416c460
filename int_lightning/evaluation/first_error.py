"""How well an oracle finds the first wrong step, scored as ProcessBench does (Zheng et al. 2024):

    F1 = 2 a b / (a + b),  a: share of erroneous attempts whose first wrong step is named, b: share of right attempts left alone

Unlike in that benchmark, the oracle sees a reference solution, as it does when it proposes interventions.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import chain
from statistics import fmean
from typing import Any, cast

import torch
from torch import Tensor

from int_lightning.console import interval, progress, show_table
from int_lightning.defects import DefectKind
from int_lightning.evaluation.labelled_attempts import NO_ERROR, LabelledAttempt
from int_lightning.metrics import bootstrap, with_interval
from int_lightning.oracles.base import Oracle, is_waiting
from int_lightning.rollout_sampler import RolloutSampler
from int_lightning.types import Proposal, UserError


def first_error_scores(
    oracle: Oracle, items: Sequence[LabelledAttempt], sampler: RolloutSampler | None
) -> dict[str, Any]:
    """``{"oracle", "f1", "subsets": {name: {"f1", "erroneous", "right", "unparsable", "defects"}}}``; the outer ``f1`` is the
    mean over subsets.

    ``erroneous`` and ``right`` are the accuracies a and b, with the number of attempts and how the others went wrong; intervals
    are 95% bootstrap intervals, over erroneous and right attempts separately. Where the oracle makes several proposals for an
    attempt, its prediction is the location that most of them name, the first of them in a tie. An attempt none of
    whose proposals can be used is ``unparsable`` and counts as wrong; ``defects`` counts such proposals by kind.

    Args:
        oracle: To be scored.
        items: Each subset needs erroneous and right ones.
        sampler: What the oracle is given; None for one that asks no model.

    Raises:
        UserError: if a subset lacks erroneous or right attempts, or if the oracle owes an answer.
    """
    for subset, kinds in _kinds(items).items():
        if len(kinds) < 2:
            lacking = "erroneous" if NO_ERROR in kinds else "right"
            raise UserError(
                f"subset {subset!r} has no {lacking} attempts: F1 needs both; raise limit or give other data"
            )
    answers = asyncio.run(_ask(oracle, items, sampler))
    owed = [p.defect for p in chain.from_iterable(answers) if is_waiting(p)]
    if owed:
        raise UserError(
            f"{len(owed)} answers of oracle {oracle.name} are missing ({owed[0]}): see to it and start again"
        )
    scores = {
        subset: _score([(i.label, a) for i, a in zip(items, answers, strict=True) if i.subset == subset])
        for subset in _kinds(items)
    }
    return {"oracle": oracle.name, "f1": fmean(s["f1"]["mean"] for s in scores.values()), "subsets": scores}


def show_first_error_scores(scores: Mapping[str, Any]) -> None:
    """Prints one row per subset."""
    rows = [
        [name, interval(s["f1"]), interval(s["erroneous"]), interval(s["right"]), str(s["unparsable"])]
        for name, s in scores["subsets"].items()
    ]
    title = f"First wrong step by {scores['oracle']}: mean F1 {scores['f1']:.3f}"
    show_table(title, ["subset", "F1", "erroneous: found", "right: left alone", "unparsable"], rows)


def predict(proposals: Sequence[Proposal]) -> int | None:
    """The location that most proposals for an attempt name, ``NO_ERROR`` included; None if none of them can be used."""
    said = Counter(_location(p) for p in proposals if _parsable(p))
    return said.most_common(1)[0][0] if said else None


def _location(proposal: Proposal) -> int:
    return NO_ERROR if proposal.defect else proposal.location


def _parsable(proposal: Proposal) -> bool:
    """Whether it names a step or says that there are no errors."""
    return proposal.defect is None or proposal.defect.kind is DefectKind.NO_ERROR


def _kinds(items: Sequence[LabelledAttempt]) -> dict[str, set[int]]:
    """By subset, whether it has right attempts (-1) and erroneous ones (0)."""
    kinds: dict[str, set[int]] = {}
    for item in items:
        kinds.setdefault(item.subset, set()).add(min(item.label, 0))
    return kinds


async def _ask(
    oracle: Oracle, items: Sequence[LabelledAttempt], sampler: RolloutSampler | None
) -> list[list[Proposal]]:
    with progress(f"first errors by {oracle.name}", len(items), "attempts") as advance:

        async def ask(item: LabelledAttempt) -> list[Proposal]:
            (proposals,) = await oracle.propose([item.attempt], cast(RolloutSampler, sampler))
            advance(1, "")
            return proposals

        return await asyncio.gather(*map(ask, items))


def _score(answers: Sequence[tuple[int, Sequence[Proposal]]]) -> dict[str, Any]:
    pairs = [(label, predict(proposals)) for label, proposals in answers]
    wrong = [(label, said) for label, said in pairs if label != NO_ERROR]
    right = [(label, said) for label, said in pairs if label == NO_ERROR]
    hits, passed = (torch.tensor([label == said for label, said in part]).double() for part in (wrong, right))
    named = [(label, said) for label, said in wrong if said is not None]
    defects: Counter[str] = Counter()
    for _, proposals in answers:
        defects.update(p.defect.kind for p in proposals if p.defect is not None and not _parsable(p))
    return {
        "f1": _f1(hits, passed),
        "erroneous": {
            **bootstrap(hits),
            "attempts": len(wrong),
            "too_early": sum(NO_ERROR < said < label for label, said in named),
            "too_late": sum(said > label for label, said in named),
            "missed": sum(said == NO_ERROR for _, said in named),
        },
        "right": {**bootstrap(passed), "attempts": len(right)},
        "unparsable": sum(said is None for _, said in pairs),
        "defects": dict(defects.most_common()),
    }


def _f1(hits: Tensor, passed: Tensor, seed: int = 0, resamples: int = 2000) -> dict[str, float]:
    """The harmonic mean of two means of 0s and 1s, with its interval."""
    generator = torch.Generator().manual_seed(seed)
    a, b = (
        torch.binomial(torch.full((resamples,), float(len(v))).double(), v.mean().expand(resamples), generator) / len(v)
        for v in (hits, passed)
    )
    return with_interval(_harmonic(hits.mean(), passed.mean()), _harmonic(a, b))


def _harmonic(a: Tensor, b: Tensor) -> Tensor:
    return torch.where(a + b > 0, 2 * a * b / (a + b), 0.0)
