"""The records say what they are: each has an example that builds it, and a line for each of its fields."""

from __future__ import annotations

import dataclasses
import inspect
import re
from textwrap import dedent

import pytest

from int_lightning import defects, types

RECORDS = [t for t in vars(types).values() if dataclasses.is_dataclass(t) and isinstance(t, type)]


def section(record: type, name: str) -> str:
    """The lines of a docstring that are indented under a heading."""
    found = re.search(rf"^{name}:\n((?:    .*\n?|\n)+)", inspect.getdoc(record) or "", re.MULTILINE)
    assert found, f"{record.__name__} has no {name}"
    return dedent(found[1])


@pytest.mark.parametrize("record", RECORDS)
def test_the_example_of_a_record_builds_it(record: type) -> None:
    assert type(eval(section(record, "Example").strip(), {**vars(defects), **vars(types)})) is record


@pytest.mark.parametrize("record", RECORDS)
def test_every_field_of_a_record_has_its_line_in_order(record: type) -> None:
    described = re.findall(r"^(\w+): \S", section(record, "Args"), re.MULTILINE)
    assert described == [field.name for field in dataclasses.fields(record)]
