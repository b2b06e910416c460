"""A wrong key or value on the command line is one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from commands import MINI
from int_lightning.__main__ import main

MISTAKES = [
    ("--data.init_args.target=bogus", ["data.target: Expected a value among 'prefix_intervention'", "not bogus"]),
    ("--data.init_args.epochs=many", ["data.epochs: Expected a int, not many"]),
    ("--data.init_args.nosuch=1", ["data: Option 'nosuch' is not accepted"]),
    ("--model.class_path=Nowhere", ["model: ", "Nowhere"]),
    ("--nosuch=1", ["nosuch"]),
    ("--checkpoint_every=0", ["checkpoint_every", "0"]),
]


@pytest.mark.parametrize(("given", "parts"), MISTAKES)
def test_a_mistake_is_one_line_that_says_where_and_what(
    given: str, parts: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["fit", "-c", str(MINI / "sft.yaml"), f"--out={tmp_path}", given]) == 2
    said = capfd.readouterr().err
    assert said.startswith("int-lightning: ")
    assert said.count("\n") == 1
    for part in [*parts, "--help"]:
        assert part in said
