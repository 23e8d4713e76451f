"""Devices: their names, GPU ordinals and compute capabilities."""

import re
from collections.abc import Iterable, Sequence
from numbers import Integral
from typing import Any, TypeAlias

from fasttrt import _core
from fasttrt._common.checks import refuse, shown
from fasttrt.errors import InputError

Device: TypeAlias = Any
"""A device as callers may pass it: ``"cuda:1"``, the GPU's ordinal, or a ``torch.device``."""
_INT32_MAX = 2**31 - 1  # the core's error for it names the valid ordinals


def device_name(device: Device) -> Any:
    """Convert an ordinal or a ``torch.device`` to ``"cuda:1"`` or ``"cpu"``; keep anything else."""
    if isinstance(device, Integral) and not isinstance(device, bool) and int(device) >= 0:
        return f"cuda:{int(device)}"
    if isinstance(device, str) and device.isascii() and device.isdigit():
        return f"cuda:{device}"
    kind, index = getattr(device, "type", None), getattr(device, "index", None)
    if isinstance(kind, str) and (index is None or isinstance(index, int)):  # torch.device
        return kind if index is None or kind == "cpu" else f"{kind}:{index}"
    return device


def gpu_ordinal(device: Device) -> int:
    """Return the ordinal of a device that must be a GPU.

    Raises:
        InputError: it is not a GPU.
    """
    try:
        ordinal = parse_device(device)
    except InputError:
        ordinal = None
    if ordinal is None:
        refuse("device", 'a GPU as in 0 or "cuda:0"', device)
    return ordinal


def parse_device(device: Device) -> int | None:
    """Return the GPU's ordinal, or None for the CPU.

    Args:
        device: ``"cuda"``, ``"cuda:N"`` or ``"cpu"``, the GPU's ordinal or a ``torch.device``.

    Raises:
        InputError: for anything else.
    """
    name = device_name(device)
    if isinstance(name, str) and name == "cpu":
        return None
    match = re.fullmatch(r"cuda(?::([0-9]{1,100}))?", name) if isinstance(name, str) else None
    if match is None:
        refuse("device", '"cuda", "cuda:N" or "cpu"', device)
    return min(int(match[1] or 0), _INT32_MAX)


def parse_devices(device: Device, devices: Sequence[Device] | None = None) -> list[int] | None:
    """Return the GPUs' ordinals, or None for the CPU.

    Args:
        device: anything that `parse_device` accepts, or several GPUs as in ``"cuda:0,1"``. Must be
            ``"auto"`` with ``devices``.
        devices: at least one GPU, in any of these forms.

    Raises:
        InputError: for anything else, for a GPU listed twice, and for both arguments together.
    """
    if devices is not None:
        if not is_auto(device):
            raise InputError(
                f"devices: pass either device or devices, got {shown(device)} and {shown(devices)}"
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
    """Return whether fasttrt chooses the device."""
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


def _distinct(name: str, value: object, ordinals: Iterable[int]) -> list[int]:
    clamped = [min(ordinal, _INT32_MAX) for ordinal in ordinals]
    if len(set(clamped)) != len(clamped):
        refuse(name, "each GPU once", value)
    return clamped


def default_device() -> int | None:
    """Return the first GPU's ordinal, or None if no GPU can be used."""
    return None if _core.driver_problem() else 0


def gpu_or_default(device: Device | None) -> int | None:
    """Return the ordinal of a device that must be a GPU; for None the first GPU's, if there is one.

    Raises:
        InputError: it is not a GPU.
    """
    return default_device() if device is None else gpu_ordinal(device)


def capability(ordinal: int | None) -> tuple[int, int]:
    """Return a GPU's compute capability; (0, 0) for no GPU."""
    if ordinal is None:
        return (0, 0)
    info = _core.device_info(ordinal)
    return (info.major, info.minor)


def gpu_model(ordinal: int) -> tuple[str, int, int]:
    """Return a GPU's name and compute capability; GPUs with equal ones share plans."""
    info = _core.device_info(ordinal)
    return (info.name, info.major, info.minor)
