"""Which GPUs, if any."""

import re
from collections.abc import Iterable, Sequence
from numbers import Integral
from typing import Any, TypeAlias

from fasttrt import _core
from fasttrt._common.checks import refuse, shown
from fasttrt.errors import InputError

Device: TypeAlias = Any
"""A device as callers give it: ``"cuda:1"``, the GPU's number, or a ``torch.device``."""
_MOST = 2**31 - 1  # the core names the valid ones


def device_name(device: Device) -> Any:
    """A number or a ``torch.device`` as ``"cuda:1"`` or ``"cpu"``; anything else as it is."""
    if isinstance(device, Integral) and not isinstance(device, bool) and int(device) >= 0:
        return f"cuda:{int(device)}"
    if isinstance(device, str) and device.isascii() and device.isdigit():
        return f"cuda:{device}"
    kind, index = getattr(device, "type", None), getattr(device, "index", None)
    if isinstance(kind, str) and (index is None or isinstance(index, int)):  # torch.device
        return kind if index is None or kind == "cpu" else f"{kind}:{index}"
    return device


def gpu_ordinal(device: Device) -> int:
    """The GPU's ordinal, for memory on it.

    Raises:
        InputError: it is no GPU.
    """
    try:
        ordinal = parse_device(device)
    except InputError:
        ordinal = None
    if ordinal is None:
        refuse("device", 'a GPU as in 0 or "cuda:0"', device)
    return ordinal


def parse_device(device: Device) -> int | None:
    """The GPU's ordinal, or None for the CPU.

    Args:
        device: ``"cuda"``, ``"cuda:N"`` or ``"cpu"``, the GPU's number or a ``torch.device``.

    Raises:
        InputError: for anything else.
    """
    name = device_name(device)
    if isinstance(name, str) and name == "cpu":
        return None
    match = re.fullmatch(r"cuda(?::([0-9]{1,100}))?", name) if isinstance(name, str) else None
    if match is None:
        refuse("device", '"cuda", "cuda:N" or "cpu"', device)
    return min(int(match[1] or 0), _MOST)


def parse_devices(device: Device, devices: Sequence[Device] | None = None) -> list[int] | None:
    """The GPUs' ordinals, or None for the CPU.

    Args:
        device: what `parse_device` takes, or several GPUs as in ``"cuda:0,1"``. ``"auto"`` with
            ``devices``.
        devices: GPUs in any of these forms, at least one.

    Raises:
        InputError: for anything else, for a GPU given twice, and for both arguments.
    """
    if devices is not None:
        if not is_auto(device):
            raise InputError(
                f"devices: give either device or devices, got {shown(device)} and {shown(devices)}"
            )
        return _distinct("devices", devices, _each(devices))
    if isinstance(device, str) and (match := re.fullmatch(r"cuda:(\d+(?:,\d+)+)", device)):
        return _distinct("device", device, map(int, match[1].split(",")))
    try:
        ordinal = parse_device(device)
    except InputError:
        kinds = '"auto", "cuda", "cuda:N", "cuda:0,1" or "cpu"'
        raise InputError(f"device: expected {kinds}, got {shown(device)}") from None
    return None if ordinal is None else [ordinal]


def is_auto(device: Device) -> bool:
    """Whether it is left to fasttrt."""
    return isinstance(device, str) and device == "auto"


def _each(devices: Sequence[Device]) -> list[int]:
    expected = 'GPUs as in [0, 1] or ["cuda:0", "cuda:1"]'
    if isinstance(devices, (str, bytes)) or not isinstance(devices, Iterable):
        refuse("devices", expected, devices)
    ordinals = []
    for device in devices:
        name = device_name(device)
        if not (isinstance(name, str) and (match := re.fullmatch(r"cuda:([0-9]{1,100})", name))):
            refuse("devices", expected, devices)
        ordinals.append(int(match[1]))
    if not ordinals:
        refuse("devices", expected, devices)
    return ordinals


def _distinct(name: str, given: object, ordinals: Iterable[int]) -> list[int]:
    found = [min(ordinal, _MOST) for ordinal in ordinals]
    if len(set(found)) != len(found):
        refuse(name, "each GPU once", given)
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
