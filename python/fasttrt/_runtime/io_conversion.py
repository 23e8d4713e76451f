"""Inputs and results of types that TensorRT does not have, converted."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fasttrt._common.dtypes import wrong_dtype
from fasttrt._common.tensor_spec import TensorSpec
from fasttrt._runtime.arrays import is_device_array
from fasttrt._runtime.output_arrays import fill_target
from fasttrt.errors import InputError


def to_engine(spec: TensorSpec, array: Any) -> Any:
    """Convert an array to the engine's dtype.

    Values must be in its range; floats are rounded, which was logged when the plan was loaded.
    """
    if not spec.converted:
        return array
    if is_device_array(array):
        raise InputError(
            f"{spec.name}: the model declares {spec.dtype}, which this TensorRT computes as "
            f"{spec.engine_dtype}; arrays on a GPU are not converted: pass one in host memory"
        )
    if not isinstance(array, np.ndarray):
        return array
    if array.dtype != spec.dtype:
        raise wrong_dtype(spec.name, spec.dtype, array.dtype)
    with np.errstate(over="ignore"):
        converted = array.astype(spec.engine_dtype)
    if array.dtype.kind == "f":
        fits = np.array_equal(np.isfinite(converted), np.isfinite(array))
    else:
        fits = np.array_equal(converted, array)
    if not fits:
        raise InputError(
            f"{spec.name}: expected values that fit {spec.engine_dtype}, which this TensorRT "
            f"computes with, got {array.min()} to {array.max()}"
        )
    return converted


def from_engine(
    spec: TensorSpec, result: NDArray[Any], target: NDArray[Any] | None
) -> NDArray[Any]:
    """Convert a result to the type that the model declares, into ``target`` if it is given.

    Raises:
        InputError: the result is on a GPU, or ``target`` has another shape.
    """
    if not spec.converted:
        return result
    if not isinstance(result, np.ndarray):
        raise InputError(
            f"{spec.name}: the model declares {spec.dtype}, which this TensorRT computes as "
            f"{spec.engine_dtype}; results on a GPU are not converted: pass inputs in host memory"
        )
    if target is None:
        return result.astype(spec.dtype)
    return fill_target(spec, target, result)
