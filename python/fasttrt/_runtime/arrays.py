"""Array libraries of the GPU, as far as only Python can ask them. None of them is ever imported."""

import sys
from importlib import import_module
from typing import Any

import numpy as np

from fasttrt.errors import InputError

_LIBRARIES = {"torch": "torch", "cupy": "cupy", "jax": "jax", "jaxlib": "jax"}


# DLPack's DLDeviceType.
CUDA = 2
PINNED = 3  # of the host, and open to every GPU
MANAGED = 13


def dlpack_device(value: Any) -> tuple[int, int] | None:
    """DLPack's device type and ordinal; None for what does not tell."""
    tell = getattr(type(value), "__dlpack_device__", None)
    if tell is None:
        return None
    kind, ordinal = tell(value)
    return int(kind), int(ordinal)


def is_gpu_array(value: Any) -> bool:
    """Whether a value is an array that the GPU can read where it is."""
    if isinstance(value, np.ndarray):
        return False
    # First, as torch's tensors raise when asked for the other one while they record gradients.
    device = dlpack_device(value)
    if device is not None:
        return device[0] in (CUDA, PINNED, MANAGED)
    return hasattr(value, "__cuda_array_interface__")


def is_device_array(value: Any) -> bool:
    """Whether it is an array in the memory of a GPU that CUDA runs."""
    try:
        device = None if isinstance(value, np.ndarray) else dlpack_device(value)
    except Exception:  # a sparse tensor, or a class in place of an array
        return False
    if device is not None:
        return device[0] in (CUDA, MANAGED)
    return not isinstance(value, np.ndarray) and hasattr(value, "__cuda_array_interface__")


def to_framework(array: Any, like: Any) -> Any:
    """A `DeviceArray` as an array of the same library as ``like``, in the same memory.

    It stays a `DeviceArray` where that library is unknown or does not take the dtype.
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
    """The array in C order: a copy in the same memory, made by its own library.

    None where its library is unknown.
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
    """An array of undefined contents on a GPU, of the same library as ``like``.

    None where the library is unknown, has no such dtype, or lets nobody write into its arrays.
    """
    name, library = _library(like)
    if dtype.name in {"int4", "float4_e2m1fn"}:  # two elements a byte here, one elsewhere
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
    """The stream where the library of ``like`` queues its work on a GPU; None without one."""
    name, library = _library(like)
    if name == "torch":
        return int(library.cuda.current_stream(ordinal).cuda_stream)
    if name == "cupy":
        with library.cuda.Device(ordinal):
            return int(library.cuda.get_current_stream().ptr)
    return None


def stream_handle(stream: Any) -> int:
    """The CUstream of a stream: of PyTorch, of CuPy, with ``__cuda_stream__``, or as a number.

    Raises:
        InputError: it is none of these.
    """
    found = stream
    for attribute in ("cuda_stream", "ptr"):
        found = getattr(stream, attribute, found)
    if (protocol := getattr(stream, "__cuda_stream__", None)) is not None:
        answer = protocol() if callable(protocol) else protocol
        found = answer[1] if isinstance(answer, tuple) and len(answer) == 2 else answer
    if isinstance(found, (int, np.integer)) and not isinstance(found, bool) and found >= 0:
        return int(found)
    raise InputError(
        "stream: expected a CUDA stream (of PyTorch or CuPy, an object with __cuda_stream__, or "
        f"the handle as an int), got {stream!r}"
    )


def _library(array: Any) -> tuple[str, Any]:
    """The name of the array's library and its module, also for classes derived from its own."""
    for base in type(array).__mro__:
        name = _LIBRARIES.get(base.__module__.partition(".")[0])
        if name is not None:
            return name, sys.modules.get(name)
    return "", None
