"""`Batching`: running requests of several threads together."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from fasttrt._common.checks import integers, is_integer, refuse

_INT32_MAX = 2**31 - 1


@dataclass(frozen=True)
class Batching:
    """How requests that arrive at about the same time are gathered into one run.

    They are concatenated along the first axis, and each gets its part of the results.

    A batch may go to its GPU before it has ``max_size`` rows: where half of the clients send their
    next requests while the others' run, a batch of half of them often serves more a second than
    one of all. The size is learned from how long runs take and clients stay away.

    Attributes:
        max_size: The maximum batch size, in elements along the first axis: at least 1.
        max_delay_us: The maximum time that a batch waits for more requests while its GPU is idle,
            in microseconds. It waits for none where all clients are known to have sent theirs. 0:
            it is only joined by requests that arrive while its GPU is busy.
        sizes: The batch sizes that are run, in ascending order and ending with ``max_size``. A
            batch is padded to the next of them. None: the powers of two below ``max_size``, and
            ``max_size``.

    Examples:
        >>> batching = fasttrt.Batching(32, max_delay_us=500)
        >>> batching.batch_sizes
        (1, 2, 4, 8, 16, 32)
        >>> engine = fasttrt.Engine("m.onnx", batching=batching)
        >>> futures = [engine.submit(x[i : i + 1]) for i in range(8)]
        >>> [future.result().shape for future in futures][0]
        (1, 10)
    """

    max_size: int
    max_delay_us: int = 200
    sizes: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            InputError: a value is out of range.
        """
        self._check("max_size", is_integer(self.max_size, 1, _INT32_MAX), integers(1, _INT32_MAX))
        self._check(
            "max_delay_us",
            is_integer(self.max_delay_us, 0, _INT32_MAX),
            f"{integers(0, _INT32_MAX)}, microseconds",
        )
        if self.sizes is not None:
            self._check("sizes", self._are_sizes(), f"ascending sizes that end in {self.max_size}")
            object.__setattr__(self, "sizes", tuple(int(size) for size in self.sizes))
        object.__setattr__(self, "max_size", int(self.max_size))
        object.__setattr__(self, "max_delay_us", int(self.max_delay_us))

    @property
    def batch_sizes(self) -> tuple[int, ...]:
        """The batch sizes that are run: ``sizes``, with its default resolved."""
        if self.sizes is not None:
            return self.sizes
        powers = (1 << exponent for exponent in range((self.max_size - 1).bit_length()))
        return (*powers, self.max_size)

    def _are_sizes(self) -> bool:
        sizes: Any = self.sizes
        if not isinstance(sizes, (tuple, list)) or not sizes:
            return False
        return (
            all(is_integer(size, 1, _INT32_MAX) for size in sizes)
            and all(a < b for a, b in pairwise(sizes))
            and sizes[-1] == self.max_size
        )

    def _check(self, name: str, valid: bool, expected: str) -> None:
        if not valid:
            refuse(f"Batching.{name}", expected, getattr(self, name))
