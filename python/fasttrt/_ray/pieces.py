"""Batches of any size and of rows of any shapes, in pieces that an engine takes."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fasttrt._common.tensor_spec import TensorSpec
from fasttrt._ray.columns import TEXT, Array, as_index, row_array
from fasttrt._ray.padding import Padding
from fasttrt.errors import InputError

UNLIMITED = 256
"""The rows of a piece for engines that take any number, whose memory grows with them."""


@dataclass(frozen=True)
class RowCounts:
    """How many rows an engine takes at once."""

    ranges: tuple[tuple[int, int], ...]
    """The least and the most rows of each optimization profile, or any number."""

    @classmethod
    def of(cls, specs: Sequence[TensorSpec]) -> "RowCounts":
        """Return those of an engine with these inputs.

        Raises:
            InputError: an input has no batch dimension, or their batch dimensions do not fit.
        """
        for spec in specs:
            if not spec.shape or spec.is_shape:
                kind = "a shape tensor" if spec.is_shape else "a scalar"
                raise InputError(
                    f"{spec.name}: expected an input with a batch dimension, got {kind}"
                )
        fixed = [(spec.shape[0], spec.shape[0]) for spec in specs if spec.shape[0] != -1]
        profiled = [spec.profiles for spec in specs if spec.shape[0] == -1 and spec.profiles]
        ranges = []
        for profile in zip(*profiled, strict=False) if profiled else [()]:
            of_inputs = [*fixed, *((low[0], high[0]) for low, _, high in profile)]
            low = max((low for low, _ in of_inputs), default=1)
            high = min((high for _, high in of_inputs), default=UNLIMITED)
            if low <= high:
                ranges.append((max(low, 1), high))
        if not ranges:
            shapes = ", ".join(f"{spec.name} {spec.shape}" for spec in specs)
            raise InputError(f"expected inputs with the same batch dimension, got {shapes}")
        return cls(tuple(ranges))

    @property
    def best(self) -> int:
        """The largest tuned number of rows, or the largest of all."""
        return max(self._tuned or [high for _, high in self.ranges])

    def padded(self, count: int) -> int:
        """Return the rows to run so many with: a tuned number that is near, or the least allowed.

        Sizes that come only once may need kernels of their own, which costs more than some rows.
        """
        tuned = min((size for size in self._tuned if size >= count), default=None)
        if tuned is not None and tuned <= 2 * count:
            return tuned
        return min(max(low, count) for low, high in self.ranges if high >= count)

    @property
    def _tuned(self) -> list[int]:
        return [low for low, high in self.ranges if low == high]


@dataclass(frozen=True)
class Piece:
    """Rows that go through the engine together."""

    rows: Sequence[int]
    arrays: list[Array]
    """One for each input; with more rows than `rows` where the engine takes no such number."""

    def checked(self, results: tuple[Array, ...], specs: Sequence[TensorSpec]) -> tuple[Array, ...]:
        """Return results, which must have as many rows as went in.

        Raises:
            InputError: they have not.
        """
        count = len(self.arrays[0])
        for spec, array in zip(specs, results, strict=True):
            if array.shape[:1] != (count,):
                raise InputError(
                    f"{spec.name}: expected an output with a row for each of the {count} rows, got "
                    f"the shape {array.shape}; such a model cannot run on columns"
                )
        return results


class Rows:
    """The rows of a batch's input columns, those of equal shapes together."""

    def __init__(
        self,
        columns: Sequence[Array],
        names: Sequence[str],
        specs: Sequence[TensorSpec],
        counts: RowCounts,
        padding: Padding,
        refuse_row: Callable[[int, str], None],
    ) -> None:
        """Group the rows by shape.

        Args:
            columns: of each input: an array, or an array of objects, each an array, of any shapes.
            names: of the columns, for messages.
            specs: of the inputs.
            counts: how many rows the engine takes.
            padding: of rows that are to be padded.
            refuse_row: is told of each row that is left out as it has no array, and why.
        """
        self._counts = counts
        count = len(columns[0])
        self._columns: list[Any] = [
            [None] * count if column.dtype == object else padding.padded(i, column, 0)
            for i, column in enumerate(columns)
        ]
        groups: dict[Any, list[int]] = {}
        objects = [i for i, column in enumerate(columns) if column.dtype == object]
        for row in range(count) if objects else ():
            name = ""
            try:
                for i in objects:
                    name = names[i]
                    array = row_array(columns[i][row], specs[i].dtype.kind in TEXT)
                    self._columns[i][row] = padding.padded(i, array)
            except ValueError as error:
                refuse_row(row, f"{name}: {error}")
                continue
            arrays = [self._columns[i][row] for i in objects]
            kind = tuple((array.shape, array.dtype.char) for array in arrays)
            groups.setdefault(kind, []).append(row)
        is_one = not objects or [len(group) for group in groups.values()] == [count]
        self._groups: list[Sequence[int]] = [range(count)] if is_one else [*groups.values()]

    def pieces(self) -> Iterator[Piece]:
        """Yield pieces that the engine takes."""
        size = self._counts.best
        for group in self._groups:
            for begin in range(0, len(group), size):
                yield self.piece(group[begin : begin + size])

    def piece(self, rows: Sequence[int]) -> Piece:
        """Return some rows, with the last one repeated where the engine takes no such number."""
        missing = self._counts.padded(len(rows)) - len(rows)
        padded = [*rows, *[rows[-1]] * missing] if missing else rows
        arrays = []
        for column in self._columns:
            if isinstance(column, list):
                arrays.append(np.stack([column[row] for row in padded]))
            else:
                arrays.append(column[as_index(padded)])
        return Piece(rows, arrays)
