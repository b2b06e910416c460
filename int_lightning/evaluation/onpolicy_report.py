"""The on-policyness report: SFT datasets side by side, under one model or under several (before and after SFT, say)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from rich.markup import escape

from int_lightning.console import interval, progress, say, show_table
from int_lightning.evaluation.onpolicy import ALL, TRAINED, Scores, score
from int_lightning.evaluation.onpolicy_plot import plot_onpolicy
from int_lightning.evaluation.onpolicy_sets import OnPolicySet
from int_lightning.learn.model import load_policy
from int_lightning.model_folder.check import load_config
from int_lightning.model_folder.tokenizer import load_tokenizer, pad_id
from int_lightning.models.resolve import fingerprint, resolve_model
from int_lightning.prompts.prompt_set import PromptSet
from int_lightning.types import SFTExample, UserError

Report = dict[str, dict[str, dict[str, Any]]]


def onpolicy_report(
    sets: Mapping[str, OnPolicySet],
    models: Mapping[str, str],
    prompts: str,
    dtype: torch.dtype,
    limit: int | None,
    plot: Path,
) -> Report:
    """Scores every dataset under every model and draws ``plot``.

    Args:
        sets: A name and a dataset each.
        models: A name and a model each.
        prompts: Prompt set, for datasets from files.
        dtype: Of the models' arithmetic.
        limit: Use only the first rows of each dataset.
        plot: PNG file.

    Returns:
        ``{model: {set: {"rows", "problems", "left_out", "own_rollouts", "parts"}}}`` with ``parts`` as ``Scores.estimates``:
        ``left_out`` counts rows that are longer than the model's context, ``own_rollouts`` says whether all rows are rollouts of
        that very model.

    Raises:
        UserError: before anything is scored, if a model does not exist, or a dataset has a bad row or none that fits the model.
    """
    if limit is not None and limit < 1:
        raise UserError(f"limit is {limit}: give at least 1, or leave it out for all rows")
    readers = {name: _Reader(model, PromptSet(prompts), limit) for name, model in models.items()}
    counts = {m: {s: reader.count(s, data) for s, data in sets.items()} for m, reader in readers.items()}
    scores = {m: _score_all(m, reader, sets, dtype, counts[m]) for m, reader in readers.items()}
    report = {
        m: {s: _result(scores[m][s], counts[m][s][1], reader.owns(data)) for s, data in sets.items()}
        for m, reader in readers.items()
    }
    plot_onpolicy(scores, report, plot)
    return report


def show_onpolicy(report: Report, plot: Path) -> None:
    """Prints a table per model, one of the entropies under all models if there are several, and where the plot is."""
    columns = ["dataset", "tokens", "rows", "count", "NLL by row", "by token", "entropy by row", "by token"]
    for model, results in report.items():
        rows = []
        for s, result in results.items():
            rows += [[s, name, *_cells(part)] for name, part in result["parts"].items() if name != ALL]
        show_table(f"On-policyness under {model}: nats per token [95% bootstrap interval over problems]", columns, rows)
    if len(report) > 1:
        first = next(iter(report.values()))
        entropies = [[s, *(_entropy(results[s]) for results in report.values())] for s in first]
        title = "Next-token entropy at the trained tokens of each dataset, by row (*: the model's own rollouts)"
        show_table(title, ["dataset", *report], entropies)
    say(escape(f"plot: {plot}"))


class _Reader:
    """The datasets' rows as one model takes them."""

    def __init__(self, model: str, prompts: PromptSet, limit: int | None) -> None:
        self.folder = resolve_model(model)
        self.prompts = prompts
        self.limit = limit
        self.tokenizer = load_tokenizer(self.folder)
        config = load_config(self.folder).get_text_config()
        self.vocabulary = config.vocab_size
        self.longest = getattr(config, "max_position_embeddings", None) or math.inf

    def count(self, name: str, data: OnPolicySet) -> tuple[int, int]:
        """Rows that fit, and rows that are too long."""
        lengths = [len(e.token_ids) for e in self._all(data)]
        fitting = sum(n <= self.longest for n in lengths)
        if not fitting:
            why = f"all {len(lengths)} are longer than the context of {self.folder}" if lengths else "it has none"
            raise UserError(f"onpolicy.{name}: no rows of {data} can be scored: {why}; give another dataset")
        if left_out := len(lengths) - fitting:
            say(
                f"[yellow]{escape(str(data))}: {left_out} rows have more than {self.longest} tokens and are left out[/]"
            )
        return fitting, left_out

    def rows(self, data: OnPolicySet) -> Iterator[SFTExample]:
        """Rows that fit."""
        return (e for e in self._all(data) if len(e.token_ids) <= self.longest)

    def owns(self, data: OnPolicySet) -> bool:
        """Whether a dataset is rollouts of this very model."""
        local = Path(self.folder).is_dir()
        return data.samplers() == {fingerprint(self.folder) if local else self.folder}

    def _all(self, data: OnPolicySet) -> Iterator[SFTExample]:
        for example in islice(data.rows(self.tokenizer, self.prompts), self.limit):
            if max(example.token_ids) >= self.vocabulary:
                raise UserError(
                    f"{data}: row {example.id!r} has token ids beyond the vocabulary of {self.folder}: give rows that were "
                    "collected with a model of the same tokenizer"
                )
            yield example


def _score_all(
    model: str,
    reader: _Reader,
    sets: Mapping[str, OnPolicySet],
    dtype: torch.dtype,
    counts: Mapping[str, tuple[int, int]],
) -> dict[str, Scores]:
    policy = load_policy(reader.folder, dtype=dtype).eval().to("cuda" if torch.cuda.is_available() else "cpu")
    scores = {}
    for name, data in sets.items():
        with progress(f"{name} under {model}", counts[name][0], "rows") as advance:
            scores[name] = score(
                policy,
                reader.rows(data),
                pad_id(reader.tokenizer),
                packed=policy.packs,
                done=lambda rows: advance(rows, ""),
            )
    return scores


def _result(scores: Scores, left_out: int, own_rollouts: bool) -> dict[str, Any]:
    parts = scores.estimates()
    counts = {name: parts[TRAINED][name] for name in ("rows", "problems")}
    return {**counts, "left_out": left_out, "own_rollouts": own_rollouts, "parts": parts}


def _cells(part: Mapping[str, Any]) -> list[str]:
    cells = [f"{part[name]:,}" for name in ("rows", "tokens")]
    for quantity in ("nll", "entropy"):
        means = part[quantity]
        cells += [interval(means["per_row"]), f"{means['per_token']['mean']:.3f}"]
    return cells


def _entropy(result: Mapping[str, Any]) -> str:
    estimate = interval(result["parts"][TRAINED]["entropy"]["per_row"])
    return f"{estimate} *" if result["own_rollouts"] else estimate
