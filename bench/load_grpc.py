"""A client by gRPC that checks every answer, also to its mistakes; for `serving_load.py`."""

from __future__ import annotations

import queue
from collections import Counter
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import numpy as np
from load_requests import Array, load_models

DEPTH = 16
"""Requests that are sent at once, at most."""
STREAMED = 0.3
"""How many of them go through one stream."""
_PATIENCE = 120
_MISTAKES = (
    ("nothing", "x", 16, "is not found"),
    ("small", "x", 15, "unexpected shape"),
    ("small", "z", 16, "unexpected inference input"),
)


def run_grpc_client(
    port: int, folder: Path, seed: int, counts: Any, is_over: Event, problems: Any
) -> None:
    """Send requests until it is over; see `load_client.run_client`."""
    import tritonclient.grpc as triton

    rng = np.random.default_rng(seed)
    networks = load_models(folder)
    tally: Counter[str] = Counter()
    answers: queue.SimpleQueue[tuple[Any, Any]] = queue.SimpleQueue()

    def take(result: Any, error: Any) -> None:
        answers.put((result, error))

    def draw(width: int, name: str) -> tuple[Array, list[Any]]:
        x = rng.standard_normal((int(rng.integers(1, 33)), width), np.float32)
        return x, [triton.InferInput(name, list(x.shape), "FP32").set_data_from_numpy(x)]

    try:
        with triton.InferenceServerClient(f"127.0.0.1:{port}") as client:
            client.start_stream(take)
            while not is_over.is_set():
                expected: dict[str, Array] = {}
                for i in range(int(rng.integers(1, DEPTH + 1))):
                    name = ("small", "wide")[int(rng.integers(2))]
                    x, inputs = draw(16 if name == "small" else 256, "x")
                    expected[str(i)] = networks[name].reference(x)
                    if rng.random() < STREAMED:
                        client.async_stream_infer(name, inputs, request_id=str(i))
                    else:
                        client.async_infer(name, inputs, take, request_id=str(i))
                for _ in range(len(expected)):
                    _check(*answers.get(timeout=_PATIENCE), expected, tally, problems)
                model, tensor, width, text = _MISTAKES[int(rng.integers(len(_MISTAKES)))]
                try:
                    client.infer(model, draw(width, tensor)[1])
                    problems.put(f"gRPC: no error for {text!r}")
                except triton.InferenceServerException as error:
                    if text not in str(error):
                        problems.put(f"gRPC: expected {text!r}, got {error}")
                    tally["gRPC, mistakes"] += 1
                if tally.total() > 200:
                    counts.put(dict(tally))
                    tally.clear()
    except Exception as error:
        problems.put(f"a gRPC client ended: {error!r}")
        is_over.set()
    finally:
        counts.put(dict(tally))


def _check(
    result: Any, error: Any, expected: dict[str, Array], tally: Counter[str], problems: Any
) -> None:
    if error is not None:
        problems.put(f"gRPC: {error}")
        return
    right = expected.pop(result.get_response().id, None)
    y = result.as_numpy("y")
    if right is None or y.shape != right.shape or not np.allclose(y, right, atol=1e-4):
        problems.put(f"gRPC: wrong values for {result.get_response().id!r}")
    else:
        tally["gRPC"] += 1
