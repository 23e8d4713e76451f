"""`Batching`: requests of several threads, run together."""

from dataclasses import dataclass
from itertools import pairwise
from numbers import Integral
from typing import Any

from fasttrt._common.checks import refuse

_MOST = 2**31 - 1


@dataclass(frozen=True)
class Batching:
    """How requests that come at about the same time are gathered into one run.

    They are put together along the first axis, and each gets its own part of the results.
    """

    max_size: int
    """The largest batch that is run, in elements along the first axis: at least 1."""
    max_delay_us: int = 200
    """How long the first request of a batch waits for others at most, in microseconds. 0: it takes
    along what is there already."""
    sizes: tuple[int, ...] | None = None
    """The batch sizes that are run, ascending and up to ``max_size``. A batch is padded up to the
    next of them. None: the powers of two below ``max_size``, and ``max_size``."""

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            InputError: for a value out of range.
        """
        self._check("max_size", _is_integer(self.max_size, 1), "an integer >= 1")
        self._check(
            "max_delay_us", _is_integer(self.max_delay_us, 0), "an integer >= 0, microseconds"
        )
        if self.sizes is not None:
            self._check("sizes", self._are_sizes(), f"ascending sizes that end in {self.max_size}")
            object.__setattr__(self, "sizes", tuple(int(size) for size in self.sizes))
        object.__setattr__(self, "max_size", int(self.max_size))
        object.__setattr__(self, "max_delay_us", int(self.max_delay_us))

    @property
    def batch_sizes(self) -> tuple[int, ...]:
        """The batch sizes that are run: ``sizes``, or what stands for None."""
        if self.sizes is not None:
            return self.sizes
        powers = (1 << exponent for exponent in range((self.max_size - 1).bit_length()))
        return (*powers, self.max_size)

    def _are_sizes(self) -> bool:
        sizes: Any = self.sizes
        if not isinstance(sizes, (tuple, list)) or not sizes:
            return False
        return (
            all(_is_integer(size, 1) for size in sizes)
            and all(a < b for a, b in pairwise(sizes))
            and sizes[-1] == self.max_size
        )

    def _check(self, name: str, valid: bool, expected: str) -> None:
        if not valid:
            refuse(f"Batching.{name}", expected, getattr(self, name))


def _is_integer(value: object, least: int) -> bool:
    """Whether a value is an integer from ``least`` on that the core can hold."""
    if not isinstance(value, Integral) or isinstance(value, bool):
        return False
    return least <= int(value) <= _MOST
