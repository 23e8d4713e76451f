"""Conversion between PyTorch tensors in host memory and numpy arrays, sharing the memory."""

from typing import Any

import numpy as np

from fasttrt._graph.transforms import described
from fasttrt.errors import InputError


def to_array(tensor: Any) -> Any:
    """Return a numpy array that shares a tensor's memory; a tensor on a GPU is returned as is."""
    import torch

    if tensor.device.type != "cpu":
        return tensor
    tensor = tensor.resolve_conj().resolve_neg()
    try:
        return tensor.numpy()
    except TypeError:  # a dtype that numpy lacks: reinterpret the bits
        import ml_dtypes

        name = str(tensor.dtype).rpartition(".")[2]
        own = getattr(ml_dtypes, name, None)
        if own is None:
            raise InputError(
                f"expected a tensor of a dtype that numpy supports, got {tensor.dtype}"
            ) from None
        bits = torch.int16 if tensor.element_size() == 2 else torch.uint8
        return tensor.view(bits).numpy().view(own)


def to_tensor(array: Any) -> Any:
    """Return a tensor that shares a numpy array's memory; anything else is returned as is."""
    import torch

    if not isinstance(array, np.ndarray):
        return array
    if array.dtype.isbuiltin == 1:
        return torch.from_numpy(array)
    own = getattr(torch, array.dtype.name, None)
    if own is None:
        raise InputError(f"expected a result of a dtype that PyTorch supports, got {array.dtype}")
    bits = np.int16 if array.itemsize == 2 else np.uint8
    return torch.from_numpy(array.view(bits)).view(own)


def check_frozen(name: str, value: np.ndarray[Any, Any], tensor: Any) -> None:
    """Check that a frozen input has its frozen value, bit by bit.

    Raises:
        InputError: it has not, or is on a GPU, where comparing would mean waiting for it.
    """
    expected = f"{name}: expected {described(value)}, which freeze= has made a constant"
    if tensor.device.type != "cpu":
        raise InputError(
            f"{expected}, in host memory, where it can be compared without waiting, got a tensor "
            f"on {tensor.device}"
        )
    array = to_array(tensor.detach())
    if (array.dtype, array.shape) != (value.dtype, value.shape):
        raise InputError(f"{expected}, got {described(array)}")
    if array.tobytes() != value.tobytes():
        got = described(array)
        raise InputError(f"{expected}, got {'other values' if got == described(value) else got}")
