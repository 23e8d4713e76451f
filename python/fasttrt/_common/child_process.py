"""Python child processes that import nothing from the current folder."""

import os
import sys
from pathlib import Path

import fasttrt

# `python -m` and `python -c` search the current folder for modules; -P exists from Python 3.11 on,
# and -I ignores PYTHONPATH. fasttrt's own path is passed, as sys.path need not contain it.
_START = """\
import sys
sys.path[:] = [place for place in sys.path if place[:1] == "/"]
import importlib.util, runpy
_, file, folders, module, *rest = sys.argv
spec = importlib.util.spec_from_file_location(
    "fasttrt", file, submodule_search_locations=folders.split(":")
)
sys.modules["fasttrt"] = package = importlib.util.module_from_spec(spec)
sys.argv[1:] = rest
spec.loader.exec_module(package)
runpy.run_module(module, run_name="__main__", alter_sys=True)
"""


def command(module: str, *arguments: str) -> list[str]:
    """Return the command that runs a module of fasttrt as a program; start it in `environment`."""
    folders = os.pathsep.join(str(Path(folder).absolute()) for folder in fasttrt.__path__)
    file = str(Path(fasttrt.__file__).absolute())
    return [sys.executable, "-c", _START, file, folders, f"fasttrt.{module}", *arguments]


def environment() -> dict[str, str]:
    """Copy this process's environment, without the relative paths in PYTHONPATH.

    An empty path in it is the current folder.
    """
    inherited = dict(os.environ)
    places = inherited.pop("PYTHONPATH", "").split(os.pathsep)
    if kept := [place for place in places if Path(place).is_absolute()]:
        inherited["PYTHONPATH"] = os.pathsep.join(kept)
    return inherited
