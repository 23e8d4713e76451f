"""The arguments of a call: numpy's arrays, what numpy makes of a value, and arrays on a GPU."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fasttrt._casting import is_lossless
from fasttrt.arrays import is_gpu_array
from fasttrt.errors import InputError
from fasttrt.spec import TensorSpec


def has_exchange(kind: type) -> bool:
    """Whether arrays of a type have DLPack's C functions, which cost next to nothing to ask."""
    return hasattr(kind, "__dlpack_c_exchange_api__")


def as_array(spec: TensorSpec, value: Any, cast: bool) -> Any:
    """A numpy array, or the GPU's array as it is.

    Raises:
        InputError: it is no array, or ``cast`` would change values, or is asked for on a GPU.
    """
    if not isinstance(value, np.ndarray):
        try:
            if not is_gpu_array(value):
                value = np.asarray(value)
        except Exception as error:
            raise InputError(
                f"{spec.name}: expected an array, got {type(value).__name__}: {error}"
            ) from error
        if not isinstance(value, np.ndarray):
            if cast and (got := _dtype_name(value)) != spec.dtype.name:
                raise InputError(
                    f"{spec.name}: expected dtype {spec.dtype}, got {got}; arrays on a GPU are not "
                    "cast here: cast it in its framework"
                )
            return value
    if cast and value.dtype != spec.dtype:
        if not is_lossless(value.dtype, spec.dtype):
            raise InputError(
                f"{spec.name}: cannot cast {value.dtype} to {spec.dtype} without changing values"
            )
        return value.astype(spec.dtype)
    return value


def _dtype_name(value: Any) -> str:
    """As numpy and ml_dtypes call it."""
    dtype = getattr(value, "dtype", None)
    if dtype is None:
        dtype = np.dtype(value.__cuda_array_interface__["typestr"])
    return str(dtype).rpartition(".")[2]  # torch's are called torch.float32


def ordered(inputs: Sequence[TensorSpec], named: Mapping[str, Any]) -> list[Any]:
    """The arrays of a mapping in the inputs' order.

    Raises:
        InputError: the names are not the inputs'.
    """
    expected = {spec.name for spec in inputs}
    if named.keys() != expected:
        raise InputError(f"expected inputs named {sorted(expected)}, got {sorted(map(str, named))}")
    return [named[spec.name] for spec in inputs]


def targets(outputs: Sequence[TensorSpec], out: Any, by_name: bool) -> list[Any]:
    """What ``out=`` gives for each output, None for nothing.

    Raises:
        InputError: not as many as there are outputs, or of other names.
    """
    if isinstance(out, Mapping):
        unknown = out.keys() - {spec.name for spec in outputs}
        if unknown or not by_name:
            raise InputError(
                f"out: expected outputs of {[spec.name for spec in outputs]} "
                f"with inputs by name, got {sorted(map(str, out))}"
            )
        return [out.get(spec.name) for spec in outputs]
    # An array of a framework may be iterable too: one for each row is not what was meant.
    given = list(out) if isinstance(out, Sequence) else [out]
    if len(given) != len(outputs):
        raise InputError(f"out: expected {len(outputs)} arrays, got {len(given)}")
    return given
