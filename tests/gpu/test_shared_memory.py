"""Tensors in a GPU's memory of another process, registered by CUDA IPC."""

from __future__ import annotations

import base64
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from tritonclient.http import InferenceServerClient
from tritonclient.utils import InferenceServerException

import fasttrt
from fasttrt.serving import Server
from support.assertions import assert_close
from support.gpu import normal, product_tolerance
from support.models import Model

pytestmark = pytest.mark.gpu
CLIENT = Path(__file__).parents[1] / "support" / "cuda_client.py"
OFFSETS = (256, 0)
SHAPES = {"x": ((1, 16), (8, 16), (32, 16))}


@pytest.fixture(scope="module")
def server(plan: fasttrt.Plan) -> Iterator[Server]:
    """One model takes arrays on the device as they are, one copies them into its batches."""
    batching = fasttrt.Batching(32)
    with (
        fasttrt.Engine(plan, device="cuda") as alone,
        fasttrt.Engine(plan, device="cuda", batching=batching) as batched,
        fasttrt.serve(
            {"alone": alone, "batched": batched},
            http_port=0,
            metrics_port=None,
            allow_shared_memory=True,
        ) as server,
    ):
        yield server


def test_another_process_shares_memory_of_the_gpu(
    server: Server, mlp_model: Model, tmp_path: Path
) -> None:
    pytest.importorskip("cupy")
    x = normal(7, 16)
    np.save(tmp_path / "x.npy", x)
    names = ["alone", "batched"]
    done = subprocess.run(
        [sys.executable, str(CLIENT), server.url, str(tmp_path), *names],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for name in names:
        for offset in OFFSETS:
            y = np.load(tmp_path / f"{name}-{offset}.npy")
            assert_close(y, mlp_model.reference(x), product_tolerance())
        counters = server._front.counters(name, "1")
        assert counters["success"] == 2  # without Python


def test_wrong_handles_are_refused(server: Server) -> None:
    with InferenceServerClient(server.url) as client:
        assert "cuda_shared_memory" in client.get_server_metadata()["extensions"]
        for handle, device, message in (
            (b"x" * 63, 0, "expected 64 bytes, got 63"),
            (b"x" * 64, 0, "cuIpcOpenMemHandle"),
            (bytes(64), 99, "99"),
        ):
            text = base64.b64encode(handle).decode()
            with pytest.raises(InferenceServerException, match=message):
                client.register_cuda_shared_memory("r", text, device, 4)
        assert client.get_cuda_shared_memory_status() == []
