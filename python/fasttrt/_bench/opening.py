"""Options of the measuring commands, as an engine takes them."""

from pathlib import Path
from typing import Any

from fasttrt.errors import InputError


def by_name(option: str, given: list[str] | None) -> dict[str, str] | None:
    """``input=value`` as a mapping; a colon would not do, as names of tensors have them.

    Raises:
        InputError: names the option.
    """
    parsed = {}
    for item in given or ():
        name, _, value = item.rpartition("=")
        if not (name and value):
            raise InputError(f"--{option}: expected input=..., got {item!r}")
        parsed[name] = value
    return parsed or None


def integers(option: str, given: str, least: int = 1) -> list[int]:
    """``1,8,32`` as a list of integers.

    Raises:
        InputError: names the option.
    """
    try:
        values = [int(part) for part in given.split(",")]
    except ValueError:
        values = []
    if not values or min(values) < least:
        raise InputError(f"--{option}: expected integers >= {least} as in 1,8,32, got {given!r}")
    return values


def engine_options(
    config: Path | None, device: str | None, library: str | None, shapes: list[str] | None
) -> dict[str, Any]:
    """What a file says, and what the command line says instead."""
    from fasttrt.options_file import load_config

    options = load_config(config) if config else {}
    given = {"device": device, "library": library, "shapes": by_name("shapes", shapes)}
    return options | {name: value for name, value in given.items() if value is not None}
