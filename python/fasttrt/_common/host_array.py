"""Arrays in host memory, of numpy's own class."""

from typing import Any

import numpy as np

from fasttrt.errors import InputError


def host_array(name: str, value: Any, text: bool = False) -> np.ndarray[Any, Any]:
    """What ``numpy.asarray`` makes of a value, of numpy's own class.

    Args:
        name: the tensor's, for messages.
        value: an array in host memory, or what numpy makes one of.
        text: it is for a tensor of strings, which numpy would pad and strip otherwise.

    Raises:
        InputError: it is no array, or elements are masked: their values mean nothing.
    """
    if masked := _masked(value):
        raise InputError(
            f"{name}: expected an array without a mask, got a masked array with {masked} elements "
            "masked; fill them, as in x.filled(0)"
        )
    try:
        is_plain = text and not hasattr(value, "dtype")
        return np.asarray(value, dtype=object) if is_plain else np.asarray(value)
    except MemoryError:
        raise
    except Exception as error:
        raise no_array(name, value, error) from error


def _masked(value: Any) -> int:
    """How many elements a mask covers, in lists of arrays too."""
    if isinstance(value, np.ma.MaskedArray):
        return int(np.count_nonzero(np.ma.getmaskarray(value)))
    return sum(map(_masked, value)) if isinstance(value, (list, tuple)) else 0


def no_array(name: str, value: Any, error: Exception) -> InputError:
    """Give the error for what is no array."""
    return InputError(f"{name}: expected an array, got {type(value).__name__}: {error}")
