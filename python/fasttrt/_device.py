"""Which GPUs, if any."""

import re
from collections.abc import Iterable, Sequence
from numbers import Integral

from fasttrt import _core
from fasttrt.errors import InputError

_MOST = 2**31 - 1  # the core names the valid ones


def parse_device(device: str) -> int | None:
    """The GPU's ordinal, or None for the CPU.

    Args:
        device: ``"cuda"``, ``"cuda:N"`` or ``"cpu"``.

    Raises:
        InputError: for anything else.
    """
    if device == "cpu":
        return None
    if isinstance(device, str) and (match := re.fullmatch(r"cuda(?::(\d+))?", device)):
        return min(int(match[1] or 0), _MOST)
    raise InputError(f'device: expected "cuda", "cuda:N" or "cpu", got {device!r}')


def parse_devices(device: str, devices: Sequence[int | str] | None = None) -> list[int] | None:
    """The GPUs' ordinals, or None for the CPU.

    Args:
        device: what `parse_device` takes, or several GPUs as in ``"cuda:0,1"``. ``"auto"`` with
            ``devices``.
        devices: ordinals or ``"cuda:N"``, at least one.

    Raises:
        InputError: for anything else, for a GPU given twice, and for both arguments.
    """
    if devices is not None:
        if device != "auto":
            raise InputError(
                f"devices: give either device or devices, got {device!r} and {devices!r}"
            )
        return _distinct("devices", devices, _each(devices))
    if isinstance(device, str) and (match := re.fullmatch(r"cuda:(\d+(?:,\d+)+)", device)):
        return _distinct("device", device, map(int, match[1].split(",")))
    try:
        ordinal = parse_device(device)
    except InputError:
        kinds = '"auto", "cuda", "cuda:N", "cuda:0,1" or "cpu"'
        raise InputError(f"device: expected {kinds}, got {device!r}") from None
    return None if ordinal is None else [ordinal]


def _each(devices: Sequence[int | str]) -> list[int]:
    expected = f'devices: expected GPUs as in [0, 1] or ["cuda:0", "cuda:1"], got {devices!r}'
    if isinstance(devices, (str, bytes)) or not isinstance(devices, Iterable):
        raise InputError(expected)
    ordinals = []
    for device in devices:
        if isinstance(device, Integral) and not isinstance(device, bool) and int(device) >= 0:
            ordinals.append(int(device))
        elif isinstance(device, str) and (match := re.fullmatch(r"cuda:(\d+)", device)):
            ordinals.append(int(match[1]))
        else:
            raise InputError(expected)
    if not ordinals:
        raise InputError(expected)
    return ordinals


def _distinct(name: str, given: object, ordinals: Iterable[int]) -> list[int]:
    found = [min(ordinal, _MOST) for ordinal in ordinals]
    if len(set(found)) != len(found):
        raise InputError(f"{name}: expected each GPU once, got {given!r}")
    return found


def default_device() -> int | None:
    """The first GPU, or None where none can be used."""
    return None if _core.driver_problem() else 0


def capability(ordinal: int | None) -> tuple[int, int]:
    """The GPU's compute capability; (0, 0) for no GPU."""
    if ordinal is None:
        return (0, 0)
    info = _core.device_info(ordinal)
    return (info.major, info.minor)


def gpu_model(ordinal: int) -> tuple[str, int, int]:
    """The GPU's name and compute capability: plans built on one serve all that have the same."""
    info = _core.device_info(ordinal)
    return (info.name, info.major, info.minor)
