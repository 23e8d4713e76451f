"""Many threads that each send one request after the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from models import Arrays, Network

from fasttrt._bench.closed_loop import Rates as Rates
from fasttrt._bench.closed_loop import Scale as Scale
from fasttrt._bench.closed_loop import drive as drive


def checker(network: Network, right: Sequence[Arrays], who: str) -> Callable[[Any, int], Any]:
    """Raises if the answer to the input of that index is wrong."""
    return lambda y, index: network.check(who, y, right[index])
