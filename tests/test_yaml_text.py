"""Small files that are large, endless or deep configs."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from int_lightning.__main__ import main
from int_lightning.yaml_text import load_yaml

BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 12)
)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (BOMB, "aliases"),
        (f"collection:\n  {BOMB.replace(chr(10), chr(10) + '  ')}", "aliases"),
        ("a: &a [*a]\n", "aliases"),
        ("a: &a {b: *a}\n", "aliases"),
        (f"a: {'[' * 900}{']' * 900}\n", "more than 100 levels"),
    ],
    ids=["bomb", "bomb in a key", "itself", "itself in a mapping", "deep"],
)
@pytest.mark.parametrize("command", ["collect", "fit"])
def test_a_config_that_grows_without_bound_is_refused_at_once(
    text: str, said: str, command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(text)
    began = time.process_time()
    assert main([command, "-c", str(config), f"--out={tmp_path / 'run'}"]) == 2
    assert time.process_time() - began < 30
    shown = capsys.readouterr().err.rstrip("\n")
    assert "\n" not in shown
    assert said in shown
    assert "config.yaml" in shown


def test_aliases_and_merged_keys_are_read() -> None:
    assert load_yaml("a: &x {b: 1}\nc: *x\nd: {<<: *x, e: 1e-3}") == {
        "a": {"b": 1},
        "c": {"b": 1},
        "d": {"b": 1, "e": 1e-3},
    }
