"""What to write instead of a value of the wrong type."""

from __future__ import annotations

from typing import Any, get_args, get_origin

import yaml

from int_lightning.cli.config_file import is_text, plain
from int_lightning.cli.suggestions import (
    LISTS,
    MAPPINGS,
    accepts,
    argument,
    data_of,
    fields_of,
    literals,
    members,
    near,
)


def cure(hint: Any, node: yaml.Node) -> str:
    """The end of a message about a value that is not of a type; "" where nothing is known to help."""
    if isinstance(node, yaml.ScalarNode):
        return _of_scalar(hint, node)
    if isinstance(node, yaml.MappingNode):
        lists = [kind for kind in members(hint) if get_origin(kind) in LISTS]
        if lists and data_of(get_args(lists[0])):
            return ": write it as a list, with `- ` before its first key"
    elif isinstance(node, yaml.SequenceNode) and len(node.value) == 1 and accepts(hint, plain(node.value[0])):
        return f": write {node.value[0].value}"
    return ""


def _of_scalar(hint: Any, node: yaml.ScalarNode) -> str:
    kinds = members(hint)
    if (data := data_of(kinds)) and is_text(node):
        return f": write {_first_field(data, node)}"
    if meant := near(node.value, literals(hint)):
        return f": did you mean {meant}?"
    if (of := argument(kinds, LISTS, 0)) is not None:
        item = data_of([of])
        return f": write [{_first_field(item, node) if item else node.value}]"
    if any(get_origin(k) in MAPPINGS for k in kinds):
        return f": write {{NAME: {node.value}}}"
    if int in kinds and accepts(float, node.value):
        return ": write it without a decimal point"
    return ""


def _first_field(data: type, node: yaml.ScalarNode) -> str:
    """``{path: VALUE}``."""
    name, *_ = fields_of(data)
    return f"{{{name}: {node.value}}}"
