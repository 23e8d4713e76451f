"""Find the headers of a CPython for a machine, which is all that compiling an extension needs."""

from __future__ import annotations

import platform
import re
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
_PRINT_INCLUDE = "import sysconfig; print(sysconfig.get_path('include'))"


class HeadersError(Exception):
    """There are no headers, or others than those that were asked for."""


def collect(python: str, machine: str, given: Path | None, folder: Path) -> None:
    """Copy the headers of a Python into a folder, with the `pyconfig.h` of the machine.

    Args:
        python: The version, with a `t` behind it if free-threaded: `3.11`, `3.14t`.
        machine: `x86_64` or `aarch64`.
        given: A folder with `Python.h`. `None`: that of the interpreter, `python3.11`, or for
            aarch64 on another machine that of Debian's packages.
        folder: Where they go; what was there before is removed.

    Raises:
        HeadersError: None are found, or they are of another Python.
    """
    source = given or _of_system(python, machine)
    if not (source / "Python.h").is_file():
        raise HeadersError(f"there is no Python.h in {source}")
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(source, folder)
    # Debian's pyconfig.h includes that of a machine, which lies beside the folders of all Pythons.
    config = folder / "pyconfig.h"
    match = re.search(rf"<({machine}-linux-gnu/python\S+/pyconfig\.h)>", config.read_text())
    if match:
        shutil.copyfile(source.parent / match[1], config)
    found = _version(folder)
    if found != python:
        raise HeadersError(f"the headers in {source} are of Python {found}, not of {python}")


def _of_system(python: str, machine: str) -> Path:
    if machine == platform.machine():
        return _of_interpreter(python)
    if machine == "aarch64":
        return _of_debian(python)
    raise HeadersError(
        f"no headers of Python {python} for {machine} are known on {platform.machine()}. Name a "
        "folder with its Python.h: --headers DIR"
    )


def _of_interpreter(python: str) -> Path:
    name = f"python{python}"
    advice = f"Install {name} and its headers, or name a folder with its Python.h: --headers DIR"
    if shutil.which(name) is None:
        raise HeadersError(f"there is no {name} on PATH. {advice}")
    done = subprocess.run([name, "-c", _PRINT_INCLUDE], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise HeadersError(f"{name} does not run: {done.stderr.strip()}. {advice}")
    return Path(done.stdout.strip())


def _of_debian(python: str) -> Path:
    root = ROOT / "build" / f"aarch64-python{python}"
    script = ROOT / "tools" / "aarch64_python.sh"
    done = subprocess.run([script, python, root], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise HeadersError(
            f"Debian's packages of Python {python} for aarch64 cannot be had: "
            f"{done.stderr.strip()}. Name a folder with its Python.h: --headers DIR"
        )
    return root / "usr" / "include" / f"python{python}"


def _version(folder: Path) -> str:
    text = (folder / "patchlevel.h").read_text()
    numbers = [
        re.search(rf"#define\s+PY_{part}_VERSION\s+(\d+)", text) for part in ("MAJOR", "MINOR")
    ]
    version = ".".join(number[1] for number in numbers if number)
    config = (folder / "pyconfig.h").read_text()
    return version + ("t" if re.search(r"#define\s+Py_GIL_DISABLED\s+1", config) else "")
