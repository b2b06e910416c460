"""The result of a collection: counts at every stage, reasons for rejection and the conditioning table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from int_lightning.collect.refining import Unrefined
from int_lightning.collect.store import Store
from int_lightning.console import show_table
from int_lightning.metrics import bootstrap
from int_lightning.types import Intervention, UserError


def summarise(store: Store) -> dict[str, Any]:
    """The summary, from one pass over outcomes and interventions.

    ``conditioning`` compares, over the problems that have a checked intervention (the first of each), rollouts from the bare
    problem, from the prefix before the error, and from prefix + intervention: problems with a right one, and the mean reward
    with its 95% bootstrap interval over problems.

    Raises:
        UserError: if no problem was hard, so that there is nothing to intervene on.
    """
    status: Counter[str] = Counter()
    attempts = 0
    naive: dict[str, tuple[int, int]] = {}
    for problem_id, state, drawn, right, total in store.last_outcomes(
        "status", "attempts", "naive_correct", "naive_total"
    ):
        status[state] += 1
        attempts += drawn
        if total:
            naive[problem_id] = (right, total)
    problems = status.total()
    if problems and status["solved"] == problems:
        raise UserError(
            f"none of the {problems} problems is hard: every one was solved in its attempts. Give harder problems or fewer "
            "attempts"
        )
    rejected: Counter[str] = Counter()
    first: dict[str, tuple[int, int, int, int]] = {}
    with_accepted: set[str] = set()
    proposals = accepted = inexact = 0
    for i in store.read("interventions", Intervention):
        proposals += 1
        if i.guided_total:
            first.setdefault(i.problem_id, (i.guided_correct, i.guided_total, i.prefix_correct, i.prefix_total))
        if i.rejected:
            rejected[i.rejected.kind] += 1
        else:
            accepted, inexact = accepted + 1, inexact + (not i.exact)
            with_accepted.add(i.problem_id)
    first = dict(sorted(first.items()))  # problems end in any order, on which the interval must not depend
    return {
        "problems": problems,
        "solved": status["solved"],
        "hard": status["hard"] + status["waiting"],
        "waiting": status["waiting"],
        "attempts": attempts,
        "proposals": proposals,
        "accepted": accepted,
        "problems_with_accepted": len(with_accepted),
        "inexact_cuts": inexact,
        "rejected": dict(sorted(rejected.items(), key=lambda item: (-item[1], item[0]))),
        "not_rewritten": dict(Counter(u.defect.kind for u in store.read("unrefined", Unrefined))),
        "conditioning": {
            "naive": _condition([naive[p] for p in first if p in naive]),
            "from_prefix": _condition([(c, n) for _, _, c, n in first.values() if n]),
            "with_intervention": _condition([(c, n) for c, n, _, _ in first.values()]),
        },
    }


def _condition(counts: Sequence[tuple[int, int]]) -> dict[str, Any]:
    rewards = torch.tensor([c / n for c, n in counts], dtype=torch.float64)
    estimate = bootstrap(rewards) if counts else {"mean": 0.0, "low": 0.0, "high": 0.0}
    return {
        "problems": len(counts),
        "solved": sum(c > 0 for c, _ in counts),
        "reward": estimate["mean"],
        "low": estimate["low"],
        "high": estimate["high"],
    }


def show_conditioning(conditioning: Mapping[str, Mapping[str, float]]) -> None:
    """Prints the conditioning table: naive, from the prefix before the error, with the intervention."""
    rows = [
        [name, f"{c['solved']}/{c['problems']}", *(f"{100 * c[k]:.4f}%" for k in ("reward", "low", "high"))]
        for name, c in conditioning.items()
        if c["problems"]
    ]
    columns = ["conditioned on", "solved", "reward", "95% from", "to"]
    show_table("Rollouts of the base model on hard problems", columns, rows)
