"""A pool of problems: sources mixed, duplicates and benchmark items left out, and an account of every row."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import chain, islice
from typing import TypeVar

import numpy as np

from int_lightning.sources.contamination import BenchmarkItem, Benchmarks
from int_lightning.sources.duplicates import Duplicates
from int_lightning.sources.golds import Golds
from int_lightning.sources.hashes import HashSet, hash64
from int_lightning.sources.pool_summary import Conflict, Contaminated, PoolSummary, SourceSummary
from int_lightning.sources.reading import read, statements
from int_lightning.sources.source_config import Quarantined, SourceConfig, Sources
from int_lightning.sources.text_tokens import text_tokens
from int_lightning.types import Problem, UserError

T = TypeVar("T")

_JUDGED_AFTER = 100  # number of rows after which a source's share of bad rows is judged
_SHOWN = 3  # number of quarantined rows in an error message
_PEEKED = 100  # number of problems that show whether a source has solutions at all


class Pool:
    """Problems of several sources in one stream; made by ``open_pool``.

    Every iteration reads the sources again, in the same order, and starts a new ``summary``.

    Attributes:
        sources: The sources.
        summary: What became of the rows so far, in the latest iteration.
    """

    def __init__(
        self,
        sources: Sequence[SourceConfig],
        benchmarks: Benchmarks,
        limit: int | None,
        seed: int,
        quarantine_limit: float,
    ) -> None:
        self.sources = sources
        self.summary = PoolSummary({})
        self._benchmarks = benchmarks
        self._limit = limit
        self._seed = seed
        self._quarantine_limit = quarantine_limit

    def __iter__(self) -> Iterator[Problem]:
        """The problems, each with a unique id and the path of its source.

        Raises:
            UserError: at once, as ``read`` does; later, if more rows of a source are quarantined than the limit allows, judged
                from its 100th row on and at its end.
        """
        self.summary = PoolSummary({s.path: SourceSummary() for s in self.sources})
        seen, golds, ids = Duplicates(), Golds(), HashSet()
        rows = {s.path: read(s) for s in self.sources}
        kept = {path: self._kept(path, rows[path], seen, golds, ids) for path in rows}
        return islice(mix(kept, {s.path: s.weight for s in self.sources}, self._seed), self._limit)

    @cached_property
    def _solved(self) -> tuple[Duplicates, Golds]:
        """The problems that have a reference solution in some source, where another source may lack it.

        They come from a separate pass over the sources, because a copy without a solution may come before one with it.
        """
        solved, golds = Duplicates(), Golds()
        if all(source.require_solution for source in self.sources):
            return solved, golds
        for source in self.sources:
            for problem in _where_any_is_solved(source):
                text = text_tokens(problem.problem)
                if problem.solution and solved.find(text, problem.answer) != "exact":
                    golds.put(text, problem.answer)
        return solved, golds

    def _kept(
        self,
        path: str,
        rows: Iterator[Problem | Quarantined],
        seen: Duplicates,
        golds: Golds,
        ids: HashSet,
    ) -> Iterator[Problem]:
        summary = self.summary
        counts = summary.sources[path]
        for row in rows:
            counts.rows += 1
            if isinstance(row, Quarantined):
                summary.add_quarantined(row)
            elif self._is_new(path, row, seen, golds, summary):
                counts.kept += 1
                yield replace(row, id=_unique(row.id, ids), source=path)
            if counts.rows >= _JUDGED_AFTER:
                self._judge(path, summary)
        self._judge(path, summary)

    def _is_new(self, path: str, problem: Problem, seen: Duplicates, golds: Golds, summary: PoolSummary) -> bool:
        """Whether a problem is neither a benchmark item nor a duplicate; if it is one, the summary says so."""
        text, answer = text_tokens(problem.problem), problem.answer
        if item := self._benchmarks.find(text):
            summary.add_contaminated(Contaminated(path, problem.id, item))
            return False
        solved, their_golds = self._solved
        duplicate = (not problem.solution and solved.has(text, answer)) or seen.find(text, answer)
        if duplicate:
            other = golds.other(text, answer) or their_golds.other(text, answer)
            conflict = None if other is None else Conflict(path, problem.id, answer, other)
            summary.add_duplicate(path, duplicate, conflict)
            return False
        golds.put(text, answer)
        return True

    def _judge(self, path: str, summary: PoolSummary) -> None:
        counts = summary.sources[path]
        bad = sum(counts.quarantined.values())
        if bad > self._quarantine_limit * counts.rows:
            shown = [q for q in summary.quarantined if q.source == path][:_SHOWN]
            raise UserError(
                f"{path}: {bad} of {counts.rows} rows cannot be used, more than quarantine_limit "
                f"({self._quarantine_limit:.1%}) allows: "
                + "; ".join(f"row {q.row} ({q.id}): {q.reason}" for q in shown)
                + ("; ..." if bad > len(shown) else "")
                + ". Correct the rows or the source's columns, or raise the limit"
            )


def open_pool(
    sources: Sources | Sequence[SourceConfig | str],
    limit: int | None = None,
    seed: int = 0,
    quarantine_limit: float = 0.01,
    decontaminate: Sources | Sequence[SourceConfig | str] = (),
) -> Pool:
    """A pool of problems from several sources.

    Sources are mixed at random by their weights, the same way for the same seed, until each is used up. Exact and near
    duplicates are left out (see ``Duplicates``): the first copy with a reference solution is kept, or else the first copy.
    Problems of benchmarks are left out too (see ``Benchmarks``). An id that another problem already has is followed by ``~2``,
    ``~3``, ...

    Args:
        sources: Where the problems come from.
        limit: Number of problems to stop after.
        seed: Seed of the mixture.
        quarantine_limit: Share of a source's rows that may be quarantined.
        decontaminate: Benchmarks whose problems must not be in the pool. Only their id and problem columns are used.

    Raises:
        UserError: for invalid settings, and for a benchmark that cannot be read to its end.
    """
    configs = Sources.of(sources)
    if not configs:
        raise UserError("the pool has no sources: give at least one")
    if twice := [path for path, n in Counter(s.path for s in configs).items() if n > 1]:
        raise UserError(f"{', '.join(twice)}: given twice as a source: give it once, with a larger weight")
    if limit is not None and limit < 1:
        raise UserError(f"limit is {limit}: give at least 1, or leave it out for all problems")
    if not 0 <= quarantine_limit <= 1:
        raise UserError(f"quarantine_limit is {quarantine_limit}: give a share between 0 and 1")
    items = chain.from_iterable(map(_benchmark_items, Sources.of(decontaminate)))
    return Pool(configs, Benchmarks(items), limit, seed, quarantine_limit)


def mix(streams: Mapping[str, Iterator[T]], weights: Mapping[str, float], seed: int) -> Iterator[T]:
    """Items of all streams, each from a stream drawn at random by weight among those that have not ended."""
    rng, running = random.Random(seed), list(streams)
    while running:
        name = rng.choices(running, [weights[n] for n in running])[0]
        try:
            item = next(streams[name])
        except StopIteration:
            running.remove(name)
        else:
            yield item


def _where_any_is_solved(source: SourceConfig) -> Iterator[Problem]:
    """The problems of a source; nothing if none of the first ones has a solution."""
    problems = (row for row in read(source) if isinstance(row, Problem))
    first = list(islice(problems, _PEEKED))
    if any(problem.solution for problem in first):
        yield from chain(first, problems)


def _benchmark_items(source: SourceConfig) -> Iterator[tuple[BenchmarkItem, list[str]]]:
    for id, text in statements(source):
        yield BenchmarkItem(source.path, id), text_tokens(text)


def _unique(id: str, taken: HashSet) -> str:
    """The id, or the first of id~2, id~3, ... that is not taken."""
    unique, n = id, 1
    while taken.contains(key := np.array([hash64(unique)], np.uint64))[0]:
        n += 1
        unique = f"{id}~{n}"
    taken.add(key)
    return unique
