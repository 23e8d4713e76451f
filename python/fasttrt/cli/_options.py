"""Options that several commands share, and what is made of them."""

import json
import logging
import math
from collections.abc import Collection, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import typer

from fasttrt._file_kinds import chart
from fasttrt._files import Output
from fasttrt._terminal import message, printable_lines
from fasttrt.errors import Error, InputError
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
Shapes: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(help="input=1x3x224x224, or input=MIN:OPT:MAX; once for each input."),
]
Config: TypeAlias = Annotated[
    Path | None,
    typer.Option(help="A fasttrt.toml with other options.", exists=True, dir_okay=False),
]
Device: TypeAlias = Annotated[
    str | None, typer.Option(help='"auto", "cuda", "cuda:N" or "cpu". [default: auto]')
]
Library: TypeAlias = Annotated[
    str | None,
    typer.Option(
        help='Which TensorRT: "auto", "rtx", "tensorrt", "lean" or a path. [default: auto]'
    ),
]
Precision: TypeAlias = Annotated[
    str | None, typer.Option(help="fp32, tf32, fp16 or bf16; else the model's types.")
]
Samples: TypeAlias = Annotated[
    Path | None,
    typer.Option(help="A .npz, a .npy or a folder of them; else random inputs.", exists=True),
]
Seed: TypeAlias = Annotated[int, typer.Option(help="Of random inputs.", min=0)]
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
Force: TypeAlias = Annotated[
    bool, typer.Option("--force", help="Replace files of other kinds, and inputs, too.")
]
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


def as_trtexec(shapes: Sequence[str] | None) -> list[str] | None:
    """``--shapes`` in trtexec's form, input:1x3,other:1x5, too.

    Raises:
        InputError: if an item has neither form.
    """
    found = []
    for text in shapes or ():
        if "=" in text:
            found.append(text)
        else:
            found += [
                f"{name}={'x'.join(map(str, s))}" for name, s in _shapes("shapes", text).items()
            ]
    return found or None


def check_plot(path: Path | None, kinds: Collection[str], force: bool) -> None:
    """See, before any work, that a plot can be drawn.

    Raises:
        InputError: it is of another kind than these suffixes, or would replace such a file.
        Error: there is no matplotlib.
    """
    if path is None:
        return
    if path.suffix.lower() not in kinds:
        raise InputError(f"--plot: expected one of {', '.join(kinds)}, got {str(path)!r}")
    if find_spec("matplotlib") is None:
        raise Error("--plot: expected matplotlib, which is not installed")
    if path.absolute().parent.is_dir():  # else it is made
        Output(path, chart(path.suffix), force=force).check("--plot")


def say(text: object, err: bool = False) -> None:
    """Print text, nothing of which is a command to the terminal."""
    typer.echo(printable_lines(str(text)), err=err)


def json_text(value: Any) -> str:
    """JSON as the standard has it: null for a number that is not finite."""
    return json.dumps(_finite(value), indent=2, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {name: _finite(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return value


class LogFormatter(logging.Formatter):
    """Log lines nothing of which is a command to the terminal."""

    def format(self, record: logging.LogRecord) -> str:
        """As `logging.Formatter` does."""
        return message(super().format(record))


def show_log(wanted: bool) -> None:
    """TensorRT's log, and fasttrt's, on standard error."""
    if wanted:
        handler = logging.StreamHandler()
        handler.setFormatter(LogFormatter("%(name)s: %(levelname)s: %(message)s"))
        logging.basicConfig(handlers=[handler])
        logging.getLogger("fasttrt").setLevel(logging.DEBUG)
