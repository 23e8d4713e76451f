"""ONNX Runtime sessions, and the exchange of arrays whose dtypes it does not support in numpy."""

import ctypes
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fasttrt._common.host_array import Array
from fasttrt._runtime.ort_calls import keep_in_children, under_way

if TYPE_CHECKING:
    import onnxruntime


# One of ONNX Runtime's default optimizations, which converts float16 weights to float32. With
# LayerNormalization, Transpose and MatMul in a row, as in float16 vision transformers, it crashes
# with a segmentation fault while the model is loaded (seen with 1.23.2, 1.31.1 and 1.32.0, not with
# 1.20.1). It is all that ORT_ENABLE_ALL adds to ORT_ENABLE_LAYOUT, and the others stay on. Releases
# without it ignore the name.
_CRASHING_OPTIMIZERS = ["FuseFp16InitializerToFp32NodeTransformer"]


def open_session(
    source: str | bytes,
    options: "onnxruntime.SessionOptions | None" = None,
    disabled: Sequence[str] = (),
) -> "onnxruntime.InferenceSession":
    """Open a session on the CPU for a file or its content.

    All of fasttrt's sessions are created here, except for those of ONNX Runtime's calibration.
    """
    import onnxruntime

    with under_way():
        session = onnxruntime.InferenceSession(
            source,
            options,
            providers=["CPUExecutionProvider"],
            disabled_optimizers=[*_CRASHING_OPTIMIZERS, *disabled],
        )
    keep_in_children(session)
    return session


def unoptimized() -> "onnxruntime.SessionOptions":
    """Return options for a session that only inspects the model, and so opens quickly."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3  # errors
    return options


def run(
    session: "onnxruntime.InferenceSession", feeds: Mapping[str, Array], dtypes: list[np.dtype[Any]]
) -> list[Array]:
    """Run a session and return results with these dtypes. Arrays in ``feeds`` are C-contiguous.

    Raises:
        Error: the interpreter is ending.
    """
    from onnxruntime import OrtValue, RunOptions

    options = RunOptions()
    if not any(map(_is_foreign, [*dtypes, *(array.dtype for array in feeds.values())])):
        with under_way(options):
            return [np.asarray(result) for result in session.run(None, dict(feeds), options)]

    buffers: list[Array] = []  # kept alive while ONNX Runtime reads them
    values = {}
    for name, array in feeds.items():
        if _is_foreign(array.dtype):
            buffers.append(_to_bits(array))
            onnx_type = _onnx_type(array.dtype)
            values[name] = OrtValue.ortvalue_from_numpy_with_onnx_type(buffers[-1], onnx_type)
        else:
            values[name] = OrtValue.ortvalue_from_numpy(array)
    with under_way(options):
        results = session.run_with_ort_values(None, values, options)
    return [
        _from_bits(result, dtype) if _is_foreign(dtype) else result.numpy()
        for result, dtype in zip(results, dtypes, strict=True)
    ]


def _is_foreign(dtype: np.dtype[Any]) -> bool:
    return dtype.isbuiltin == 2  # numpy's code for dtypes of other packages, here ml_dtypes


def _is_packed(dtype: np.dtype[Any]) -> bool:
    """Return whether ONNX Runtime packs two elements into a byte, the first in the low half."""
    return dtype.name in ("int4", "uint4", "float4_e2m1fn")


def _onnx_type(dtype: np.dtype[Any]) -> int:
    import onnx

    return int(onnx.helper.np_dtype_to_tensor_dtype(dtype))


def _to_bits(array: Array) -> Array:
    """Return the elements' bits in an array of the same shape; packed ones fill only its start."""
    bits: Array = array.view(np.uint16 if array.itemsize == 2 else np.uint8).copy()
    if _is_packed(array.dtype) and bits.size:
        nibbles = np.append(bits.ravel() & 15, np.zeros(bits.size % 2, np.uint8))
        bits.reshape(-1)[: nibbles.size // 2] = nibbles[0::2] | nibbles[1::2] << 4
    return bits


def _from_bits(value: Any, dtype: np.dtype[Any]) -> Array:
    data: Array
    shape, size = tuple(value.shape()), value.tensor_size_in_bytes()
    if size == 0:
        return np.empty(shape, dtype)
    data = np.frombuffer((ctypes.c_ubyte * size).from_address(value.data_ptr()), np.uint8).copy()
    if _is_packed(dtype):
        nibbles = np.stack([data & 15, data >> 4], axis=1).ravel()[: int(np.prod(shape))]
        signed = dtype.name == "int4"
        data = ((nibbles ^ 8).astype(np.int8) - 8).view(np.uint8) if signed else nibbles
    result: Array = data.view(dtype).reshape(shape)
    return result
