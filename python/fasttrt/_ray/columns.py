"""Columns of a table as arrays of an engine, and its results as columns."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from fasttrt._common.tensor_spec import TensorSpec
from fasttrt.errors import InputError

Array: TypeAlias = Any
Columns: TypeAlias = dict[str, Array]


@dataclass(frozen=True)
class Piece:
    """Rows that go through the engine together."""

    rows: Sequence[int]
    arrays: list[Array]
    """One for each input; with more rows than `rows` if the engine takes no fewer."""


def columns_of(
    kind: str, specs: Sequence[TensorSpec], given: Mapping[str, str] | None
) -> list[str]:
    """Return the name of the column of each tensor: its own name, or the one that is given.

    Args:
        kind: ``"inputs"`` or ``"outputs"``, for messages.
        specs: the engine's tensors.
        given: columns by tensor.

    Raises:
        InputError: there is no such tensor, or two have one column.
    """
    names = [spec.name for spec in specs]
    given = given or {}
    if unknown := [name for name in given if name not in names]:
        raise InputError(f"{kind}: there is no tensor {unknown[0]!r}; there are {names}")
    columns = [given.get(name, name) for name in names]
    if len({*columns}) < len(columns):
        raise InputError(f"{kind}: expected a column for each tensor, got {columns}")
    return columns


def most_rows(specs: Sequence[TensorSpec]) -> tuple[int, int | None]:
    """Return how many rows an engine takes at least and at most; None: any number."""
    if any(not spec.shape for spec in specs):
        scalars = [spec.name for spec in specs if not spec.shape]
        raise InputError(f"{scalars[0]}: expected an input with a batch dimension, got a scalar")
    fixed = [spec.shape[0] for spec in specs if spec.shape[0] != -1]
    if fixed:
        return fixed[0], fixed[0]
    limits = [max(most[0] for _, _, most in spec.profiles) for spec in specs if spec.profiles]
    return 1, min(limits, default=None)


def pieces(
    columns: Sequence[Array],
    least: int,
    most: int | None,
    names: Sequence[str],
    refuse_row: Callable[[int, str], None],
) -> Iterator[Piece]:
    """Yield the rows of columns, those of equal shapes together.

    Args:
        columns: of each input: an array, or an array of objects, each an array, of any shapes.
        least: rows that the engine takes; a smaller rest repeats its last row.
        most: rows that it takes at most.
        names: of the columns, for messages.
        refuse_row: is told of each row that is left out as it has no array, and why.
    """
    count = len(columns[0])
    groups: dict[tuple[Any, ...], list[int]] = {}
    if any(column.dtype == object for column in columns):
        for row in range(count):
            values = [np.asarray(column[row]) for column in columns]
            if wrong := [i for i, value in enumerate(values) if value.dtype == object]:
                kind = type(columns[wrong[0]][row]).__name__
                refuse_row(row, f"{names[wrong[0]]}: expected an array of numbers, got {kind}")
            else:
                groups.setdefault(tuple(value.shape for value in values), []).append(row)
    elif count:
        groups[()] = list(range(count))
    for rows in groups.values():
        size = most or len(rows)
        for begin in range(0, len(rows), size):
            chosen = rows[begin : begin + size]
            yield Piece(chosen, piece_arrays(columns, chosen, least))


def piece_arrays(columns: Sequence[Array], rows: Sequence[int], least: int = 1) -> list[Array]:
    """Return the arrays of some rows, with the last one repeated where there are too few."""
    missing = max(0, least - len(rows))
    padded = [*rows, *[rows[-1]] * missing]
    arrays = []
    for column in columns:
        if column.dtype == object:
            arrays.append(np.stack([np.asarray(column[row]) for row in padded]))
        elif missing == 0 and rows[-1] - rows[0] + 1 == len(rows):
            arrays.append(column[rows[0] : rows[-1] + 1])  # no copy
        else:
            arrays.append(column[padded])
    return arrays


def gathered(count: int, found: Sequence[tuple[Sequence[int], Array]], spec: TensorSpec) -> Array:
    """Return an output's column from the results of the pieces.

    Rows without a result are NaN, or 0 in integers. If shapes differ, it is an array of objects.
    """
    shapes = {array.shape[1:] for _, array in found}
    if len(shapes) > 1:
        column = np.empty(count, object)
        for rows, array in found:
            for place, row in enumerate(rows):
                column[row] = array[place]
        return column
    shape = shapes.pop() if shapes else tuple(max(size, 0) for size in spec.shape[1:])
    dtype = found[0][1].dtype if found else spec.dtype
    if len(found) == 1 and len(found[0][0]) == count:
        return found[0][1][:count]
    filler = np.nan if np.issubdtype(dtype, np.inexact) else 0
    column = np.full((count, *shape), filler, dtype)
    for rows, array in found:
        column[list(rows)] = array[: len(rows)]
    return column
