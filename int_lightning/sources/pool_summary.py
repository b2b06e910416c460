"""An account of the rows of a pool: how many were kept, and why the others were left out."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from int_lightning.sources.contamination import BenchmarkItem
from int_lightning.sources.source_config import Quarantined

_LISTED = 100  # number of quarantined rows of each source, and of conflicts, that are listed


@dataclass
class SourceSummary:
    """What became of the rows of one source: each is counted once, under ``kept`` or the reason it was left out.

    ``quarantined`` counts rows by kind of reason. ``conflicting_answers`` counts those exact duplicates whose gold answer differs
    from that of the other copy.
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
    """A problem that was left out as an exact duplicate although its gold answer differs from ``other``, that of the other
    copy."""

    source: str
    id: str
    answer: str
    other: str


@dataclass(frozen=True, slots=True)
class Contaminated:
    """A problem that was left out as a benchmark item."""

    source: str
    id: str
    item: BenchmarkItem


@dataclass
class PoolSummary:
    """What became of the rows of a pool so far.

    Args:
        sources: Counts of each source, by its path.
        contaminated: Every problem left out as a benchmark item.
        quarantined: The first 100 quarantined rows of each source.
        conflicts: The first 100 texts with two gold answers.
    """

    sources: dict[str, SourceSummary]
    contaminated: list[Contaminated] = field(default_factory=list)
    quarantined: list[Quarantined] = field(default_factory=list)
    conflicts: list[Conflict] = field(default_factory=list)

    def add_quarantined(self, row: Quarantined) -> None:
        """Counts a row that cannot be used."""
        counts = self.sources[row.source].quarantined
        counts[row.kind] = counts.get(row.kind, 0) + 1
        if sum(counts.values()) <= _LISTED:
            self.quarantined.append(row)

    def add_contaminated(self, problem: Contaminated) -> None:
        """Counts a problem that is a benchmark item."""
        self.sources[problem.source].contaminated += 1
        self.contaminated.append(problem)

    def add_duplicate(self, source: str, kind: Literal["exact", "near"], conflict: Conflict | None) -> None:
        """Counts a problem that is a duplicate, and the conflict if it is an exact one with another gold answer."""
        counts = self.sources[source]
        counts.exact_duplicates += kind == "exact"
        counts.near_duplicates += kind == "near"
        if kind == "exact" and conflict is not None:
            counts.conflicting_answers += 1
            if len(self.conflicts) < _LISTED:
                self.conflicts.append(conflict)

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
        """The summary with its totals, ready for JSON."""
        return {"total": asdict(self.total), **asdict(self)}
