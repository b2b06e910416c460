"""A source of problems, how it is written in configs and on the command line, and the record of a row that cannot be used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from difflib import get_close_matches
from typing import Any

from jsonargparse.typing import register_type

from int_lightning.mini.world import is_mini
from int_lightning.types import UserError

FIELDS = ("id", "problem", "solution", "answer")

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
            ``hf:ID[:CONFIG[:SPLIT]]``, a dataset of the Hugging Face hub (or a local folder in its layout), split ``train`` by
            default; ``gym:TASK[:COUNT]``, problems that reasoning-gym generates, 500 by default; ``mini:SPLIT[:COUNT]``, the
            built-in world.
        columns: Where ``id``, ``problem``, ``solution`` and ``answer`` are, if not under these names. A dotted path reaches
            into nested columns by name, list index or ``*`` (the only value that is not null): ``prompt.0.content``.
        weight: Share of this source in a mixture, relative to the others' weights.
        prefix: Text to remove from the start of a problem if it begins with it; white space in it matches any white space.
        suffix: Text to remove from the end of a problem, likewise.
        attempts: Rollouts per problem for the hard filter (the paper: 32, 64 or 128); by default the collection's number.
        require_solution: Whether a row must have a reference solution.

    Raises:
        UserError: for a value of the wrong type or out of range.
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
        if self.columns and is_mini(self.path):
            raise UserError(f"{self.path}: problems of the mini world have no columns: leave columns out")
        if not self.weight > 0:
            raise UserError(f"{self.path}: weight is {self.weight}: give a number above 0, or leave the source out")
        if self.attempts is not None and self.attempts < 1:
            raise UserError(f"{self.path}: attempts is {self.attempts}: give at least 1, or leave it out")

    def column(self, name: str) -> str:
        """The name that the source uses for one of ``FIELDS``."""
        return self.columns.get(name, name)

    @property
    def needed(self) -> list[str]:
        """The columns that the source must have."""
        names = {"problem", "answer", *self.columns} | ({"solution"} if self.require_solution else set())
        return [self.column(name) for name in FIELDS if name in names]


class Sources(tuple[SourceConfig, ...]):
    """One or several sources of problems, as every command takes them."""

    __slots__ = ()

    @classmethod
    def of(cls, given: object) -> Sources:
        """The sources described by a path, a mapping, a SourceConfig or a list of these; none for None.

        Raises:
            UserError: for anything else, and for a mapping with a key or value that a source cannot have.
        """
        if isinstance(given, Sources):
            return given
        if given is None:
            return cls()
        if hasattr(given, "_fields"):  # a single key of a source, which jsonargparse passes as a namespace
            raise UserError(
                f"{given}: a source's keys are given together, such as '{{path: p.jsonl, columns: {{answer: gold}}}}'"
            )
        items = given if isinstance(given, list | tuple) else [given]
        return cls(map(_source, items))

    def plain(self) -> Any:
        """The sources as plain values, in the shortest form that reads back as the same."""
        plain = [_plain(source) for source in self]
        return plain[0] if len(plain) == 1 else plain

    def __str__(self) -> str:
        return ", ".join(source.path for source in self)


def _source(given: object) -> SourceConfig:
    if isinstance(given, SourceConfig):
        return given
    if isinstance(given, str):
        if given.startswith(("{", "[")):
            raise UserError(f"{given}: begins like a mapping or list but is not YAML: check its brackets and quotes")
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
    changed = {name: value for name, value in asdict(source).items() if name == "path" or value != default[name]}
    return source.path if len(changed) == 1 else changed


register_type(Sources, Sources.plain, Sources.of)


@dataclass(frozen=True, slots=True)
class Quarantined:
    """A row that cannot be used.

    Attributes:
        source: Path of its source.
        row: Its number, from 1; a CSV's header is not counted.
        id: The id its problem would have.
        reason: What is wrong with which key, a colon, what was found and what to do.
    """

    source: str
    row: int
    id: str
    reason: str

    def __str__(self) -> str:
        return f"{self.source}: row {self.row}: {self.reason}"

    @property
    def kind(self) -> str:
        """The reason without its details."""
        return self.reason.partition(":")[0]


def own_attempts(sources: Sequence[SourceConfig]) -> dict[str, int]:
    """Rollouts per problem for the hard filter, by path, of the sources that set their own number."""
    return {source.path: source.attempts for source in sources if source.attempts is not None}
