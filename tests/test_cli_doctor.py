"""``fasttrt doctor`` on machines with and without what it looks for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import fasttrt
from fasttrt.cli import app
from fasttrt.cli.doctor import try_out
from support.shared_objects import compile_library


def run(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["doctor", *arguments])


def test_a_machine_with_tensorrt_and_no_gpu(rtx: fasttrt.LibraryInfo, no_gpu: str) -> None:
    done = run()
    assert done.exit_code == 1  # no engine runs
    assert f"rtx       {rtx.version} (v11), used; can parse, build" in done.output
    assert str(rtx.path) in done.output
    assert no_gpu in done.output
    assert "self-test built: a plan of" in done.output
    assert "onnxruntime" in done.output
    assert done.output.endswith("no engine runs here\n")


def test_json_holds_the_same(rtx: fasttrt.LibraryInfo, no_gpu: str) -> None:
    report = json.loads(run("--json").stdout)
    (found,) = (each for each in report["libraries"] if each["family"] == "rtx")
    assert found["version"] == rtx.version
    assert found["path"] == str(rtx.path)
    assert found["used"] is found["can_build"] is True
    assert found["can_run"] is report["can_run"] is False
    assert report["driver"] == no_gpu
    assert report["gpus"] == []
    assert report["self_test"]["result"] == "built"


def test_a_machine_with_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, no_gpu: str
) -> None:
    monkeypatch.setenv("FASTTRT_LIBRARY", str(tmp_path))
    done = run()
    assert done.exit_code == 1
    assert str(tmp_path) in done.output  # what was tried
    assert "no TensorRT can be used: pip install" in done.output
    assert "self-test" not in done.output


def test_without_the_self_test(rtx: fasttrt.LibraryInfo) -> None:
    assert "self-test" not in run("--no-self-test").output


def test_a_failed_self_test_says_why(rtx: fasttrt.LibraryInfo, tmp_path: Path) -> None:
    done = run("--library", str(tmp_path))
    assert done.exit_code == 1
    assert "self-test failed: " in done.output
    assert str(tmp_path) in done.output


def test_nothing_takes_doctor_down(tmp_path: Path) -> None:
    code = "#include <stdlib.h>\nint getInferLibVersion() { abort(); }"
    library = compile_library(tmp_path / "libtensorrt_rtx.so.1", code)
    result = try_out(str(library))
    assert result["result"] == "failed"
    assert result["detail"].startswith("the process ended with signal 6")
