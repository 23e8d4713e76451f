"""The example that the README begins with."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.models import elementwise

EXAMPLE = Path(__file__).parent.parent / "examples" / "quickstart.py"

pytestmark = pytest.mark.skipif(not EXAMPLE.is_file(), reason="the examples are not here")


def run(*arguments: str | Path) -> str:
    done = subprocess.run(
        [sys.executable, EXAMPLE, *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={name: text for name, text in os.environ.items() if name != "FASTTRT_LIBRARY"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_it_is_right() -> None:
    *batches, last = run().splitlines()[1:]
    assert [line.split(":")[0] for line in batches] == ["batch  1", "batch  8", "batch 32"]
    assert last == "right"


def test_it_runs_a_file(tmp_path: Path) -> None:
    first, output = run(elementwise((5, 4)).save(tmp_path / "m.onnx")).splitlines()
    assert "(x: float32[5, 4]) -> (y: float32[5, 4])" in first
    assert output.startswith("y: float32[5, 4], mean ")
