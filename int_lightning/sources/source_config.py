"""What a source of problems is, how it is written in configs and on the command line, and the record of a row of no use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from difflib import get_close_matches
from typing import Any

from jsonargparse.typing import register_type

from int_lightning.types import UserError

FIELDS = ("id", "problem", "solution", "answer")
MINI = "mini"

_FORMS = "a path (problems.jsonl, hf:ID, gym:TASK, mini:SPLIT), a mapping with a path and columns, or a list of these"
_TYPES = {
    "path": (str, "text"),
    "columns": (dict, "a mapping such as {problem: question, answer: final_answer}"),
    "weight": (int | float, "a number"),
    "prefix": (str, "text"),
    "suffix": (str, "text"),
    "attempts": (int | None, "a whole number"),
    "require_solution": (bool, "true or false"),
}


@dataclass(frozen=True)
class SourceConfig:
    """One source of problems.

    Args:
        path: A ``.jsonl``, ``.json``, ``.csv``, ``.tsv`` (each also ``.gz``) or ``.parquet`` file;
            ``hf:ID[:CONFIG[:SPLIT]]``, a dataset of the Hugging Face hub (or a local folder in its layout) with split ``train``
            unless named; ``gym:TASK[:COUNT]``, problems that reasoning-gym generates, 500 unless told; ``mini:SPLIT[:COUNT]``,
            the built-in world.
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
        if not isinstance(self.path, str) or not self.path.strip():
            raise UserError(f"a source of problems has the path {self.path!r}: give {_FORMS}")
        for name, (kind, wanted) in _TYPES.items():
            value = getattr(self, name)
            if not isinstance(value, kind) or (isinstance(value, bool) and name != "require_solution"):
                raise UserError(f"{self.path}: {name} is {value!r}: give {wanted}")
        if unknown := self.columns.keys() - set(FIELDS):
            raise UserError(
                f"{self.path}: columns maps {sorted(unknown, key=str)}: its keys are {', '.join(FIELDS)}, its values the names "
                "that the source uses"
            )
        if wrong := {k: v for k, v in self.columns.items() if not isinstance(v, str) or not v}:
            raise UserError(
                f"{self.path}: columns maps {wrong}: give the source's name as text, such as {{answer: gold}}"
            )
        if self.columns and self.path.partition(":")[0] == MINI:
            raise UserError(f"{self.path}: problems of the mini world have no columns: leave columns out")
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


class Sources(tuple[SourceConfig, ...]):
    """Sources of problems as every command takes them: one or several, each a path or a mapping."""

    __slots__ = ()

    @classmethod
    def of(cls, given: object) -> Sources:
        """The sources that a path, a mapping, a SourceConfig or a list of these describes; none for None.

        Raises:
            UserError: for anything else, and for a mapping with a key or value that a source does not have.
        """
        if isinstance(given, Sources):
            return given
        if given is None:
            return cls()
        if hasattr(given, "_fields"):  # one key of a source by itself, as jsonargparse has it
            raise UserError(
                f"{given}: a source's keys are given together, such as '{{path: p.jsonl, columns: {{answer: gold}}}}'"
            )
        return cls(_source(item) for item in (given if isinstance(given, list | tuple) else [given]))

    def plain(self) -> Any:
        """The same in plain values, as short as it can be said."""
        said = [_plain(source) for source in self]
        return said[0] if len(said) == 1 else said

    def __str__(self) -> str:
        return ", ".join(source.path for source in self)


def _source(given: object) -> SourceConfig:
    if isinstance(given, SourceConfig):
        return given
    if isinstance(given, str):
        if given.startswith(("{", "[")):
            raise UserError(
                f"{given}: begins as a mapping or list does, and is not YAML: check its brackets and quotes"
            )
        return SourceConfig(given)
    if not isinstance(given, Mapping):
        raise UserError(f"a source of problems is {given!r}: give {_FORMS}")
    names = [f.name for f in fields(SourceConfig)]
    where = given.get("path", "a source of problems")
    for key in given:
        if key not in names:
            near = get_close_matches(str(key), names, n=1)
            hint = f" (did you mean {near[0]!r}?)" if near else ""
            raise UserError(f"{where}: a source has no key {key!r}{hint}: its keys are {', '.join(names)}")
    if "path" not in given:
        raise UserError(f"a source of problems has {', '.join(map(str, given)) or 'no key'} and no path: give {_FORMS}")
    return SourceConfig(**given)


def _plain(source: SourceConfig) -> Any:
    default = asdict(SourceConfig(source.path))
    said = {name: value for name, value in asdict(source).items() if name == "path" or value != default[name]}
    return source.path if len(said) == 1 else said


register_type(Sources, Sources.plain, Sources.of)


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
