"""`tools/wheels.py` says what it lacks. `.ci/run` makes wheels with it, and tests them."""

from __future__ import annotations

import platform
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TOOLS = ROOT / "tools"
HEADERS = Path(sysconfig.get_path("include"))
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"

pytestmark = [
    pytest.mark.skipif(not (TOOLS / "wheels.py").is_file(), reason="the tools are not here"),
    pytest.mark.skipif(not (HEADERS / "Python.h").is_file(), reason="Python.h is not installed"),
]


def refusal(*arguments: object, options: tuple[str, ...] = ()) -> str:
    """What `tools/wheels.py`, or a program that uses a part of it, prints as it exits with 1."""
    done = subprocess.run(
        [sys.executable, *options, *map(str, arguments)],
        cwd=TOOLS, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1, done
    return done.stderr


def collect(python: str, machine: str, given: Path | None, folder: Path) -> list[object]:
    program = (
        "import sys, pathlib, python_headers; given = sys.argv[3] and pathlib.Path(sys.argv[3]); "
        "python_headers.collect(*sys.argv[1:3], given or None, pathlib.Path(sys.argv[4]))"
    )
    return ["-c", program, python, machine, given or "", folder]


def test_missing_tools_are_named_with_how_to_install_them(tmp_path: Path) -> None:
    command = ("wheels.py", "--python", "3.11", "--machine", "aarch64", "--out", tmp_path / "dist")
    message = refusal(*command, options=("-S",))  # without site-packages
    assert "lacks auditwheel, ninja," in message
    assert "pip install -r tools/requirements.txt" in message
    assert not (tmp_path / "dist").exists()


def test_a_folder_without_headers_is_named(tmp_path: Path) -> None:
    message = refusal(*collect("3.11", "aarch64", tmp_path, tmp_path / "include"))
    assert f"HeadersError: there is no Python.h in {tmp_path}\n" in message


def test_headers_of_another_python_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "include"
    message = refusal(*collect("3.9", "x86_64", HEADERS, folder))
    assert f"the headers in {HEADERS} are of Python {PYTHON}, not of 3.9" in message
    message = refusal(*collect(f"{PYTHON}t", "x86_64", HEADERS, folder))
    assert f"are of Python {PYTHON}, not of {PYTHON}t" in message


def test_an_interpreter_that_is_not_here_is_named(tmp_path: Path) -> None:
    message = refusal(*collect("3.99", platform.machine(), None, tmp_path / "include"))
    assert "there is no python3.99 on PATH. Install python3.99 and its headers" in message


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_pyconfig_is_that_of_the_machine(tmp_path: Path, machine: str) -> None:
    """As Debian lays the headers out for several machines."""
    include = tmp_path / "include"
    given = include / f"python{PYTHON}"
    given.mkdir(parents=True)
    for name in ("Python.h", "patchlevel.h"):
        (given / name).write_bytes((HEADERS / name).read_bytes())
    configs = [f"{each}-linux-gnu/python{PYTHON}/pyconfig.h" for each in ("x86_64", "aarch64")]
    (given / "pyconfig.h").write_text("".join(f"# include <{config}>\n" for config in configs))
    for config in configs:
        (include / config).parent.mkdir(parents=True)
        (include / config).write_text(f"/* {config} */\n")
    target = tmp_path / "collected"
    subprocess.run(
        [sys.executable, *map(str, collect(PYTHON, machine, given, target))], cwd=TOOLS, check=True
    )
    assert (target / "pyconfig.h").read_text().startswith(f"/* {machine}-linux-gnu/")
