"""What tests of the on-policyness report share: the mini model, rows of a collection, and the command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoTokenizer

from int_lightning.__main__ import main
from int_lightning.evaluation.onpolicy_sets import OnPolicySet
from int_lightning.learn.model import load_policy
from int_lightning.models.resolve import resolve_model
from int_lightning.prompts.prompt_set import PromptSet
from int_lightning.types import SFTExample

MODEL = resolve_model("mini")
TOKENIZER = AutoTokenizer.from_pretrained(MODEL)
QUICK = "--engine={name: transformers, threads: 1, max_model_len: 256, max_num_seqs: 64}"
POLICY = load_policy(MODEL, dtype=torch.float32).eval()


def rows(run: Path, target: Any) -> list[SFTExample]:
    return list(OnPolicySet(str(run), target).rows(TOKENIZER, PromptSet("mini")))


def report(out: Path, *args: str) -> dict[str, Any]:
    """The report of a command that has to succeed."""
    assert main(["evaluate", f"--out={out}", "--prompts=mini", "--engine.threads=1", *args]) == 0
    return json.loads((out / "results.json").read_text())["onpolicy"]


def fails(capsys: pytest.CaptureFixture[str], out: Path, *args: str) -> str:
    """What a command that has to fail says."""
    try:
        status = main(["evaluate", f"--out={out}", "--prompts=mini", *args])
    except SystemExit as exit_:
        status = exit_.code
    said = capsys.readouterr().err
    assert status not in (0, None)
    assert "Traceback" not in said
    return said
