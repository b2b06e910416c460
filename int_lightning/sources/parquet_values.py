"""Values of Arrow tables as Python values, with single precision read as the decimal that was written."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa

Convert = Callable[[Any], Any]


def shortest_floats(schema: pa.Schema) -> dict[str, Convert]:
    """A converter for each column with single or half precision in it. It turns 33.29999923706055 into 33.3: the shortest decimal
    that denotes the same number in the column's own precision."""
    found = {field.name: _converter(field.type) for field in schema}
    return {name: convert for name, convert in found.items() if convert is not None}


def converted(row: Mapping[str, Any], converters: Mapping[str, Convert]) -> Mapping[str, Any]:
    """The row with each converter applied to its column."""
    if not converters:
        return row
    values = {name: convert(row[name]) for name, convert in converters.items() if name in row}
    return {**row, **values}


def _converter(kind: pa.DataType) -> Convert | None:
    if pa.types.is_float32(kind):
        return lambda value: None if value is None else float(str(np.float32(value)))
    if pa.types.is_float16(kind):
        return lambda value: None if value is None else float(str(np.float16(value)))
    if pa.types.is_struct(kind):
        inner = shortest_floats(pa.schema(list(kind)))
        return (lambda value: value and converted(value, inner)) if inner else None
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        convert = _converter(kind.value_type)
        return None if convert is None else lambda value: value and [convert(v) for v in value]
    return None
