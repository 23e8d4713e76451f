"""The report of a quantization: how far the outputs are from the float model's."""

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from fasttrt._common.array_errors import ErrorSums, equal_maxima
from fasttrt._common.host_array import Array
from fasttrt._common.json_values import json_value
from fasttrt._common.tables import name, number, output_width, render, wrap

_NUMBERS = ("max abs", "mean abs", "peak rel", "rms rel", "cosine", "top-1", "NaN")
_COLUMNS = (name("output"), *map(number, _NUMBERS))


@dataclass(frozen=True)
class OutputLoss:
    """The loss of one output: the quantized model's values compared with the float model's."""

    name: str
    values: int
    """The number of values compared."""
    max_abs_error: float
    mean_abs_error: float
    peak_rel_error: float
    """The maximum absolute error, relative to the float model's maximum absolute value."""
    rms_rel_error: float
    """The root mean square of the error, relative to that of the float model's values."""
    cosine: float
    """The cosine similarity of the two models' values."""
    top1_agreement: float | None
    """The share of rows (along the last axis) whose largest value is in the same place. None for
    outputs without rows: of rank below 2, or with one value per row."""
    not_finite: int
    """The number of values that are NaN or Inf only in the quantized model."""
    other_shapes: int
    """The number of samples whose outputs have different shapes, which are not compared."""


@dataclass(frozen=True)
class QuantizationReport:
    """What was quantized, with which data, and the loss of accuracy."""

    method: str
    """How ranges were determined."""
    calibration_samples: int
    validation_samples: int
    held_out: bool
    """Whether the loss was measured on data that was not used for calibration."""
    opset: tuple[int, int]
    """The opset of the original model, and of the quantized one."""
    quantized: tuple[str, ...]
    """The nodes that compute in int8, by name."""
    excluded: tuple[str, ...]
    """The nodes that the caller excluded."""
    outputs: tuple[OutputLoss, ...]
    """The loss of each output, with both models in ONNX Runtime and Q/DQ computed as written."""
    target: str
    """The TensorRT whose parser accepted the model, or why it was not checked."""

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON values; NaN, which JSON lacks, becomes None."""
        plain: dict[str, Any] = json_value(asdict(self))
        return plain

    def __str__(self) -> str:
        """Format a table of the outputs as wide as the terminal, and how it was measured."""
        return "\n".join(self.lines(output_width()))

    def lines(self, width: int | None = None) -> list[str]:
        """Format the report for a terminal of that width."""
        data = "held out" if self.held_out else "the calibration data: too few to hold out"
        before, after = self.opset
        opset = f"opset {after}" if before == after else f"opset {before}, converted to {after}"
        rows = []
        for loss in self.outputs:
            numbers = (
                loss.max_abs_error, loss.mean_abs_error, loss.peak_rel_error, loss.rms_rel_error,
            )  # fmt: skip
            top1 = "-" if loss.top1_agreement is None else f"{loss.top1_agreement:.1%}"
            rows.append([
                loss.name, *(f"{n:.3g}" for n in numbers), f"{loss.cosine:.6f}", top1,
                str(loss.not_finite),
            ])  # fmt: skip
        odd = [
            f"{loss.name}: {loss.other_shapes} samples of different shapes, not compared"
            for loss in self.outputs
            if loss.other_shapes
        ]
        about = [
            f"int8: {len(self.quantized)} nodes quantized, {len(self.excluded)} excluded; {opset}",
            f"ranges: {self.method} over {self.calibration_samples} samples; "
            f"loss: over {self.validation_samples} ({data})",
            f"parser: {self.target}",
        ]
        return [*wrap(about, width), *render(_COLUMNS, rows, width), *wrap(odd, width)]


class LossMeter:
    """Accumulates an output's loss over samples."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._errors = ErrorSums()
        self._not_finite = self._other_shapes = 0
        self._rows = self._same_rows = 0

    def add(self, expected: Array, actual: Array) -> None:
        """Add one sample's output of the float and of the quantized model."""
        if expected.shape != actual.shape:
            self._other_shapes += 1
            return
        want, got = expected.astype(np.float64), actual.astype(np.float64)
        rows, same = equal_maxima(got, want)
        self._rows += rows
        self._same_rows += same
        both = np.isfinite(want) & np.isfinite(got)
        self._not_finite += int((np.isfinite(want) & ~np.isfinite(got)).sum())
        self._errors += ErrorSums.of(got[both], want[both])

    def result(self) -> OutputLoss:
        """Return the loss over all samples."""
        errors = self._errors
        squares = errors.expected_squares, errors.actual_squares
        # Of the law of cosines, whose triangle has the error as its third side.
        product = (sum(squares) - errors.error_squares) / 2
        return OutputLoss(
            name=self._name,
            values=errors.count,
            max_abs_error=errors.max_abs,
            mean_abs_error=_ratio(errors.sum_abs, errors.count),
            peak_rel_error=_ratio(errors.max_abs, errors.max_expected),
            rms_rel_error=math.sqrt(_ratio(errors.error_squares, errors.expected_squares)),
            cosine=_ratio(product, math.sqrt(squares[0]) * math.sqrt(squares[1])),
            top1_agreement=self._same_rows / self._rows if self._rows else None,
            not_finite=self._not_finite,
            other_shapes=self._other_shapes,
        )


def _ratio(part: float, whole: float) -> float:
    """Divide; NaN if the denominator is 0."""
    return part / whole if whole else math.nan
