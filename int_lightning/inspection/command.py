"""``int-lightning inspect``: training rows of a collection in the terminal, or as one HTML page."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from rich.markup import escape

from int_lightning.arguments import Arguments
from int_lightning.console import console, exit_status, say, show_table
from int_lightning.inspection.page import page
from int_lightning.inspection.row_summary import RowSummary
from int_lightning.inspection.run import Run, model_folder, open_run
from int_lightning.inspection.terminal import LEGEND, example_lines
from int_lightning.inspection.views import InspectedRow, Score, View, rejected_rows, row_of, views
from int_lightning.run_files import written
from int_lightning.sft.targets import Target, TargetConfig, examples
from int_lightning.types import UserError
from int_lightning.visible import in_line

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def main(args: Sequence[str]) -> int:
    """Runs ``int-lightning inspect``; returns the exit status."""
    return exit_status(lambda: _show(_parser().parse_args(args)))


def _show(given: argparse.Namespace) -> None:
    summary, found = inspect(open_run(Path(given.run)), given.target, given.limit, given.rejected, given.model)
    _show_summary(summary)
    if given.html:
        _write(Path(given.html), page(given.run, summary, found, given.model))
        say(f"{len(found)} examples are in {escape(given.html)}")
        return
    say(escape(LEGEND), style="dim")
    for number, view in enumerate(found, 1):
        for line in example_lines(view, number):
            console.print(line)


def _parser() -> Arguments:
    parser = Arguments(
        prog="int-lightning inspect",
        description="Look at the training rows of a collection: where each token comes from, and whether it is trained on.",
    )
    parser.add_argument("run", help="output folder of `int-lightning collect`")
    parser.add_argument(
        "--target", choices=get_args(Target), default=TargetConfig.target, help="rows to make (default: %(default)s)"
    )
    parser.add_argument("--html", help="write the examples to this file as one self-contained page")
    parser.add_argument("--limit", type=_count, default=10, help="examples to show (default: %(default)s)")
    parser.add_argument("--rejected", action="store_true", help="show as many rejected interventions, too")
    parser.add_argument("--model", help="also show each token's log-prob under this model")
    return parser


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of at least 1")
    return int(text)


def inspect(run: Run, target: Target, limit: int, rejected: bool, model: str | None) -> tuple[RowSummary, list[View]]:
    """A summary of all rows, and the first of them to look at.

    Args:
        run: The collection.
        target: Which rows to make of it.
        limit: Number of rows to look at.
        rejected: Whether to add as many rejected interventions.
        model: Score the rows' tokens under this model.

    Raises:
        UserError: if there is nothing to look at, or another tokenizer made the token ids.
    """
    tokenizer = run.tokenizer(model)
    summary, shown = RowSummary(target), list[InspectedRow]()
    summary.add_interventions(run.store)
    for example in examples(run.store, TargetConfig(target), tokenizer):
        summary.add(example)
        if len(shown) < limit:
            shown.append(row_of(example))
    shown += rejected_rows(run, limit) if rejected else []
    if not shown:
        hint = "see the rejected interventions with --rejected" if summary.rejected and not rejected else "collect more"
        reasons = ", ".join(f"{count} {in_line(reason)}" for reason, count in summary.rejected.most_common())
        raise UserError(
            f"{run.folder} holds no row for the target {target}: {summary.interventions} interventions, rejected: "
            f"{reasons or 'none'}. Choose another --target, or {hint}"
        )
    return summary, views(run, shown, tokenizer, _scores(shown, model, tokenizer))


def _scores(
    rows: Sequence[InspectedRow], model: str | None, tokenizer: PreTrainedTokenizerBase
) -> list[list[Score | None]]:
    if model is None:
        return [[None] * len(row.token_ids) for row in rows]
    # imports torch, without which ``inspect`` starts
    from int_lightning.inspection.scores import score_rows

    return score_rows([row.token_ids for row in rows], model_folder(model), tokenizer.pad_token_id or 0)


def _show_summary(summary: RowSummary) -> None:
    show_table("Training rows", ["", ""], [[name, value] for name, value in summary.facts().items()])
    for table in summary.tables():
        show_table(*table)


def _write(path: Path, text: str) -> None:
    with written(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
