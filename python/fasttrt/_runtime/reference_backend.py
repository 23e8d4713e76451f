"""The reference backend: ONNX Runtime on the CPU, behind the same interface as TensorRT."""

import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fasttrt._common.dtypes import wrong_dtype
from fasttrt._common.input_file import is_utf8
from fasttrt._common.tensor_spec import Range, TensorSpec, merge_profiles
from fasttrt._graph.model import DeclaredTensor, OnnxModel
from fasttrt._parser.repeated_outputs import write_repeated_outputs
from fasttrt._plan.profiles import NetworkInput, ShapeLike, Shapes, check_profile, parse_range
from fasttrt._runtime import ort_session as _ort
from fasttrt._runtime.arrays import PINNED, dlpack_device
from fasttrt._runtime.ort_calls import Runs
from fasttrt.errors import (
    Error,
    InputError,
    LibraryNotFoundError,
    OutOfMemoryError,
    ParseError,
    ParseIssue,
)

_NO_MEMORY = re.compile(r"bad_alloc|allocate memory|out of memory", re.I)
_EXTERNAL_FOLDER = "session.model_external_initializers_file_folder_path"
"""Measured: ONNX Runtime 1.20 ignores it, 1.21 heeds it."""


class ReferenceBackend:
    """Runs a model on the CPU. Slow next to a GPU, and what TensorRT's answers are compared with.

    Extents are limited only where ``shapes`` gives a range; profiles cost nothing here.
    """

    reads_dlpack = False
    tells_inputs_read = False

    def __init__(self, model: OnnxModel, shapes: Shapes | None) -> None:
        """Load the model.

        Raises:
            LibraryNotFoundError: if ONNX Runtime is not installed.
            ParseError: if it cannot load the model.
            InputError: if ``shapes`` does not fit the model.
        """
        try:
            import onnxruntime  # noqa: F401 -- to say what is missing
        except ImportError:
            raise LibraryNotFoundError(
                "device=\"cpu\" needs ONNX Runtime: pip install 'fasttrt[cpu]'"
            ) from None
        model = write_repeated_outputs(model)
        self.metadata: dict[str, Any] = {}
        self._runs = Runs()
        given: Sequence[Mapping[str, ShapeLike]] = []
        if shapes is not None:
            given = [shapes] if isinstance(shapes, Mapping) else shapes
        network = [_network_input(tensor, given) for tensor in model.inputs]
        profiles = [check_profile(network, profile) for profile in given]
        self.inputs = tuple(
            _spec(tensor, [p[tensor.name] for p in profiles if tensor.name in p], seen.is_shape)
            for tensor, seen in zip(model.inputs, network, strict=True)
        )
        self.outputs = tuple(_spec(tensor, [], False) for tensor in model.outputs)
        source = os.fspath(model.path) if model.path and _is_file(model) else model.to_bytes()
        try:
            with model.unchanged():
                self._session: Any = _ort.open_session(source, _session_options(model))
        except InputError:
            raise
        except Exception as error:  # of classes that ONNX Runtime does not export
            issue = ParseIssue(-1, "", "", str(error))
            raise ParseError("ONNX Runtime cannot load the model", (issue,)) from error

    def run(
        self,
        arrays: Sequence[Any],
        out: Sequence[Any | None] | None,
        stream: Any = None,
        inputs_read: Any = None,
    ) -> list[np.ndarray[Any, Any]]:
        """Run once; see `Engine.infer`."""
        if stream is not None:
            raise InputError("stream= needs a GPU; the engine runs on the CPU")
        with self._runs.one():
            feeds = {s.name: checked(s, a) for s, a in zip(self.inputs, arrays, strict=True)}
            try:
                results = _ort.run(self._session, feeds, [spec.dtype for spec in self.outputs])
            except Error:
                raise
            except Exception as error:
                if isinstance(error, MemoryError) or _NO_MEMORY.search(str(error)):
                    raise OutOfMemoryError(f"ONNX Runtime has no memory: {error}") from error
                raise InputError(f"ONNX Runtime refused the inputs: {error}") from error
        return [
            _deliver(spec, result, None if out is None else out[i])
            for i, (spec, result) in enumerate(zip(self.outputs, results, strict=True))
        ]

    def save(self, path: str | os.PathLike[str], *, force: bool = False) -> None:
        """There is no plan to save.

        Raises:
            Error: always.
        """
        raise Error("an engine on the CPU has no plan to save; build one with fasttrt.build()")

    def refit(self, model: OnnxModel) -> None:
        """There is nothing to refit.

        Raises:
            Error: always.
        """
        raise Error("an engine on the CPU is not refitted; make one from the new model")

    def hurry(self) -> None:
        """Nothing is gathered on the CPU."""

    def close(self) -> None:
        """Wait for the runs under way, and free the model."""
        self._runs.close()
        self._session = None


def _is_file(model: OnnxModel) -> bool:
    """Whether ONNX Runtime can read it from its file."""
    return model.path is not None and model.is_in_file and is_utf8(model.path.absolute())


def _session_options(model: OnnxModel) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    if model.is_quantized:  # computed as written: int8 kernels of some CPUs saturate in between
        options.add_session_config_entry("session.disable_quant_qdq", "1")
    given_as_bytes = not _is_file(model)
    if model.path is not None and given_as_bytes and is_utf8(model.path.absolute()):
        # Its external data is where it was.
        folder = os.fspath(model.path.absolute().parent)
        options.add_session_config_entry(_EXTERNAL_FOLDER, folder)
    return options


def _network_input(
    tensor: DeclaredTensor, profiles: Sequence[Mapping[str, ShapeLike]]
) -> NetworkInput:
    """The input as TensorRT would see it: a shape tensor if the caller gives ranges of values."""
    extents = _extents(tensor)
    is_shape = False
    if tensor.dtype.kind in "iu" and len(extents) <= 1 and -1 not in extents:
        given = [p[tensor.name] for p in profiles if isinstance(p, Mapping) and tensor.name in p]
        is_shape = any(parse_range(tensor.name, value) != (extents,) * 3 for value in given)
    return NetworkInput(tensor.name, str(tensor.dtype), extents, ("",) * len(extents), is_shape)


def _extents(tensor: DeclaredTensor) -> tuple[int, ...]:
    return tuple(extent if isinstance(extent, int) else -1 for extent in tensor.shape or ())


def _spec(tensor: DeclaredTensor, ranges: list[Range], is_shape: bool) -> TensorSpec:
    least, best, most = merge_profiles(tuple(ranges))
    return TensorSpec(
        tensor.name, tensor.dtype, _extents(tensor), least, best, most, tuple(ranges),
        is_shape=is_shape,
    )  # fmt: skip


def checked(spec: TensorSpec, array: Any) -> np.ndarray[Any, Any]:
    """The array as ONNX Runtime takes it: in the host's memory, and C-contiguous.

    Raises:
        InputError: it does not fit the input.
    """
    if not isinstance(array, np.ndarray):
        array = _from_pinned(spec, array)
    if spec.dtype.kind == "O":
        array = _checked_text(spec, array)
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


def _checked_text(spec: TensorSpec, array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Strings as ONNX Runtime takes them, which would write out whatever else it gets."""
    if array.dtype.kind in "UT":
        array = array.astype(object)
    if array.dtype.kind != "O":
        raise InputError(f"{spec.name}: expected strings, got dtype {array.dtype}")
    for item in array.flat:
        if not isinstance(item, str):
            cure = "; decode it, as in x.decode()" if isinstance(item, bytes) else ""
            raise InputError(
                f"{spec.name}: expected strings, got {item!r} ({type(item).__name__}) among "
                f"them{cure}"
            )
    return array


def _from_pinned(spec: TensorSpec, array: Any) -> Any:
    """The same memory as numpy sees it; a GPU's is not the host's."""
    device = dlpack_device(array)
    if device is None or device[0] != PINNED:
        raise InputError(
            f"{spec.name}: expected an array in the host's memory, as the engine runs on the CPU, "
            f"got one on a GPU ({type(array).__name__})"
        )
    return np.asarray(array)


def _within(shape: tuple[int, ...], range_: Range) -> bool:
    least, _, most = range_
    return all(a <= e <= b for a, e, b in zip(least, shape, most, strict=True))


def _deliver(
    spec: TensorSpec, result: np.ndarray[Any, Any], out: Any | None
) -> np.ndarray[Any, Any]:
    if out is None:
        return result
    if not isinstance(out, np.ndarray):
        raise InputError(f"{spec.name}: out= must be a numpy array, got {type(out).__name__}")
    if out.dtype != result.dtype or out.shape != result.shape:
        raise InputError(
            f"{spec.name}: out= must have dtype {result.dtype} and shape {result.shape}, "
            f"got {out.dtype} and {out.shape}"
        )
    if not out.flags.carray:
        raise InputError(f"{spec.name}: out= must be C-contiguous, aligned and writeable")
    np.copyto(out, result)
    return out
