"""The rollouts of each batch as a table for the user: ``rollouts/batch-000012.parquet`` in the run's folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import shorten

import pyarrow as pa
import pyarrow.parquet as pq

from int_lightning.console import show_table
from int_lightning.run_files import replacing
from int_lightning.types import Group, Problem

_COLUMNS = pa.schema(
    [
        ("problem_id", pa.string()),
        ("problem", pa.string()),
        ("gold", pa.string()),
        ("sample", pa.int64()),
        ("reward", pa.float64()),
        ("advantage", pa.float64()),
        ("correct", pa.bool_()),
        ("answer", pa.string()),
        ("finish", pa.string()),
        ("tokens", pa.int64()),
        ("text", pa.string()),
    ]
)


def write_rollouts(folder: Path, batch: int, groups: Sequence[Group], problems: Mapping[str, Problem]) -> None:
    """Writes a batch's table; one that is there already, of a run that was then resumed from an earlier step, is replaced.

    Raises:
        UserError: if it cannot be written.
    """
    rows = []
    for group in groups:
        problem = problems[group.problem_id]
        for rollout, reward, advantage in zip(group.rollouts, group.rewards, group.advantages, strict=True):
            rows.append(
                {
                    "problem_id": problem.id,
                    "problem": problem.problem,
                    "gold": problem.answer,
                    "sample": rollout.sample,
                    "reward": reward,
                    "advantage": advantage,
                    "correct": rollout.correct,
                    "answer": rollout.answer,
                    "finish": rollout.finish,
                    "tokens": len(rollout.token_ids),
                    "text": rollout.text,
                }
            )
    path = folder / f"batch-{batch:06d}.parquet"
    with replacing(path) as aside:
        folder.mkdir(exist_ok=True)
        pq.write_table(pa.Table.from_pylist(rows, schema=_COLUMNS), aside, compression="zstd")


def show_rollouts(batch: int, groups: Sequence[Group], count: int = 4) -> None:
    """Prints the best and the worst rollout of a batch's first groups."""
    rows = []
    for group in groups[:count]:
        ranked = sorted(zip(group.rewards, group.advantages, group.rollouts, strict=True), key=lambda r: -r[0])
        for reward, advantage, rollout in [ranked[0], ranked[-1]] if ranked else []:
            text = shorten(rollout.text, 60, placeholder=" ...")
            rows.append(
                [group.problem_id, f"{reward:g}", f"{advantage:+.3f}", rollout.answer[:20], rollout.finish, text]
            )
    columns = ["problem", "reward", "advantage", "answer", "finish", "text"]
    show_table(f"Batch {batch}: best and worst rollout of {min(count, len(groups))} groups", columns, rows)
