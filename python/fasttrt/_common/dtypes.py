"""Conversions of arrays to another dtype: which ones are lossless, and the rounding ones."""

from importlib import import_module
from typing import Any, Literal, TypeAlias

import numpy as np

from fasttrt._common.checks import refuse
from fasttrt.errors import InputError

Cast: TypeAlias = bool | Literal["lossy"]
"""The ``cast=`` of a call: False, True for lossless conversions, ``"lossy"`` for rounding too."""


def check_cast(cast: object) -> None:
    """Check that ``cast`` is one of `Cast`'s values.

    Raises:
        InputError: it is not.
    """
    if not (isinstance(cast, bool) or (isinstance(cast, str) and cast == "lossy")):
        refuse("cast", 'True, False or "lossy"', cast)


def wrong_dtype(name: str, expected: np.dtype[Any], got: np.dtype[Any]) -> InputError:
    """Return the error for an array of the wrong dtype, with advice on how to convert it."""
    can_convert = got.kind in "fiub" and hasattr(np, str(expected))
    hint = f"; convert it, as in x.astype(np.{expected})" if can_convert else ""
    return InputError(f"{name}: expected dtype {expected}, got {got}{hint}")


def convert(name: str, array: np.ndarray[Any, Any], dtype: np.dtype[Any], cast: Cast) -> Any:
    """Convert an array to an input's dtype.

    Raises:
        InputError: the conversion would change a value or, with ``"lossy"``, do more than round it.
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
            preserved = np.array_equal(rounded.astype(array.dtype), array) and _same_signs(
                rounded, array
            )
            expected = f"values that {dtype} can represent"
        else:
            preserved = np.array_equal(_kinds(rounded), _kinds(array))
            expected = f"values in the range of {dtype}"
    if not preserved:
        raise InputError(
            f"{name}: cannot cast {array.dtype} to {dtype}: expected {expected}, "
            f"got {_describe_range(array)}"
        )
    return rounded


def is_lossless(source: np.dtype[Any], target: np.dtype[Any]) -> bool:
    """Return whether every value of the source dtype can be represented in the target dtype.

    numpy's "safe" casting is not enough: it allows int64 to float64, and 8-bit floats to int4.
    """
    if source == target:
        return True
    if not (is_number(source) and is_number(target) and np.can_cast(source, target, "safe")):
        return False
    if source.kind == "b" or (is_integer(source) and is_integer(target)):
        return True
    if is_integer(target):
        return False
    if source.itemsize == 1 and not is_integer(
        source
    ):  # compare all 256 values, as these formats differ in more than digits and range
        values = np.arange(256, dtype=np.uint8).view(source)
        there, back = values.astype(target).astype(np.float64), values.astype(np.float64)
        return np.array_equal(there, back, equal_nan=True)
    (source_digits, source_max), (target_digits, target_max) = (
        _precision(source),
        _precision(target),
    )
    return source_digits <= target_digits and source_max <= target_max


def is_number(dtype: np.dtype[Any]) -> bool:
    """Return whether a dtype is boolean, integer or real floating-point, ml_dtypes' included."""
    return dtype.kind in "biuf" or (dtype.isbuiltin == 2 and dtype.kind == "V")


def is_integer(dtype: np.dtype[Any]) -> bool:
    """Return whether a dtype is an integer one; numpy does not recognize those below 8 bits."""
    return dtype.kind in "iu" or (is_number(dtype) and dtype.name.startswith(("int", "uint")))


def _describe_range(array: np.ndarray[Any, Any]) -> str:
    """Describe the range of an array's values for a message."""
    return f"values from {array.min()} to {array.max()}"


def _kinds(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Classify each element as finite, infinite or NaN, by a number."""
    wide = array.astype(np.float64)
    return np.asarray(np.isfinite(wide) + 2 * np.isnan(wide))


def _same_signs(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any]) -> bool:
    """Return whether all signs agree; they differ if a 64-bit integer wrapped around and back."""
    return bool(np.array_equal(a < a.dtype.type(0), b < b.dtype.type(0)))


def _precision(dtype: np.dtype[Any]) -> tuple[int, float]:
    """Return the number of binary digits without the sign, and the maximum."""
    ml_dtypes: Any = import_module("ml_dtypes")  # untyped
    if is_integer(dtype):
        max_ = int(ml_dtypes.iinfo(dtype).max)
        return max_.bit_length(), float(max_)
    limits = ml_dtypes.finfo(dtype)
    return limits.nmant + 1, float(limits.max)
