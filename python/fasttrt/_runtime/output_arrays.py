"""The arrays of ``out=`` that Python fills: the rules and messages are the C++ core's own.

See ``RunArguments::add_target`` in ``run_arguments.cpp``.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fasttrt._common.tensor_spec import TensorSpec
from fasttrt.errors import InputError


def check_target(spec: TensorSpec, target: Any) -> None:
    """Check all of an array of ``out=`` but its shape, which may depend on the result.

    Raises:
        InputError: it is not a numpy array, has another dtype, or cannot be written in C order.
    """
    if not isinstance(target, np.ndarray):
        raise InputError(f"{spec.name}: out= must be a numpy array, got {type(target).__name__}")
    if target.dtype != spec.dtype:
        raise InputError(f"{spec.name}: out= must have dtype {spec.dtype}, got {target.dtype}")
    if not target.flags.carray:
        raise InputError(f"{spec.name}: out= must be C-contiguous, aligned and writeable")


def fill_target(spec: TensorSpec, target: NDArray[Any], result: NDArray[Any]) -> NDArray[Any]:
    """Copy a result into an array of ``out=``, and return that.

    Raises:
        InputError: the result has another shape.
    """
    if target.shape != result.shape:
        raise InputError(
            f"{spec.name}: the result has shape {result.shape}, but out= has shape {target.shape}"
        )
    target[...] = result
    return target
