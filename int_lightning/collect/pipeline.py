"""Data collection as a stream: problems flow in, work side by side, and are committed batch by batch as they end.

Only the problems in flight are in memory. A run that is killed loses those; started again it skips what was committed, and
takes up problems whose oracle had no answer yet where they stopped.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import Any, TypeVar

from int_lightning.collect.categories import ErrorCategory
from int_lightning.collect.refining import Unrefined
from int_lightning.collect.stages import ProblemStages, Work
from int_lightning.collect.store import OUTCOMES, Store
from int_lightning.types import Intervention, Problem, Proposal, Rollout

TABLES: dict[str, type[Any]] = {
    "attempts": Rollout,
    "proposals": Proposal,
    "interventions": Intervention,
    "guided": Rollout,
    "from_prefix": Rollout,
    "naive": Rollout,
    "categories": ErrorCategory,
    "refined": Rollout,
    "unrefined": Unrefined,
}

T = TypeVar("T")
Advance = Callable[[Work], None]
Todo = tuple[Problem, Work | None]


class Collector:
    """Runs problems through their stages and keeps everything in a store.

    Args:
        store: Keeps everything.
        batch_problems: See ``CollectConfig``.
    """

    def __init__(self, store: Store, batch_problems: int) -> None:
        self.store = store
        self.batch_problems = batch_problems

    def run(self, stages: ProblemStages, problems: Iterable[Problem], advance: Advance) -> None:
        """Works on the problems that are not done yet; ``advance`` is called with each that has ended."""
        asyncio.run(self._run(stages, self.todo(problems), advance))

    def todo(self, problems: Iterable[Problem]) -> Iterator[Todo]:
        """The problems that are not done yet, each with what an earlier run did of it."""
        done, waiting = known_problems(self.store)
        records = stored_records(self.store, waiting)
        return ((p, earlier_work(p, records)) for p in problems if hash(p.id) not in done)

    def keep(self, works: Iterable[Work], advance: Advance) -> None:
        """Stores works that end elsewhere, as they come."""
        for some in batched(works, self._half):
            commit(self.store, some)
            for work in some:
                advance(work)

    @property
    def _half(self) -> int:
        """Most problems in flight, and most that ended but are not stored yet: a batch in all."""
        return max(1, self.batch_problems // 2)

    async def _run(self, stages: ProblemStages, todo: Iterator[Todo], advance: Advance) -> None:
        running: set[asyncio.Task[Work]] = set()
        ended: list[Work] = []

        async def work_on(item: Todo) -> Work:
            try:
                return await stages.run(*item)
            except Exception:
                for task in running - {asyncio.current_task()}:
                    task.cancel()  # at once: an engine could decode a whole batch before the caller hears of the error
                raise

        try:
            while True:
                for item in islice(todo, self._half - len(running)):
                    running.add(asyncio.create_task(work_on(item)))
                if not running:
                    break
                done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                errors: list[BaseException] = []
                for task in done:
                    if task.cancelled():
                        continue
                    if error := task.exception():
                        errors.append(error)
                    else:
                        ended.append(task.result())
                        advance(ended[-1])
                if errors:
                    raise errors[0]
                if len(ended) >= self._half:
                    batch, ended = ended, []
                    await asyncio.to_thread(commit, self.store, batch)
        finally:
            for task in running:
                task.cancel()
            commit(self.store, ended)


def commit(store: Store, ended: Sequence[Work]) -> None:
    """Writes the new records of problems that ended, all of them or none."""
    if not ended:
        return
    batch = {table: list(chain.from_iterable(_new_records(work, table) for work in ended)) for table in TABLES}
    problems = [work.problem for work in ended if not work.stored]
    store.commit(batch | {"problems": problems, OUTCOMES: [work.outcome for work in ended]})


def _new_records(work: Work, table: str) -> list[Any]:
    """Records that are not stored yet."""
    records: list[Any] = getattr(work, table)
    return records[work.stored[table] :]


def known_problems(store: Store) -> tuple[set[int], set[str]]:
    """The problems that are done, as hashes of their ids because there may be very many, and the ids of those that wait."""
    done: set[int] = set()
    waiting: set[str] = set()
    for problem_id, status in store.columns(OUTCOMES, "problem_id", "status"):
        if status == "waiting":
            waiting.add(problem_id)
        else:
            done.add(hash(problem_id))
            waiting.discard(problem_id)
    return done, waiting


def stored_records(store: Store, waiting: set[str]) -> dict[str, dict[str, list[Any]]]:
    """What is stored of some problems, by problem and table."""
    found: dict[str, dict[str, list[Any]]] = {p: {table: [] for table in TABLES} for p in waiting}
    for table, record in TABLES.items() if waiting else ():
        for item in store.read(table, record):
            if item.problem_id in found:
                found[item.problem_id][table].append(item)
    return found


def earlier_work(problem: Problem, records: dict[str, dict[str, list[Any]]]) -> Work | None:
    """What an earlier run did of a problem, None if nothing."""
    stored = records.pop(problem.id, None)
    if stored is None:
        return None
    work = Work(problem, stored=Counter({table: len(rows) for table, rows in stored.items()}))
    for table, rows in stored.items():
        getattr(work, table).extend(rows)
    return work


def batched(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Lists of ``size`` items; the last may be shorter."""
    rest = iter(items)
    while some := list(islice(rest, size)):
        yield some
