"""What arrays of other frameworks look like from outside, without a framework or a GPU."""

from __future__ import annotations

from typing import Any

import numpy as np

CPU, CUDA, PINNED, MANAGED = 1, 2, 3, 13


class DlpackArray:
    """Tells where it is as DLPack does, and cannot be read; ``dtype`` as the framework names it."""

    def __init__(self, device: int, ordinal: int = 0, dtype: Any = "torch.float32") -> None:
        self._device = (device, ordinal)
        self.dtype = dtype

    def __dlpack_device__(self) -> tuple[int, int]:
        return self._device

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        """As torch's is on tensors that record gradients."""
        raise RuntimeError("asked for the CUDA array interface")

    def __array__(self, *args: Any, **named: Any) -> Any:
        raise TypeError("cannot be read from the host")


class HostArray(DlpackArray):
    """In the host's memory, as torch's CPU tensors are, pinned ones too."""

    def __init__(self, values: np.ndarray[Any, Any], device: int = CPU) -> None:
        super().__init__(device, dtype=f"torch.{values.dtype}")
        self._values = values

    def __array__(self, *args: Any, **named: Any) -> Any:
        return self._values


class CudaArray:
    """With the CUDA array interface alone, as numba has it."""

    def __init__(self, typestr: str = "<f4") -> None:
        self.__cuda_array_interface__ = {
            "version": 3, "typestr": typestr, "shape": (2, 16), "data": (1 << 20, False),
        }  # fmt: skip
