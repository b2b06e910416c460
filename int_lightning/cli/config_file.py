"""A YAML config as nodes that know their lines; anything that is not a config is refused with file and line."""

from __future__ import annotations

from difflib import get_close_matches
from itertools import chain
from pathlib import Path

import yaml
from jsonargparse._loaders_dumpers import get_yaml_default_loader  # reads 1e-6 as a number, as the parser does

from int_lightning.types import UserError
from int_lightning.yaml_text import check_yaml

_MERGE = "tag:yaml.org,2002:merge"  # of the key <<


def read_config(path: str) -> yaml.MappingNode:
    """The keys of a config.

    Raises:
        UserError: if it cannot be read, is not YAML, does not consist of keys, or has a key twice.
    """
    file = Path(path).expanduser()
    if file.is_dir():
        raise UserError(f"-c {path}: this is a folder: give a YAML file{_inside(file)}")
    try:
        text = file.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise UserError(f"-c {path}: no such file{_beside(file)}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"-c {path}: this is not UTF-8 text: give a YAML file") from error
    except OSError as error:
        raise UserError(f"-c {path}: cannot be read ({error.strerror}): give a YAML file") from error
    node = compose(text, path)
    if node is None:
        raise UserError(f"{path}: the file is empty: write keys into it, or leave it out")
    if not isinstance(node, yaml.MappingNode):
        raise UserError(f"{path}, line {line(node)}: this is not of the form `key: value`: write the command's keys")
    _check_once(node, path)
    return node


def compose(text: str, path: str) -> yaml.Node | None:
    """YAML as a tree of nodes; None for an empty text.

    Raises:
        UserError: naming the line of what is not YAML, or has a tag that no config takes.
    """
    try:
        check_yaml(text, path)
        found: yaml.Node | None = yaml.compose(text, Loader=get_yaml_default_loader())
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = path if path.startswith("--") or mark is None else f"{path}, line {mark.line + 1}"
        raise UserError(f"{where}: not YAML: {_in_words(error, text)}") from error
    except yaml.YAMLError as error:
        raise UserError(f"{path}: not YAML: {str(error).splitlines()[0]}") from error
    if found is not None:
        _check_tags(found, path)
    return found


def plain(node: yaml.Node) -> object:
    """The value of a node."""
    loader = get_yaml_default_loader()("")
    try:
        return loader.construct_document(node)
    finally:
        loader.dispose()


def line(node: yaml.Node) -> int:
    """The line of a node, from 1."""
    return int(node.start_mark.line) + 1


def shown(node: yaml.Node | None) -> str:
    """A value as the user wrote it, cut short."""
    if node is None:
        return "nothing"
    value = plain(node)
    text = "null" if value is None else str(value).lower() if isinstance(value, bool) else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def is_null(node: yaml.Node) -> bool:
    """Whether a value is null."""
    return str(node.tag) == "tag:yaml.org,2002:null"


def is_text(node: yaml.Node) -> bool:
    """Whether a value is text."""
    return str(node.tag) == "tag:yaml.org,2002:str"


def _in_words(error: yaml.MarkedYAMLError, text: str) -> str:
    number = error.problem_mark.line if error.problem_mark else 0
    lines = text.splitlines()
    at = lines[number] if number < len(lines) else ""
    problem = (error.problem or str(error)).removesuffix(", but")
    if "\t" in at[: len(at) - len(at.lstrip())] or "\\t" in problem:
        return "a tab is where YAML needs spaces: indent with spaces"
    if "mapping values are not allowed" in problem:
        return "a second `: ` in one line: indent the key like its neighbours, or quote a value with a colon"
    if "unexpected ':'" in problem:
        return "a space is missing after a colon: write {key: value}"
    if "expected ',' or" in problem or "flow" in (error.context or ""):
        return f"a bracket or brace is not closed, or a comma is missing ({problem})"
    if "could not find expected ':'" in problem:
        return "a key without `: ` and a value: write `key: value`"
    if "expected <block end>" in problem or "expected key" in problem:
        return "the indentation does not match that of the lines above: indent keys of one level alike"
    return problem


def _check_tags(node: yaml.Node, path: str) -> None:
    """Refuses values with a tag such as ``!!python/name:os.system``, which the parser does not make."""
    if node.tag not in get_yaml_default_loader().yaml_constructors and node.tag != _MERGE:
        tag = str(node.tag).replace("tag:yaml.org,2002:", "!!")
        where = path if path.startswith("--") else f"{path}, line {line(node)}"
        raise UserError(f"{where}: no key takes a value with the tag {tag}: write the value without it")
    if isinstance(node, yaml.MappingNode):
        for part in chain.from_iterable(node.value):
            _check_tags(part, path)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _check_tags(item, path)


def _check_once(node: yaml.Node, path: str) -> None:
    if isinstance(node, yaml.MappingNode):
        seen: dict[str, int] = {}
        for key, value in node.value:
            if key.value in seen:
                raise UserError(
                    f"{path}, line {line(key)}: the key {key.value} is already in line {seen[key.value]}: keep one of them"
                )
            seen[key.value] = line(key)
            _check_once(value, path)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _check_once(item, path)


def _inside(folder: Path) -> str:
    found = sorted(f.name for f in folder.glob("*.yaml"))[:3]
    return f", such as {folder / found[0]}" if found else ""


def _beside(file: Path) -> str:
    others = [f.name for f in file.parent.glob("*.y*ml")] if file.parent.is_dir() else []
    near = get_close_matches(file.name, others, 1)
    return f": did you mean {file.parent / near[0]}?" if near else ": give the path of a YAML file"
