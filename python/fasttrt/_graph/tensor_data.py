"""Compute how much data tensors of an ONNX model have, and check those in the model itself.

ONNX's own checks and TensorRT's parser rely on the shape, and read beyond the end of the data.
"""

from math import prod
from typing import TYPE_CHECKING

from fasttrt.errors import FileError

if TYPE_CHECKING:
    import onnx

_LARGEST = 2**63 - 1
_STRING = 8
# Keys are values of TensorProto.DataType, as older releases of onnx lack some names.
_BITS = {
    1: 32, 2: 8, 3: 8, 4: 16, 5: 16, 6: 32, 7: 64, 9: 8, 10: 16, 11: 64, 12: 32, 13: 64, 14: 64,
    15: 128, 16: 16, 17: 8, 18: 8, 19: 8, 20: 8, 21: 4, 22: 4, 23: 4, 24: 8, 25: 2, 26: 2,
}  # fmt: skip
"""The number of bits of an element."""
_FIELDS = {
    1: "float_data", 7: "int64_data", 8: "string_data", 11: "double_data", 12: "uint64_data",
    13: "uint64_data", 14: "float_data", 15: "double_data",
}  # fmt: skip
"""The field of elements that are not raw; int32_data for all other types."""
VALUE_FIELDS = (
    "float_data", "int32_data", "string_data", "int64_data", "double_data", "uint64_data",
)  # fmt: skip
_COMPLEX = (14, 15)


def needed_bytes(tensor: "onnx.TensorProto") -> int:
    """Return the number of bytes for a tensor's type and shape.

    Raises:
        FileError: it is undefined: a dimension is negative, their product is too large, or the type
            is string or unknown.
    """
    bits = _BITS.get(tensor.data_type)
    if bits is None:
        kind = "strings" if tensor.data_type == _STRING else f"type {tensor.data_type}"
        raise FileError(f"tensor {tensor.name!r}: expected a type of a fixed size, got {kind}")
    return -(-_elements(tensor) * bits // 8)


def described(tensor: "onnx.TensorProto") -> str:
    """Format type and shape for messages, as in ``FLOAT[3, 4]``."""
    import onnx

    try:
        kind = onnx.TensorProto.DataType.Name(tensor.data_type)
    except ValueError:
        kind = f"type {tensor.data_type}"
    return f"{kind}[{', '.join(map(str, tensor.dims))}]"


def check_values(tensor: "onnx.TensorProto") -> None:
    """Check that the number of a tensor's values in the model matches its shape.

    Raises:
        FileError: it does not.
    """
    if tensor.HasField("segment"):
        raise FileError(f"tensor {tensor.name!r}: expected a whole tensor, got a segment")
    filled = {name: count for name in VALUE_FIELDS if (count := len(getattr(tensor, name)))}
    if tensor.HasField("raw_data"):
        got, place, expected = len(tensor.raw_data), "raw_data", "bytes"
        count = needed_bytes(tensor)
        if not got and filled:
            place = ""
    else:
        place = ""
    if not place:
        place, expected = _FIELDS.get(tensor.data_type, "int32_data"), "values"
        got, count = filled.pop(place, 0), _values(tensor)
    if filled:
        raise FileError(
            f"tensor {tensor.name!r}, {described(tensor)}: expected its data only in {place}, got "
            f"some in {', '.join(filled)}"
        )
    if got != count:
        raise FileError(
            f"tensor {tensor.name!r}, {described(tensor)}: expected {count} {expected} of data, "
            f"got {got}"
        )


def _values(tensor: "onnx.TensorProto") -> int:
    """Return the number of entries in a tensor's field: one per byte for types below a byte."""
    if tensor.data_type == _STRING:
        return _elements(tensor)
    if tensor.data_type not in _BITS:
        needed_bytes(tensor)  # raises
    if _BITS[tensor.data_type] < 8:
        return needed_bytes(tensor)
    return _elements(tensor) * (2 if tensor.data_type in _COMPLEX else 1)


def _elements(tensor: "onnx.TensorProto") -> int:
    dims = list(tensor.dims)
    if any(dim < 0 for dim in dims):
        raise FileError(f"tensor {tensor.name!r}: expected dimensions >= 0, got {dims}")
    if prod(filter(None, dims)) * 16 > _LARGEST:  # bytes of the largest type
        raise FileError(f"tensor {tensor.name!r}: expected fewer elements than {dims} has")
    return prod(dims)
