"""What is wrong with a command line or its configs: the first key, with file and line, that does not fit what the command takes.

jsonargparse refuses the same things, but its messages list every type it tried and name neither the line nor a near miss. So once
it has refused, this walks down the same tree of keys, with one question at each node.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

import yaml
from jsonargparse import ArgumentParser
from jsonargparse._required import iter_required_keys

from int_lightning.cli.class_choice import chosen_class, named
from int_lightning.cli.config_file import compose, is_null, is_text, line, plain, read_config, shown
from int_lightning.cli.cures import cure
from int_lightning.cli.suggestions import (
    LISTS,
    MAPPINGS,
    Fields,
    accepts,
    argument,
    bases_of,
    choices,
    data_of,
    described,
    fields,
    fields_of,
    flat,
    is_factory,
    members,
    near,
    required,
    takes_text,
)
from int_lightning.types import UserError

_CLASS_KEYS = ("class_path", "init_args", "dict_kwargs")
_LISTED = 12


class Diagnosis:
    """Looks through what a command was given, in order.

    Args:
        command: Its name.
        parser: Its parser.
    """

    def __init__(self, command: str, parser: ArgumentParser) -> None:
        self.command = command
        self.fields = fields(parser)
        self.needed = [key for key in iter_required_keys(parser) if key in self.fields]
        self.classes: dict[str, type] = {}
        self.factories: set[str] = set()
        self.given: set[str] = set()
        self.file = ""

    def look(self, args: Sequence[str]) -> None:
        """Looks through the arguments after the command.

        Raises:
            UserError: about the first that is wrong, or about what is missing; nothing is raised if nothing is found.
        """
        rest = list(args)
        while rest:
            given = rest.pop(0)
            key, equals, text = given.partition("=")
            if not given.startswith("-"):
                is_config = Path(given).is_file()
                hint = f"write -c {given}" if is_config else "write --key value, and quote values with spaces"
                raise UserError(f"{given!r} stands alone: {hint}")
            if not equals:
                if not rest or rest[0].startswith("--"):
                    if key != "-c":
                        self._type_of(key)
                    raise UserError(f"{key} needs a value: write {key} VALUE")
                text = rest.pop(0)
            if key in ("-c", "--config"):
                self.file = text
                self.mapping(self.fields, read_config(text), "")
                self.file = ""
            else:
                self.option(key, text)
        self._nothing_is_missing()

    def option(self, key: str, text: str) -> None:
        """Looks at ``--key value``."""
        hint, done = self._type_of(key)
        if hint is None:
            return
        self.given.add(done)
        if isinstance(hint, dict):
            self._group(hint, compose(text, f"--{done}"), done)
        elif not (takes_text(hint) and accepts(hint, text)):
            self.value(hint, compose(text, f"--{done}") or yaml.ScalarNode("tag:yaml.org,2002:str", ""), done)

    def _type_of(self, key: str, node: yaml.Node | None = None) -> tuple[Any, str]:
        """The type of a key of the command line, or the fields of its group, and its full name; None for a library's option."""
        parts, done, hint = key.lstrip("-").removesuffix("+").replace("-", "_").split("."), "", self.fields
        while parts:
            if isinstance(hint, dict):
                if parts[0] not in hint:
                    if parts[0] in ("help", "config", "print_config"):
                        return None, done
                    self._unknown(parts[0], hint, done, node)
                done, hint = _joined(done, parts[0]), hint[parts.pop(0)]
                continue
            kinds = members(hint)
            if data := data_of(kinds):
                hint = fields_of(data)
            elif bases := bases_of(kinds):
                if parts[0] in ("help", "class_path"):
                    return (None if parts[0] == "help" else hint), done
                if done not in self.classes:
                    self._wrong(
                        f"--{_joined(done, *parts)}: the class of {done} is not chosen yet: give a config that does so first, "
                        f"or --{done} {choices(bases)}",
                        node,
                    )
                if parts[0] == "init_args":
                    parts.pop(0)
                done, hint = _joined(done, "init_args"), fields_of(self.classes[done], is_factory(kinds))
            elif (of := argument(kinds, MAPPINGS, 1)) is not None:
                done, hint = _joined(done, parts.pop(0)), of
            else:
                self._wrong(f"--{done} takes {described(hint)} and has no key {parts[0]}", node)
        return hint, done

    def mapping(self, of: Fields, node: yaml.MappingNode, key: str) -> None:
        """Looks at keys and their values."""
        for name, value in node.value:
            if name.value == "<<":
                continue
            self._colon_has_its_space(name, value)
            if "." in name.value and not key:  # a.b: 3 is as good as a: {b: 3}
                hint, inner = self._type_of(name.value, name)
            elif name.value not in of:
                self._unknown(str(name.value), of, key, name)
            else:
                hint, inner = of[name.value], _joined(key, name.value)
            (self.given.discard if is_null(value) else self.given.add)(inner)
            if isinstance(hint, dict):
                self._group(hint, value, inner)
            else:
                self.value(hint, value, inner)

    def _group(self, of: Fields, node: yaml.Node | None, key: str) -> None:
        if isinstance(node, yaml.MappingNode):
            self.mapping(of, node, key)
        elif not (isinstance(node, yaml.ScalarNode) and Path(node.value).is_file()):
            first, *_ = of
            self._wrong(f"{key} takes keys, not {shown(node)}: write {key}: {{{first}: ...}}", node)

    def value(self, hint: Any, node: yaml.Node, key: str) -> None:
        """Looks at a value of a type."""
        kinds = members(hint)
        bases = bases_of(kinds)
        if is_factory(kinds):
            self.factories.add(key)
        if isinstance(node, yaml.MappingNode):
            if data := data_of(kinds):
                self.mapping(fields_of(data), node, key)
                if lacking := [name for name in required(data) if f"{key}.{name}" not in self.given]:
                    self._wrong(f"{key} needs {' and '.join(lacking)}: write {key}: {{{lacking[0]}: ...}}", node)
            elif bases:
                return self._instance(bases, node, key)
            elif (of := argument(kinds, MAPPINGS, 1)) is not None:
                for name, value in node.value:
                    self._colon_has_its_space(name, value)
                    self.value(of, value, _joined(key, name.value))
        elif isinstance(node, yaml.SequenceNode) and (of := argument(kinds, LISTS, 0)) is not None:
            for i, item in enumerate(node.value):
                self.value(of, item, f"{key}[{i}]")
        elif bases and is_text(node):
            if not takes_text(hint) or named(bases, node.value):
                self.classes[key] = self._class(bases, node, key)
            return None
        return self._check(hint, node, key)

    def _instance(self, bases: tuple[type, ...], node: yaml.MappingNode, key: str) -> None:
        """Looks at ``{class_path: ..., init_args: {...}}``; without a class it is about the one chosen before."""
        given = {k.value: v for k, v in node.value}
        if "class_path" in given:
            self.classes[key] = self._class(bases, given["class_path"], f"{key}.class_path")
        if key not in self.classes:
            self._wrong(f"{key} takes a class: write {key}: {{class_path: {choices(bases)}, init_args: {{...}}}}", node)
        of = fields_of(self.classes[key], key in self.factories)
        for name, _ in node.value:
            if name.value not in _CLASS_KEYS:
                if name.value in of:
                    self._wrong(f"{key}.{name.value} belongs a level deeper: write {key}.init_args.{name.value}", name)
                self._unknown(name.value, dict.fromkeys(_CLASS_KEYS[:2]) | of, key, name)
        init_args = given.get("init_args")
        if isinstance(init_args, yaml.MappingNode):
            self.mapping(of, init_args, f"{key}.init_args")
        elif init_args is not None and not is_null(init_args):
            first, *_ = [*of, "key"]
            self._wrong(f"{key}.init_args takes keys, not {shown(init_args)}: write {{{first}: ...}}", init_args)

    def _class(self, bases: tuple[type, ...], node: yaml.Node, key: str) -> type:
        try:
            return chosen_class(bases, node, key, self.classes.get(key.removesuffix(".class_path")))
        except UserError as error:
            self._wrong(str(error), node)

    def _check(self, hint: Any, node: yaml.Node, key: str) -> None:
        text_given = not self.file and isinstance(node, yaml.ScalarNode)
        value = node.value if text_given else plain(node)
        if not accepts(hint, value):
            self._wrong(f"{key} takes {described(hint)}, not {shown(node)}{cure(hint, node)}", node)

    def _nothing_is_missing(self) -> None:
        if missing := [name for name in self.needed if name not in self.given]:
            raise UserError(
                f"{self.command} needs {' and '.join(missing)}: give a config with -c (those in configs/ are examples), or "
                f"--{missing[0]} ..."
            )
        for key, chosen in self.classes.items():
            of = f"{key}.init_args"
            names = (f"{of}.{n}" for n in required(chosen, key in self.factories))
            if missing := [name for name in names if name not in self.given]:
                raise UserError(
                    f"{chosen.__name__} needs {' and '.join(missing)}: add it to the config, or --{missing[0]} ..."
                )

    def _colon_has_its_space(self, name: yaml.Node, value: yaml.Node) -> None:
        key, colon, rest = str(name.value).partition(":")
        if colon and rest and is_null(value):
            self._wrong(f"{name.value}: a space is missing after the colon: write {key}: {rest}", name)

    def _unknown(self, name: str, of: Fields, key: str, node: yaml.Node | None = None) -> NoReturn:
        dashes = "" if self.file else "--"
        elsewhere = {full.rpartition(".")[2]: full for full in reversed(list(self._keys())) if full.startswith(key)}
        if meant := near(name, of):
            hint = f"did you mean {dashes}{_joined(key, meant)}?"
        elif found := near(name, elsewhere, 0.85):
            hint = f"did you mean {dashes}{elsewhere[found]}?"
        elif of:
            listed = ", ".join(list(of)[:_LISTED]) + (", ..." if len(of) > _LISTED else "")
            hint = f"{key or self.command} takes {listed}; see int-lightning {self.command} --help"
        else:
            hint = f"{key} takes no keys"
        self._wrong(f"unknown key {dashes}{_joined(key, name)}: {hint}", node)

    def _keys(self) -> Iterator[str]:
        """All keys that may be given, those of the chosen classes too."""
        yield from flat(self.fields)
        for key, chosen in self.classes.items():
            yield from (f"{key}.init_args.{name}" for name in flat(fields_of(chosen)))
            if "optimizer" in fields_of(chosen):
                yield f"{key}.init_args.optimizer.init_args.lr"

    def _wrong(self, what: str, node: yaml.Node | None) -> NoReturn:
        if not self.file:
            raise UserError(what)
        raise UserError(f"{self.file}{f', line {line(node)}' if node is not None else ''}: {what}")


def _joined(*parts: str) -> str:
    return ".".join(filter(None, parts))
