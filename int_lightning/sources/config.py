"""What a source of problems is, and the record of a row that cannot be used."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from int_lightning.types import UserError

FIELDS = ("id", "problem", "solution", "answer")


@dataclass(frozen=True)
class SourceConfig:
    """One source of problems.

    Args:
        path: A ``.jsonl``, ``.csv`` (either also ``.gz``) or ``.parquet`` file; ``hf:ID[:CONFIG[:SPLIT]]``, a dataset of
            the Hugging Face hub (or a local folder in its layout) with split ``train`` unless named; ``gym:TASK[:COUNT]``,
            problems that reasoning-gym generates, 500 unless told; ``mini:SPLIT[:COUNT]``, the built-in world.
        columns: Where ``id``, ``problem``, ``solution`` and ``answer`` are, if not under these names. A dotted path reaches
            into nested columns, by name, list index or ``*`` (the only value there is): ``prompt.0.content``.
        weight: Share of this source in a mixture, relative to the others' weights.
        prefix: Text taken off the start of a problem, where it is there; whitespace in it matches any.
        suffix: Text taken off the end of a problem, likewise.
        attempts: Rollouts per problem for the hard filter (the paper: 32, 64 or 128); the collection's own if not given.
        require_solution: Whether a row without a reference solution is of no use.
    """

    path: str
    columns: dict[str, str] = field(default_factory=dict)
    weight: float = 1.0
    prefix: str = ""
    suffix: str = ""
    attempts: int | None = None
    require_solution: bool = True

    def __post_init__(self) -> None:
        if unknown := self.columns.keys() - set(FIELDS):
            raise UserError(
                f"{self.path}: columns maps {sorted(unknown)}: its keys are {', '.join(FIELDS)}, its values the names that "
                "the source uses"
            )
        if not self.weight > 0:
            raise UserError(f"{self.path}: weight is {self.weight}: give a number above 0, or leave the source out")
        if self.attempts is not None and self.attempts < 1:
            raise UserError(f"{self.path}: attempts is {self.attempts}: give at least 1, or leave it out")

    def column(self, name: str) -> str:
        """The source's own name for one of ``FIELDS``."""
        return self.columns.get(name, name)

    @property
    def needed(self) -> list[str]:
        """Columns that have to be there."""
        names = {"problem", "answer", *self.columns} | ({"solution"} if self.require_solution else set())
        return [self.column(name) for name in FIELDS if name in names]


@dataclass(frozen=True, slots=True)
class Quarantined:
    """A row that cannot be used: its source, row (from 1; a CSV's header is not counted) and id, "" if it has none.

    ``reason`` says what is wrong in what key, after its kind and a colon what was found and what to do.
    """

    source: str
    row: int
    id: str
    reason: str

    def __str__(self) -> str:
        return f"{self.source}: row {self.row}: {self.reason}"

    @property
    def kind(self) -> str:
        """The reason without its particulars."""
        return self.reason.partition(":")[0]


def own_attempts(sources: Sequence[SourceConfig]) -> dict[str, int]:
    """Rollouts per problem for the hard filter, by the path of the sources that have their own number."""
    return {source.path: source.attempts for source in sources if source.attempts is not None}
