"""One of several processes of a GRPO hangs, fails or is killed while it samples: all end, with one line that says why."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from int_lightning.engines import vllm

from commands import PORTABLE_ENGINE, parallel, short_grpo
from ended_fits import failing, line_at_the_end
from model_folders import with_four_heads


def test_a_reward_that_hangs_on_one_rank_ends_all(tmp_path: Path) -> None:
    hangs = [
        "--data.init_args.rewards=[{path: example_rewards.hangs_on_rank_1}]",
        "--data.init_args.groups.reward_timeout=3",
    ]
    command = parallel(2, "ddp", *short_grpo(tmp_path / "run"), PORTABLE_ENGINE, *hangs)
    line = line_at_the_end(command, tmp_path)
    assert "rank 1: the reward example_rewards.hangs_on_rank_1 of rollout easy-" in line
    assert "did not return within 3 s" in line


def test_a_sync_that_fails_on_one_rank_ends_all(tmp_path: Path) -> None:
    command = parallel(2, "ddp", *short_grpo(tmp_path / "run"), PORTABLE_ENGINE, failing(1, "sync", tmp_path))
    assert "rank 1: after the weight sync engine transformers" in line_at_the_end(command, tmp_path)


@pytest.mark.skipif(not vllm.available(), reason="vLLM is not installed")
def test_a_rank_that_is_killed_while_it_decodes_for_the_other_ends_both(tmp_path: Path) -> None:
    given = ["--engine.name=vllm", "--engine.tensor_parallel_size=2", failing(1, "decoding", tmp_path)]
    model = f"--model.init_args.model={with_four_heads(tmp_path / 'four-heads')}"
    line = line_at_the_end(parallel(2, "ddp", *short_grpo(tmp_path / "run"), model, *given), tmp_path)
    assert re.search(r"rank 1 \(process \d+\) was killed by SIGKILL", line)
