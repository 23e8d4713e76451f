"""The command ``fasttrt build``, run as users run it, with the installed TensorRT-RTX."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import fasttrt
from support import models


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "fasttrt", "build", *map(str, arguments)],
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return models.mlp().save(tmp_path / "m.onnx")


def test_it_writes_a_plan_with_what_was_asked(
    path: Path, tmp_path: Path, rtx: fasttrt.LibraryInfo
) -> None:
    done = run(
        path, "-o", tmp_path / "o.plan", "--minShapes=x:1x16", "--optShapes=x:3x16",
        "--maxShapes=x:7x16", "--memPoolSize=workspace:64", "--builderOptimizationLevel=2",
        "--fp16", "--library", rtx.path, "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    plan = fasttrt.Plan.load(tmp_path / "o.plan")
    assert found["bytes"] == (tmp_path / "o.plan").stat().st_size
    assert found["profiles"] == plan.metadata["profiles"] == [{"x": [[1, 16], [3, 16], [7, 16]]}]
    config = plan.metadata["config"]
    assert (config["workspace"], config["optimization_level"]) == (64 << 20, 2)
    assert (config["refit"], config["strip_weights"], config["precision"]) == (False, False, "fp16")


def test_the_summary_and_the_log(path: Path, rtx: fasttrt.LibraryInfo) -> None:
    done = run(path, "--library", rtx.path, "--verbose")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"written: {path.with_suffix('.plan')} (")
    assert "precision: as the model states" in done.stdout
    assert "fasttrt.tensorrt: " in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--minShapes=x"], "--minShapes: expected input:1x3, got 'x'"),
        (["--memPoolSize=dlaSRAM:1"], "--memPoolSize: expected workspace:SIZE"),
        (["--hardwareCompatibilityLevel=all"], "--hardwareCompatibilityLevel: expected one of"),
        (["--profilingVerbosity=much"], "--profilingVerbosity: expected one of"),
        (["--fp16", "--bf16"], "--precision: expected one of them, got fp16 and bf16"),
        (["--dims=n"], "--dims: expected name=VALUE, got 'n'"),
        (["--optShapes=z:1x2"], "z"),
        (["--builderOptimizationLevel=9"], "optimization_level: expected"),
    ],
)
def test_errors_are_a_message_and_a_code(
    path: Path, rtx: fasttrt.LibraryInfo, arguments: list[str], message: str
) -> None:
    done = run(path, "--library", rtx.path, *arguments)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not path.with_suffix(".plan").exists()
