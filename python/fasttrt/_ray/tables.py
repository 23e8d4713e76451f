"""Columns of Arrow tables as arrays."""

from typing import Any

import numpy as np
import pyarrow
import pyarrow.compute
from ray.data.block import BlockAccessor

from fasttrt._ray.columns import Array, Columns


def arrays_of(table: "pyarrow.Table") -> Columns:
    """Return the columns of a table as arrays, dictionaries replaced by their values.

    numpy's integers have no nulls. Columns of integers that have some become arrays of objects,
    with None for rows that are null or hold nulls.
    """
    with_nulls: Columns = {}
    for i, field in enumerate(table.schema):
        if pyarrow.types.is_dictionary(field.type):  # numpy has the last value in place of nulls
            decoded = table[i].cast(field.type.value_type)
            table = table.set_column(i, field.name, decoded)
        if _has_null_integers(table[i]):
            with_nulls[field.name] = _rows(table[i].combine_chunks())
    others = table.drop_columns(list(with_nulls))
    arrays: Columns = BlockAccessor.for_block(others).to_batch_format("numpy")
    return arrays | with_nulls


def _is_list(kind: Any) -> bool:
    types = pyarrow.types
    are = (types.is_list, types.is_large_list, types.is_fixed_size_list)
    return any(is_one(kind) for is_one in are)


def _has_null_integers(column: Any) -> bool:
    has_nulls = column.null_count > 0
    while _is_list(column.type):
        column = pyarrow.compute.list_flatten(column)
        has_nulls |= column.null_count > 0
    return has_nulls and bool(pyarrow.types.is_integer(column.type))


def _rows(column: Any) -> Array:
    """Return an array of each row, None for those that are null or hold nulls."""
    is_good = ~_null_rows(column)
    good = pyarrow.table({"": column.filter(pyarrow.array(is_good))})
    values = BlockAccessor.for_block(good).to_batch_format("numpy")[""]
    rows = np.empty(len(column), object)
    for row, value in zip(np.flatnonzero(is_good), values, strict=True):
        rows[row] = value
    return rows


def _null_rows(column: Any) -> Array:
    """Return which rows are null, or lists that hold nulls."""
    is_null = np.array(column.is_null())
    if _is_list(column.type):
        parents = np.asarray(pyarrow.compute.list_parent_indices(column))
        is_null[parents[_null_rows(pyarrow.compute.list_flatten(column))]] = True
    return is_null
