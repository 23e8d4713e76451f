"""Conversion of a call's arguments: numpy arrays, anything that numpy accepts, and GPU arrays."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fasttrt._common.checks import host_memory, refuse
from fasttrt._common.dtypes import Cast, convert
from fasttrt._common.host_array import host_array, no_array
from fasttrt._common.tensor_spec import TensorSpec
from fasttrt._runtime.arrays import is_gpu_array
from fasttrt.errors import InputError


def has_exchange(kind: type) -> bool:
    """Return whether arrays of a type have DLPack's C functions, which are very cheap to call."""
    return hasattr(kind, "__dlpack_c_exchange_api__")


def as_array(spec: TensorSpec, value: Any, cast: Cast) -> Any:
    """Convert a value to a numpy array; keep an array on a GPU unchanged.

    Raises:
        InputError: it is not an array or has a mask, or ``cast`` would change values or is
            requested for an array on a GPU.
    """
    if not isinstance(value, np.ndarray) and is_on_gpu(spec.name, value):
        if cast and (got := _dtype_name(value)) != spec.dtype.name:
            raise InputError(
                f"{spec.name}: expected dtype {spec.dtype}, got {got}; arrays on a GPU are not "
                "cast: convert it in its framework"
            )
        return value
    with host_memory(spec.name):
        array = host_array(spec.name, value, text=spec.dtype.kind == "O")
        if cast and array.dtype != spec.dtype and spec.dtype.kind != "O":
            return convert(spec.name, array, spec.dtype, cast)
    return array


def is_on_gpu(name: str, value: Any) -> bool:
    """Call `is_gpu_array` on an arbitrary value.

    Raises:
        InputError: the value's own methods fail.
    """
    try:
        return is_gpu_array(value)
    except Exception as error:
        raise no_array(name, value, error) from error


def own_copy(array: Any) -> Any:
    """Copy an array to host memory that nobody else can change."""
    with host_memory("a copy of an input"):
        if isinstance(array, np.ndarray):
            return array.copy()
        if (clone := getattr(array, "clone", None)) is not None:  # PyTorch's, of any dtype
            return clone()
        shared = np.from_dlpack(array) if hasattr(array, "__dlpack__") else np.asarray(array)
        return (
            shared.copy()
        )  # np.array() leaves copying to the array's own class, which may not do it


def _dtype_name(value: Any) -> str:
    """Return the name of an array's dtype in numpy and ml_dtypes."""
    dtype = getattr(value, "dtype", None)
    if dtype is None:
        dtype = np.dtype(value.__cuda_array_interface__["typestr"])
    return str(dtype).rpartition(".")[2]  # torch's are like torch.float32


def ordered(inputs: Sequence[TensorSpec], named: Mapping[str, Any]) -> list[Any]:
    """Return the arrays of a mapping in the inputs' order.

    Raises:
        InputError: its names are not those of the inputs.
    """
    expected = {spec.name for spec in inputs}
    if named.keys() != expected:
        raise InputError(f"expected inputs named {sorted(expected)}, got {sorted(map(str, named))}")
    return [named[spec.name] for spec in inputs]


def targets(outputs: Sequence[TensorSpec], out: Any, by_name: bool) -> list[Any]:
    """Return the array of ``out=`` for each output, or None.

    Raises:
        InputError: the number or the names of the arrays do not match the outputs, or it is text.
    """
    if isinstance(out, (str, bytes)):
        refuse("out", "an array, a sequence or a mapping of arrays", out)
    for target in out.values() if isinstance(out, Mapping) else _as_list(out):
        if isinstance(target, np.ma.MaskedArray):
            raise InputError("out: expected arrays without masks, got a masked array")
    if isinstance(out, Mapping):
        if not by_name:
            raise InputError(
                "out: expected an array or a sequence, as the inputs are not passed by name, got a "
                f"mapping of {sorted(map(str, out))}"
            )
        if out.keys() - {spec.name for spec in outputs}:
            raise InputError(
                f"out: expected outputs of {[spec.name for spec in outputs]}, got "
                f"{sorted(map(str, out))}"
            )
        return [out.get(spec.name) for spec in outputs]
    arrays = _as_list(out)
    if len(arrays) != len(outputs):
        raise InputError(f"out: expected {len(outputs)} arrays, got {len(arrays)}")
    return arrays


def _as_list(out: Any) -> list[Any]:
    # A framework's array may be iterable too, but is a single target.
    return list(out) if isinstance(out, Sequence) else [out]
