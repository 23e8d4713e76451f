"""The command ``fasttrt``; each of its commands has a file here. May use everything.

Exit codes of all commands: 0, success; 1, failure or a negative answer (a model that cannot be
built, a file that cannot be read, a damaged cache entry, a missing package); 2, a wrong command
line: an unknown option, a value that is invalid or does not match the model, contradictory options,
a file that does not exist; 130, interrupted. ``compare`` alone reserves 1 for outputs that differ,
and exits with 2 if it could not compare them.
"""

import io
import sys
import warnings
from typing import Annotated, Any

import typer

from fasttrt import _terminal
from fasttrt._cli import bench as bench
from fasttrt._cli import build as build
from fasttrt._cli import cache as cache
from fasttrt._cli import compare as compare
from fasttrt._cli import doctor as doctor
from fasttrt._cli import inspect as inspect
from fasttrt._cli import profile as profile
from fasttrt._cli import quantize as quantize
from fasttrt._cli import run as run
from fasttrt._cli import serve as serve
from fasttrt._cli import top as top
from fasttrt._cli import tune as tune
from fasttrt._cli.help_text import Command
from fasttrt._cli.messages import in_options, show_logs
from fasttrt._version import __version__
from fasttrt.errors import Error, FileError, InputError, MissingFileError

_EXIT_CODES = (
    "Exit codes: 0 success; 1 failure, or a negative answer; 2 wrong command line; 130 interrupted."
)

app = typer.Typer(
    name="fasttrt",
    help="Run ONNX models on NVIDIA GPUs with whichever TensorRT the machine has.",
    epilog=_EXIT_CODES,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(cache.app, name="cache")
app.command(cls=Command)(bench.bench)
app.command(cls=Command)(build.build)
app.command(cls=Command)(compare.compare)
app.command(cls=Command)(doctor.doctor)
app.command(cls=Command)(inspect.inspect)
app.command(cls=Command)(profile.profile)
app.command(cls=Command)(quantize.quantize)
app.command(cls=Command)(run.run)
app.command(cls=Command)(serve.serve)
app.command(cls=Command)(top.top)
app.command(cls=Command)(tune.tune)


def _show_version(is_set: bool) -> None:
    if is_set:
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
    print(f"warning: {_terminal.message(in_options(str(message)))}", file=sys.stderr)


def main() -> None:
    """Run the command, and print errors as messages on standard error."""
    warnings.showwarning = _show_warning
    if isinstance(
        sys.stdout, io.TextIOWrapper
    ):  # names may have characters that its encoding lacks
        sys.stdout.reconfigure(errors="backslashreplace")
    show_logs()
    try:
        app()
    except (Error, OSError) as error:
        print(f"error: {_terminal.message(in_options(str(error)))}", file=sys.stderr)
        sys.exit(exit_code(error))
    except MemoryError as error:  # numpy's
        print(f"error: out of memory: {_terminal.message(str(error))}", file=sys.stderr)
        sys.exit(1)


def exit_code(error: Exception) -> int:
    """Return 2 if the command line is wrong, 1 for any other failure."""
    is_content = isinstance(error, FileError) and not isinstance(error, MissingFileError)
    is_usage = isinstance(error, InputError) and not is_content
    return 2 if is_usage else 1
