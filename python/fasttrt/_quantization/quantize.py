"""Post-training quantization to int8: `quantize`."""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from fasttrt._common.checks import as_path, is_one_of, refuse
from fasttrt._common.file_kinds import MODEL, FileKind
from fasttrt._common.host_array import Array
from fasttrt._common.optional_packages import require
from fasttrt._common.output_file import Output
from fasttrt._graph.model import OnnxModel
from fasttrt._graph.opset import onnx_version
from fasttrt._quantization.calibration import METHODS, Method, calibrate
from fasttrt._quantization.preparation import (
    inline_weights,
    optimize_for_quantization,
    upgrade_opset,
)
from fasttrt._quantization.qdq import OPERATORS, choose, find_excluded, place
from fasttrt._quantization.report import LossMeter, OutputLoss, QuantizationReport
from fasttrt._quantization.target import Int8Target
from fasttrt._runtime.reference_backend import ReferenceBackend
from fasttrt._runtime.samples import Samples, read_samples
from fasttrt.errors import Error, InputError, LibraryNotFoundError

if TYPE_CHECKING:
    import onnx

_MIN_ONNX_RUNTIME = (1, 20)  # the first whose quantizer supports our options
_PERCENTILE = 99.99
_HOLD_OUT_EVERY = 5  # every fifth sample is held out of calibration, to measure the loss on


def _is_quantized(stream: BinaryIO) -> bool:
    if not MODEL.matches(stream):
        return False
    stream.seek(0)
    try:
        return OnnxModel(stream.read()).is_quantized
    except Error:
        return False


QUANTIZED = FileKind("a quantized ONNX model", _is_quantized)


@dataclass(frozen=True)
class Quantized:
    """A quantized model, and a report on its accuracy."""

    model: "onnx.ModelProto" = field(repr=False)
    """The model with Q/DQ nodes, for `Engine` and `build`."""
    report: QuantizationReport
    path: Path | None = None
    """The file that it was written to; None if it was not written."""
    inputs: tuple[Path, ...] = field(default=(), repr=False)
    """The files of the original model, which `save` does not replace."""

    def save(self, path: str | os.PathLike[str], *, force: bool = False) -> None:
        """Write an ONNX file. The file is written atomically.

        Args:
            path: the file. An existing file is replaced if it is a quantized ONNX model
                other than the original one.
            force: whether to replace any existing file.

        Raises:
            InputError: the existing file must not be replaced.
            OSError: it cannot be written.
        """
        with Output(Path(path), QUANTIZED, self.inputs, force).open() as stream:
            stream.write(self.model.SerializeToString())


def quantize(
    model: "str | os.PathLike[str] | bytes | onnx.ModelProto | OnnxModel",
    data: Samples,
    *,
    output: str | os.PathLike[str] | None = None,
    force: bool = False,
    validation: Samples | None = None,
    method: Method = "minmax",
    percentile: float | None = None,
    operators: Sequence[str] = OPERATORS,
    exclude: Sequence[str] = (),
    library: str | os.PathLike[str] | None = "auto",
    device: str | None = None,
) -> Quantized:
    """Quantize a float32 model to int8 with calibration data, without training.

    The result has explicit quantization (Q/DQ nodes), symmetric and with per-channel weights, as
    TensorRT requires it; everything else stays float32. Ranges come from ONNX Runtime's calibrators
    and the nodes from its quantizer, so no GPU is needed. Constants are folded first, and batch
    normalization is merged into convolutions. Subgraphs of ``If`` and ``Loop`` stay float.

    Args:
        model: a float32 ONNX model, of at most 2 GiB.
        data: a few hundred representative samples: an iterable of the inputs of `Engine.infer`; or
            saved ones: a folder of ``.npz`` files (an array for each input, by name) or of ``.npy``
            files (each a sample of a model with one input, or one sample of several inputs, named
            after them), or one such file.
        output: the file to write the model to. An existing file is replaced if it is a
            quantized ONNX model other than the original one.
        force: whether to replace any existing file.
        validation: samples to measure the loss on. None: every fifth of ``data``, which is then not
            used for calibration; with fewer than five, all of it, as the report states.
        method: how ranges are determined. ``"minmax"``: by the extreme values. ``"entropy"`` and
            ``"percentile"`` clip rare large values in favour of finer steps for the others; they
            take longer.
        percentile: with ``method="percentile"``: the share of absolute values that is not clipped,
            in percent; None for 99.99.
        operators: which of `Conv`, `ConvTranspose`, `Gemm` and `MatMul` to quantize.
        exclude: nodes (by name) or operators to keep in float32.
        library: the TensorRT that must support the result, see `fasttrt.library`; its parser parses
            it. ``"auto"``: the one found here, if it can build here. None: no check.
        device: the GPU that must be able to run it, ``"cuda"`` or ``"cuda:N"``. None: the first, if
            any.

    Returns:
        The model and the report.

    Raises:
        InputError: the model, an option or a sample is invalid; or nothing can be quantized.
        ParseError: ONNX Runtime or TensorRT cannot parse the model.
        UnsupportedLibraryError: the GPU has no int8 arithmetic, or the library no int8 kernels for
            one of the operators (TensorRT-RTX before 1.7 has none for convolutions).
        LibraryNotFoundError: ONNX Runtime (or onnx) or the requested TensorRT is missing.

    Examples:
        >>> quantized = fasttrt.quantize("m.onnx", "samples", library=None)
        >>> quantized.report.quantized
        (...)
        >>> quantized.save("m.int8.onnx")
    """
    _check_options(method, percentile, operators, exclude)
    percentile = _PERCENTILE if percentile is None else percentile
    _require_onnxruntime()
    target = None if library is None else Int8Target(library, device)
    read = model if isinstance(model, OnnxModel) else OnnxModel(model)
    if output is not None:
        output = as_path("output", output)
        Output(output, QUANTIZED, read.files, force).check("output")
    original = inline_weights(read)
    prepared = optimize_for_quantization(upgrade_opset(original))
    excluded = find_excluded(original.graph, prepared.graph, exclude)
    choice = choose(prepared.graph, operators, excluded)
    if not choice.weighted:
        raise InputError(
            f"nothing to quantize: the model has no {' or '.join(operators)} with constant float32 "
            "weights that is not excluded"
        )
    if target is not None:  # before reading the data, which may take long
        target.check(n.op_type for n in prepared.graph.node if n.name in choice.weighted)
        target.parse(prepared)
    reference = ReferenceBackend(OnnxModel(original), None)
    split = _Split(read_samples(reference.inputs, data, "data"), validation is None)
    names = [spec.name for spec in reference.inputs]
    feeds = (dict(zip(names, arrays, strict=True)) for arrays in split)
    ranges = calibrate(prepared, feeds, [*operators, "Add"], method, percentile)
    result = place(prepared, ranges, choice)
    if target is not None:
        target.parse(result)
    held_out: Iterable[list[Array]] = split.held_out or split.first
    if validation is not None:
        held_out = read_samples(reference.inputs, validation, "validation")
    outputs, count = _measure_loss(reference, ReferenceBackend(OnnxModel(result), None), held_out)
    report = QuantizationReport(
        method=f"percentile {percentile:g}" if method == "percentile" else method,
        calibration_samples=split.count,
        validation_samples=count,
        held_out=validation is not None or bool(split.held_out),
        opset=(onnx_version(original.opset_import), onnx_version(result.opset_import)),
        quantized=choice.weighted,
        excluded=tuple(sorted(excluded)),
        outputs=outputs,
        target="not checked" if target is None else target.name,
    )
    path = None if output is None else Path(output)
    quantized = Quantized(result, report, path, read.files)
    if path is not None:
        quantized.save(path, force=force)
    return quantized


class _Split:
    """Iterates over the samples for calibration, and keeps copies of those to validate on.

    Copies, as the caller may reuse one buffer.
    """

    def __init__(self, samples: Iterator[list[Array]], hold_out: bool) -> None:
        self._samples, self._hold_out = samples, hold_out
        self.count = 0
        self.held_out: list[list[Array]] = []
        self.first: list[list[Array]] = []
        """The samples for calibration, until one is held out."""

    def __iter__(self) -> Iterator[list[Array]]:
        for index, arrays in enumerate(self._samples):
            if self._hold_out and index % _HOLD_OUT_EVERY == _HOLD_OUT_EVERY - 1:
                self.held_out.append([array.copy() for array in arrays])
                self.first.clear()
                continue
            if self._hold_out and not self.held_out:
                self.first.append([array.copy() for array in arrays])
            self.count += 1
            yield arrays


def _measure_loss(
    reference: ReferenceBackend, quantized: ReferenceBackend, samples: Iterable[list[Array]]
) -> tuple[tuple[OutputLoss, ...], int]:
    """Measure the loss of each output, and count the samples."""
    meters = [LossMeter(spec.name) for spec in reference.outputs]
    count = 0
    for arrays in samples:
        pairs = zip(reference.run(arrays, None), quantized.run(arrays, None), strict=True)
        for meter, (expected, actual) in zip(meters, pairs, strict=True):
            meter.add(expected, actual)
        count += 1
    return tuple(meter.result() for meter in meters), count


def _check_options(
    method: str, percentile: float | None, operators: Sequence[str], exclude: Sequence[str]
) -> None:
    if not is_one_of(method, METHODS):
        refuse("method", f"one of {', '.join(METHODS)}", method)
    if percentile is not None:
        if not (isinstance(percentile, Real) and 50 <= float(percentile) <= 100):
            refuse("percentile", "a number from 50 to 100", percentile)
        if method != "percentile":
            raise InputError(f'percentile: only with method="percentile", got method="{method}"')
    is_list = isinstance(operators, (list, tuple, set, frozenset)) and len(operators) > 0
    if not (is_list and all(is_one_of(operator, OPERATORS) for operator in operators)):
        refuse("operators", f"some of {OPERATORS}", operators)
    names = isinstance(exclude, (list, tuple, set, frozenset))
    if not (names and all(isinstance(name, str) for name in exclude)):
        refuse("exclude", "names of nodes or operators", exclude)


def _require_onnxruntime() -> None:
    require("quantize()", "onnxruntime")
    import onnxruntime

    version: str = onnxruntime.__version__
    if tuple(int(part) for part in version.split(".")[:2]) < _MIN_ONNX_RUNTIME:
        minimum = ".".join(map(str, _MIN_ONNX_RUNTIME))
        raise LibraryNotFoundError(
            f"quantize() needs ONNX Runtime {minimum} or later, this is {version}: "
            f"pip install 'onnxruntime>={minimum}'"
        )
