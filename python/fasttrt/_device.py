"""Which GPU, if any."""

import re

from fasttrt import _core
from fasttrt.errors import InputError


def parse_device(device: str) -> int | None:
    """The GPU's ordinal, or None for the CPU.

    Args:
        device: ``"cuda"``, ``"cuda:N"`` or ``"cpu"``.

    Raises:
        InputError: for anything else.
    """
    if device == "cpu":
        return None
    if match := re.fullmatch(r"cuda(?::(\d+))?", device):
        return min(int(match[1] or 0), 2**31 - 1)  # the core names the valid ones
    raise InputError(f'device: expected "auto", "cuda", "cuda:N" or "cpu", got {device!r}')


def default_device() -> int | None:
    """The first GPU, or None where none can be used."""
    return None if _core.driver_problem() else 0


def capability(ordinal: int | None) -> tuple[int, int]:
    """The GPU's compute capability; (0, 0) for no GPU."""
    if ordinal is None:
        return (0, 0)
    info = _core.device_info(ordinal)
    return (info.major, info.minor)
