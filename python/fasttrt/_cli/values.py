"""The values of options: parsed and checked, so that a wrong one fails before any work."""

import json
import math
import os
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from fasttrt._common.tensor_spec import Range, Shape
from fasttrt._plan.build_config import BuildConfig
from fasttrt.errors import InputError

PRECISIONS = ("fp32", "tf32", "fp16", "bf16")
SHAPES_HELP = (
    "Shapes to build for: input=1x3x224x224 or input=MIN:OPT:MAX, once for each input; also "
    "trtexec's input:1x3,other:1x5."
)

_EXTENTS = re.compile(r"\d{1,18}(?:x\d{1,18})*", re.ASCII)
_SHOWN = 100
"""Characters of a wrong value in a message."""
_FAMILIES = ("auto", "rtx", "tensorrt", "lean")


def by_name(
    option: str, given: Sequence[str] | None, parse: Callable[[str], Any], form: str
) -> dict[str, Any] | None:
    """``name=VALUE`` for each name, which may have colons and equals signs itself.

    Args:
        option: for messages, without its dashes.
        given: as on the command line.
        parse: a value; raises ValueError for a wrong one.
        form: what is expected, for messages.

    Raises:
        InputError: an item has another form, or a name comes twice.
    """
    parsed: dict[str, Any] = {}
    for item in given or ():
        name, _, value = item.rpartition("=")
        try:
            if not (name and value):
                raise ValueError
            found = parse(value)
        except (ValueError, RecursionError):
            shown = item if len(item) <= _SHOWN else f"{item[:_SHOWN]}..."
            raise InputError(f"--{option}: expected {form}, got {shown!r}") from None
        _add(option, parsed, name, found)
    return parsed or None


def _add(option: str, parsed: dict[str, Any], name: str, value: Any) -> None:
    if name in parsed:
        raise InputError(f"--{option}: expected each name once, got {name!r} twice")
    parsed[name] = value


def integers(option: str, given: str, least: int = 1, most: int | None = None) -> list[int]:
    """``1,8,32`` as a list of integers.

    Raises:
        InputError: names the option.
    """
    parts = [part.strip() for part in given.split(",")]
    values = [int(part) for part in parts if re.fullmatch(r"\d{1,18}", part, re.ASCII)]
    if len(values) != len(parts) or min(values) < least or (most and max(values) > most):
        limits = f"from {least} to {most}" if most else f">= {least}"
        raise InputError(f"--{option}: expected integers {limits} as in 1,8,32, got {given!r}")
    return values


def check_seconds(option: str, given: float) -> None:
    """See that a time ends.

    Raises:
        InputError: it does not.
    """
    if not math.isfinite(given):
        raise InputError(f"--{option}: expected a number of seconds, got {given}")


def one_of(option: str, given: str, known: Collection[str]) -> str:
    """The value itself, if it is known.

    Raises:
        InputError: names the option and what it takes.
    """
    if given not in known:
        raise InputError(f"--{option}: expected one of {', '.join(known)}, got {given!r}")
    return given


def ranges(given: Sequence[str] | None) -> dict[str, tuple[float, float]] | None:
    """``input=LEAST:MOST`` of ``--range``.

    Raises:
        InputError: an item has another form.
    """

    def parsed(value: str) -> tuple[float, float]:
        least, most = map(float, value.split(":"))
        return least, most

    return by_name("range", given, parsed, "input=LEAST:MOST as in x=-1:1")


def shapes(
    given: Sequence[str] | None, least: str | None, best: str | None, most: str | None
) -> dict[str, Range] | None:
    """(min, opt, max) by input, from ``--shapes`` or from trtexec's three options.

    Of the three, an opt that is left out is the max (or the min), and min and max are the opt.

    Raises:
        InputError: an item has another form, or both kinds of options are given.
    """
    if given and (least or best or most):
        raise InputError("--shapes: expected without --minShapes, --optShapes and --maxShapes")
    if given:
        return _ranges_of(given)
    parts = [
        _trtexec_shapes(option, text)
        for option, text in (("minShapes", least), ("optShapes", best), ("maxShapes", most))
    ]
    found = {}
    for name in dict.fromkeys(name for part in parts for name in part):
        low, middle, high = (part.get(name) for part in parts)
        opt = middle or high or low
        if opt is not None:
            found[name] = (low or opt, opt, high or opt)
    return found or None


def _ranges_of(given: Sequence[str]) -> dict[str, Range]:
    form = "input=1x3x224x224 or input=MIN:OPT:MAX"
    found: dict[str, Range] = {}
    for text in given:
        if "=" not in text:
            for name, shape in _trtexec_shapes("shapes", text, form).items():
                _add("shapes", found, name, (shape, shape, shape))
            continue
        name, _, value = text.rpartition("=")
        parts = [_shape(part) for part in value.split(":")]
        if len(parts) == 1:
            parts *= 3
        whole = [part for part in parts if part is not None]
        if not name or len(whole) != 3 or len(parts) != 3 or len(set(map(len, whole))) != 1:
            raise InputError(f"--shapes: expected {form}, got {text!r}")
        _add("shapes", found, name, (whole[0], whole[1], whole[2]))
    return found


def _trtexec_shapes(option: str, text: str | None, form: str = "input:1x3") -> dict[str, Shape]:
    """``input:1x3,other:1x5``; names may have colons, as in ``input:0:1x3``."""
    found: dict[str, Shape] = {}
    for item in text.split(",") if text is not None else ():
        name, _, value = item.rpartition(":")
        shape = _shape(value)
        if not name or shape is None:
            raise InputError(f"--{option}: expected {form}, got {item!r}")
        _add(option, found, name.strip("'\""), shape)
    return found


def _shape(text: str) -> Shape | None:
    """The extents of ``1x3x224``; None for anything else."""
    if not _EXTENTS.fullmatch(text):
        return None
    return tuple(int(extent) for extent in text.split("x"))


def engine_options(
    *,
    config: Path | None = None,
    device: str | None = None,
    library: str | None = None,
    precision: str | None = None,
    shapes: Mapping[str, Range] | None = None,
    freeze: Sequence[str] | None = None,
    dims: Sequence[str] | None = None,
    plugins: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Options of `Engine`: what the file says, and what the command line says instead.

    Raises:
        InputError: one of them is wrong.
    """
    from fasttrt._engine.options_file import load_config
    from fasttrt._library.device import parse_devices

    options = load_config(config) if config else {}
    if device is not None and device != "auto":
        parse_devices(device)
    if library is not None:
        check_library(library)
    if precision is not None:
        one_of("precision", precision, PRECISIONS)
        if "config" in options:  # the file's [build], whose own precision would contradict
            options["config"] = replace(options["config"], precision=None)
    for plugin in plugins or ():
        if not Path(plugin).is_file():
            raise InputError(f"--plugins: expected the path of a library, got {plugin!r}")
    given = {
        "device": device,
        "library": library,
        "precision": precision,
        "shapes": shapes,
        "freeze": by_name("freeze", freeze, json.loads, "input=VALUE in JSON as in axes=[0,1]"),
        "dims": by_name("dims", dims, _extent, "dimension=8 or input.axis=8"),
        "plugins": tuple(plugins) if plugins else None,
    }
    return options | {name: value for name, value in given.items() if value is not None}


def _extent(text: str) -> int:
    if not re.fullmatch(r"\d{1,18}", text, re.ASCII):
        raise ValueError
    return int(text)


def check_library(given: str) -> None:
    """See that ``--library`` is a family, a soname, or a file or folder that exists.

    Raises:
        InputError: it is none of these.
    """
    is_soname = os.sep not in given and given.startswith("lib") and ".so" in given
    if given not in _FAMILIES and not is_soname and not Path(given).exists():
        raise InputError(
            f'--library: expected "auto", "rtx", "tensorrt", "lean", or the path of a library or '
            f"of a folder with one, got {given!r}"
        )


def with_build_options(options: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """The same with some fields of its ``config`` changed."""
    return options | {"config": replace(options.get("config") or BuildConfig(), **changes)}
