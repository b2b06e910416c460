"""Text from outside does nothing to the terminal, no matter which command shows it."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from rich.markup import escape

from int_lightning import console
from int_lightning.__main__ import main, show_traceback
from int_lightning.types import Problem, Rollout
from int_lightning.visible import runs

from commands import COLD, MINI, PORTABLE_ENGINE, SMALL_COLLECT, collect, fit_grpo

HOSTILE = "\x1b[2J\x1b]52;c;cHduZWQ=\x07\x9b31m\x9d0;t\x9c\u202e\u2066\u200b\u2028[red]a[/red][/x]\r\b\x7f:bomb:\\"
"""Clears the screen, writes to the clipboard, turns text around, hides, and is markup."""


def hostile_reward(problem: Problem, rollout: Rollout) -> float:
    if rollout.sample % 2:
        raise ValueError(HOSTILE)
    return float(rollout.sample)


def shown(capfd: pytest.CaptureFixture[str]) -> str:
    """What was printed, which must hold only visible characters."""
    captured = capfd.readouterr()
    whole = captured.out + captured.err
    assert [text for kind, text in runs(whole) if kind == "hidden"] == []
    return whole


def write(path: Path, rows: list[object]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def problems(tmp_path: Path) -> Path:
    """Two problems with hostile ids, a benchmark's problem, and rows that are not problems."""
    good = {"problem": "5+7", "solution": "5+7=2\n\n\\boxed{2}", "answer": "2", "id": HOSTILE}
    other = good | {"problem": "3+4@2", "id": f"2{HOSTILE}", "answer": "9"}
    known = good | {"problem": "1+1+1", "id": f"known{HOSTILE}", "answer": "3"}
    bad: list[object] = [{HOSTILE: 1}, good | {"problem": None}, good | {"answer": f"{HOSTILE}((("}, HOSTILE]
    write(tmp_path / "benchmark.jsonl", [known])
    return write(tmp_path / f"{HOSTILE.replace('/', '')}.jsonl", [good, other, known, *bad])


def hostile_collect(out: Path, problems: Path, *overrides: str) -> int:
    return collect(out, f"--config={pool(problems)}", PORTABLE_ENGINE, *overrides)


def pool(problems: Path) -> Path:
    """A config that names the problems, and the benchmark."""
    config = problems.parent / "pool.yaml"
    known = str(problems.parent / "benchmark.jsonl")
    settings = {"problems": [{"path": str(problems)}], "decontaminate": [known], "quarantine_limit": 1.0}
    config.write_text(yaml.safe_dump(settings))
    return config


def test_what_a_dry_run_shows(problems: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert hostile_collect(tmp_path / "run", problems, "--dry-run") == 0
    text = shown(capfd)
    assert text.count("left out:") >= 4
    assert "⟨U+001B⟩[2J⟨U+001B⟩]52;c;" in text
    assert "prompt `solve` of the first problem:" in text


def test_what_a_collection_shows(problems: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / f"run{HOSTILE.replace('/', '')}"
    hostile_collect(out, problems)
    assert "Interventions in" in shown(capfd)
    main(["inspect", str(out), "--rejected"])
    shown(capfd)


def test_what_grpo_shows(problems: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    given = [
        "--data.init_args.rewards=[{path: test_hostile_output.hostile_reward}]",
        f"--data.init_args.problems={problems.parent / 'benchmark.jsonl'}",
        "--data.init_args.prompts_per_batch=1",
        "--data.init_args.steps=1",
        "--data.init_args.show_every=1",
        PORTABLE_ENGINE,
    ]
    assert fit_grpo(tmp_path / "run", COLD, *given) == 0
    text = shown(capfd)
    assert "reward error:" in text
    assert "⟨U+001B⟩[2J⟨U+001B⟩]52;c;" in text
    assert "best and worst rollout" in text


def test_what_evaluate_shows(problems: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    sets = json.dumps({HOSTILE: str(problems.parent / "benchmark.jsonl")})
    given = [
        f"--problems={sets}",
        "--evaluation={rollouts: 2, k: [1]}",
        PORTABLE_ENGINE,
        f"--out={tmp_path / HOSTILE.replace('/', '')}",
    ]
    assert main(["evaluate", "-c", str(MINI / "evaluate.yaml"), *given]) == 0
    shown(capfd)


@pytest.mark.parametrize(
    "arguments",
    [
        ["fit", "-c", HOSTILE],
        ["fit", "-c", str(MINI / "sft.yaml"), f"--{HOSTILE}=1"],
        ["fit", "-c", str(MINI / "sft.yaml"), f"--model.init_args.model={HOSTILE}"],
        ["fit", "-c", str(MINI / "grpo.yaml"), f"--data.init_args.rewards=[{{path: {json.dumps(HOSTILE)}}}]"],
        ["run", "-c", str(MINI / "run.yaml"), f"--collect={HOSTILE}"],
        ["evaluate", "-c", str(MINI / "evaluate.yaml"), f"--problems.easy={HOSTILE}"],
        ["collect", "-c", str(MINI / "collect.yaml"), f"--problems={HOSTILE}"],
        ["collect", "-c", str(MINI / "collect.yaml"), f"--collection={{{json.dumps(HOSTILE)}: 1}}"],
        ["collect", "-c", str(MINI / "collect.yaml"), f"--prompts={HOSTILE}"],
        ["inspect", HOSTILE],
        ["grade", HOSTILE],
    ],
    ids=lambda a: a[0],
)
def test_what_a_mistake_shows(arguments: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    out = [f"--out={tmp_path / 'run'}"] if arguments[0] not in ("inspect", "grade") else []
    assert main([*arguments, *out]) == 2
    shown(capfd)


@pytest.mark.parametrize("command", ["inspect", "grade"])
def test_what_a_wrong_argument_shows(command: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert main([command, "a", HOSTILE]) == 2
    shown(capfd)


def test_what_grade_shows(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    pair = {"pred": HOSTILE, "gold": HOSTILE, "expected": True}
    rows = [pair | {"tier": HOSTILE}, pair | {"expected": HOSTILE}, {HOSTILE: 1}, "\x1b", {"pred": 1}]
    file = write(tmp_path / f"{HOSTILE.replace('/', '')}.jsonl", rows)
    with file.open("ab") as more:
        more.write(b'{"pred": ' + b"[" * 100_000 + b"\n" + b'{"pred": "1", "gold": ' + b"9" * 5000 + b"}\n")
    assert main(["grade", str(file), f"--out={tmp_path / f'out{file.stem}'}", "--workers=1"]) == 0
    assert "left out: row" in shown(capfd)


def test_what_an_exception_shows(capfd: pytest.CaptureFixture[str]) -> None:
    try:
        raise RuntimeError(f"{HOSTILE}\n")
    except RuntimeError as error:
        show_traceback(type(error), error, error.__traceback__)
    assert "Traceback" in shown(capfd)


@given(st.text() | st.text(st.sampled_from("[]/\\a=:#@ \x1b\n")))
def test_any_text_is_shown_as_text(text: str) -> None:
    with console.console.capture() as captured:
        console.say(f"[yellow]left out:[/] {escape(text)}", style="bold")
        console.show_text(text)
        console.complain(text)
        console.show_table(text, [text, "b"], [[text, text]])
    assert [run for kind, run in runs(captured.get()) if kind == "hidden"] == []


def _on_a_terminal(command: list[str], folder: Path) -> str:
    """What a command writes if stdout and stderr are a terminal."""
    leader, follower = pty.openpty()
    environment = os.environ | {"TERM": "xterm", "COLUMNS": "150"}
    process = subprocess.Popen(command, stdin=follower, stdout=follower, stderr=follower, env=environment, cwd=folder)
    os.close(follower)
    seen = b""
    while True:
        try:
            part = os.read(leader, 65536)
        except OSError:  # the other side is closed
            break
        if not part:
            break
        seen += part
    os.close(leader)
    assert process.wait() == 0, seen.decode(errors="replace")
    return seen.decode(errors="replace")


LOGGING = """
import logging, os, sys
from pathlib import Path
from int_lightning.console import progress, say
from int_lightning.captured_output import configure_logging, library_output_to
with library_output_to(Path("library.log")):
    configure_logging(False)
    with progress("work \\x1b[2J", 3, "steps") as advance:
        for i in range(3):
            print("LIBRARY print")
            sys.stderr.write("LIBRARY stderr\\n")
            os.write(1, b"LIBRARY fd\\n")
            logging.getLogger("vllm").warning("LIBRARY log")
            advance(1, "note \\x1b]52;c;x")
            say("ours")
"""


def test_what_libraries_write_stays_out_of_a_terminals_progress_bar(tmp_path: Path) -> None:
    seen = _on_a_terminal([sys.executable, "-c", LOGGING], tmp_path)
    assert "3/3" in seen
    assert seen.count("ours") == 3
    assert "⟨U+001B⟩[2J" in seen
    assert "⟨U+001B⟩]52" in seen
    assert "\x1b[2J" not in seen
    assert "\x1b]52" not in seen
    assert "LIBRARY" not in seen
    assert (tmp_path / "library.log").read_text().count("LIBRARY") == 12


def test_a_collection_on_a_terminal_shows_its_progress_and_no_more(problems: Path, tmp_path: Path) -> None:
    arguments = ["collect", "-c", str(MINI / "collect.yaml"), f"--out={tmp_path / 'run'}", *SMALL_COLLECT]
    command = [sys.executable, "-m", "int_lightning", *arguments, f"--config={pool(problems)}", PORTABLE_ENGINE]
    seen = _on_a_terminal(command, tmp_path)
    assert "\x1b[2J" not in seen
    assert "\x1b]52" not in seen
    begun, ended = seen.index("collect"), seen.index("left out")
    lines = [
        line for line in seen[begun:ended].replace("\r", "\n").splitlines() if line.strip("\x1b[?0123456789;lhmKA ")
    ]
    assert lines
    assert [line for line in lines if "problems" not in line] == []
