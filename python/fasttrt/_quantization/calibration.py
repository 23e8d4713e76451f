"""Calibration: the ranges of a model's tensors on sample data, by ONNX Runtime's calibrators."""

import io
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from fasttrt.errors import InputError

if TYPE_CHECKING:
    import onnx

Method: TypeAlias = Literal["minmax", "entropy", "percentile"]
METHODS = ("minmax", "entropy", "percentile")
# TensorRT's own calibrator searches for the range in 2048 bins, half of them for each sign, which
# are merged into the 128 levels of a sign.
_BINS = 2048
_LEVELS = 128


def calibrate(
    model: "onnx.ModelProto",
    samples: Iterable[Mapping[str, np.ndarray[Any, Any]]],
    operators: Sequence[str],
    method: Method,
    percentile: float,
) -> Any:
    """Determine the ranges of the inputs and outputs of all nodes of some operators.

    Each sample is processed before the next one is read, so that memory holds one sample's tensors.

    Args:
        model: a float model whose tensor types are known.
        samples: the samples to run.
        operators: the operators whose tensors are observed.
        method: ``"minmax"``: the range of all values. ``"entropy"``: the range that loses the least
            information (Kullback-Leibler). ``"percentile"``: the range of that share of the values.
        percentile: the percentile of the absolute values, 0 to 100.

    Returns:
        ONNX Runtime's ``TensorsData``.

    Raises:
        InputError: a tensor of the model is NaN or Inf.
    """
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod
    from onnxruntime.quantization.calibrate import create_calibrator

    class One(CalibrationDataReader):  # type: ignore[misc]  # untyped
        def __init__(self, sample: Mapping[str, Any]) -> None:
            self.left: list[Mapping[str, Any]] = [sample]

        def get_next(self) -> Any:
            return self.left.pop() if self.left else None

    kind = {
        "minmax": CalibrationMethod.MinMax,
        "entropy": CalibrationMethod.Entropy,
        "percentile": CalibrationMethod.Percentile,
    }[method]
    options: dict[str, Any] = {"symmetric": True}
    if method == "entropy":
        options |= {"num_bins": _BINS, "num_quantized_bins": _LEVELS}
    elif method == "percentile":
        options |= {"num_bins": _BINS, "percentile": percentile}
    with tempfile.TemporaryDirectory(prefix="fasttrt-") as folder:
        path = Path(folder) / "float.onnx"
        onnx.save_model(model, path)
        calibrator = create_calibrator(
            path, list(operators), str(Path(folder) / "augmented.onnx"), kind, extra_options=options
        )
        for sample in samples:
            with redirect_stdout(io.StringIO()):  # it prints its progress
                calibrator.collect_data(One(sample))
        if method == "entropy":
            _coarsen(calibrator.collector.get_histogram_dict())
        with redirect_stdout(io.StringIO()):
            ranges = calibrator.compute_data()
    for name, data in ranges.items():
        if not np.isfinite(np.asarray(data.range_value, np.float64)).all():
            raise InputError(f"{name}: the float model computes NaN or Inf there on this data")
    return ranges


def _coarsen(histograms: dict[str, Any]) -> None:
    """Merge bins of histograms that have grown beyond `_BINS` because large values came late.

    The search for the best range is quadratic in their number: seconds would become minutes.

    Args:
        histograms: those of ONNX Runtime's collector: counts, edges, minimum, maximum, threshold;
            the edges go from minus to plus the threshold. Changed in place.
    """
    for name, (counts, edges, min_, max_, threshold) in histograms.items():
        factor = -(-len(counts) // _BINS)
        if factor == 1:
            continue
        half = -(-len(counts) // 2 // factor) * factor  # half of the bins, with empty ones outside
        padded = np.pad(counts, half - len(counts) // 2)
        merged = padded.reshape(-1, factor).sum(1)
        limit = threshold * half / (len(counts) // 2)
        bounds = np.linspace(-limit, limit, len(merged) + 1).astype(edges.dtype)
        histograms[name] = (merged, bounds, min_, max_, limit)
