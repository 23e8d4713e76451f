"""``fasttrt top``: what a server does, live in the terminal."""

import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fasttrt._cli import options as options
from fasttrt.errors import Error, InputError

if TYPE_CHECKING:
    from fasttrt._cli.top_rates import History
    from fasttrt._cli.top_source import Source

_WINDOW_SECONDS = 10.0
"""Of percentiles and batch sizes."""
_KEY_VARIABLE = "FASTTRT_API_KEY"


def top(
    url: Annotated[
        str,
        typer.Argument(help="The server, as in localhost:8000 or https://HOST.", metavar="URL"),
    ] = "http://localhost:8000",
    interval: Annotated[
        float,
        typer.Option(help="Seconds between samples.", metavar="SECONDS", min=0.1, max=3600),
    ] = 1.0,
    api_key_file: Annotated[
        Path | None,
        typer.Option(
            help="A file whose first key is sent; else the key in $FASTTRT_API_KEY is.",
            metavar="FILE", exists=True, dir_okay=False,
        ),
    ] = None,
    once: Annotated[
        bool,
        typer.Option(
            "--once", help="Take two samples, print the difference and exit.",
            rich_help_panel=options.OUTPUT,
        ),
    ] = False,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json", help="Print a line of JSON for each interval.", rich_help_panel=options.OUTPUT
        ),
    ] = False,
) -> None:  # fmt: skip
    """Show what a server of fasttrt does: models, rates, queues, batch sizes, latency, GPUs.

    Percentiles and batch sizes are those of the last ten seconds. Ctrl-C ends it.
    """
    from fasttrt._cli.top_rates import History
    from fasttrt._cli.top_source import Source

    source = Source(url, _key(api_key_file))
    history = History(max(2, round(_WINDOW_SECONDS / interval) + 1))
    if once or as_json:
        _print(source, history, interval, once=once, as_json=as_json)
    elif sys.stdout.isatty():
        _watch(source, history, interval)
    else:
        raise InputError("--once, --json: expected one of them, as the output is not a terminal")


def _print(
    source: "Source", history: "History", interval: float, *, once: bool, as_json: bool
) -> None:
    """Print each interval; a server that is away is an error."""
    from fasttrt._cli.top_view import lines
    from fasttrt._common.tables import output_width

    history.add(source.read())
    while True:
        time.sleep(interval)
        state = source.read()
        history.add(state)
        if as_json:
            print(_json_line(state, history), flush=True)
        else:
            options.say("\n".join(lines(state, history.models(), source.url, output_width())))
        if once:
            return


def _watch(source: "Source", history: "History", interval: float) -> None:
    """Show the state until Ctrl-C; a server that is away may come back."""
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    from fasttrt._cli.top_source import ServerAwayError
    from fasttrt._cli.top_view import lines
    from fasttrt._terminal import printable_lines

    console = Console(highlight=False)
    shown: list[str] = []
    is_known = False  # whether the server has answered
    try:
        with Live(console=console, screen=True, auto_refresh=False) as live:
            while True:
                problem = ""
                try:
                    state = source.read()
                    is_known = True
                    history.add(state)
                    shown = lines(state, history.models(), source.url, console.width)
                except Error as error:
                    if not is_known and not isinstance(error, ServerAwayError):
                        raise
                    problem = f"{error}; trying again\n\n"
                text = Text(printable_lines(problem), style="bold red")
                text.append(printable_lines("\n".join(shown)), style="dim" if problem else "none")
                text.highlight_regex(r"\bREADY\b", "green")
                text.highlight_regex(r"\b(UNAVAILABLE|not ready)\b", "red")
                text.highlight_regex(r"\b(LOADING|UNLOADING)\b", "yellow")
                live.update(text, refresh=True)
                time.sleep(interval)
    except KeyboardInterrupt:
        return


def _json_line(state: dict[str, Any], history: "History") -> str:
    models = [model.to_json() for model in history.models()]
    kept = {key: state[key] for key in ("server", "uptime_seconds", "ready", "model_control")}
    return json.dumps({**kept, "models": models, "gpus": state["gpus"]})


def _key(file: Path | None) -> str | None:
    if file is not None:
        from fasttrt._serving.auth import read_keys

        return read_keys(file)[0]
    key = os.environ.get(_KEY_VARIABLE)
    if key and not (key.isascii() and key.isprintable() and " " not in key):
        raise InputError(f"{_KEY_VARIABLE}: expected a key without spaces and other characters")
    return key or None
