"""The terminal output of ``int-lightning inspect``: whatever a model wrote remains text."""

from __future__ import annotations

import io
import re
import subprocess
import sys
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from int_lightning.inspection.run import open_run
from int_lightning.inspection.terminal import example_lines
from int_lightning.inspection.views import InspectedRow, views
from int_lightning.types import (
    Span,
)
from int_lightning.visible import in_line, runs, visible

from hostile_run import BYTES, HOSTILE, encode


def test_the_terminal_shows_hostile_output_as_text_and_does_not_import_torch(run: Path) -> None:
    code = "import sys; from int_lightning.__main__ import main; assert not main(sys.argv[1:]); assert 'torch' not in sys.modules"
    command = [sys.executable, "-c", code, "inspect", str(run), "--rejected"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    said = done.stdout
    for start in ("problem", "reference", "instead", "raw"):
        assert visible(f"{start} {HOSTILE}") in said
    assert "rejected: no proposal: no tag" in said
    assert {kind for kind, _ in runs(said)} == {"plain", "space", "newline"}


def test_a_terminal_with_colours_gets_no_other_escapes_but_colours(run: Path) -> None:
    opened = open_run(run)
    row = InspectedRow("p/a/0/intervention", "p", encode(HOSTILE), [Span("prefix", len(encode(HOSTILE)), 1.0)])
    (view,) = views(opened, [row], BYTES, [[None] * len(row.token_ids)])
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, color_system="truecolor", width=100)
    for line in example_lines(view, 1):
        console.print(line)
    colours = r"\x1b\[[0-9;]*m"
    assert re.search(colours, screen.getvalue())
    plain = re.sub(colours, "", screen.getvalue())
    assert {kind for kind, _ in runs(plain)} == {"plain", "space", "newline"}
    assert "[bold red]" in plain.replace("|", "").replace("\n", "")


@given(st.text(st.characters(exclude_categories=[])))
def test_visible_text_hides_nothing_and_can_be_written(text: str) -> None:
    assert {kind for kind, _ in runs(visible(text))} <= {"plain", "space", "tab", "newline"}
    assert "\n" not in in_line(text)
    visible(text).encode("utf-8")
    if all(kind != "hidden" for kind, _ in runs(text)):
        assert visible(text) == text
