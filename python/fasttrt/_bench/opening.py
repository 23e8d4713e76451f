"""Options of the measuring commands, as an engine takes them."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from fasttrt.errors import InputError


def by_name(
    option: str, given: Sequence[str] | None, parse: Callable[[str], Any] = str
) -> dict[str, Any] | None:
    """``name=VALUE``, once for each name; a colon would not do, as names of tensors have them.

    Raises:
        InputError: names the option.
    """
    parsed = {}
    for item in given or ():
        name, _, value = item.rpartition("=")
        try:
            parsed[name] = parse(value)
        except RecursionError:
            raise InputError(f"--{option}: {name}: expected a value nested less deep") from None
        except ValueError:
            value = ""
        if not (name and value):
            raise InputError(f"--{option}: expected name=VALUE, got {item!r}")
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
    config: Path | None = None,
    device: str | None = None,
    library: str | None = None,
    shapes: Sequence[str] | None = None,
    freeze: Sequence[str] | None = None,
    dims: Sequence[str] | None = None,
) -> dict[str, Any]:
    """What a file says, and what the command line says instead.

    Raises:
        InputError: one of them cannot be read.
    """
    from fasttrt.options_file import load_config

    options = load_config(config) if config else {}
    given = {
        "device": device,
        "library": library,
        "shapes": by_name("shapes", shapes),
        "freeze": by_name("freeze", freeze, json.loads),
        "dims": by_name("dims", dims, json.loads),
    }
    return options | {name: value for name, value in given.items() if value is not None}


def changes_of(options: dict[str, Any]) -> dict[str, Any]:
    """Those options of an engine that change the model."""
    return {name: options[name] for name in ("freeze", "dims") if name in options}
