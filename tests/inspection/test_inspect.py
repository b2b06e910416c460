"""``int-lightning inspect``: its numbers are those of the records, its scores those of the model; mistakes end in one message."""

from __future__ import annotations

import json
from itertools import chain
from pathlib import Path
from typing import get_args

import pytest
import torch
from transformers import AutoModelForCausalLM

from int_lightning.__main__ import main
from int_lightning.inspection.command import inspect
from int_lightning.inspection.row_summary import RowSummary
from int_lightning.inspection.run import open_run
from int_lightning.inspection.scores import score_rows
from int_lightning.mini.mini_tokenizer import build_tokenizer
from int_lightning.sft.targets import Target, TargetConfig, examples
from int_lightning.types import (
    SFTExample,
    Span,
)

from hostile_run import printed

MINI = build_tokenizer()


def test_the_summarys_numbers_are_those_of_the_records(run: Path) -> None:
    summary = RowSummary("prefix_intervention")
    summary.add_interventions(open_run(run).store)
    spans = [Span("prompt", 4, 0.0), Span("prefix", 3, 1.0), Span("intervention", 2, 0.5)]
    summary.add(SFTExample("a", "p", list(range(9)), spans))
    summary.add(
        SFTExample(
            "b",
            "p",
            list(range(5)),
            [Span("prompt", 2, 0.0), Span("intervention", 3, 2.0)],
        )
    )
    summary.add(SFTExample("c", "q", list(range(2)), [Span("solution", 2, 1.0)]))
    assert summary.facts() == {
        "target": "prefix_intervention",
        "rows": "3",
        "problems with rows": "2",
        "tokens": "16",
        "trained on": "56.2%",
        "interventions": "3",
        "rejected": "66.7%",
    }
    by_title = {table.title: table for table in summary.tables()}
    assert by_title["Tokens by span"].rows == [
        ["prompt", "6", "37.5%", "0", "0.0%"],
        ["prefix", "3", "18.8%", "3", "100.0%"],
        ["intervention", "5", "31.2%", "5", "100.0%"],
        ["solution", "2", "12.5%", "1", "50.0%"],
    ]
    lengths = dict(zip(by_title["Tokens of a row"].columns, by_title["Tokens of a row"].rows[0], strict=True))
    assert (lengths["shortest"], lengths["50%"], lengths["longest"], lengths["mean"]) == ("2", "5", "9", "5.3")
    assert by_title["Rejected interventions"].rows[0] == ["it gives the final answer away", "1"]


def test_scores_are_the_models_own() -> None:
    from int_lightning.models.resolve import resolve_model

    folder = resolve_model("mini")
    texts = ["<|user|>1+2@4<|assistant|>1+2=3", "<|user|>1<|assistant|>", "<|user|>9-4-1<|assistant|>9-4=5\n\n5-1=4"]
    rows = [MINI.encode(text) for text in texts]
    found = score_rows(rows, folder, MINI.pad_token_id)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    for ids, scores in zip(rows, found, strict=True):
        with torch.no_grad():
            logp = model(torch.tensor([ids])).logits.double().log_softmax(-1)[0]
        assert scores[0] is None
        assert [s.logprob for s in scores[1:] if s] == pytest.approx(
            [float(logp[i, token]) for i, token in enumerate(ids[1:])], abs=1e-4
        )
        assert [s.entropy for s in scores[1:] if s] == pytest.approx(
            [float(-(line.exp() * line).sum()) for line in logp[: len(ids) - 1]], abs=1e-4
        )


def fails(capsys: pytest.CaptureFixture[str], *args: str) -> str:
    """Runs a command that must fail; returns what it said."""
    try:
        status: object = main(["inspect", *args])
    except SystemExit as exit_:
        status = exit_.code
    assert status == 2
    return capsys.readouterr().err


def test_mistakes_end_in_one_clear_message(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "gone holds no collection" in fails(capsys, str(tmp_path / "gone"))
    assert "dataset holds no collection" in fails(capsys, str(run / "dataset"))
    assert "invalid choice: 'prefx'" in fails(capsys, str(run), "--target=prefx")
    assert "'0' is not a number of at least 1" in fails(capsys, str(run), "--limit=0")
    assert "no such folder" in fails(capsys, str(run), "--model=gone/nowhere/model")
    assert "was collected with the tokenizer of" in fails(capsys, str(run), "--model=mini")
    (tmp_path / "file").write_text("mine")
    assert "could not be written" in fails(capsys, str(run), f"--html={tmp_path / 'file' / 'page.html'}")
    said = fails(capsys, str(run), "--target=rollout")
    assert "holds no row for the target rollout" in said
    assert "it gives the final answer away" in said
    assert "--rejected" in said


def test_rejected_interventions_can_be_looked_at_where_there_is_no_row(run: Path) -> None:
    summary, found = inspect(open_run(run), "rollout", 1, rejected=True, model=None)
    assert [view.id for view in found] == ["p/a/1/intervention"]
    assert summary.facts()["rows"] == "0"
    assert "rejected: it gives the final answer away" in printed(found)
    assert "[intervention · 6 tokens · weight 0]" in printed(found)


@pytest.mark.parametrize("target", get_args(Target))
def test_a_real_collection(collected: Path, target: Target) -> None:
    run = open_run(collected)
    record = json.loads((collected / "collection.json").read_text())
    summary, found = inspect(run, target, limit=1, rejected=True, model="mini")
    assert summary.interventions == record["proposals"]
    assert dict(summary.rejected) == record["rejected"]
    rows = list(examples(run.store, TargetConfig(target), MINI))
    assert len(summary.lengths) == len(rows)
    assert summary.trained.total() == sum(map(bool, chain.from_iterable(row.loss_weights for row in rows)))
    for row, view in zip(rows[:1], found, strict=False):
        tokens = list(chain.from_iterable(span.tokens for span in view.spans))
        assert [token.id for token in tokens] == row.token_ids
        assert "".join(token.text for token in tokens) == MINI.decode(row.token_ids)
        assert all(token.score is not None for token in tokens[1:])
        assert f"{view.spans[-1].name}: mean log-prob" in printed([view])
    if target == "prefix_intervention":
        assert "<- the first error" in printed(found[:1])
