"""A summary of a collection's training rows: tokens by span, the share trained on, lengths, reasons for rejection."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from int_lightning.collect.statistics import describe
from int_lightning.collect.store import Store
from int_lightning.defects import Defect
from int_lightning.types import SFTExample
from int_lightning.visible import in_line

_ONE_BIN = (0, 1)


class Table(NamedTuple):
    """Text in rows and columns."""

    title: str
    columns: list[str]
    rows: list[list[str]]


@dataclass(slots=True)
class RowSummary:
    """Counts over all rows of a target, and over the collection's interventions.

    ``tokens`` and ``trained`` (tokens that carry loss) are counted by span name; the first token of a row is predicted from
    nothing and never trained on. ``lengths`` are the rows' lengths in tokens. ``rejected`` counts interventions by reason.
    """

    target: str
    tokens: Counter[str] = field(default_factory=Counter)
    trained: Counter[str] = field(default_factory=Counter)
    lengths: array[int] = field(default_factory=lambda: array("q"))
    problems: set[str] = field(default_factory=set)
    interventions: int = 0
    rejected: Counter[str] = field(default_factory=Counter)

    def add(self, example: SFTExample) -> None:
        """Counts one row."""
        start = 0
        for span in example.spans:
            self.tokens[span.name] += span.tokens
            if span.weight:
                self.trained[span.name] += span.tokens - (start == 0 and span.tokens > 0)
            start += span.tokens
        self.lengths.append(len(example.token_ids))
        self.problems.add(example.problem_id)

    def add_interventions(self, store: Store) -> None:
        """Counts the collection's interventions, and the kinds of reasons for which some were rejected."""
        for (said,) in store.columns("interventions", "rejected"):
            self.interventions += 1
            if reason := Defect.parse(said):
                self.rejected[reason.kind] += 1

    def facts(self) -> dict[str, str]:
        """The totals, by name."""
        return {
            "target": self.target,
            "rows": f"{len(self.lengths):,}",
            "problems with rows": f"{len(self.problems):,}",
            "tokens": f"{self.tokens.total():,}",
            "trained on": share(self.trained.total(), self.tokens.total()),
            "interventions": f"{self.interventions:,}",
            "rejected": share(self.rejected.total(), self.interventions),
        }

    def tables(self) -> Iterator[Table]:
        """Tokens by span, lengths of rows and reasons for rejection, where there are any."""
        total = self.tokens.total()
        spans = [
            [name, f"{n:,}", share(n, total), f"{self.trained[name]:,}", share(self.trained[name], n)]
            for name, n in self.tokens.items()
        ]
        reasons = [[in_line(reason), f"{n:,}"] for reason, n in self.rejected.most_common()]
        if self.lengths:
            lengths = self._lengths()
            yield Table("Tokens by span", ["span", "tokens", "of all", "trained on", "of the span"], spans)
            yield Table("Tokens of a row", list(lengths), [list(lengths.values())])
        if reasons:
            yield Table("Rejected interventions", ["reason", "count"], reasons)

    def _lengths(self) -> dict[str, str]:
        found = describe(self.lengths, _ONE_BIN)
        quantiles = {f"{float(q):.0%}": f"{value:,.0f}" for q, value in found["quantiles"].items()}
        longest = {"longest": f"{max(self.lengths):,}", "mean": f"{found['mean']:,.1f}"}
        return {"shortest": f"{min(self.lengths):,}", **quantiles, **longest}


def share(count: int, total: int) -> str:
    """A share in percent; ``-`` if the total is 0."""
    return f"{count / total:.1%}" if total else "-"
