"""The same collection on a Ray cluster: problems through ``map_batches`` over actors, each with an engine of its own.

The remaining problems are written to Parquet beside the dataset, a few at a time, and the cluster reads them from there; this
process alone commits what comes back. All nodes must see the dataset's folder.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from int_lightning.collect.pipeline import TABLES, Advance, Collector, Todo, batched
from int_lightning.collect.stages import ProblemStages, Work
from int_lightning.collect.store import from_row, schema_of, to_row
from int_lightning.types import Problem, UserError

WORK = pa.schema(
    [
        ("problem", pa.struct(list(schema_of(Problem)))),
        *((table, pa.list_(pa.struct(list(schema_of(record))))) for table, record in TABLES.items()),
        ("waiting", pa.bool_()),
        ("stored", pa.map_(pa.string(), pa.int64())),
    ]
)

CPUS_OF_AN_ENGINE = 0.5
"""What Ray reserves. An engine uses more, but if engines took all CPUs, nothing could read the problems."""


class EngineActor:
    """Runs problems through all stages on one engine.

    Args:
        build: Makes the stages, engine included, on the actor's node.
    """

    def __init__(self, build: Callable[[], ProblemStages]) -> None:
        self.stages = build()

    def __call__(self, rows: pa.Table) -> pa.Table:
        """All stages for a batch of problems, side by side."""
        return to_table(asyncio.run(self._run([from_work_row(r) for r in rows.to_pylist()])))

    async def _run(self, todo: list[Work]) -> list[Work]:
        return await asyncio.gather(*map(self._run_one, todo))

    async def _run_one(self, work: Work) -> Work:
        return await self.stages.run(work.problem, work if work.attempts else None)


def run_on_ray(
    collector: Collector, build: Callable[[], ProblemStages], problems: Iterable[Problem], advance: Advance, actors: int
) -> None:
    """``Collector.run`` on ``actors`` engines of a Ray cluster (the one at RAY_ADDRESS, or a new one on this machine).

    Raises:
        UserError: if Ray is not installed.
    """
    try:
        import ray  # an extra, and slow to import
    except ImportError as error:
        raise UserError("executor ray: Ray is not installed; install the extra `ray`, or use executor local") from error

    batch = max(1, collector.batch_problems // 2)
    folder = collector.store.folder.parent / "todo"
    if not _write_todo(folder, collector.todo(problems), batch):
        return
    ray.init(ignore_reinit_error=True, log_to_driver=False, include_dashboard=False, configure_logging=False)
    try:
        gpus = 1 if ray.cluster_resources().get("GPU") else 0
        data = ray.data.read_parquet(str(folder)).map_batches(
            EngineActor,
            fn_constructor_args=(build,),
            batch_size=batch,
            batch_format="pyarrow",
            concurrency=actors,
            num_gpus=gpus,
            num_cpus=CPUS_OF_AN_ENGINE,
        )
        collector.keep(_works(data), advance)
    finally:
        ray.shutdown()
        shutil.rmtree(folder, ignore_errors=True)


def to_table(works: Iterable[Work]) -> pa.Table:
    """Works as rows."""
    return pa.Table.from_pylist([to_work_row(w) for w in works], schema=WORK)


def to_work_row(work: Work) -> dict[str, Any]:
    """A work as a row of plain values."""
    row = {table: [to_row(r) for r in getattr(work, table)] for table in TABLES}
    return {"problem": to_row(work.problem), **row, "waiting": work.waiting, "stored": list(work.stored.items())}


def from_work_row(row: dict[str, Any]) -> Work:
    """A work from its row."""
    work = Work(from_row(Problem, row["problem"]), waiting=row["waiting"])
    for table, record in TABLES.items():
        getattr(work, table).extend(from_row(record, r) for r in row[table])
    work.stored.update(dict(row["stored"]))
    return work


def _write_todo(folder: Path, todo: Iterator[Todo], rows: int) -> int:
    """One file for each batch of problems, so that batches are spread over actors; returns the number of files."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    files = 0
    for some in batched(todo, rows):
        pq.write_table(to_table(earlier or Work(problem) for problem, earlier in some), folder / f"{files:06d}.parquet")
        files += 1
    return files


def _works(data: Any) -> Iterator[Work]:
    for rows in data.iter_batches(batch_size=None, batch_format="pyarrow"):
        yield from map(from_work_row, rows.to_pylist())
