"""Survey of the TensorRT libraries on this machine, for ``fasttrt doctor``."""

import json
import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fasttrt._common.child_process import command, environment
from fasttrt._library.discovery import candidates

_PATIENCE = (
    300  # seconds: TensorRT 8.6 takes ten to load, and a first build on a slow disk even more
)
_AT_ONCE = 4
_ORDERS = {
    True: "with a GPU, TensorRT is preferred to TensorRT-RTX, and the lean runtime is last",
    False: "without a GPU, TensorRT-RTX is preferred, as only it can build then",
}


@dataclass(frozen=True)
class Libraries:
    """The libraries on this machine, in the order of the search."""

    used: dict[str, Any] | None
    """The one that ``library="auto"`` chooses."""
    problem: str
    """Why it chooses none."""
    usable: list[dict[str, Any]]
    """The fields of `fasttrt.LibraryInfo`, and ``used`` and ``why``."""
    unusable: list[str]
    """Files that are named like a library but cannot be used, and why."""


def libraries(has_gpu: bool) -> Libraries:
    """Open every library in the places of the search, also after the first usable one.

    If ``FASTTRT_LIBRARY`` names one, the others are searched for as well.
    """
    place = os.environ.get("FASTTRT_LIBRARY", "")
    tried = candidates(place)
    names = dict.fromkeys([*tried, *candidates("")])
    there = [name for name in names if os.sep not in name or Path(name).exists()]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        finding = pool.submit(in_process, "_library.probe", "find", "auto")
        results = zip(there, pool.map(_open, there), strict=True)
    used = finding.result()
    problem = used if isinstance(used, str) else used.get("missing", used.get("unusable", ""))
    path = "" if isinstance(used, str) or problem else str(used["path"])
    usable: dict[str, dict[str, Any]] = {}
    is_tried: dict[str, bool] = {}
    unusable: dict[str, None] = {}  # in order, once each
    for name, library in results:
        if isinstance(library, str):
            unusable[f"{name}: {library}"] = None
        elif "unusable" in library:
            unusable[library["unusable"]] = None
        elif "missing" not in library:  # otherwise the loader does not find the soname
            usable.setdefault(library["path"], library)
            is_tried.setdefault(library["path"], name in tried)
    chosen = usable.get(path)
    for library in usable.values():
        named = place if library is chosen or not is_tried[library["path"]] else ""
        library |= {"used": library is chosen, "why": _why(library, chosen, named, has_gpu)}
        del library["parser_path"]
    return Libraries(chosen, problem, list(usable.values()), list(unusable))


def in_process(module: str, *arguments: str) -> dict[str, Any] | str:
    """Run a module of fasttrt as a program; return the JSON that it prints, or how it failed."""
    try:
        done = subprocess.run(
            command(module, *arguments), env=environment(),
            capture_output=True, text=True, timeout=_PATIENCE, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return f"it took longer than {_PATIENCE} s"
    if done.returncode == 0:
        result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return result
    last = (done.stderr.strip().splitlines() or ["it printed nothing"])[-1]
    how = f"signal {-done.returncode}" if done.returncode < 0 else f"exit code {done.returncode}"
    return f"the process ended with {how}: {last}"


def _open(name: str) -> dict[str, Any] | str:
    return in_process("_library.probe", "open", name)


def _why(library: dict[str, Any], used: dict[str, Any] | None, place: str, has_gpu: bool) -> str:
    """Say why a library, or another one, is used.

    Args:
        library: the library.
        used: the library that is used.
        place: the value of ``FASTTRT_LIBRARY``, if that is the reason.
        has_gpu: whether there is a GPU.
    """
    if place:
        last = "" if library is used else ", so nothing else is tried"
        return f"FASTTRT_LIBRARY is {place}{last}"
    if library is used:
        return _ORDERS[has_gpu]
    if has_gpu and not library["can_run"]:
        return "it does not run on this GPU"
    if used is None:
        return ""
    if library["family"] == used["family"]:
        return f"{used['path']} is found before it"
    return f"{used['family']} {used['version']} is preferred"
