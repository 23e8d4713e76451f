"""Triton's perf_analyzer against the server, if FASTTRT_PERF_ANALYZER names it, or it is a command.

The package index has it in wheels of tritonclient up to 2.60, under ``data/bin``.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from fasttrt.serving import Server
from support.models import mlp, several

COMMAND = os.environ.get("FASTTRT_PERF_ANALYZER") or shutil.which("perf_analyzer")
pytestmark = pytest.mark.skipif(COMMAND is None, reason="there is no perf_analyzer")
# As many requests as are enough to see mistakes; how stable the figures are does not matter here.
WINDOW = ["--measurement-mode", "count_windows", "--measurement-request-count", "100", "-s", "999"]


@pytest.fixture
def server(started: Callable[..., Server], repository: Path) -> Server:
    """A server of two models, one with a batch dimension of its own."""
    for name, model in (("mlp", mlp()), ("several", several())):
        (repository / name / "1").mkdir(parents=True)
        model.save(repository / name / "1" / "model.onnx")
    return started(metrics_port=0, grpc_port=0, allow_shared_memory=True)


@pytest.mark.parametrize(
    "arguments",
    [
        ["-m", "mlp"],
        ["-m", "mlp", "-b", "8"],
        ["-m", "mlp", "-x", "1", "--concurrency-range", "4"],
        ["-m", "mlp", "-a", "--concurrency-range", "8"],
        ["-m", "several"],
        ["-m", "mlp", "--input-tensor-format", "json", "--output-tensor-format", "json"],
        ["-m", "mlp", "--request-rate-range", "200"],
        ["-m", "mlp", "--collect-metrics"],
        ["-m", "mlp", "--shared-memory", "system", "--output-shared-memory-size", "4096"],
        ["-i", "grpc", "-m", "mlp"],
        ["-i", "grpc", "-m", "mlp", "-b", "8", "--concurrency-range", "8"],
        ["-i", "grpc", "-m", "mlp", "-a", "--concurrency-range", "8"],
        ["-i", "grpc", "-m", "several", "--streaming", "--concurrency-range", "4"],
        ["-i", "grpc", "-m", "mlp", "--grpc-compression-algorithm", "gzip"],
        [
            "-i",
            "grpc",
            "-m",
            "mlp",
            "--shared-memory",
            "system",
            "--output-shared-memory-size",
            "4096",
        ],
    ],
    ids=" ".join,
)
def test_perf_analyzer_is_content(server: Server, arguments: list[str]) -> None:
    if "--collect-metrics" in arguments:
        host = server.url.rpartition(":")[0]
        arguments = [*arguments, "--metrics-url", f"{host}:{server.metrics_port}/metrics"]
    url = str(server.grpc_url if "grpc" in arguments else server.url)
    command = [str(COMMAND), "-u", url, *WINDOW, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    output = done.stdout + done.stderr
    assert done.returncode == 0, output
    assert "rror" not in output
    counts = {
        name: int(value)
        for name, value in re.findall(r"((?:Request|Inference|Execution) count): (\d+)", output)
    }
    assert counts["Request count"] >= 100  # of the client; of the server, by its statistics:
    batch = 8 if "-b" in arguments else 1
    assert counts["Inference count"] >= 100 * batch
    assert counts["Execution count"] >= 1
