"""The options of a request: its time limit and its priority."""

from typing import Any, Literal, TypeAlias, TypedDict

import numpy as np

from fasttrt._common.checks import integers, is_integer, is_one_of, refuse

Priority: TypeAlias = Literal["normal", "high"]
"""Requests of high priority precede all others that wait."""
_LEVELS = {"normal": 0, "high": 1}
_MOST_QUEUED = 2**31 - 1
_MOST_SECONDS = 1e9
"""A longer timeout is none; the core counts nanoseconds in 64 bits."""


class RequestOptions(TypedDict, total=False):
    """The options that all calls of an engine have, by the names and types of their parameters."""

    timeout: float | None
    priority: Priority


def parse_timeout(value: Any) -> float | None:
    """Return a timeout in seconds as the core takes it; None if there is none.

    Raises:
        InputError: it is invalid.
    """
    if value is None:
        return None
    is_number = isinstance(value, (int, float, np.integer, np.floating))
    if not is_number or isinstance(value, bool) or not value >= 0:
        refuse("timeout", "a number of seconds >= 0 or None", value)
    return float(value) if value <= _MOST_SECONDS else None


def parse_priority(value: Any) -> int:
    """Return a priority as the core takes it.

    Raises:
        InputError: it is invalid.
    """
    if not is_one_of(value, tuple(_LEVELS)):
        refuse("priority", '"normal" or "high"', value)
    return _LEVELS[value]


def check_max_queue(value: Any) -> None:
    """Check the ``max_queue`` of `Engine`.

    Raises:
        InputError: it is invalid.
    """
    if value is not None and not is_integer(value, 1, _MOST_QUEUED):
        refuse("max_queue", f"{integers(1, _MOST_QUEUED)}, or None", value)
