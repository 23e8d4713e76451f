"""Arrays in host memory, of numpy's own class."""

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fasttrt.errors import InputError

Array: TypeAlias = NDArray[Any]
"""An array of any dtype and shape."""


def host_array(name: str, value: Any, text: bool = False) -> np.ndarray[Any, Any]:
    """Convert a value to a plain ``numpy.ndarray``, without copying where possible.

    Args:
        name: the tensor's name, for messages.
        value: an array in host memory, or anything that ``numpy.asarray`` accepts.
        text: whether it is for a tensor of strings, which numpy would otherwise pad and strip.

    Raises:
        InputError: it is not an array, or has masked elements, whose values are undefined.
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
    """Count the masked elements, in lists of arrays too."""
    if isinstance(value, np.ma.MaskedArray):
        return int(np.count_nonzero(np.ma.getmaskarray(value)))
    return sum(map(_masked, value)) if isinstance(value, (list, tuple)) else 0


def no_array(name: str, value: Any, error: Exception) -> InputError:
    """Return the error for a value that cannot be converted to an array."""
    return InputError(f"{name}: expected an array, got {type(value).__name__}: {error}")
