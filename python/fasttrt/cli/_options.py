"""Options that several commands share, and what is made of them."""

import json
import logging
from collections.abc import Sequence
from typing import Annotated, Any, TypeAlias

import typer

from fasttrt.errors import InputError
from fasttrt.shapes import parse_range
from fasttrt.spec import Shape

MinShapes: TypeAlias = Annotated[
    str | None, typer.Option("--minShapes", help="As in trtexec: input:1x3,other:1x5.")
]
OptShapes: TypeAlias = Annotated[
    str | None, typer.Option("--optShapes", help="What is fastest, in the same form.")
]
MaxShapes: TypeAlias = Annotated[
    str | None, typer.Option("--maxShapes", help="The largest, in the same form.")
]
Library: TypeAlias = Annotated[
    str, typer.Option(help='Which TensorRT: "auto", "rtx", "tensorrt" or a path.')
]
Dims: TypeAlias = Annotated[
    list[str] | None, typer.Option(help="dimension=8, or input.axis=8; may be repeated.")
]
Freeze: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(help="input=VALUE as JSON, makes it a constant; may be repeated."),
]
Plugins: TypeAlias = Annotated[
    list[str] | None, typer.Option(help="A library of TensorRT plugins; may be repeated.")
]
Verbose: TypeAlias = Annotated[bool, typer.Option("--verbose", help="Show TensorRT's own log.")]
AsJson: TypeAlias = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def shapes_of(least: str | None, best: str | None, most: str | None) -> dict[str, Any] | None:
    """(min, opt, max) by input. Left out, opt is max (or min), and min and max are opt.

    Raises:
        InputError: if an option has another form.
    """
    parts = (
        _shapes("minShapes", least), _shapes("optShapes", best), _shapes("maxShapes", most)
    )  # fmt: skip
    found = {}
    for name in dict.fromkeys(name for part in parts for name in part):
        low, middle, high = (part.get(name) for part in parts)
        opt = middle or high or low
        found[name] = (low or opt, opt, high or opt)
    return found or None


def _shapes(option: str, text: str | None) -> dict[str, Shape]:
    found = {}
    for item in text.split(",") if text else ():
        name, _, shape = item.rpartition(":")  # names of tensors have colons too
        if not (name and shape):
            raise InputError(f"--{option}: expected input:1x3, got {item!r}")
        found[name.strip("'\"")] = parse_range(f"--{option}", shape)[1]
    return found


def by_name(option: str, given: Sequence[str] | None) -> dict[str, Any] | None:
    """``name=JSON``, once for each name.

    Raises:
        InputError: if one has another form.
    """
    found = {}
    for item in given or ():
        name, _, value = item.rpartition("=")
        try:
            found[name] = json.loads(value)
        except ValueError:
            name = ""
        if not name:
            raise InputError(f"--{option}: expected name=VALUE, got {item!r}")
    return found or None


def show_log(wanted: bool) -> None:
    """TensorRT's log, and fasttrt's, on standard error."""
    if wanted:
        logging.basicConfig(format="%(name)s: %(levelname)s: %(message)s")
        logging.getLogger("fasttrt").setLevel(logging.DEBUG)
