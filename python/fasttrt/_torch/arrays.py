"""PyTorch's tensors in host memory as numpy arrays, and back, in the same memory."""

from typing import Any

import numpy as np

from fasttrt._graph.transforms import described
from fasttrt.errors import InputError


def to_array(tensor: Any) -> Any:
    """The same memory as numpy sees it; a GPU's tensor as it is."""
    import torch

    if tensor.device.type != "cpu":
        return tensor
    tensor = tensor.resolve_conj().resolve_neg()
    try:
        return tensor.numpy()
    except TypeError:  # a type of which numpy has none: its bits, and their name
        import ml_dtypes

        name = str(tensor.dtype).rpartition(".")[2]
        own = getattr(ml_dtypes, name, None)
        if own is None:
            raise InputError(f"expected a tensor that numpy can hold, got {tensor.dtype}") from None
        bits = torch.int16 if tensor.element_size() == 2 else torch.uint8
        return tensor.view(bits).numpy().view(own)


def to_tensor(array: Any) -> Any:
    """The same memory as PyTorch sees it; what is no numpy array as it is."""
    import torch

    if not isinstance(array, np.ndarray):
        return array
    if array.dtype.isbuiltin == 1:
        return torch.from_numpy(array)
    own = getattr(torch, array.dtype.name, None)
    if own is None:
        raise InputError(f"expected a result of a type that PyTorch has, got {array.dtype}")
    bits = np.int16 if array.itemsize == 2 else np.uint8
    return torch.from_numpy(array.view(bits)).view(own)


def check_frozen(name: str, value: np.ndarray[Any, Any], tensor: Any) -> None:
    """See that a frozen input is given as it was frozen, bit by bit.

    Raises:
        InputError: it is not; or it is on a GPU, where looking at it would take waiting for it.
    """
    expected = f"{name}: expected {described(value)}, which freeze= has made a constant"
    if tensor.device.type != "cpu":
        raise InputError(
            f"{expected}, in host memory, where it can be compared without waiting, got a tensor "
            f"on {tensor.device}"
        )
    given = to_array(tensor.detach())
    if (given.dtype, given.shape) != (value.dtype, value.shape):
        raise InputError(f"{expected}, got {described(given)}")
    if given.tobytes() != value.tobytes():
        got = described(given)
        raise InputError(f"{expected}, got {'others' if got == described(value) else got}")
