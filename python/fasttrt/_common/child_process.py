"""Python in a process of its own, which imports nothing from the current folder."""

import os
import sys
from pathlib import Path

import fasttrt

# `python -m`, and `-c` too, look for modules in the current folder; -P is of Python 3.11, and -I
# takes PYTHONPATH away. fasttrt is named, as it may have come from a place that is not searched.
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
    """What runs a module of fasttrt as a program, with `environment`."""
    folders = os.pathsep.join(str(Path(folder).absolute()) for folder in fasttrt.__path__)
    file = str(Path(fasttrt.__file__).absolute())
    return [sys.executable, "-c", _START, file, folders, f"fasttrt.{module}", *arguments]


def environment() -> dict[str, str]:
    """This process's, but for relative places in PYTHONPATH: an empty one is the current folder."""
    inherited = dict(os.environ)
    places = inherited.pop("PYTHONPATH", "").split(os.pathsep)
    if kept := [place for place in places if Path(place).is_absolute()]:
        inherited["PYTHONPATH"] = os.pathsep.join(kept)
    return inherited
