"""Columns of a table: which tensor each belongs to, their rows, and results as columns."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from fasttrt._common.checks import check_mapping, refuse
from fasttrt._common.tensor_spec import TensorSpec
from fasttrt.errors import InputError

Array: TypeAlias = Any
Columns: TypeAlias = dict[str, Array]
_SCALARS = (str, int, float)
TEXT = "OSUT"
"""The kinds of dtypes that text has."""
_SHOWN = 3
"""How many values name a row in a message."""


def check_columns(kind: str, given: Any, tensor: str = "x") -> None:
    """Check the types of columns by tensor.

    Args:
        kind: the option's name.
        given: its value.
        tensor: one to show.

    Raises:
        InputError: it is not a mapping, or a column is not a string.
    """
    check_mapping(kind, given, f'columns by tensor as in {{"{tensor}": "column"}}')
    if wrong := [column for column in (given or {}).values() if not isinstance(column, str)]:
        refuse(kind, "names of columns", wrong[0])


def check_errors(column: Any) -> None:
    """Check the column for the errors of rows.

    Raises:
        InputError: it is neither a string nor None.
    """
    if column is not None and not isinstance(column, str):
        refuse("errors", "the name of a column or None", column)


def columns_of(
    kind: str, specs: Sequence[TensorSpec], given: Mapping[str, str] | None
) -> list[str]:
    """Return the name of the column of each tensor: its own name, or the one that is given.

    Args:
        kind: ``"inputs"`` or ``"outputs"``, for messages.
        specs: the engine's tensors.
        given: columns by tensor.

    Raises:
        InputError: it is not a mapping, there is no such tensor, two have one column, or the engine
            has no tensors of that kind.
    """
    names = [spec.name for spec in specs]
    if not names:
        raise InputError(f"{kind}: expected a model with {kind}, got one without")
    check_columns(kind, given, names[0])
    given = given or {}
    if unknown := [name for name in given if name not in names]:
        raise InputError(f"{kind}: there is no tensor {unknown[0]!r}; there are {names}")
    columns = [given.get(name, name) for name in names]
    if len({*columns}) < len(columns):
        raise InputError(f"{kind}: expected a column for each tensor, got {columns}")
    return columns


def check_names(
    there: Sequence[str], inputs: Sequence[str], results: Mapping[str, Sequence[str | None]]
) -> None:
    """Check that the inputs' columns are there, and that results replace no others.

    Args:
        there: the columns of a batch.
        inputs: the columns of the inputs, which do not stay.
        results: the new columns, by the option that names them.

    Raises:
        InputError: a column is missing, there twice, or replaced.
    """
    for name in inputs:
        if there.count(name) != 1:
            number = "one column" if name in there else "a column"
            raise InputError(f"expected {number} {name!r}, got {there}")
    for option, names in results.items():
        if taken := [name for name in names if name in there and name not in inputs]:
            raise InputError(
                f"{option}: the rows have a column {taken[0]!r} already, which stays: name another "
                "one for the results, or drop it before"
            )


def check_lengths(batch: Mapping[str, Array], inputs: Sequence[str]) -> None:
    """Check that all columns of a batch have as many rows as the first input's.

    Raises:
        InputError: a column has no rows, or another number of them.
    """
    counts: dict[str, int] = {}
    for name in [*inputs, *batch]:
        try:
            counts[name] = len(batch[name])
        except TypeError:
            raise InputError(f"{name}: expected an array of rows, got a scalar") from None
        if counts[name] != counts[inputs[0]]:
            raise InputError(
                f"{name}: expected {counts[inputs[0]]} rows as in {inputs[0]!r}, got {counts[name]}"
            )


def row_array(value: Any, is_text: bool = False) -> Array:
    """Return a row's value as an array; lists of lists, as Parquet files have them, are stacked.

    Args:
        value: the row's.
        is_text: text is expected rather than numbers. It becomes an array of objects: numpy's text
            is as wide as the longest of all rows, and loses NUL characters at its end.

    Raises:
        ValueError: it holds no numbers, or no text, or lists of different lengths.
    """
    array = np.asarray(value, object if is_text else None)
    if array.dtype != object or (is_text and all(isinstance(part, str) for part in array.flat)):
        return array
    if array.ndim == 0:
        expected = "text" if is_text else "an array of numbers"
        raise ValueError(f"expected {expected}, got {type(value).__name__}")
    parts = [row_array(part, is_text) for part in array]
    if len({part.shape for part in parts}) > 1:
        raise ValueError("expected lists of one length, got several lengths")
    return np.stack(parts) if parts else array.astype(float)


def row_name(columns: Any, row: int) -> str:
    """Return the index of a row, and its values in some columns, for messages.

    Args:
        columns: arrays by name, or a table.
        row: its index.
    """
    names = getattr(columns, "column_names", columns)
    values = ((name, _plain(columns[name][row])) for name in names)
    known = [f"{name}={value!r:.80}" for name, value in values if isinstance(value, _SCALARS)]
    return f"row {row} of the batch" + (f" ({', '.join(known[:_SHOWN])})" if known else "")


def _plain(value: Any) -> Any:
    if hasattr(value, "as_py"):
        return value.as_py()
    return value.item() if isinstance(value, np.generic) else value


def gathered(count: int, found: Sequence[tuple[Sequence[int], Array]], spec: TensorSpec) -> Array:
    """Return an output's column from the results of the pieces.

    Rows without a result are NaN, 0 in integers, or "" in text. If shapes differ, it is an array of
    objects, where they are empty arrays. Types that Arrow does not have become wider ones.

    Args:
        count: the number of rows.
        found: rows with their results, which may have more rows than these at their end.
        spec: of the output.
    """
    shapes = {array.shape[1:] for _, array in found}
    dtype = _arrow_dtype(found[0][1].dtype if found else spec.dtype)
    if len(shapes) > 1:
        column = np.empty(count, object)
        missing = np.empty((0,) * len(shapes.pop()), dtype)
        for row in range(count):
            column[row] = missing
        for rows, array in found:
            for place, row in enumerate(rows):
                column[row] = array[place].astype(dtype, copy=False)
        return column
    shape = shapes.pop() if shapes else tuple(max(size, 0) for size in spec.shape[1:])
    if len(found) == 1 and len(found[0][0]) == count:
        return found[0][1][:count].astype(dtype, copy=False)
    if dtype.kind == "O" and not count:
        dtype = np.dtype(str)  # Arrow finds no type of objects that are not there
    column = np.empty((count, *shape), dtype)
    if sum(len(rows) for rows, _ in found) < count:
        column[...] = _missing(dtype)
    for rows, array in found:
        column[as_index(rows)] = array[: len(rows)]
    return column


def _missing(dtype: np.dtype[Any]) -> Any:
    if dtype.kind in TEXT:
        return ""
    return np.nan if np.issubdtype(dtype, np.inexact) else np.zeros((), dtype)


def as_index(rows: Sequence[int]) -> Any:
    """Return rows as what indexes an array: a slice, which copies nothing, if they are a range."""
    return slice(rows.start, rows.stop) if isinstance(rows, range) else list(rows)


def _arrow_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the dtype itself, or for bfloat16, float8, int4 and their like one that holds them."""
    if dtype.isbuiltin == 1 or dtype.kind in TEXT:
        return dtype
    wider = next(name for name in ("uint8", "int8", "float32") if np.can_cast(dtype, name))
    return np.dtype(wider)
