"""What ``fasttrt build`` can only build where there is a GPU."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import fasttrt
from support import models

pytestmark = pytest.mark.gpu


def test_weights_are_stripped(tmp_path: Path) -> None:
    path = models.mlp().save(tmp_path / "m.onnx")
    done = subprocess.run(
        [sys.executable, "-m", "fasttrt", "build", str(path), "--stripWeights"],
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    config = fasttrt.Plan.load(path.with_suffix(".plan")).metadata["config"]
    assert (config["refit"], config["strip_weights"]) == (True, True)
