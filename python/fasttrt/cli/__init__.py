"""The command ``fasttrt``; each of its commands is a file here."""

import logging
import sys
import warnings
from typing import Annotated, Any

import typer

from fasttrt import _terminal
from fasttrt._version import __version__
from fasttrt.cli import (
    _options,
    bench,
    build,
    cache,
    compare,
    doctor,
    inspect,
    profile,
    quantize,
    run,
    tune,
)
from fasttrt.errors import Error

app = typer.Typer(
    name="fasttrt",
    help="Run ONNX models on NVIDIA GPUs, with whichever TensorRT the machine has.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.add_typer(cache.app, name="cache")
app.command()(bench.bench)
app.command()(build.build)
app.command()(compare.compare)
app.command()(doctor.doctor)
app.command()(inspect.inspect)
app.command()(profile.profile)
app.command()(quantize.quantize)
app.command()(run.run)
app.command()(tune.tune)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    pass


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    print(f"warning: {_terminal.message(str(message))}", file=sys.stderr)


def main() -> None:
    """Run the command; what fasttrt or the system refuses is a line on standard error, code 1."""
    warnings.showwarning = _show_warning
    if logging.lastResort is not None:  # which shows warnings without --verbose
        logging.lastResort.setFormatter(_options.LogFormatter())
    try:
        app()
    except (Error, OSError) as error:
        print(f"error: {_terminal.message(str(error))}", file=sys.stderr)
        sys.exit(1)
