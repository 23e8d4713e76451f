"""The examples beside the quickstart."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from support import models

EXAMPLES = Path(__file__).parent.parent / "examples"

pytestmark = pytest.mark.skipif(not EXAMPLES.is_dir(), reason="the examples are not here")


def ask(port: int, samples: models.Array) -> list[models.Array]:
    """One client that sends a sample after the other."""
    answers = []
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        for sample in samples:
            connection.sendall(sample.tobytes())
            content = b""
            while len(content) < 32:
                part = connection.recv(32 - len(content))
                assert part, "the service hung up"
                content += part
            answers.append(np.frombuffer(content, np.float32))
    return answers


def test_the_service_answers_many_clients(tmp_path: Path) -> None:
    made = models.mlp()
    path = made.save(tmp_path / "m.onnx")
    command = [sys.executable, "-W", "ignore", str(EXAMPLES / "asyncio_service.py"), str(path), "0"]
    rng = np.random.default_rng()
    samples = rng.standard_normal((8, 5, 16)).astype(np.float32)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as service:
        try:
            assert service.stdout is not None
            told = re.search(r"on port (\d+)", service.stdout.readline())
            assert told is not None
            with ThreadPoolExecutor(len(samples)) as pool:
                answers = list(pool.map(lambda each: ask(int(told[1]), each), samples))
            with socket.create_connection(("127.0.0.1", int(told[1])), timeout=60) as connection:
                connection.sendall(b"half a sample")
            answers.append(ask(int(told[1]), samples[0]))  # another client's fault is its own
        finally:
            service.terminate()
    for each, answered in zip([*samples, samples[0]], answers, strict=True):
        np.testing.assert_allclose(np.stack(answered), made.reference(each), rtol=5e-3, atol=5e-3)
