"""The figure of the on-policyness report: NLL by SFT dataset and entropy by span, one line of panels per model."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from int_lightning.evaluation.onpolicy import ALL, TRAINED, Scores
from int_lightning.run_files import written

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_onpolicy(
    scores: Mapping[str, Mapping[str, Scores]], report: Mapping[str, Mapping[str, Any]], file: Path
) -> None:
    """Draws a PNG: for each model the NLL of the rows of each dataset (boxes: quartiles and 5% to 95%; dots: mean with its
    interval), and the entropy at each span after the prompt.

    Args:
        scores: By model and dataset.
        report: Their estimates.
        file: Where to.

    Raises:
        UserError: if it cannot be written.
    """
    from matplotlib.figure import Figure  # slow to import, and most evaluations draw nothing

    first = next(iter(report.values()))
    sets = len(first)
    figure = Figure(figsize=(6 + sets, 3.5 * len(report)), layout="constrained")
    panels = figure.subplots(len(report), 2, squeeze=False)
    for (left, right), (model, results) in zip(panels, report.items(), strict=True):
        _nll_by_set(left, scores[model], results)
        _entropy_by_span(right, results)
        left.set_title(f"under {model}", loc="left")
    with written(file):
        figure.savefig(file, dpi=150)


def _nll_by_set(axes: Axes, scores: Mapping[str, Scores], results: Mapping[str, Any]) -> None:
    parts = [s.parts[TRAINED] for s in scores.values()]
    rows = [np.asarray(p.nll) / np.asarray(p.tokens) for p in parts]
    axes.boxplot(rows, tick_labels=list(scores), whis=(5, 95), showfliers=False)
    estimates = [r["parts"][TRAINED]["nll"]["per_row"] for r in results.values()]
    axes.errorbar(range(1, len(rows) + 1), *_bars(estimates), fmt="o", color="black", capsize=4)
    axes.set_ylabel("NLL per trained token, by row [nats]")
    axes.set_ylim(bottom=0)


def _entropy_by_span(axes: Axes, results: Mapping[str, Any]) -> None:
    names = dict.fromkeys(chain.from_iterable(result["parts"] for result in results.values()))
    spans = [name for name in names if name not in ("prompt", TRAINED, ALL)]
    width = 0.8 / len(results)
    for i, (name, result) in enumerate(results.items()):
        own = [s for s in spans if s in result["parts"]]
        at = [spans.index(s) + (i - (len(results) - 1) / 2) * width for s in own]
        means, errors = _bars([result["parts"][s]["entropy"]["per_row"] for s in own])
        axes.bar(at, means, width, yerr=errors, capsize=2, label=name)
    axes.set_xticks(range(len(spans)), spans)
    axes.set_ylabel("next-token entropy, by row [nats]")
    axes.legend()


def _bars(estimates: list[Mapping[str, float]]) -> tuple[list[float], list[list[float]]]:
    """Means, and how far their intervals reach below and above them."""
    means = [e["mean"] for e in estimates]
    below = [max(0.0, e["mean"] - e["low"]) for e in estimates]
    return means, [below, [max(0.0, e["high"] - e["mean"]) for e in estimates]]
