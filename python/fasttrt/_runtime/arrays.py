"""Access to GPU array libraries where only Python can do it. It never imports any of them."""

import sys
from importlib import import_module
from typing import Any

import numpy as np

from fasttrt.errors import InputError

_LIBRARIES = {"torch": "torch", "cupy": "cupy", "jax": "jax", "jaxlib": "jax"}


# DLPack's DLDeviceType.
CUDA = 2
PINNED = 3  # host memory, accessible to every GPU
MANAGED = 13


def dlpack_device(value: Any) -> tuple[int, int] | None:
    """Return DLPack's device type and ordinal; None if a value does not provide them."""
    method = getattr(type(value), "__dlpack_device__", None)
    if method is None:
        return None
    kind, ordinal = method(value)
    return int(kind), int(ordinal)


def is_gpu_array(value: Any) -> bool:
    """Return whether a value is an array that the GPU can read in place."""
    if isinstance(value, np.ndarray):
        return False
    # DLPack first: torch's tensors raise for __cuda_array_interface__ if they require gradients.
    device = dlpack_device(value)
    if device is not None:
        return device[0] in (CUDA, PINNED, MANAGED)
    return hasattr(value, "__cuda_array_interface__")


def is_device_array(value: Any) -> bool:
    """Return whether a value is an array in the memory of a CUDA GPU."""
    try:
        device = None if isinstance(value, np.ndarray) else dlpack_device(value)
    except Exception:  # a sparse tensor, or a class in place of an array
        return False
    if device is not None:
        return device[0] in (CUDA, MANAGED)
    return not isinstance(value, np.ndarray) and hasattr(value, "__cuda_array_interface__")


def to_framework(array: Any, like: Any) -> Any:
    """Convert a `DeviceArray` to an array of the library of ``like``, sharing the memory.

    It stays a `DeviceArray` if that library is unknown or does not support the dtype.
    """
    name, library = _library(like)
    if library is None:
        return array
    source = import_module("jax.dlpack") if name == "jax" else library
    try:
        return source.from_dlpack(array)
    except (BufferError, NotImplementedError, RuntimeError, TypeError, ValueError):
        return array


def contiguous(array: Any) -> Any:
    """Make an array C-contiguous through its own library, on the same device.

    Returns None if its library is unknown.
    """
    name, library = _library(array)
    if name == "torch":
        return array.contiguous()
    if name == "cupy":
        with library.cuda.Device(array.device.id):
            return library.ascontiguousarray(array)
    if not is_device_array(array):
        return np.ascontiguousarray(np.from_dlpack(array))
    return None


def empty_like_framework(
    like: Any, shape: tuple[int, ...], dtype: np.dtype[Any], ordinal: int
) -> Any:
    """Allocate an uninitialized array on a GPU, of the library of ``like``.

    Returns None if the library is unknown, lacks the dtype, or has immutable arrays.
    """
    name, library = _library(like)
    if dtype.name in {
        "int4",
        "float4_e2m1fn",
    }:  # two elements per byte here, one in other libraries
        return None
    if name == "torch":
        own = getattr(library, dtype.name, None)
        if own is None:
            return None
        return library.empty(shape, dtype=own, device=f"cuda:{ordinal}")
    if name == "cupy":
        with library.cuda.Device(ordinal):
            try:
                return library.empty(shape, dtype)
            except (TypeError, ValueError):
                return None
    return None


def current_stream(like: Any, ordinal: int) -> int | None:
    """Return the current stream of the library of ``like`` on a GPU; None if it has none."""
    name, library = _library(like)
    if name == "torch":
        return int(library.cuda.current_stream(ordinal).cuda_stream)
    if name == "cupy":
        with library.cuda.Device(ordinal):
            return int(library.cuda.get_current_stream().ptr)
    return None


def stream_handle(stream: Any) -> int:
    """Return the CUstream of PyTorch's or CuPy's stream, of ``__cuda_stream__``, or of a number.

    Raises:
        InputError: it is none of these.
    """
    handle = stream
    for attribute in ("cuda_stream", "ptr"):
        handle = getattr(stream, attribute, handle)
    if (protocol := getattr(stream, "__cuda_stream__", None)) is not None:
        answer = protocol() if callable(protocol) else protocol
        handle = answer[1] if isinstance(answer, tuple) and len(answer) == 2 else answer
    if isinstance(handle, (int, np.integer)) and not isinstance(handle, bool) and handle >= 0:
        return int(handle)
    raise InputError(
        "stream: expected a CUDA stream (of PyTorch or CuPy, an object with __cuda_stream__, or "
        f"the handle as an int), got {stream!r}"
    )


def _library(array: Any) -> tuple[str, Any]:
    """Return the name and module of an array's library, also for derived classes."""
    for base in type(array).__mro__:
        name = _LIBRARIES.get(base.__module__.partition(".")[0])
        if name is not None:
            return name, sys.modules.get(name)
    return "", None
