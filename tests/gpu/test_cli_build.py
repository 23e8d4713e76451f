"""What ``fasttrt build`` can only build where there is a GPU."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import fasttrt
from support import models
from support.gpu import is_v8, library

pytestmark = pytest.mark.gpu


def test_weights_are_stripped(tmp_path: Path) -> None:
    path = models.mlp().save(tmp_path / "m.onnx")
    done = subprocess.run(
        [sys.executable, "-m", "fasttrt", "build", str(path), "--stripWeights"],
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    if is_v8():
        assert done.returncode == 1
        assert f"strip_weights is not an option of TensorRT {library().version}" in done.stderr
        assert "Traceback" not in done.stderr
        assert not path.with_suffix(".plan").exists()
        return
    assert done.returncode == 0, done.stderr
    config = fasttrt.Plan.load(path.with_suffix(".plan")).metadata["config"]
    assert (config["refit"], config["strip_weights"]) == (True, True)
