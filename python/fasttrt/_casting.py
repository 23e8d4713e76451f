"""Which conversions of numbers change no value."""

from importlib import import_module
from typing import Any

import numpy as np


def is_lossless(source: np.dtype[Any], target: np.dtype[Any]) -> bool:
    """Whether every value of one type is a value of the other.

    numpy's "safe" casting is not enough: it takes int64 for float64, and 8 bit floats for int4.
    """
    if not np.can_cast(source, target, "safe"):
        return False
    if source.kind == "b" or (is_integer(source) and is_integer(target)):
        return True
    if is_integer(target):
        return False
    (digits, most), (room, limit) = _precision(source), _precision(target)
    return digits <= room and most <= limit


def is_integer(dtype: np.dtype[Any]) -> bool:
    """Whether a type is of integers; numpy does not know it of the 4 bit ones."""
    return dtype.kind in "iu" or dtype.name in ("int4", "uint4")


def _precision(dtype: np.dtype[Any]) -> tuple[int, float]:
    """Binary digits without the sign, and the greatest value."""
    ml_dtypes: Any = import_module("ml_dtypes")  # untyped
    if is_integer(dtype):
        most = int(ml_dtypes.iinfo(dtype).max)
        return most.bit_length(), float(most)
    limits = ml_dtypes.finfo(dtype)
    return limits.nmant + 1, float(limits.max)
