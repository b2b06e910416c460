"""A pool of problems: sources mixed, without duplicates and benchmark items, and an account of what was left out."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from itertools import chain, islice
from typing import Any, TypeVar

import numpy as np

from int_lightning.sources.contamination import BenchmarkItem, Benchmarks
from int_lightning.sources.duplicates import Duplicates
from int_lightning.sources.golds import Golds
from int_lightning.sources.hashes import HashSet, hash64
from int_lightning.sources.reading import read, statements
from int_lightning.sources.source_config import Quarantined, SourceConfig, Sources
from int_lightning.sources.text_tokens import text_tokens
from int_lightning.types import Problem, UserError

T = TypeVar("T")

_JUDGED_AFTER = 100  # rows
_SHOWN = 3  # quarantined rows in an error
_LISTED = 100  # quarantined rows of each source, and conflicts, in the summary
_PEEKED = 100  # rows that show whether a source has solutions at all


@dataclass
class SourceSummary:
    """What became of the rows of one source: each is kept or counted under one of the other names.

    ``quarantined`` counts by kind of reason. ``conflicting_answers`` are the exact duplicates whose gold answer is not that of
    the other copy.
    """

    rows: int = 0
    kept: int = 0
    exact_duplicates: int = 0
    near_duplicates: int = 0
    contaminated: int = 0
    conflicting_answers: int = 0
    quarantined: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Conflict:
    """A problem that was left out for being an exact duplicate, and whose gold answer is not that of the other copy."""

    source: str
    id: str
    answer: str
    other: str


@dataclass(frozen=True, slots=True)
class Contaminated:
    """A problem that was left out for being a benchmark item."""

    source: str
    id: str
    item: BenchmarkItem


@dataclass
class PoolSummary:
    """What became of the rows of a pool so far.

    Args:
        sources: Counts of each source, by its path.
        contaminated: Every problem left out for being a benchmark item.
        quarantined: The first 100 quarantined rows of each source.
        conflicts: The first 100 texts with two gold answers.
    """

    sources: dict[str, SourceSummary]
    contaminated: list[Contaminated] = field(default_factory=list)
    quarantined: list[Quarantined] = field(default_factory=list)
    conflicts: list[Conflict] = field(default_factory=list)

    @property
    def total(self) -> SourceSummary:
        """The counts of all sources together."""
        each = self.sources.values()
        return SourceSummary(
            rows=sum(s.rows for s in each),
            kept=sum(s.kept for s in each),
            exact_duplicates=sum(s.exact_duplicates for s in each),
            near_duplicates=sum(s.near_duplicates for s in each),
            contaminated=sum(s.contaminated for s in each),
            conflicting_answers=sum(s.conflicting_answers for s in each),
            quarantined=dict(sum((Counter(s.quarantined) for s in each), Counter())),
        )

    def as_dict(self) -> dict[str, Any]:
        """The summary and its totals, as JSON has it."""
        return {"total": asdict(self.total), **asdict(self)}


class Pool:
    """Problems of several sources in one stream; made by ``open_pool``.

    Every iteration reads the sources anew, in the same order, and starts a new ``summary``.

    Attributes:
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
        """The problems, each with an id of its own and the path of its source.

        Raises:
            UserError: at once as ``read`` does; on the way, when more rows of a source are quarantined than the limit
                allows, judged after its 100th row and at its end.
        """
        self.summary = PoolSummary({s.path: SourceSummary() for s in self.sources})
        seen, golds, ids = Duplicates(), Golds(), HashSet()
        rows = {s.path: read(s) for s in self.sources}
        kept = {path: self._kept(path, rows[path], seen, golds, ids) for path in rows}
        return islice(mix(kept, {s.path: s.weight for s in self.sources}, self._seed), self._limit)

    @cached_property
    def _solved(self) -> tuple[Duplicates, Golds]:
        """The problems that have a reference solution in some source, where others may lack theirs: from a pass of its own over
        the sources, because a copy without one may come first."""
        solved, golds = Duplicates(), Golds()
        for source in self.sources if any(not s.require_solution for s in self.sources) else ():
            rows = (row for row in read(source) if isinstance(row, Problem))
            first = list(islice(rows, _PEEKED))
            for row in chain(first, rows) if any(row.solution for row in first) else ():
                text = text_tokens(row.problem)
                if row.solution and solved.find(text, row.answer) != "exact":
                    golds.put(text, row.answer)
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
        solved, their_golds = self._solved
        for row in rows:
            counts.rows += 1
            if isinstance(row, Quarantined):
                counts.quarantined[row.kind] = counts.quarantined.get(row.kind, 0) + 1
                if sum(counts.quarantined.values()) <= _LISTED:
                    summary.quarantined.append(row)
            else:
                text = text_tokens(row.problem)
                if item := self._benchmarks.find(text):
                    counts.contaminated += 1
                    summary.contaminated.append(Contaminated(path, row.id, item))
                elif duplicate := (not row.solution and solved.has(text, row.answer)) or seen.find(text, row.answer):
                    counts.exact_duplicates += duplicate == "exact"
                    counts.near_duplicates += duplicate == "near"
                    other = golds.other(text, row.answer) or their_golds.other(text, row.answer)
                    if duplicate == "exact" and other is not None:
                        counts.conflicting_answers += 1
                        if len(summary.conflicts) < _LISTED:
                            summary.conflicts.append(Conflict(path, row.id, row.answer, other))
                else:
                    counts.kept += 1
                    golds.put(text, row.answer)
                    yield replace(row, id=_unique(row.id, ids), source=path)
            if counts.rows >= _JUDGED_AFTER:
                self._judge(path, summary)
        self._judge(path, summary)

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
    duplicates are left out (see ``Duplicates``): a copy with a reference solution stays, of several the first. Problems of
    benchmarks are left out too (see ``Benchmarks``). An id that another problem has already is followed by ``~2``, ``~3``, ...

    Args:
        sources: Where the problems come from.
        limit: Stop after so many problems.
        seed: Of the mixture.
        quarantine_limit: Share of a source's rows that may be of no use.
        decontaminate: Benchmarks whose problems must not be in the pool. Only their id and problem columns are used.

    Raises:
        UserError: for settings that cannot be, and for a benchmark that cannot be read to its end.
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
    benchmarks = Benchmarks(
        (BenchmarkItem(source.path, id), text_tokens(text))
        for source in Sources.of(decontaminate)
        for id, text in statements(source)
    )
    return Pool(configs, benchmarks, limit, seed, quarantine_limit)


def mix(streams: Mapping[str, Iterator[T]], weights: Mapping[str, float], seed: int) -> Iterator[T]:
    """Items of all streams, each drawn from one chosen at random by weight among those that have not ended."""
    rng, running = random.Random(seed), list(streams)
    while running:
        name = rng.choices(running, [weights[n] for n in running])[0]
        try:
            item = next(streams[name])
        except StopIteration:
            running.remove(name)
        else:
            yield item


def _unique(id: str, taken: HashSet) -> str:
    """The id, or the first of id~2, id~3, ... that is not taken."""
    unique, n = id, 1
    while taken.contains(key := np.array([hash64(unique)], np.uint64))[0]:
        n += 1
        unique = f"{id}~{n}"
    taken.add(key)
    return unique
