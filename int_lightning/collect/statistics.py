"""What a collection's records say of its interventions: how long they are, how late, what became of them, how often they help.

Records are read shard by shard, and a few numbers of each are kept.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.compute as pc

from int_lightning.collect.store import Store
from int_lightning.defects import Defect
from int_lightning.run_files import written

if TYPE_CHECKING:
    from matplotlib.axes import Axes

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
LENGTHS = [0, *(2**i for i in range(21))]
RATIOS = [0, *(2.0**i for i in range(-12, 4))]
SHARES = [i / 10 for i in range(11)]

Stats = dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Located:
    """An intervention that names a step.

    Args:
        rollout_id: The attempt.
        location: Index of the step over the number of steps, in [0, 1).
        category: Of the error, "" if not asked for.
        accepted: Whether it is trained on.
        tokens: Its length in tokens.
        characters: Its length in characters.
    """

    rollout_id: str
    location: float
    category: str
    accepted: bool
    tokens: int
    characters: int


def collection_statistics(store: Store, categories: Mapping[str, str]) -> Stats:
    """The statistics, as plain numbers.

    ``stages`` counts problems and proposals, with rates of problems and of proposals. ``pass_rates`` are those of problems
    (``attempts``: of the rollouts that were drawn, which are few if one was soon right) and of checked interventions.
    ``solutions`` are the lengths of all attempts in tokens and characters. ``located`` (interventions that name a step) and
    ``accepted`` (those that are trained on) have their ``lengths``, the ``ratios`` to the length of the attempt each belongs
    to, and the ``locations`` of the first wrong step: its index over the number of steps, of all and by category.

    Args:
        store: A collection.
        categories: The category of the error by proposal id, for those it was asked for.
    """
    located: list[_Located] = []
    stages = _problem_stages(store) | _proposal_stages(store, categories, located)
    wanted = {item.rollout_id for item in located}
    attempts: dict[str, tuple[int, int]] = {}
    tokens, characters = array("q"), array("q")
    for shard in store.arrow("attempts", "id", "token_ids", "text"):
        of_tokens = pc.list_value_length(shard["token_ids"]).to_pylist()
        of_text = pc.utf8_length(shard["text"]).to_pylist()
        tokens.extend(of_tokens)
        characters.extend(of_text)
        for rollout_id, *lengths in zip(shard["id"].to_pylist(), of_tokens, of_text, strict=True):
            if rollout_id in wanted:
                attempts[rollout_id] = lengths[0], lengths[1]
    return {
        "stages": stages,
        "pass_rates": _pass_rates(store),
        "solutions": {"tokens": describe(tokens, LENGTHS), "characters": describe(characters, LENGTHS)},
        "located": _interventions(located, attempts),
        "accepted": _interventions([i for i in located if i.accepted], attempts),
    }


def describe(values: Sequence[float], edges: Sequence[float]) -> Stats:
    """Count, mean, quantiles and histogram of numbers; those beyond the last edge count in the last bin."""
    if not len(values):
        return {"count": 0}
    numbers = np.asarray(values, dtype=np.float64)
    return {
        "count": len(numbers),
        "mean": float(numbers.mean()),
        "quantiles": dict(zip(map(str, QUANTILES), np.quantile(numbers, QUANTILES).tolist(), strict=True)),
        "edges": list(edges),
        "counts": np.histogram(numbers.clip(max=edges[-1]), edges)[0].tolist(),
    }


def _problem_stages(store: Store) -> Stats:
    statuses = Counter(status for _, status in store.last_outcomes("status"))
    problems = statuses.total()
    return {"problems": problems, "hard": _share(problems - statuses["solved"], problems)}


def _proposal_stages(store: Store, categories: Mapping[str, str], located: list[_Located]) -> Stats:
    """Counts what became of proposals, and adds those that name a step to ``located``."""
    total = accepted = 0
    rejected: Counter[str] = Counter()
    names = ("rollout_id", "proposal_id", "location", "steps", "content", "intervention_ids", "rejected")
    for shard in store.arrow("interventions", *names):
        tokens = pc.list_value_length(shard["intervention_ids"]).to_pylist()
        columns = (*(shard[name].to_pylist() for name in names if name != "intervention_ids"), tokens)
        for rollout_id, proposal_id, location, steps, content, said, length in zip(*columns, strict=True):
            reason = Defect.parse(said)
            total, accepted = total + 1, accepted + (not reason)
            if reason:
                rejected[reason.kind] += 1
            if location >= 0:
                category = categories.get(proposal_id, "")
                located.append(_Located(rollout_id, location / steps, category, not reason, length, len(content)))
    return {
        "proposals": total,
        "located": _share(len(located), total),
        "accepted": _share(accepted, total),
        "rejected": {reason: _share(count, total) for reason, count in rejected.most_common()},
    }


def _share(count: int, total: int) -> Stats:
    return {"count": count, "rate": count / total if total else 0.0}


def _pass_rates(store: Store) -> Stats:
    drawn = store.last_outcomes("correct", "attempts")
    attempts = array("d", (correct / total for _, correct, total in drawn if total))
    from_prefix, with_intervention = array("d"), array("d")
    names = ("prefix_correct", "prefix_total", "guided_correct", "guided_total")
    for prefix_correct, prefix_total, guided_correct, guided_total in store.columns("interventions", *names):
        if prefix_total:
            from_prefix.append(prefix_correct / prefix_total)
        if guided_total:
            with_intervention.append(guided_correct / guided_total)
    return {
        "attempts": describe(attempts, SHARES),
        "from_prefix": describe(from_prefix, SHARES),
        "with_intervention": describe(with_intervention, SHARES),
    }


def _interventions(located: Sequence[_Located], attempts: Mapping[str, tuple[int, int]]) -> Stats:
    own = [(i, *attempts[i.rollout_id]) for i in located]
    found = sorted({i.category for i in located} - {""})
    return {
        "lengths": {
            "tokens": describe([i.tokens for i in located], LENGTHS),
            "characters": describe([i.characters for i in located], LENGTHS),
        },
        "ratios": {
            "tokens": describe([i.tokens / tokens for i, tokens, _ in own], RATIOS),
            "characters": describe([i.characters / characters for i, _, characters in own], RATIOS),
        },
        "locations": {
            "all": describe([i.location for i in located], SHARES),
            **{c: describe([i.location for i in located if i.category == c], SHARES) for c in found},
        },
    }


def plot_statistics(stats: Stats, folder: Path) -> list[Path]:
    """Draws the statistics into PNG files in ``folder``; returns the files.

    Raises:
        UserError: if they cannot be written.
    """
    from matplotlib.figure import Figure  # slow to import

    with written(folder):
        folder.mkdir(parents=True, exist_ok=True)
    lengths = {"interventions": stats["located"]["lengths"]["tokens"], "full attempts": stats["solutions"]["tokens"]}
    drawn = {
        "lengths": ("tokens", lengths),
        "locations": ("index of the first wrong step / steps", stats["located"]["locations"]),
        "pass_rates": ("share of right rollouts", stats["pass_rates"]),
    }
    files = []
    for name, (quantity, histograms) in drawn.items():
        figure = Figure(figsize=(6, 3.5), layout="constrained")
        axes = figure.add_subplot()
        _draw(axes, histograms, logarithmic=name == "lengths")
        axes.set_xlabel(quantity)
        axes.set_ylabel("share")
        files.append(folder / f"{name}.png")
        with written(files[-1]):
            figure.savefig(files[-1], dpi=150)
    return files


def _draw(axes: Axes, histograms: Mapping[str, Stats], logarithmic: bool) -> None:
    shown = {label: h for label, h in histograms.items() if h["count"]}
    for label, h in shown.items():
        axes.stairs(
            np.asarray(h["counts"]) / h["count"], h["edges"], label=f"{label} ({h['count']})", fill=True, alpha=0.4
        )
    if not shown:
        return
    axes.legend()
    if logarithmic:
        axes.set_xscale("symlog", base=2, linthresh=1)
        axes.set_xlim(0, max(h["edges"][np.flatnonzero(h["counts"])[-1] + 1] for h in shown.values()))
