"""Make a manylinux wheel for x86-64 or aarch64, on an x86-64 machine, without containers.

    pip install -r tools/requirements.txt
    python tools/wheels.py --python 3.11 --machine aarch64 --out dist

zig is the compiler: it brings a C library of any release and machine, and links its C++ library
into the extension. Of the Python that the wheel is for only the headers are needed. The same
sources and tools make the same bytes. zig caches what it compiles in ~/.cache/zig, its C++ library
too, which takes a good part of the first run for each machine.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import python_headers
import unwinder

ROOT = Path(__file__).resolve().parent.parent
PYTHONS = ("3.10", "3.11", "3.12", "3.13", "3.14", "3.14t")
MACHINES = ("x86_64", "aarch64")
PROJECTS = {"fasttrt": ROOT, "fasttrt-runtime": ROOT / "runtime"}
GLIBC = (2, 28)
TOOLS = ("auditwheel", "ninja", "pybind11", "scikit_build_core", "wheel", "ziglang")
# What would change a build from outside.
BUILD_VARIABLES = r"SKBUILD|CMAKE_|(CXX|C|CPP|LD)FLAGS$|CC$|CXX$"
# In a process of its own, which sees our SOURCE_DATE_EPOCH and whose output can be kept back.
BUILD = """
import json, sys
from scikit_build_core.build import build_wheel
print(build_wheel(sys.argv[1], json.loads(sys.argv[2])))
"""


class WheelError(Exception):
    """The wheel cannot be made, or is not what it should be."""


def main() -> None:
    """Make the wheel that the command line describes, and print its path and size."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--python", required=True, choices=PYTHONS, help="t: free-threaded")
    parser.add_argument("--machine", required=True, choices=MACHINES)
    parser.add_argument("--out", required=True, type=Path, help="folder for the wheel")
    parser.add_argument("--project", default="fasttrt", choices=list(PROJECTS))
    parser.add_argument("--headers", type=Path, help="folder with the Python.h of that Python")
    options = parser.parse_args()
    try:
        folder = PROJECTS[options.project]
        wheel = make(options.python, options.machine, options.headers, options.out, folder)
    except (WheelError, python_headers.HeadersError) as error:
        sys.exit(f"error: {error}")
    print(f"{wheel}  {wheel.stat().st_size / 1e6:.2f} MB")


def make(python: str, machine: str, headers: Path | None, out: Path, project: Path = ROOT) -> Path:
    """Make a wheel, check what it links to, and return its path.

    Args:
        python: The version that it is for: `3.11`, `3.14t`.
        machine: `x86_64` or `aarch64`.
        headers: The folder of its `Python.h`; `None` looks for it.
        out: Folder for the wheel; one of the same name there is replaced.
        project: The folder of the pyproject.toml; all projects have the same extension.

    Raises:
        WheelError: Tools are missing, the build fails, or the wheel needs more than it may.
        python_headers.HeadersError: There are no such headers.
    """
    missing = [name for name in TOOLS if importlib.util.find_spec(name) is None]
    if missing:
        raise WheelError(
            f"{sys.executable} lacks {', '.join(missing)}: pip install -r tools/requirements.txt"
        )
    work = ROOT / "build" / f"wheel-{python}-{machine}"
    work.mkdir(parents=True, exist_ok=True)
    python_headers.collect(python, machine, headers, work / "include")
    built = _build(python, machine, work, project)
    _check(built, machine)
    out.mkdir(parents=True, exist_ok=True)
    return Path(shutil.copy(built, out))


def _build(python: str, machine: str, work: Path, project: Path) -> Path:
    settings = {
        "build-dir": str(work / "cmake"),
        "install.strip": "false",  # the linker has done it
        "cmake.python-hints": "false",  # those of the Python that runs
    }
    defines = _cmake_defines(python, machine, work)
    settings |= {f"cmake.define.{name}": value for name, value in defines.items()}
    command = (sys.executable, "-c", BUILD, work, json.dumps(settings))
    made = _last_line(_run(*command, folder=project))
    abi = "cp" + python.replace(".", "")
    platform = f"manylinux_{GLIBC[0]}_{GLIBC[1]}_{machine}"
    tags = ("--python-tag", abi.rstrip("t"), "--abi-tag", abi, "--platform-tag", platform)
    named = _run(sys.executable, "-m", "wheel", "tags", "--remove", *tags, work / made)
    return work / _last_line(named)


def _cmake_defines(python: str, machine: str, work: Path) -> dict[str, str]:
    import ziglang

    zig = Path(ziglang.__file__).parent / "zig"
    glibc = f"{GLIBC[0]}.{GLIBC[1]}"
    stub = unwinder.make_stub(zig, f"{machine}-linux-gnu.{glibc}", work)
    return {
        "CMAKE_TOOLCHAIN_FILE": str(ROOT / "tools" / "zig.cmake"),
        "ZIG": str(zig),
        "MACHINE": machine,
        "GLIBC": glibc,
        "CMAKE_MODULE_LINKER_FLAGS": f"-s {stub}",
        "Python_INCLUDE_DIR": str(work / "include"),
        "PYTHON_MODULE_EXT_SUFFIX": f".cpython-{python.replace('.', '')}-{machine}-linux-gnu.so",
    }


def _check(wheel: Path, machine: str) -> None:
    report = json.loads(_run(sys.executable, "-m", "auditwheel", "show", "--json", wheel))
    needs = report["versioned_symbols"]
    tag = re.fullmatch(rf"manylinux_(\d+)_(\d+)_{machine}", report["overall_tag"])
    if tag is None or (int(tag[1]), int(tag[2])) > GLIBC:
        raise WheelError(f"{wheel.name} is only a {report['overall_tag']} wheel, by {needs}")
    if unwinder.SONAME not in needs:
        raise WheelError(f"{wheel.name} has an unwinder of its own: it needs no {unwinder.SONAME}")
    extensions = [name for name in zipfile.ZipFile(wheel).namelist() if name.endswith(".so")]
    if len(extensions) != 1:
        raise WheelError(f"{wheel.name}: expected one extension, got {extensions}")


def _run(*command: str | Path, folder: Path = ROOT) -> str:
    """Return what a command prints; if it fails, that is the error."""
    environment = {
        name: value for name, value in os.environ.items() if not re.match(BUILD_VARIABLES, name)
    }
    environment.setdefault("SOURCE_DATE_EPOCH", "1667997441")
    done = subprocess.run(
        command, cwd=folder, env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        raise WheelError(f"{' '.join(map(str, command[:3]))} failed:\n{done.stdout}")
    return done.stdout


def _last_line(text: str) -> str:
    return text.strip().splitlines()[-1]


if __name__ == "__main__":
    main()
