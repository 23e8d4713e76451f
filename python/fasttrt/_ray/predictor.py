"""`Predictor`: an engine as what `ray.data.Dataset.map_batches` calls."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import ray

from fasttrt._engine.engine import Engine
from fasttrt._ray.columns import (
    Array,
    Columns,
    Piece,
    columns_of,
    gathered,
    most_rows,
    piece_arrays,
    pieces,
)
from fasttrt.errors import InputError

_Results: TypeAlias = tuple[Array, ...]
_Found: TypeAlias = tuple[Sequence[int], _Results]
"""Rows of a batch, and their results."""


class Predictor:
    """Runs a model on batches of rows, for `ray.data.Dataset.map_batches`.

    Each actor opens an engine of its own, on the GPU that Ray gives it; those of a machine that
    start at once build it once. Columns become inputs, outputs become columns, and other columns
    stay. A batch may have any number of rows: it is split into what the engine takes, and copies of
    the next part overlap with the computation of the one before. Rows of different shapes go
    through the engine by shape.

    Examples:
        <!-- needs: ray -->
        >>> import ray
        >>> rows = ray.data.from_items([{"x": row} for row in x])
        >>> found = rows.map_batches(
        ...     fasttrt.ray.Predictor, fn_constructor_args=["m.onnx"],
        ...     fn_constructor_kwargs={"device": "cpu"}, batch_size=64,
        ...     compute=ray.data.ActorPoolStrategy(size=1),
        ... )
        >>> found.take(1)[0]["logits"].shape
        (10,)
    """

    def __init__(
        self,
        model: Any,
        *,
        inputs: Mapping[str, str] | None = None,
        outputs: Mapping[str, str] | None = None,
        errors: str | None = None,
        cast: Any = True,
        **options: Any,
    ) -> None:
        """Open the engine.

        Args:
            model: as for `Engine`, or a reference to it in Ray's object store, as
                ``ray.put(plan)`` returns one: each machine then holds it once. A path has to lead
                to the model on every machine.
            inputs: the column of an input, where it has another name.
            outputs: the column of an output, where it shall have another name.
            errors: a column for the errors of rows, ``""`` for those without. Rows that cannot be
                run then have NaN, or 0 in integers, as results. None: they raise.
            cast: see `Engine.infer`.
            options: those of `Engine`.

        Raises:
            InputError: there is no such tensor, or an input has no batch dimension.
            Error: the engine cannot be opened, see `Engine`.
        """
        if isinstance(model, ray.ObjectRef):
            model = ray.get(model)
        options.setdefault("progress", False)
        self._engine = Engine(model, **options)
        self._cast = cast
        self._errors = errors
        specs = self._engine.inputs
        self._inputs = columns_of("inputs", specs, inputs)
        self._outputs = columns_of("outputs", self._engine.outputs, outputs)
        self._least, self._most = most_rows(specs)

    def __call__(self, batch: Columns) -> Columns:
        """Return the batch with the outputs in the place of the inputs.

        Args:
            batch: arrays by column, with a row for each sample; arrays of objects if samples
                differ in shape.

        Raises:
            InputError: a column is missing, or a row does not fit, and there is no column of
                errors; the message names the row.
            Error: a run failed.
        """
        if missing := [name for name in self._inputs if name not in batch]:
            raise InputError(f"expected a column {missing[0]!r}, got {list(batch)}")
        columns = [np.asarray(batch[name]) for name in self._inputs]
        count = len(columns[0])
        problems = [""] * count

        def refuse_row(row: int, problem: str) -> None:
            if self._errors is None:
                raise InputError(f"row {row} of the batch: {problem}")
            problems[row] = problem

        parts = pieces(columns, self._least, self._most, self._inputs, refuse_row)
        found: list[_Found] = []
        for piece, result in self._results(parts):
            if isinstance(result, InputError):  # which rows?
                found += self._one_by_one(columns, piece.rows, refuse_row)
            elif isinstance(result, Exception):
                raise result
            else:
                found.append((piece.rows, result))
        others = {name: column for name, column in batch.items() if name not in self._inputs}
        for i, (name, spec) in enumerate(zip(self._outputs, self._engine.outputs, strict=True)):
            others[name] = gathered(count, [(rows, result[i]) for rows, result in found], spec)
        if self._errors is not None:
            others[self._errors] = np.array(problems, object)
        return others

    def close(self) -> None:
        """Free the engine."""
        self._engine.close()

    def _results(self, parts: Iterable[Piece]) -> Iterator[tuple[Piece, _Results | Exception]]:
        sent: deque[Piece] = deque()

        def arrays() -> Iterator[Any]:
            for piece in parts:
                sent.append(piece)
                yield piece.arrays[0] if len(piece.arrays) == 1 else tuple(piece.arrays)

        for result in self._engine.map(arrays(), cast=self._cast, errors="return"):
            yield sent.popleft(), result if isinstance(result, Exception) else _tuple(result)

    def _one_by_one(
        self, columns: Sequence[Array], rows: Sequence[int], refuse_row: Callable[[int, str], None]
    ) -> list[_Found]:
        found: list[_Found] = []
        for row in rows:
            arrays = piece_arrays(columns, [row], self._least)
            try:
                found.append(([row], _tuple(self._engine.infer(*arrays, cast=self._cast))))
            except InputError as error:
                refuse_row(row, str(error))
        return found


def _tuple(result: Any) -> _Results:
    return result if isinstance(result, tuple) else (result,)
