"""Tensors' values as the protocol writes them, binary or JSON, to arrays and back."""

import struct
from collections.abc import Sequence
from itertools import chain
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fasttrt._serving.datatypes import BYTES, dtype_of
from fasttrt._serving.http import Body, kind
from fasttrt.errors import InputError

Array = NDArray[Any]
BINARY_ONLY = ("FP16", "BF16")
"""Datatypes whose values JSON does not have, to Triton."""
_LENGTH = struct.Struct("<I")


def from_binary(what: str, datatype: str, shape: Sequence[int], data: Body) -> Array:
    """Read an array of its bytes, without copying where they are aligned.

    Args:
        what: the tensor, for messages.
        datatype: the protocol's, as in ``"FP32"``.
        shape: the array's.
        data: all of its bytes.

    Raises:
        InputError: there are too few or too many of them, or they are not such values.
    """
    if datatype == BYTES:
        return _strings(what, shape, data)
    dtype = dtype_of(datatype)
    expected = prod(shape) * dtype.itemsize
    if len(data) != expected:
        raise InputError(f"{what}: byte size mismatch: expected {expected}, got {len(data)}")
    array = np.frombuffer(data, np.uint8)
    if datatype == "BOOL" and array.max(initial=0) > 1:
        raise InputError(f"{what}: expected bytes of 0 and 1 for BOOL, got {array.max()}")
    if array.ctypes.data % dtype.alignment:  # behind a JSON header, data lies anywhere
        array = array.copy()
    return array.view(dtype).reshape(shape)


def to_binary(array: Array, datatype: str) -> Body:
    """Return an array's bytes; for BYTES, each string's length and itself."""
    if datatype == BYTES:
        texts = [_encoded(text) for text in array.ravel().tolist()]
        return b"".join(chain.from_iterable((_LENGTH.pack(len(text)), text) for text in texts))
    flat = np.ascontiguousarray(array).reshape(-1)
    return flat.view(np.uint8).data if flat.size else b""


def from_json(what: str, datatype: str, shape: Sequence[int], data: Any) -> Array:
    """Read an array of JSON values, flat or nested in any way.

    Raises:
        InputError: their number, kind or range does not fit.
    """
    if datatype in BINARY_ONLY:
        raise InputError(
            f"{what}: receiving {datatype} data via JSON is not supported, send it as binary data"
        )
    if not isinstance(data, list):
        raise InputError(f"{what}: expected data to be an array, got {kind(data)}")
    values = _flat(what, data)
    if len(values) != prod(shape):
        raise InputError(
            f"{what}: shape {list(shape)} does not match data: expected {prod(shape)} elements, "
            f"got {len(values)}"
        )
    return _array_of(what, datatype, values).reshape(shape)


def to_json_data(array: Array, datatype: str) -> list[Any]:
    """Return an array's values for JSON, flat."""
    return (
        [_text(value) for value in array.ravel()] if datatype == BYTES else array.ravel().tolist()
    )


def _flat(what: str, data: list[Any]) -> list[Any]:
    """Return the elements of nested lists, level by level."""
    while True:
        kinds = set(map(type, data))
        if list not in kinds:
            return data
        if len(kinds) > 1:
            raise InputError(
                f"{what}: expected arrays of equal depth in data, got elements among them"
            )
        data = list(chain.from_iterable(data))


_JSON_KINDS: dict[str, tuple[set[type], str]] = {
    "b": ({bool}, "true and false"),
    "i": ({int}, "integers"),
    "u": ({int}, "integers"),
    "f": ({int, float}, "numbers"),
    "O": ({str}, "strings"),
}
"""What JSON has for the kinds of numpy's dtypes."""


def _array_of(what: str, datatype: str, values: list[Any]) -> Array:
    dtype = dtype_of(datatype)
    allowed, names = _JSON_KINDS[dtype.kind]
    if not allowed.issuperset(map(type, values)):
        wrong = next(value for value in values if type(value) not in allowed)
        raise InputError(f"{what}: expected {names} in data for {datatype}, got {kind(wrong)}")
    if dtype.kind in "iu" and values:
        limits, low, high = np.iinfo(dtype), min(values), max(values)
        if low < limits.min or high > limits.max:
            raise _out_of_range(what, datatype, low if low < limits.min else high)
    if dtype.kind != "f":
        return np.array(values, dtype)
    try:
        wide = np.array(values, np.float64)
    except OverflowError:
        raise _out_of_range(what, datatype, max(values, key=abs)) from None
    with np.errstate(over="ignore"):
        array = wide.astype(dtype)
    if dtype != wide.dtype and np.isinf(array).any():
        lost = np.isinf(array) & ~np.isinf(wide)
        if lost.any():
            raise _out_of_range(what, datatype, float(wide[lost][0]))
    return array


def _out_of_range(what: str, datatype: str, value: float) -> InputError:
    return InputError(f"{what}: expected values in the range of {datatype}, got {kind(value)}")


def _strings(what: str, shape: Sequence[int], data: Body) -> Array:
    """Read strings, each after its length, as `str`."""
    count, view, position = prod(shape), memoryview(data), 0
    texts: list[str] = []
    while position < len(view):
        if len(texts) == count:
            raise InputError(
                f"{what}: expected {count} strings, got {len(view) - position} bytes more"
            )
        if len(view) - position < _LENGTH.size:
            raise InputError(f"{what}: expected 4 bytes of a string's length, got fewer")
        (length,) = _LENGTH.unpack_from(view, position)
        position += _LENGTH.size
        if length > len(view) - position:
            raise InputError(
                f"{what}: expected a string of {length} bytes, got {len(view) - position}"
            )
        try:
            texts.append(str(view[position : position + length], "utf-8"))
        except UnicodeDecodeError:
            raise InputError(f"{what}: expected strings in UTF-8, got other bytes") from None
        position += length
    if len(texts) != count:
        raise InputError(f"{what}: expected {count} strings, got {len(texts)}")
    array = np.empty(count, object)
    array[:] = texts
    return array.reshape(shape)


def _encoded(text: Any) -> bytes:
    return text if isinstance(text, bytes) else str(text).encode("utf-8", "surrogateescape")


def _text(value: Any) -> str:
    return value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else str(value)
