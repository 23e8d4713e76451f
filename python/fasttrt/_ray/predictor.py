"""`Predictor`: an engine as what `ray.data.Dataset.map_batches` calls."""

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain, islice, pairwise
from typing import Any, TypeAlias

import numpy as np
import pyarrow
import ray
from ray.data.block import BlockAccessor

from fasttrt._common.dtypes import Cast, check_cast
from fasttrt._engine.engine import Engine
from fasttrt._ray.columns import (
    Array,
    Columns,
    check_errors,
    check_lengths,
    check_names,
    columns_of,
    gathered,
    row_name,
)
from fasttrt._ray.padding import Padding
from fasttrt._ray.pieces import Piece, RowCounts, Rows
from fasttrt._ray.tables import arrays_of
from fasttrt.errors import CudaError, Error, InputError, OutOfMemoryError

_Results: TypeAlias = tuple[Array, ...]
_Found: TypeAlias = tuple[Sequence[int], _Results]
"""Rows of a batch, and their results."""
_NO_ROWS_FAULT = (CudaError, OutOfMemoryError)
_LARGE = 1 << 18
"""The bytes of a piece from which on a copy takes longer than a chunk of its own."""


class Predictor:
    """Runs a model on batches of rows, for `ray.data.Dataset.map_batches`.

    Each actor opens an engine of its own, on the GPU that Ray gives it; those of a machine that
    start at once build it once. Columns become inputs, outputs become columns, and other columns
    stay. A batch may have any number of rows: it is split into what the engine takes, best into the
    largest of its tuned sizes, and copies of the next part overlap with the computation of the one
    before. A smaller rest repeats its last row up to a size that the engine is tuned for, or takes.
    Rows of different shapes go through the engine by shape, or padded.

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
        padding: Mapping[str, float] | None = None,
        errors: str | None = None,
        cast: Cast = True,
        **options: Any,
    ) -> None:
        """Open the engine.

        Args:
            model: as for `Engine`, or a reference to it in Ray's object store, as
                ``ray.put(plan)`` returns one: each machine then holds it once. A path has to lead
                to the model on every machine.
            inputs: the column of an input, where it has another name.
            outputs: the column of an output, where it shall have another name.
            padding: the value that rows of an input are padded with, as in ``{"ids": 0}``, at the
                ends of their dynamic dimensions: to the next size that the engine is tuned for,
                else to a power of two. Rows of many lengths then run together. Only for models that
                ignore such values; results are those of the padded rows.
            errors: a column for the errors of rows, ``""`` for those without. Rows that cannot be
                run then have NaN, 0 in integers, or ``""`` in text, as results. None: they raise.
            cast: see `Engine.infer`.
            options: those of `Engine`.

        Raises:
            InputError: there is no such tensor, an input has no batch dimension, there are no
                inputs, or an argument is wrong.
            Error: the engine cannot be opened, see `Engine`.
        """
        if isinstance(model, ray.ObjectRef):
            model = ray.get(model)
        check_errors(errors)
        check_cast(cast)
        options.setdefault("progress", False)
        self._engine = Engine(model, **options)
        try:
            self._inputs = columns_of("inputs", self._engine.inputs, inputs)
            self._outputs = columns_of("outputs", self._engine.outputs, outputs)
            if errors in self._outputs:
                raise InputError(f"errors: {errors!r} is the column of an output")
            self._counts = RowCounts.of(self._engine.inputs)
            self._padding = Padding(self._engine.inputs, padding)
        except BaseException:
            self._engine.close()
            raise
        self._cast = cast
        self._errors = errors

    def __call__(self, batch: "Columns | pyarrow.Table") -> "Columns | pyarrow.Table":
        """Return the batch with the outputs in the place of the inputs.

        It may be called by several threads at once.

        Args:
            batch: a table, or arrays by column: with a row for each sample, of any shapes, or lists
                of numbers. Columns of tables that stay keep their types, null values of integers
                for instance. Arrays may be read-only.

        Raises:
            InputError: a column is missing, or has not as many rows as others, a result has the
                name of a column that stays, or a row does not fit, and there is no column of
                errors; the message names the row.
            Error: a run failed.
        """
        if isinstance(batch, pyarrow.Table):
            self._check(batch.column_names)
            kept = batch.drop_columns(self._inputs)
            found = self._table(*self._predict(arrays_of(batch.select(self._inputs)), kept))
            for name in found.column_names:
                kept = kept.append_column(name, found[name])
            return kept
        if not isinstance(batch, Mapping):
            text = 'arrays by column or a table, as of batch_format="numpy" or "pyarrow"'
            raise InputError(f"expected a batch of {text}, got {type(batch).__name__}")
        self._check(list(batch))
        check_lengths(batch, self._inputs)
        kept = {name: column for name, column in batch.items() if name not in self._inputs}
        return kept | self._columns(*self._predict(batch, kept))

    def _predict(
        self, batch: Mapping[str, Array], kept: Any
    ) -> tuple[Sequence[_Found], Sequence[str]]:
        """Return the results, and the error of each row, empty for most."""
        columns = [np.asarray(batch[name]) for name in self._inputs]
        count = len(columns[0])
        problems = [""] * count

        def refuse_row(row: int, problem: str, kind: type[Error] = InputError) -> None:
            if self._errors is None:
                raise kind(f"{row_name(kept, row)}: {problem}")
            problems[row] = problem

        specs = self._engine.inputs
        rows = Rows(columns, self._inputs, specs, self._counts, self._padding, refuse_row)
        found: list[_Found] = []
        for piece, result in self._results(rows.pieces()):
            if isinstance(result, _NO_ROWS_FAULT):
                raise result
            if isinstance(result, Error):
                found += self._one_by_one(rows, piece.rows, refuse_row)
            elif isinstance(result, Exception):
                raise result
            else:
                found.append((piece.rows, piece.checked(result, self._engine.outputs)))
        return found, problems

    def _columns(self, found: Sequence[_Found], problems: Sequence[str]) -> Columns:
        """Return the columns of the outputs, and that of the errors."""
        count = len(problems)
        results: Columns = {}
        for i, (name, spec) in enumerate(zip(self._outputs, self._engine.outputs, strict=True)):
            results[name] = gathered(count, [(rows, result[i]) for rows, result in found], spec)
        if self._errors is not None:
            results[self._errors] = np.array(problems, object if problems else str)
        return results

    def _table(self, found: Sequence[_Found], problems: Sequence[str]) -> "pyarrow.Table":
        """Return the columns as a table: of a chunk for each large piece, to save a copy."""
        ends = [0, *(rows[-1] + 1 for rows, _ in found)]
        ranges = [range(begin, end) for begin, end in pairwise(ends)]
        size = sum(array.nbytes for _, results in found for array in results)
        is_whole = [rows for rows, _ in found] == ranges and ends[-1] == len(problems)
        if found and is_whole and size >= _LARGE * len(found):
            tables = [
                BlockAccessor.batch_to_arrow_block(
                    self._columns([(range(len(rows)), results)], problems[rows[0] : rows[-1] + 1])
                )
                for rows, results in found
            ]
            if all(table.schema == tables[0].schema for table in tables):
                return pyarrow.concat_tables(tables)
        return BlockAccessor.batch_to_arrow_block(self._columns(found, problems))

    def close(self) -> None:
        """Free the engine."""
        self._engine.close()

    def _check(self, there: Sequence[str]) -> None:
        check_names(there, self._inputs, {"outputs": self._outputs, "errors": [self._errors]})

    def _results(self, parts: Iterator[Piece]) -> Iterator[tuple[Piece, _Results | Exception]]:
        first = [*islice(parts, 2)]
        if len(first) < 2 or self._engine.device == "cpu":  # where nothing overlaps: no copies
            for piece in chain(first, parts):
                yield piece, self._run(piece)
            return
        sent: deque[Piece] = deque()

        def arrays() -> Iterator[Any]:
            for piece in chain(first, parts):
                sent.append(piece)
                yield piece.arrays[0] if len(piece.arrays) == 1 else tuple(piece.arrays)

        for result in self._engine.map(arrays(), cast=self._cast, errors="return"):
            yield sent.popleft(), result if isinstance(result, Exception) else _tuple(result)

    def _run(self, piece: Piece) -> _Results | Error:
        try:
            return _tuple(self._engine.infer(*piece.arrays, cast=self._cast))
        except Error as error:
            return error

    def _one_by_one(
        self, rows: Rows, failed: Sequence[int], refuse_row: Callable[..., None]
    ) -> list[_Found]:
        """Run the rows of a piece that failed, to know which of them did.

        Raises:
            Error: all fail, and not for what they are, or there is no column of errors.
        """
        pieces = [rows.piece([row]) for row in failed]
        results = [(piece, self._run(piece)) for piece in pieces]
        bad = [(piece, result) for piece, result in results if isinstance(result, Error)]
        are_all = len(bad) == len(results) > 1
        for piece, error in bad:
            if isinstance(error, _NO_ROWS_FAULT) or (are_all and not isinstance(error, InputError)):
                raise error
            kind = InputError if isinstance(error, InputError) else Error
            refuse_row(piece.rows[0], str(error), kind)
        return [
            (piece.rows, piece.checked(result, self._engine.outputs))
            for piece, result in results
            if not isinstance(result, Error)
        ]


def _tuple(result: Any) -> _Results:
    return result if isinstance(result, tuple) else (result,)
