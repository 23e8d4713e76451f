"""The arrays of ``out=`` that Python fills: the rules and messages are the C++ core's own.

See ``RunArguments::add_target`` and ``check_apart`` in ``run_arguments.cpp``.
"""

from collections.abc import Sequence
from itertools import combinations
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


def check_apart(specs: Sequence[TensorSpec], targets: Sequence[NDArray[Any] | None]) -> None:
    """Check that no two checked arrays of ``out=`` overlap: one of the results would be wrong.

    Raises:
        InputError: two do.
    """
    given = [(s, t) for s, t in zip(specs, targets, strict=True) if t is not None]
    for (spec, target), (other_spec, other) in combinations(given, 2):
        if np.may_share_memory(target, other):  # exact, as both are contiguous
            raise InputError(f"out= gives {spec.name} and {other_spec.name} the same memory")


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
