"""Conversions of numbers to another type: which change no value, and those that are asked for."""

from importlib import import_module
from typing import Any, Literal, TypeAlias

import numpy as np

from fasttrt._common.checks import refuse
from fasttrt.errors import InputError

Cast: TypeAlias = bool | Literal["lossy"]
"""``cast=`` of a call: False, True for what changes no value, ``"lossy"`` for rounding too."""


def check_cast(cast: object) -> None:
    """See that ``cast`` is one of `Cast`'s values.

    Raises:
        InputError: it is not.
    """
    if not (isinstance(cast, bool) or (isinstance(cast, str) and cast == "lossy")):
        refuse("cast", 'True, False or "lossy"', cast)


def wrong_dtype(name: str, expected: np.dtype[Any], got: np.dtype[Any]) -> InputError:
    """Give the error for an array of another type than its input's, with the way to convert it."""
    can_convert = got.kind in "fiub" and hasattr(np, str(expected))
    cure = f"; convert it, as in x.astype(np.{expected})" if can_convert else ""
    return InputError(f"{name}: expected dtype {expected}, got {got}{cure}")


def converted(name: str, array: np.ndarray[Any, Any], dtype: np.dtype[Any], cast: Cast) -> Any:
    """The array in an input's type.

    Raises:
        InputError: names the input, if that changes a value, or with ``"lossy"`` does more than
            round it.
    """
    if is_lossless(array.dtype, dtype):
        return array.astype(dtype)
    if cast != "lossy" or not (is_number(array.dtype) and is_number(dtype)):
        hint = '; cast="lossy" rounds' if is_number(array.dtype) and is_number(dtype) else ""
        raise InputError(
            f"{name}: cannot cast {array.dtype} to {dtype} without changing values{hint}"
        )
    with np.errstate(all="ignore"):
        try:
            rounded = array.astype(dtype)
        except TypeError as error:  # between types of ml_dtypes
            raise InputError(f"{name}: cannot cast {array.dtype} to {dtype}") from error
        if is_integer(dtype) or dtype.kind == "b":
            kept = np.array_equal(rounded.astype(array.dtype), array) and _same_signs(
                rounded, array
            )
            what = f"values that {dtype} has"
        else:
            kept = np.array_equal(_kinds(rounded), _kinds(array))
            what = f"values in the range of {dtype}"
    if not kept:
        raise InputError(
            f"{name}: cannot cast {array.dtype} to {dtype}: expected {what}, got {_extremes(array)}"
        )
    return rounded


def is_lossless(source: np.dtype[Any], target: np.dtype[Any]) -> bool:
    """Whether every value of one type is a value of the other.

    numpy's "safe" casting is not enough: it takes int64 for float64, and 8 bit floats for int4.
    """
    if source == target:
        return True
    if not (is_number(source) and is_number(target) and np.can_cast(source, target, "safe")):
        return False
    if source.kind == "b" or (is_integer(source) and is_integer(target)):
        return True
    if is_integer(target):
        return False
    if source.itemsize == 1 and not is_integer(source):  # these differ in more than two numbers
        values = np.arange(256, dtype=np.uint8).view(source)
        there, back = values.astype(target).astype(np.float64), values.astype(np.float64)
        return np.array_equal(there, back, equal_nan=True)
    (digits, most), (room, limit) = _precision(source), _precision(target)
    return digits <= room and most <= limit


def is_number(dtype: np.dtype[Any]) -> bool:
    """Whether a type is of booleans, integers or real floats; those of ml_dtypes included."""
    return dtype.kind in "biuf" or (dtype.isbuiltin == 2 and dtype.kind == "V")


def is_integer(dtype: np.dtype[Any]) -> bool:
    """Whether a type is of integers; numpy does not know it of those below 8 bits."""
    return dtype.kind in "iu" or (is_number(dtype) and dtype.name.startswith(("int", "uint")))


def _extremes(array: np.ndarray[Any, Any]) -> str:
    """The range of an array's values, in words."""
    return f"values from {array.min()} to {array.max()}"


def _kinds(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Whether elements are finite, infinite or NaN, as numbers."""
    wide = array.astype(np.float64)
    return np.asarray(np.isfinite(wide) + 2 * np.isnan(wide))


def _same_signs(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any]) -> bool:
    """Not so where an integer of 64 bits wrapped around and back."""
    return bool(np.array_equal(a < a.dtype.type(0), b < b.dtype.type(0)))


def _precision(dtype: np.dtype[Any]) -> tuple[int, float]:
    """Binary digits without the sign, and the greatest value."""
    ml_dtypes: Any = import_module("ml_dtypes")  # untyped
    if is_integer(dtype):
        most = int(ml_dtypes.iinfo(dtype).max)
        return most.bit_length(), float(most)
    limits = ml_dtypes.finfo(dtype)
    return limits.nmant + 1, float(limits.max)
