"""The ranges of a model's tensors on real data, by ONNX Runtime's calibrators."""

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
# TensorRT's own calibrator looks for the range in 2048 bins, half of which are of one sign, that
# are merged to the 128 levels of a sign.
_BINS = 2048
_LEVELS = 128


def calibrate(
    model: "onnx.ModelProto",
    samples: Iterable[Mapping[str, np.ndarray[Any, Any]]],
    operators: Sequence[str],
    method: Method,
    percentile: float,
) -> Any:
    """The ranges of inputs and outputs of all nodes of some operators.

    Each sample is taken up before the next one is read, so that memory holds the tensors of one.

    Args:
        model: a float model with known types of its tensors.
        samples: what to run it on.
        operators: whose tensors are looked at.
        method: ``"minmax"``: all that came. ``"entropy"``: the range that loses the least
            information (Kullback-Leibler). ``"percentile"``: what holds that share of the values.
        percentile: of the absolute values, 0 to 100.

    Returns:
        ONNX Runtime's ``TensorsData``.

    Raises:
        InputError: the model gives NaN or Inf.
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
            with redirect_stdout(io.StringIO()):  # it prints what it does
                calibrator.collect_data(One(sample))
        if method == "entropy":
            _coarsen(calibrator.collector.get_histogram_dict())
        with redirect_stdout(io.StringIO()):
            ranges = calibrator.compute_data()
    for name, data in ranges.items():
        if not np.isfinite(np.asarray(data.range_value, np.float64)).all():
            raise InputError(f"{name}: the float model gives NaN or Inf there on this data")
    return ranges


def _coarsen(histograms: dict[str, Any]) -> None:
    """Merge bins of histograms that have grown beyond `_BINS`, as large values came late.

    The search for the best range takes the square of their number: seconds become minutes.

    Args:
        histograms: of ONNX Runtime's collector: counts, edges, least, greatest value, threshold;
            the edges go from minus to plus the threshold. Changed in place.
    """
    for name, (counts, edges, least, most, threshold) in histograms.items():
        factor = -(-len(counts) // _BINS)
        if factor == 1:
            continue
        half = -(-len(counts) // 2 // factor) * factor  # of the bins, with empty ones outside
        padded = np.pad(counts, half - len(counts) // 2)
        merged = padded.reshape(-1, factor).sum(1)
        limit = threshold * half / (len(counts) // 2)
        bounds = np.linspace(-limit, limit, len(merged) + 1).astype(edges.dtype)
        histograms[name] = (merged, bounds, least, most, limit)
