"""What `Engine.infer` and its siblings take and give, for type checkers.

No array library is named but numpy: arrays of others are known by their protocols, so a program is
checked alike with and without PyTorch installed.
"""

from collections.abc import Sequence
from typing import Any, Protocol, TypeAlias, TypeVar

from numpy.typing import NDArray


class SupportsArrayInterface(Protocol):
    """Describes its memory on the host as numpy does, like an image of Pillow."""

    @property
    def __array_interface__(self) -> Any:
        """Return address, shape and type."""


class SupportsDLPack(Protocol):
    """Lends its memory by DLPack, like a tensor of PyTorch or an array of CuPy or JAX."""

    def __dlpack__(self, *args: Any, **kwargs: Any) -> Any:
        """Return a capsule."""

    def __dlpack_device__(self, *args: Any, **kwargs: Any) -> Any:
        """Return the device's type and ordinal."""


class SupportsCudaArrayInterface(Protocol):
    """Describes its memory on the GPU, like an array of Numba."""

    @property
    def __cuda_array_interface__(self) -> Any:
        """Return address, shape and type."""


# Not numpy.typing.ArrayLike, nor sequences of any depth: both would take a string. `complex` stands
# for int and float, too, and arrays and scalars of numpy have an array interface.
HostArray: TypeAlias = (
    SupportsArrayInterface
    | memoryview
    | complex
    | list[str]
    | Sequence[complex]
    | Sequence[Sequence[complex]]
    | Sequence[Sequence[Sequence[complex]]]
    | Sequence[Sequence[Sequence[Sequence[complex]]]]
)
"""What numpy makes an array of, in memory of the host."""

ArrayT = TypeVar("ArrayT", bound=SupportsDLPack)
"""An array of another library, which may be on a GPU; the results are of the same."""

Input: TypeAlias = HostArray | SupportsDLPack | SupportsCudaArrayInterface
"""Any input."""

OutT = TypeVar("OutT", bound="NDArray[Any] | SupportsDLPack | SupportsCudaArrayInterface")
"""The caller's array for the only output."""
