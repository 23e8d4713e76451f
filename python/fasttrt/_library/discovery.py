"""Which TensorRT is in use."""

import os
import sys
from dataclasses import dataclass
from importlib.machinery import PathFinder
from importlib.util import find_spec
from pathlib import Path

from fasttrt import _core
from fasttrt._common.checks import as_path
from fasttrt._common.input_file import kind_of, stat_of
from fasttrt._library.device import capability, default_device
from fasttrt._library.tensorrt_log import forwarded
from fasttrt.errors import InputError, UnsupportedLibraryError

# Python packages whose folder holds the vendor's libraries.
_PACKAGES = ("tensorrt_libs", "tensorrt", "tensorrt_rtx_libs", "tensorrt_lean_libs")


@dataclass(frozen=True)
class LibraryInfo:
    """A TensorRT library on this machine and what it can do here."""

    family: str
    """``"tensorrt"``, ``"rtx"`` (TensorRT-RTX) or ``"lean"`` (the runtime alone)."""
    version: str
    """``"major.minor.patch"`` as the library itself reports it."""
    generation: str
    """Of its C++ interface: ``"v8"``, ``"v10"`` or ``"v11"``."""
    path: Path
    """The file that is loaded."""
    parser_path: Path | None
    """The ONNX parser that is loaded; None if there is none."""
    can_parse: bool
    """Whether it reads ONNX models."""
    can_build: bool
    """Whether it builds engines here. All but TensorRT-RTX need a GPU for that."""
    can_run: bool
    """Whether it runs engines here."""
    problem: str
    """Why it cannot do all of that, in a sentence; empty if it can."""

    def __str__(self) -> str:
        """For instance ``"rtx 1.6.1"``."""
        return f"{self.family} {self.version}"


def library(choice: str | os.PathLike[str] = "auto") -> LibraryInfo:
    """Find the TensorRT that fasttrt uses, and load it.

    The order is: ``$FASTTRT_LIBRARY`` (a file or a folder; nothing else is tried then), the folders
    of the Python packages ``tensorrt_libs``, ``tensorrt``, ``tensorrt_rtx_libs`` and
    ``tensorrt_lean_libs``, the loader's search path, the usual system folders. With a working GPU
    TensorRT comes before TensorRT-RTX unless it cannot run on that GPU; without one TensorRT-RTX
    comes first, as it alone builds there. The lean runtime comes last.

    Args:
        choice: ``"auto"``, a family (``"tensorrt"``, ``"rtx"``, ``"lean"``), or the path of a
            library or of a folder with one.

    Raises:
        LibraryNotFoundError: nothing was found; lists what was tried.
        UnsupportedLibraryError: only unusable libraries were found; says why for each.
    """
    device = default_device()
    return describe(find(choice, device), device)


def find(choice: str | os.PathLike[str], device: int | None) -> _core.Library:
    """The library to use for a GPU (None: no GPU)."""
    as_path("library", choice, 'a path, "auto", "rtx", "tensorrt" or "lean"')
    environment = os.environ.get("FASTTRT_LIBRARY", "")
    for place in filter(None, (os.fspath(choice), environment)):
        _refuse_odd(place)
    with forwarded():
        return _core.find_library(
            os.fspath(choice),
            environment,
            _package_folders(),
            capability(device),
        )


def candidates(environment: str) -> list[str]:
    """What `find` tries for ``"auto"``, in order: paths, which need not exist, and sonames.

    Args:
        environment: for ``$FASTTRT_LIBRARY``; empty: as if it were not set.
    """
    return _core.library_candidates(
        "auto", environment, _package_folders(), capability(default_device())
    )


def describe(found: _core.Library, device: int | None) -> LibraryInfo:
    """What a library can do on a GPU (None: no GPU)."""
    driver = _core.driver_problem() if device is None else ""
    gpu = found.gpu_problem(*capability(device)) if device is not None else ""
    builds_anywhere = found.family == "rtx"
    return LibraryInfo(
        family=found.family,
        version=found.version,
        generation=found.generation,
        path=Path(found.path),
        parser_path=Path(found.parser_path) if found.parser_path else None,
        can_parse=found.can_parse,
        can_build=found.can_build and found.can_parse and (builds_anywhere or not driver),
        can_run=not driver and not gpu,
        problem=driver or gpu or found.parser_problem,
    )


def _refuse_odd(place: str) -> None:
    """See that a place can be opened: the loader would wait for whoever writes into a pipe."""
    try:
        info = stat_of(place)
    except (OSError, InputError):
        return  # there is none, or it is a family; what is not found is told later
    kind = kind_of(info) or ("" if info.st_size else "an empty file")  # as those of /proc
    if kind not in ("", "a folder"):
        raise UnsupportedLibraryError(f"{place}: expected a library or a folder, got {kind}")


def _package_folders() -> list[str]:
    """The installed packages' folders; nothing is imported."""
    folders: list[str] = []
    # Not in the current folder, which is in the path as "" where Python reads what is typed.
    places = [place for place in sys.path if Path(place).is_absolute()]
    for name in _PACKAGES:
        try:
            spec = find_spec(name) if name in sys.modules else PathFinder.find_spec(name, places)
        except (ImportError, ValueError):  # half-installed, or imported without a spec
            continue
        if spec is not None and spec.submodule_search_locations:
            folders.extend(spec.submodule_search_locations)
    return folders
