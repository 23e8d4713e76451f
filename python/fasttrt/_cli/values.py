"""Parsing and checking of options' values, so that a wrong one fails before any work."""

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

_SIZES = re.compile(r"\d{1,18}(?:x\d{1,18})*", re.ASCII)
_MAX_SHOWN = 100
"""The maximum length of a wrong value in a message."""
_FAMILIES = ("auto", "rtx", "tensorrt", "lean")


def by_name(
    option: str, items: Sequence[str] | None, parse: Callable[[str], Any], form: str
) -> dict[str, Any] | None:
    """Parse items of ``name=VALUE``; names may contain colons and equals signs.

    Args:
        option: the option, for messages, without its dashes.
        items: the items, as on the command line.
        parse: parses a value; raises ValueError for a wrong one.
        form: the expected form, for messages.

    Raises:
        InputError: an item has a different form, or a name occurs twice.
    """
    parsed: dict[str, Any] = {}
    for item in items or ():
        name, _, value = item.rpartition("=")
        try:
            if not (name and value):
                raise ValueError
            parsed_value = parse(value)
        except (ValueError, RecursionError):
            shown = item if len(item) <= _MAX_SHOWN else f"{item[:_MAX_SHOWN]}..."
            raise InputError(f"--{option}: expected {form}, got {shown!r}") from None
        _add(option, parsed, name, parsed_value)
    return parsed or None


def _add(option: str, parsed: dict[str, Any], name: str, value: Any) -> None:
    if name in parsed:
        raise InputError(f"--{option}: expected each name once, got {name!r} twice")
    parsed[name] = value


def integers(option: str, text: str, min_: int = 1, max_: int | None = None) -> list[int]:
    """Parse a list of integers as in ``1,8,32``.

    Raises:
        InputError: it is not such a list, or out of range; the message names the option.
    """
    parts = [part.strip() for part in text.split(",")]
    values = [int(part) for part in parts if re.fullmatch(r"\d{1,18}", part, re.ASCII)]
    if len(values) != len(parts) or min(values) < min_ or (max_ and max(values) > max_):
        limits = f"from {min_} to {max_}" if max_ else f">= {min_}"
        raise InputError(f"--{option}: expected integers {limits} as in 1,8,32, got {text!r}")
    return values


def tuned(items: Sequence[str] | None) -> Any:
    """Parse ``--tuned``: ``auto``, ``none``, ``1,8,32``, or ``DIM=1,8,32`` any number of times.

    Returns:
        What `fasttrt.build` takes, but ``"none"`` for None; None if there are no items.

    Raises:
        InputError: an item has a different form.
    """
    form = "auto, none, sizes as in 1,8,32, or DIM=SIZES as in batch=1,8,32"
    if not items:
        return None
    if len(items) == 1 and items[0] in ("auto", "none"):
        return items[0]
    if len(items) == 1 and "=" not in items[0]:
        try:
            return integers("tuned", items[0])
        except InputError:
            raise InputError(f"--tuned: expected {form}, got {items[0]!r}") from None

    def parse(text: str) -> list[int]:
        try:
            return integers("tuned", text)
        except InputError:
            raise ValueError from None

    return by_name("tuned", items, parse, form)


def check_seconds(option: str, seconds: float) -> None:
    """Check that a duration is finite.

    Raises:
        InputError: it is not.
    """
    if not math.isfinite(seconds):
        raise InputError(f"--{option}: expected a number of seconds, got {seconds}")


def check_random_inputs(inputs: Path | None, **given: int | None) -> None:
    """Check that options of random inputs, by name, are not passed with ``--inputs``."""
    for option, value in given.items():
        if inputs is not None and value is not None:
            raise InputError(f"--{option}: not with --inputs, as it is for random inputs")


def one_of(option: str, value: str, choices: Collection[str]) -> str:
    """Return the value if it is one of the choices.

    Raises:
        InputError: it is not; the message names the option and the choices.
    """
    if value not in choices:
        raise InputError(f"--{option}: expected one of {', '.join(choices)}, got {value!r}")
    return value


def ranges(items: Sequence[str] | None) -> dict[str, tuple[float, float]] | None:
    """Parse the ``input=MIN:MAX`` of ``--range``.

    Raises:
        InputError: an item has a different form.
    """

    def parse(value: str) -> tuple[float, float]:
        min_, max_ = map(float, value.split(":"))
        return min_, max_

    return by_name("range", items, parse, "input=MIN:MAX as in x=-1:1")


def shapes(
    items: Sequence[str] | None, min_: str | None, opt: str | None, max_: str | None
) -> dict[str, Range] | None:
    """Parse ``--shapes`` or trtexec's three options into (min, opt, max) by input.

    Of the three, opt defaults to the max (or the min), and min and max default to the opt.

    Raises:
        InputError: an item has a different form, or both kinds of options are used.
    """
    if items and (min_ or opt or max_):
        raise InputError("--shapes: not with --minShapes, --optShapes or --maxShapes")
    if items:
        return _ranges_of(items)
    parts = [
        _trtexec_shapes(option, text)
        for option, text in (("minShapes", min_), ("optShapes", opt), ("maxShapes", max_))
    ]
    result = {}
    for name in dict.fromkeys(name for part in parts for name in part):
        low, middle, high = (part.get(name) for part in parts)
        default = middle or high or low
        if default is not None:
            result[name] = (low or default, default, high or default)
    return result or None


def _ranges_of(items: Sequence[str]) -> dict[str, Range]:
    form = "input=1x3x224x224 or input=MIN:OPT:MAX"
    parsed: dict[str, Range] = {}
    for text in items:
        if "=" not in text:
            for name, shape in _trtexec_shapes("shapes", text, form).items():
                _add("shapes", parsed, name, (shape, shape, shape))
            continue
        name, _, value = text.rpartition("=")
        parts = [_shape(part) for part in value.split(":")]
        if len(parts) == 1:
            parts *= 3
        whole = [part for part in parts if part is not None]
        if not name or len(whole) != 3 or len(parts) != 3 or len(set(map(len, whole))) != 1:
            raise InputError(f"--shapes: expected {form}, got {text!r}")
        _add("shapes", parsed, name, (whole[0], whole[1], whole[2]))
    return parsed


def _trtexec_shapes(option: str, text: str | None, form: str = "input:1x3") -> dict[str, Shape]:
    """Parse ``input:1x3,other:1x5``; names may contain colons, as in ``input:0:1x3``."""
    parsed: dict[str, Shape] = {}
    for item in text.split(",") if text is not None else ():
        name, _, value = item.rpartition(":")
        shape = _shape(value)
        if not name or shape is None:
            raise InputError(f"--{option}: expected {form}, got {item!r}")
        _add(option, parsed, name.strip("'\""), shape)
    return parsed


def _shape(text: str) -> Shape | None:
    """Parse a shape as in ``1x3x224``; None for anything else."""
    if not _SIZES.fullmatch(text):
        return None
    return tuple(int(size) for size in text.split("x"))


def engine_options(
    *,
    config: Path | None = None,
    device: str | None = None,
    library: str | None = None,
    precision: str | None = None,
    shapes: Mapping[str, Range] | None = None,
    tuned: Any = None,
    freeze: Sequence[str] | None = None,
    dims: Sequence[str] | None = None,
    plugins: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Return the options of `Engine` from the file and the command line, which has precedence.

    Raises:
        InputError: an option is wrong.
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
    own = {
        "device": device,
        "library": library,
        "precision": precision,
        "shapes": shapes,
        "tuned": tuned,
        "freeze": by_name("freeze", freeze, json.loads, "input=VALUE in JSON as in axes=[0,1]"),
        "dims": by_name("dims", dims, _size, "dimension=8 or input.axis=8"),
        "plugins": tuple(plugins) if plugins else None,
    }
    merged = options | {name: value for name, value in own.items() if value is not None}
    if merged.get("tuned") == "none":
        merged["tuned"] = None
    return merged


def _size(text: str) -> int:
    if not re.fullmatch(r"\d{1,18}", text, re.ASCII):
        raise ValueError
    return int(text)


def check_library(library: str) -> None:
    """Check that ``--library`` is a family, a soname, or a file or folder that exists.

    Raises:
        InputError: it is none of these.
    """
    is_soname = os.sep not in library and library.startswith("lib") and ".so" in library
    if library not in _FAMILIES and not is_soname and not Path(library).exists():
        raise InputError(
            f'--library: expected "auto", "rtx", "tensorrt", "lean", or the path of a library or '
            f"of a folder with one, got {library!r}"
        )


def with_build_options(options: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """Return options with some fields of their ``config`` changed."""
    return options | {"config": replace(options.get("config") or BuildConfig(), **changes)}
