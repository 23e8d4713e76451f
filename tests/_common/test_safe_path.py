"""Nothing in the current folder is run or loaded."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import fasttrt
from fasttrt._common.safe_path import names_fasttrt

_MODULES = ("json", "typing", "numpy", "typer", "rich", "onnx", "platform", "mmap", "dataclasses")


@pytest.fixture
def trap(tmp_path: Path) -> Path:
    """A folder whose modules leave a mark when they are run, and with what looks like TensorRT."""
    for name in _MODULES:
        (tmp_path / f"{name}.py").write_text(
            f"from pathlib import Path\nPath({str(tmp_path / 'RAN')!r}).touch()\n"
            f"raise SystemExit('{name} of the current folder was run')\n"
        )
    for package in ("tensorrt_libs", "tensorrt_rtx_libs"):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").touch()
        for name in ("libnvinfer.so.10", "libtensorrt_rtx.so.1"):
            (tmp_path / package / name).write_bytes(b"trap")
    return tmp_path


def run(trap: Path, *command: str) -> str:
    # An empty place in PYTHONPATH is the current folder.
    where = str(Path(fasttrt.__file__).parent.parent)
    done = subprocess.run(
        [sys.executable, *command],
        cwd=trap, env=os.environ | {"PYTHONPATH": where}, capture_output=True, text=True,
        timeout=200, check=False,
    )  # fmt: skip
    assert not (trap / "RAN").exists(), done.stderr
    assert str(trap) not in done.stdout + done.stderr
    return done.stdout


def test_running_the_package_runs_nothing_of_the_current_folder(trap: Path) -> None:
    assert "engine" in run(trap, "-m", "fasttrt", "doctor", "--no-self-test")
    assert run(trap, "-Bm", "fasttrt", "--version").strip() == fasttrt.__version__


def test_processes_of_doctor_run_nothing_of_it(trap: Path) -> None:
    code = (
        "import sys; sys.path.remove('')\n"
        "import os; os.environ['PYTHONPATH'] += ':'\n"
        "from fasttrt._cli.library_survey import in_process\n"
        "print(in_process('_library.probe', 'find', 'auto'))"
    )
    assert "{" in run(trap, "-c", code)


def test_libraries_of_the_current_folder_are_not_loaded(trap: Path) -> None:
    for name in _MODULES:
        (trap / f"{name}.py").unlink()
    code = "import fasttrt._library.discovery as l; print(l._package_folders(), l.candidates(''))"
    run(trap, "-c", code)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["python", "-m", "fasttrt", "doctor"], True),
        (["python", "-X", "dev", "-Bm", "fasttrt._cli.self_test"], True),
        (["python", "-mfasttrt"], True),
        (["python", "-m", "pytest", "fasttrt"], False),
        (["python", "fasttrt", "--model"], False),
        (["python", "-c", "import fasttrt"], False),
        (["python", "-m"], False),
    ],
)
def test_what_was_run_is_known(arguments: list[str], expected: bool) -> None:
    assert names_fasttrt(arguments) is expected


def test_no_options_are_picked_up_unasked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of options names libraries, which are code."""
    from typer.testing import CliRunner

    from fasttrt._cli import app
    from support import models

    monkeypatch.chdir(tmp_path)
    models.mlp().save(tmp_path / "m.onnx")
    (tmp_path / "fasttrt.toml").write_text('[engine]\nlibrary = "/no/such"\nplugins = ["no.so"]\n')
    done = CliRunner().invoke(app, ["run", "m.onnx", "--device", "cpu"])
    assert done.exit_code == 0, done.output
    done = CliRunner().invoke(app, ["run", "m.onnx", "--config", "fasttrt.toml"])
    assert isinstance(done.exception, fasttrt.Error) or done.exit_code == 0
