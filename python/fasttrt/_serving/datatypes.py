"""The datatypes of tensors: the protocol's names, those of Triton's configurations, numpy's."""

from importlib import import_module
from typing import Any

import numpy as np

from fasttrt.errors import InputError

_NUMPY = {
    "BOOL": "bool", "UINT8": "uint8", "UINT16": "uint16", "UINT32": "uint32", "UINT64": "uint64",
    "INT8": "int8", "INT16": "int16", "INT32": "int32", "INT64": "int64", "FP16": "float16",
    "FP32": "float32", "FP64": "float64", "BF16": "bfloat16",
}  # fmt: skip
_NAMES = {numpy: name for name, numpy in _NUMPY.items()}
BYTES = "BYTES"
"""Strings, each with its length before it; arrays of `object` or of numpy's strings."""
DATATYPES = (*_NUMPY, BYTES)


def datatype_of(name: str, dtype: np.dtype[Any]) -> str:
    """Return the protocol's datatype of a tensor, as in ``"FP32"``.

    Args:
        name: the tensor's, for messages.
        dtype: the dtype of its arrays.

    Raises:
        InputError: the protocol has none for it, as for 8-bit floats.
    """
    if dtype.kind in "OSUT":
        return BYTES
    if dtype.name not in _NAMES:
        raise InputError(
            f"{name}: expected a datatype that the protocol has ({', '.join(DATATYPES)}), "
            f"got {dtype}"
        )
    return _NAMES[dtype.name]


def dtype_of(datatype: str) -> np.dtype[Any]:
    """Return the dtype of a datatype's arrays: `object` for BYTES, ml_dtypes' for BF16.

    Raises:
        InputError: there is no such datatype.
    """
    if datatype == BYTES:
        return np.dtype(object)
    if datatype not in _NUMPY:
        raise InputError(f"datatype: expected one of {', '.join(DATATYPES)}, got {datatype!r}")
    if datatype == "BF16":
        ml_dtypes: Any = import_module("ml_dtypes")  # untyped
        bfloat16: np.dtype[Any] = np.dtype(ml_dtypes.bfloat16)
        return bfloat16
    return np.dtype(_NUMPY[datatype])


def config_type(datatype: str) -> str:
    """Return what a model's configuration calls a datatype, as in ``"TYPE_FP32"``."""
    return f"TYPE_{'STRING' if datatype == BYTES else datatype}"


def datatype_of_config(config_type: str) -> str:
    """Return the datatype of what a model's configuration calls it; empty for TYPE_INVALID."""
    name = config_type.removeprefix("TYPE_")
    return {"STRING": BYTES, "INVALID": ""}.get(name, name)
