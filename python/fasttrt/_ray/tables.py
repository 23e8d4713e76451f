"""Columns of Arrow tables as arrays."""

import pyarrow
from ray.data.block import BlockAccessor

from fasttrt._ray.columns import Columns


def arrays_of(table: "pyarrow.Table") -> Columns:
    """Return the columns of a table as arrays, dictionaries replaced by their values."""
    for i, field in enumerate(table.schema):
        if pyarrow.types.is_dictionary(field.type):  # numpy has the last value in place of nulls
            decoded = table[i].cast(field.type.value_type)
            table = table.set_column(i, field.name, decoded)
    arrays: Columns = BlockAccessor.for_block(table).to_batch_format("numpy")
    return arrays
