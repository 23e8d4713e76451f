"""Finding the TensorRT library to use."""

import os
import sys
from dataclasses import dataclass
from importlib.machinery import PathFinder
from importlib.util import find_spec
from pathlib import Path

from fasttrt import _core
from fasttrt._common.checks import as_path
from fasttrt._common.forked_exit import skip_destructors_in_children
from fasttrt._common.input_file import kind_of, stat_of
from fasttrt._library.device import capability, default_device
from fasttrt._library.tensorrt_log import forwarded
from fasttrt.errors import InputError, UnsupportedLibraryError

# Python packages whose folders contain the vendor's libraries.
_PACKAGES = ("tensorrt_libs", "tensorrt", "tensorrt_rtx_libs", "tensorrt_lean_libs")


@dataclass(frozen=True)
class LibraryInfo:
    """A TensorRT library on this machine, and what it supports here.

    Attributes:
        family: ``"tensorrt"``, ``"rtx"`` (TensorRT-RTX) or ``"lean"`` (the lean runtime).
        version: ``"major.minor.patch"``, as the library reports it.
        generation: The generation of its C++ interface: ``"v8"``, ``"v10"`` or ``"v11"``.
        path: The library file that is loaded.
        parser_path: The ONNX parser's file that is loaded; None if there is none.
        can_parse: Whether it can parse ONNX models.
        can_build: Whether it can build engines here. All but TensorRT-RTX need a GPU to build.
        can_run: Whether it can run engines here.
        problem: Why it cannot do all of these, in a sentence; empty if it can.

    Examples:
        <!-- needs: builder -->
        >>> info = fasttrt.library()
        >>> info.family in ("tensorrt", "rtx"), info.can_build, info.path.is_file()
        (True, True, True)
    """

    family: str
    version: str
    generation: str
    path: Path
    parser_path: Path | None
    can_parse: bool
    can_build: bool
    can_run: bool
    problem: str

    def __str__(self) -> str:
        """Return family and version, as in ``"rtx 1.6.1"``."""
        return f"{self.family} {self.version}"


def library(choice: str | os.PathLike[str] = "auto") -> LibraryInfo:
    """Find the TensorRT that fasttrt uses, and load it.

    The search order is: ``$FASTTRT_LIBRARY`` (a file or a folder; if set, nothing else is tried),
    the folders of the Python packages ``tensorrt_libs``, ``tensorrt``, ``tensorrt_rtx_libs`` and
    ``tensorrt_lean_libs``, the loader's search path, the usual system folders. With a working GPU,
    TensorRT is preferred to TensorRT-RTX unless it does not support that GPU; without a GPU,
    TensorRT-RTX is preferred, as only it can build there. The lean runtime is the last choice.

    Args:
        choice: ``"auto"``, a family (``"tensorrt"``, ``"rtx"``, ``"lean"``), or the path of a
            library or of a folder that contains one.

    Raises:
        LibraryNotFoundError: no library was found; the message lists every path tried.
        UnsupportedLibraryError: only unusable libraries were found; the message says why for each.

    Examples:
        <!-- needs: builder -->
        >>> print(fasttrt.library())
        rtx ...
    """
    device = default_device()
    return describe(find(choice, device), device)


def find(choice: str | os.PathLike[str], device: int | None) -> _core.Library:
    """Find the library to use for a GPU (None: no GPU), and load it."""
    as_path("library", choice, 'a path, "auto", "rtx", "tensorrt" or "lean"')
    environment = os.environ.get("FASTTRT_LIBRARY", "")
    for place in filter(None, (os.fspath(choice), environment)):
        _check_place(place)
    with forwarded():
        found = _core.find_library(
            os.fspath(choice),
            environment,
            _package_folders(),
            capability(device),
        )
    skip_destructors_in_children()
    return found


def candidates(environment: str) -> list[str]:
    """List what `find` tries for ``"auto"``, in order: paths, which need not exist, and sonames.

    Args:
        environment: the value of ``$FASTTRT_LIBRARY``; empty if it is not set.
    """
    return _core.library_candidates(
        "auto", environment, _package_folders(), capability(default_device())
    )


def describe(handle: _core.Library, device: int | None) -> LibraryInfo:
    """Describe what a library supports on a GPU (None: no GPU)."""
    driver = _core.driver_problem() if device is None else ""
    gpu = handle.gpu_problem(*capability(device)) if device is not None else ""
    builds_anywhere = handle.family == "rtx"
    return LibraryInfo(
        family=handle.family,
        version=handle.version,
        generation=handle.generation,
        path=Path(handle.path),
        parser_path=Path(handle.parser_path) if handle.parser_path else None,
        can_parse=handle.can_parse,
        can_build=handle.can_build and handle.can_parse and (builds_anywhere or not driver),
        can_run=not driver and not gpu,
        problem=driver or gpu or handle.parser_problem,
    )


def _check_place(place: str) -> None:
    """Check that a path can be opened: the loader would block on a pipe, for instance."""
    try:
        info = stat_of(place)
    except (OSError, InputError):
        return  # it does not exist, which the search reports, or it is a family
    kind = kind_of(info) or ("" if info.st_size else "an empty file")  # as files in /proc
    if kind not in ("", "a folder"):
        raise UnsupportedLibraryError(f"{place}: expected a library or a folder, got {kind}")


def _package_folders() -> list[str]:
    """Return the folders of the installed packages, without importing them."""
    folders: list[str] = []
    # Not the current folder, which an interactive Python has in its path as "".
    places = [place for place in sys.path if Path(place).is_absolute()]
    for name in _PACKAGES:
        try:
            spec = find_spec(name) if name in sys.modules else PathFinder.find_spec(name, places)
        except (ImportError, ValueError):  # half-installed, or imported without a spec
            continue
        if spec is not None and spec.submodule_search_locations:
            folders.extend(spec.submodule_search_locations)
    return folders
