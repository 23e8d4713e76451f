"""The reference backend: ONNX Runtime on the CPU, behind the same interface as TensorRT."""

import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fasttrt._common.dtypes import wrong_dtype
from fasttrt._common.input_file import check_file, is_utf8
from fasttrt._common.optional_packages import require
from fasttrt._common.tensor_spec import Range, TensorSpec, merge_profiles
from fasttrt._graph.model import DeclaredTensor, OnnxModel
from fasttrt._parser.repeated_outputs import write_repeated_outputs
from fasttrt._plan.profiles import NetworkInput, ShapeLike, Shapes, check_profile, parse_range
from fasttrt._runtime import ort_session as _ort
from fasttrt._runtime.arrays import PINNED, dlpack_device
from fasttrt._runtime.backend import Runner
from fasttrt._runtime.ort_calls import Runs
from fasttrt._runtime.output_arrays import check_apart, check_target, fill_target
from fasttrt._runtime.statistics import RunCounter
from fasttrt.errors import (
    Error,
    InputError,
    OutOfMemoryError,
    ParseError,
    ParseIssue,
)

_NO_MEMORY = re.compile(r"bad_alloc|allocate memory|out of memory", re.IGNORECASE)
_EXTERNAL_FOLDER = "session.model_external_initializers_file_folder_path"
"""Measured: ONNX Runtime 1.20 ignores it, 1.21 respects it."""


class ReferenceBackend:
    """Runs a model on the CPU: slower than a GPU, and the reference for TensorRT's results.

    Shapes are limited only where ``shapes`` gives a range.
    """

    reads_dlpack = False

    def __init__(self, model: OnnxModel, shapes: Shapes | None) -> None:
        """Load the model.

        Raises:
            MissingPackageError: ONNX Runtime or onnx is not installed.
            ParseError: it cannot load the model, or an input or output is not a tensor, or there
                are no outputs.
            InputError: ``shapes`` does not match the model.
        """
        require("running on the CPU", "onnxruntime")
        from fasttrt._parser.reasons import interface_problems

        if reasons := list(interface_problems(model.skeleton)):
            issues = tuple(ParseIssue(-1, "", "", reason) for reason in reasons)
            raise ParseError("fasttrt cannot run the model", issues)
        model = write_repeated_outputs(model)
        self.metadata: dict[str, Any] = {}
        self._runs = Runs()
        self._counter = RunCounter()
        user_profiles: Sequence[Mapping[str, ShapeLike]] = []
        if shapes is not None:
            user_profiles = [shapes] if isinstance(shapes, Mapping) else shapes
        network = [_network_input(tensor, user_profiles) for tensor in model.inputs]
        profiles = [check_profile(network, profile) for profile in user_profiles]
        self.inputs = tuple(
            _spec(tensor, [p[tensor.name] for p in profiles if tensor.name in p], seen.is_shape)
            for tensor, seen in zip(model.inputs, network, strict=True)
        )
        self.outputs = tuple(_spec(tensor, [], False) for tensor in model.outputs)
        source = os.fspath(model.path) if model.path and _is_file(model) else model.to_bytes()
        given = check_file(source).size if isinstance(source, str) else len(source)
        self._model_bytes = given + model.external_bytes
        try:
            with model.unchanged():
                self._session: Any = _ort.open_session(source, _session_options(model))
        except InputError:
            raise
        except Exception as error:  # ONNX Runtime does not export their classes
            issue = ParseIssue(-1, "", "", str(error))
            raise ParseError("ONNX Runtime cannot load the model", (issue,)) from error

    def run(
        self,
        arrays: Sequence[Any],
        out: Sequence[Any | None] | None,
        stream: Any = None,
    ) -> list[np.ndarray[Any, Any]]:
        """Run once; see `Engine.infer`."""
        with self._counter.one(arrays):
            return self._run_once(arrays, out, stream)

    def _run_once(
        self, arrays: Sequence[Any], out: Sequence[Any | None] | None, stream: Any
    ) -> list[np.ndarray[Any, Any]]:
        if stream is not None:
            raise InputError("stream= needs a GPU; the engine runs on the CPU")
        targets = [None] * len(self.outputs) if out is None else out
        for spec, target in zip(self.outputs, targets, strict=True):
            if target is not None:
                check_target(spec, target)
        check_apart(self.outputs, targets)
        with self._runs.one():
            feeds = {s.name: check_array(s, a) for s, a in zip(self.inputs, arrays, strict=True)}
            try:
                results = _ort.run(self._session, feeds, [spec.dtype for spec in self.outputs])
            except Error:
                raise
            except Exception as error:
                if isinstance(error, MemoryError) or _NO_MEMORY.search(str(error)):
                    raise OutOfMemoryError(f"ONNX Runtime is out of memory: {error}") from error
                raise InputError(f"ONNX Runtime rejected the inputs: {error}") from error
        return [
            result if target is None else fill_target(spec, target, result)
            for spec, result, target in zip(self.outputs, results, targets, strict=True)
        ]

    def runners(self, *, gathers: bool) -> Runner:
        """Return `run`; nothing is gathered on the CPU."""
        return lambda arrays, out: self.run(arrays, out)

    def save(self, path: str | os.PathLike[str], *, force: bool = False) -> None:
        """Fail, as there is no plan to save.

        Raises:
            Error: always.
        """
        raise Error("an engine on the CPU has no plan to save; build one with fasttrt.build()")

    def refit(self, model: OnnxModel) -> None:
        """Fail, as there is no engine to refit.

        Raises:
            Error: always.
        """
        raise Error("an engine on the CPU cannot be refitted; create one from the new model")

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        return self._session is None

    def warm_up(self, arrays: Sequence[Any]) -> None:
        """Do nothing: ONNX Runtime compiles nothing."""

    def store_kernels(self) -> None:
        """Do nothing, for the same reason."""

    def statistics(self) -> dict[str, Any]:
        """Return what was counted; see `Backend.statistics`."""
        model_bytes = 0 if self._session is None else self._model_bytes
        return self._counter.statistics() | {"model_bytes": model_bytes}

    def close(self) -> None:
        """Wait for current runs, and free the model."""
        self._runs.close()
        self._session = None


def _is_file(model: OnnxModel) -> bool:
    """Whether ONNX Runtime can read the model from its file."""
    return model.path is not None and model.is_in_file and is_utf8(model.path.absolute())


def _session_options(model: OnnxModel) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    # Its threads would poll for work, and so take processors from whoever else has some.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if (
        model.is_quantized
    ):  # computed as written, as int8 kernels of some CPUs saturate intermediate results
        options.add_session_config_entry("session.disable_quant_qdq", "1")
    given_as_bytes = not _is_file(model)
    if model.path is not None and given_as_bytes and is_utf8(model.path.absolute()):
        # The external data is beside the model's file.
        folder = os.fspath(model.path.absolute().parent)
        options.add_session_config_entry(_EXTERNAL_FOLDER, folder)
    return options


def _network_input(
    tensor: DeclaredTensor, profiles: Sequence[Mapping[str, ShapeLike]]
) -> NetworkInput:
    """Describe an input as TensorRT would: a shape tensor if the caller gives ranges of values."""
    shape = _shape(tensor)
    is_shape = False
    if tensor.dtype.kind in "iu" and len(shape) <= 1 and -1 not in shape:
        values = [p[tensor.name] for p in profiles if isinstance(p, Mapping) and tensor.name in p]
        is_shape = any(parse_range(tensor.name, value) != (shape,) * 3 for value in values)
    return NetworkInput(tensor.name, str(tensor.dtype), shape, ("",) * len(shape), is_shape)


def _shape(tensor: DeclaredTensor) -> tuple[int, ...]:
    return tuple(size if isinstance(size, int) else -1 for size in tensor.shape or ())


def _spec(tensor: DeclaredTensor, ranges: list[Range], is_shape: bool) -> TensorSpec:
    min_, opt, max_ = merge_profiles(tuple(ranges))
    return TensorSpec(
        tensor.name, tensor.dtype, _shape(tensor), min_, opt, max_, tuple(ranges),
        is_shape=is_shape,
    )  # fmt: skip


def check_array(spec: TensorSpec, array: Any) -> np.ndarray[Any, Any]:
    """Return an array as ONNX Runtime requires it: in host memory and C-contiguous.

    Raises:
        InputError: its dtype, shape or values do not match the input.
    """
    if not isinstance(array, np.ndarray):
        array = _from_pinned(spec, array)
    if spec.dtype.kind == "O":
        array = _check_text(spec, array)
    if array.dtype != spec.dtype:
        raise wrong_dtype(spec.name, spec.dtype, array.dtype)
    fits = len(array.shape) == len(spec.shape) and all(
        expected in (-1, got) for expected, got in zip(spec.shape, array.shape, strict=True)
    )
    if not fits:
        raise InputError(f"{spec.name}: expected shape {spec.shape} (-1 is any), got {array.shape}")
    got = tuple(array.ravel().tolist()) if spec.is_shape else array.shape
    if spec.profiles and not any(_within(got, range_) for range_ in spec.profiles):
        what = "values" if spec.is_shape else "shape"
        ranges = "; or ".join(f"min {a}, opt {b}, max {c}" for a, b, c in spec.profiles)
        raise InputError(f"{spec.name}: expected {what} {ranges}, got {got}")
    return np.asarray(array, order="C")


def _check_text(spec: TensorSpec, array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Check that all elements are strings; ONNX Runtime would convert anything else to text."""
    if array.dtype.kind in "UT":
        array = array.astype(object)
    if array.dtype.kind != "O":
        raise InputError(f"{spec.name}: expected strings, got dtype {array.dtype}")
    for item in array.flat:
        if not isinstance(item, str):
            hint = "; decode it, as in x.decode()" if isinstance(item, bytes) else ""
            raise InputError(
                f"{spec.name}: expected strings, got {item!r} ({type(item).__name__}) among "
                f"them{hint}"
            )
    return array


def _from_pinned(spec: TensorSpec, array: Any) -> Any:
    """Return a numpy view of a pinned array; an array in the GPU's memory is an error."""
    device = dlpack_device(array)
    if device is None or device[0] != PINNED:
        raise InputError(
            f"{spec.name}: expected an array in host memory, as the engine runs on the CPU, "
            f"got one on a GPU ({type(array).__name__})"
        )
    return np.asarray(array)


def _within(shape: tuple[int, ...], range_: Range) -> bool:
    min_, _, max_ = range_
    return all(a <= size <= b for a, size, b in zip(min_, shape, max_, strict=True))
