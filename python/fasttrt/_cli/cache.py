"""``fasttrt cache``: list, verify or clear the cache of built engines."""

import json
from datetime import datetime, timezone
from pathlib import Path
from typing import Annotated, Any

import typer

from fasttrt import cache
from fasttrt._cli import options as _options
from fasttrt._cli.help_text import Command
from fasttrt._common.tables import Column, name, number, output_width, render

app = typer.Typer(help="List, check or clear the cache of built engines.", no_args_is_help=True)

_Folder = Annotated[
    Path | None,
    typer.Option(
        "--folder", help="The cache's folder.", metavar="FOLDER", show_default="the default one"
    ),
]
_Json = _options.AsJson


@app.command("path", cls=Command)
def show_path(as_json: _Json = False) -> None:
    """Show the folder: $FASTTRT_CACHE_DIR, or the user's cache folder."""
    _options.say(json.dumps({"path": str(cache.path())}) if as_json else cache.path())


@app.command("list", cls=Command)
def show_entries(folder: _Folder = None, as_json: _Json = False) -> None:
    """List the cached engines, the most recently used first."""
    entries = cache.entries(folder)
    if as_json:
        _options.say(json.dumps([_to_json(entry) for entry in entries], indent=2))
        return
    for line in _table(entries, output_width()):
        _options.say(line)
    for entry in entries:
        if entry.problem:
            _options.say(entry.problem)
    total, place = _readable(cache.size(folder)), folder or cache.path()
    _options.say(f"{_engines(len(entries))}; {total} in {place}, timings and kernels included")


@app.command(cls=Command)
def verify(
    folder: _Folder = None,
    remove: Annotated[bool, typer.Option("--remove", help="Delete damaged engines.")] = False,
    as_json: _Json = False,
) -> None:
    """Check each engine's checksum, key and permissions.

    Exits with 0 if all are intact, 1 if one is damaged.
    """
    count = len(cache.entries(folder))
    damaged = cache.verify(folder, remove=remove)
    if as_json:
        found = [_to_json(entry) for entry in damaged]
        _options.say(json.dumps({"checked": count, "damaged": found}, indent=2))
    else:
        for entry in damaged:
            _options.say(entry.problem)
        _options.say(f"{_engines(count)} checked, {len(damaged)} damaged")
    if damaged:
        raise typer.Exit(1)


@app.command(cls=Command)
def clear(folder: _Folder = None, as_json: _Json = False) -> None:
    """Remove everything except engines that are currently being built."""
    freed = cache.clear(folder)
    left = cache.size(folder)
    if as_json:
        _options.say(json.dumps({"freed": freed, "left": left}))
    else:
        _options.say(f"{_readable(freed)} freed, {_readable(left)} left")


def _to_json(entry: cache.Entry) -> dict[str, Any]:
    return {
        "key": entry.key,
        "path": str(entry.path),
        "size": entry.size,
        "used": entry.used.isoformat(),
        "model_name": entry.metadata.get("model_name"),
        "parts": entry.parts,
        "problem": entry.problem,
    }


def _table(entries: list[cache.Entry], width: int | None) -> list[str]:
    rows = []
    for entry in entries:
        library, gpu = entry.parts.get("library"), entry.metadata.get("gpu")
        model = entry.metadata.get("model_name") or "(in memory)"
        rows.append([
            entry.key[:12],
            "(damaged)" if entry.problem else str(model),
            f"{library['family']} {library['version']}" if library else "",
            gpu["name"] if gpu else "",
            _readable(entry.size),
            _ago(entry.used),
        ])  # fmt: skip
    columns = (
        Column("key"), name("model"), Column("library"), name("GPU"), number("size"), number("used")
    )  # fmt: skip
    return render(columns, rows, width)


def _engines(count: int) -> str:
    return f"{count} engine{'' if count == 1 else 's'}"


def _readable(size: int) -> str:
    from rich.filesize import decimal

    return decimal(size)


def _ago(moment: datetime) -> str:
    seconds = max(0.0, (datetime.now(timezone.utc) - moment).total_seconds())
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds // length:.0f} {unit} ago"
    return "now"
