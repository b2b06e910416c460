"""What the type of a config's key takes: its members, the classes and fields behind it, and a description in words."""

from __future__ import annotations

import dataclasses
import inspect
import types
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from jsonargparse import ArgumentError, ArgumentParser, Namespace
from jsonargparse._typehints import ActionTypeHint

from int_lightning.cli.shipped import SHIPPED
from int_lightning.user_code import load

Fields = dict[str, Any]
"""Keys of a group; the value of each is the fields of a nested group, or a type."""

LISTS = (list, tuple, Iterable, Sequence)
MAPPINGS = (dict, Mapping)


def fields(parser: ArgumentParser) -> Fields:
    """The keys of a parser."""
    tree: Fields = {}
    for action in parser._actions:
        hint = getattr(action, "_typehint", None)
        if hint is not None:
            group = tree
            *groups, name = action.dest.split(".")
            for g in groups:
                group = group.setdefault(g, {})
            group[name] = hint
    return tree


@cache
def fields_of(cls: type, factory: bool = False) -> Fields:
    """Arguments of a class; those of a factory are all but the first, with which it is called later."""
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(cls, skip={1} if factory else None, fail_untyped=False, sub_configs=True)
    return fields(parser)


def required(cls: type, factory: bool = False) -> list[str]:
    """Arguments of a class that have no default."""
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    given = list(inspect.signature(cls).parameters.values())[factory:]
    return [p.name for p in given if p.default is p.empty and p.kind in kinds]


def flat(of: Fields, prefix: str = "") -> Iterator[str]:
    """Full names of fields."""
    for name, hint in of.items():
        if isinstance(hint, dict):
            yield from flat(hint, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


def members(hint: Any) -> list[Any]:
    """The types of a union, or the type itself."""
    if get_origin(hint) in (Union, types.UnionType):
        return list(chain.from_iterable(map(members, get_args(hint))))
    return [hint]


def argument(kinds: Sequence[Any], origins: tuple[Any, ...], index: int) -> Any:
    """An argument of the first generic type among some, such as what a list holds; None if there is none."""
    return next((get_args(k)[index] for k in kinds if get_origin(k) in origins and len(get_args(k)) > index), None)


def data_of(kinds: Sequence[Any]) -> Any:
    """The dataclass among some types, None if there is none."""
    return next((k for k in kinds if dataclasses.is_dataclass(k)), None)


def is_factory(kinds: Sequence[Any]) -> bool:
    """Whether one of the types is a class that is called later, with one more argument."""
    return any(get_origin(k) is Callable for k in kinds)


def bases_of(kinds: Sequence[Any]) -> tuple[type, ...]:
    """The classes of which a value must be an instance, or a factory of instances."""
    found = []
    for kind in kinds:
        for k in members(get_args(kind)[1]) if get_origin(kind) is Callable else [kind]:
            if inspect.isclass(k) and not dataclasses.is_dataclass(k) and ActionTypeHint.is_subclass_typehint(k):
                found.append(k)
    return tuple(found)


def subclasses(bases: Iterable[type]) -> list[type]:
    """All public subclasses that are imported; those that can be instantiated come first."""
    found: list[type] = []
    todo = list(bases)
    while todo:
        parent: Any = todo.pop(0)
        new = [s for s in parent.__subclasses__() if s not in found]
        found += new
        todo += new
    return sorted((s for s in found if not s.__name__.startswith("_")), key=inspect.isabstract)


def shipped(bases: tuple[type, ...]) -> list[str]:
    """Our own subclasses of these bases."""
    classes = {name: load(f"{module}.{name}", name) for name, module in SHIPPED.items()}
    return [name for name, cls in classes.items() if issubclass(cls, bases)]


def choices(bases: tuple[type, ...]) -> str:
    """Names of classes to choose from."""
    others = [c.__name__ for c in subclasses(bases) if not c.__module__.startswith("int_lightning")]
    return either(shipped(bases) or others[:4] or ["module.Class"])


def near(name: str, names: Iterable[str], cutoff: float = 0.7) -> str:
    """The name that was probably meant, "" if none is near."""
    known = list(names)
    small = name.lower()
    close = [n for n in known if n.lower() == small] or get_close_matches(name, known, 1, cutoff)
    begins = [n for n in known if n.lower().startswith(small) or (len(small) > 3 and small in n.lower())]
    return (close or begins or [""])[0]


@cache
def _reader(hint: Any) -> ArgumentParser:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--value", type=hint)
    return parser


def accepts(hint: Any, value: object) -> bool:
    """Whether a value is of a type, as jsonargparse reads it."""
    try:
        _reader(hint).parse_object(Namespace(value=value))
    except (ArgumentError, TypeError, ValueError):
        return False
    return True


def takes_text(hint: Any) -> bool:
    """Whether any text will do."""
    return any(k is str or (inspect.isclass(k) and issubclass(k, Path)) for k in members(hint))


def described(hint: Any) -> str:
    """What a type takes."""
    words = list(dict.fromkeys(literals(hint)))
    kinds = [k for k in members(hint) if get_origin(k) is not Literal]
    others = map(_in_words, sorted(kinds, key=lambda k: k is type(None)))
    return either(dict.fromkeys([*([f"one of {', '.join(words)}"] if words else []), *others]))


def literals(hint: Any) -> list[str]:
    """The words that a type lets one choose from."""
    groups = [get_args(kind) for kind in members(hint) if get_origin(kind) is Literal]
    return list(map(str, chain.from_iterable(groups)))


def _in_words(kind: Any) -> str:
    if get_origin(kind) in LISTS:
        return f"a list of {_plural(get_args(kind)[0])}"
    if get_origin(kind) in MAPPINGS:
        return f"a mapping of names to {_plural(get_args(kind)[1])}"
    if dataclasses.is_dataclass(kind):
        return f"a mapping such as {{{_example(kind)}}}"
    if bases := bases_of([kind]):
        return f"a class such as {choices(bases)}"
    words = {int: "a whole number", float: "a number", bool: "true or false", str: "text", Path: "a path"}
    words |= {type(None): "null"}
    source = "a source such as {path: p.jsonl, columns: {answer: gold}} or a list of such"
    named = {"PositiveInt": "a whole number above 0", "Sources": source}
    if getattr(kind, "__name__", "") in named:
        return named[kind.__name__]
    return words.get(kind) or str(getattr(kind, "__name__", kind))


def _plural(hint: Any) -> str:
    one = members(hint)[0]
    if data_of([one]):
        return f"mappings such as {{{_example(one)}}}"
    words = {int: "whole numbers", float: "numbers", str: "text"}
    return words.get(one) or f"values, each {described(hint)}"


def _example(data: Any) -> str:
    field = dataclasses.fields(data)[0]
    default = "..." if field.default is dataclasses.MISSING else field.default
    return f"{field.name}: {default}"


def either(names: Iterable[str]) -> str:
    """Names with "or" before the last."""
    *first, last = names
    return f"{', '.join(first)} or {last}" if first else str(last)
