"""Options that several commands share."""

import json
import logging
from collections.abc import Collection
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import typer

from fasttrt._cli.messages import show_logs
from fasttrt._cli.values import SHAPES_HELP
from fasttrt._common.file_kinds import chart
from fasttrt._common.json_values import json_value
from fasttrt._common.optional_packages import missing
from fasttrt._common.output_file import Output
from fasttrt._terminal import printable_lines
from fasttrt.errors import InputError

MODEL = "Model"
ENGINE = "Engine"
INPUTS = "Inputs"
LIMITS = "Limits"
OUTPUT = "Output"

Model: TypeAlias = Annotated[
    Path, typer.Argument(help="An ONNX model.", metavar="MODEL", exists=True, dir_okay=False)
]
ModelOrPlan: TypeAlias = Annotated[
    Path,
    typer.Argument(help="An ONNX model or a plan.", metavar="FILE", exists=True, dir_okay=False),
]
Shapes: TypeAlias = Annotated[
    list[str] | None, typer.Option(help=SHAPES_HELP, metavar="SHAPES", rich_help_panel=MODEL)
]
MinShapes: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--minShapes", help="The minimum shapes, as in trtexec: input:1x3,other:1x5.",
        metavar="SHAPES", rich_help_panel=MODEL,
    ),
]  # fmt: skip
OptShapes: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--optShapes", help="The shapes to optimize for, in the same form.",
        metavar="SHAPES", rich_help_panel=MODEL,
    ),
]  # fmt: skip
MaxShapes: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--maxShapes", help="The maximum shapes, in the same form.",
        metavar="SHAPES", rich_help_panel=MODEL,
    ),
]  # fmt: skip
Tuned: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        help="Sizes with a profile of their own: batch sizes as in 1,8,32, or DIM=1,8,32, "
        "repeatable; auto or none.",
        metavar="SIZES", rich_help_panel=MODEL, show_default="auto",
    ),
]  # fmt: skip
Freeze: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        help="Make an input a constant: input=VALUE, in JSON; repeatable.",
        metavar="INPUT=VALUE", rich_help_panel=MODEL,
    ),
]  # fmt: skip
Dims: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        help="Fix a dimension: batch=8, or input.0=8 by axis; repeatable.",
        metavar="DIM=SIZE", rich_help_panel=MODEL,
    ),
]  # fmt: skip
Plugins: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        help="A TensorRT plugin library to load; repeatable.",
        metavar="FILE", rich_help_panel=ENGINE,
    ),
]  # fmt: skip
Config: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        help="A fasttrt.toml with options; the command line takes precedence.",
        exists=True, dir_okay=False, metavar="FILE", rich_help_panel=ENGINE,
    ),
]  # fmt: skip
Device: TypeAlias = Annotated[
    str | None,
    typer.Option(
        help="auto, cuda, cuda:N or cpu.", metavar="DEVICE", rich_help_panel=ENGINE,
        show_default="auto",
    ),
]  # fmt: skip
Library: TypeAlias = Annotated[
    str | None,
    typer.Option(
        help="The TensorRT to use: auto, rtx, tensorrt, lean, or a path.",
        metavar="LIBRARY", rich_help_panel=ENGINE, show_default="auto",
    ),
]  # fmt: skip
Precision: TypeAlias = Annotated[
    str | None,
    typer.Option(
        help="fp32, tf32, fp16 or bf16.", metavar="PRECISION", rich_help_panel=ENGINE,
        show_default="as the model states",
    ),
]  # fmt: skip
Samples: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        help="Samples to run: a .npz, a .npy, or a folder of them.",
        exists=True, metavar="PATH", rich_help_panel=INPUTS, show_default="random",
    ),
]  # fmt: skip
Seed: TypeAlias = Annotated[
    int, typer.Option(help="The seed of random inputs.", min=0, metavar="N", rich_help_panel=INPUTS)
]
RandomSeed: TypeAlias = Annotated[
    int | None,
    typer.Option(
        help="The seed of random inputs.",
        min=0,
        metavar="N",
        show_default="a new one",
        rich_help_panel=INPUTS,
    ),
]
MaxAbsError: TypeAlias = Annotated[
    float | None,
    typer.Option(help="The maximum absolute error.", min=0, metavar="X", rich_help_panel=LIMITS),
]
MaxRelError: TypeAlias = Annotated[
    float | None,
    typer.Option(help="The maximum relative error.", min=0, metavar="X", rich_help_panel=LIMITS),
]
MinCosine: TypeAlias = Annotated[
    float | None,
    typer.Option(help="The minimum cosine similarity.", max=1, metavar="X", rich_help_panel=LIMITS),
]
MinTop1: TypeAlias = Annotated[
    float | None,
    typer.Option(
        help="The minimum share of rows with equal top-1.",
        min=0,
        max=1,
        metavar="X",
        rich_help_panel=LIMITS,
    ),
]
Verbose: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--verbose", help="Show the logs of fasttrt and TensorRT.", rich_help_panel=OUTPUT
    ),
]
Force: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--force", help="Replace inputs and files of other kinds too.", rich_help_panel=OUTPUT
    ),
]
AsJson: TypeAlias = Annotated[
    bool, typer.Option("--json", help="Print JSON.", rich_help_panel=OUTPUT)
]


def check_plot(path: Path | None, kinds: Collection[str], force: bool) -> None:
    """Check, before any work, that a plot can be drawn.

    Raises:
        InputError: its suffix is not one of these, or it would replace a file of another kind.
        MissingPackageError: matplotlib is not installed.
    """
    if path is None:
        return
    if path.suffix.lower() not in kinds:
        raise InputError(f"--plot: expected one of {', '.join(kinds)}, got {str(path)!r}")
    if find_spec("matplotlib") is None:
        raise missing("--plot", "matplotlib")
    if path.absolute().parent.is_dir():  # otherwise the folder is created
        Output(path, chart(path.suffix), force=force).check("--plot")


def say(text: object, err: bool = False) -> None:
    """Print text with its control characters escaped."""
    typer.echo(printable_lines(str(text)), err=err)


def json_text(value: Any) -> str:
    """Format a value as standard JSON: null for a number that is not finite."""
    return json.dumps(json_value(value), indent=2, allow_nan=False)


def show_log(verbose: bool) -> None:
    """Show the logs of TensorRT and fasttrt on standard error, if ``verbose``."""
    if verbose:
        show_logs()
        logging.getLogger("fasttrt").setLevel(logging.DEBUG)
