"""A call that never returns ends the process, with a line that names the call and its rank."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from int_lightning.__main__ import main
from int_lightning.grpo.groups import GroupConfig
from int_lightning.time_limit import time_limit
from int_lightning.types import UserError

from commands import MINI

HANGS = """
import time
from int_lightning.time_limit import time_limit
with time_limit(0.2, "rank 1, step 3: sampling batch 3"):
    time.sleep(60)
"""


def test_a_call_that_hangs_is_named_and_ends_the_process() -> None:
    done = subprocess.run([sys.executable, "-c", HANGS], capture_output=True, text=True, timeout=50)
    assert done.returncode == 2
    assert "rank 1, step 3: sampling batch 3 did not end within 0.2 s" in done.stdout
    assert "time.sleep" in done.stderr or 'File "<string>", line 5' in done.stderr


def test_a_call_in_time_goes_on() -> None:
    with time_limit(0.05, "a call"):
        pass
    time.sleep(0.1)


@pytest.mark.parametrize("seconds", ["0", "-1", ".inf", ".nan"])
def test_a_limit_that_would_expire_at_once_or_never_is_refused(
    seconds: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    given = [f"--out={tmp_path}", f"--engine={{name: transformers, time_limit: {seconds}}}"]
    assert main(["collect", "-c", str(MINI / "collect.yaml"), *given]) == 2
    assert "engine.time_limit is" in capfd.readouterr().err
    with pytest.raises(UserError, match="reward_timeout"):
        GroupConfig(reward_timeout=yaml.safe_load(seconds))
