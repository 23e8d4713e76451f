"""What an engine counts, on the CPU, and how the parts are put together."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import fasttrt
from fasttrt._common.tensor_spec import TensorSpec
from fasttrt._runtime.statistics import (
    RunCounter,
    engine_stats,
    sum_statistics,
    tuned_shapes,
)
from support.models import elementwise
from support.randomness import new_rng


def _counted(sizes: list[int], errors: int) -> dict[str, Any]:
    counter = RunCounter()
    for size in sizes:
        with counter.one([np.empty((size, 3), np.float32)]):
            pass
    for _ in range(errors):
        with pytest.raises(fasttrt.InputError), counter.one([]):
            raise fasttrt.InputError("x")
    return counter.statistics()


def test_an_engine_on_the_cpu_counts_its_calls() -> None:
    rng = new_rng()
    proto = elementwise("N").proto
    with fasttrt.Engine(proto, device="cpu") as engine:
        assert engine.stats() == fasttrt.EngineStats(
            requests={"ok": 0, "error": 0, "deadline": 0, "rejected": 0, "cancelled": 0},
            model_bytes=proto.ByteSize(),
        )
        sizes = [int(size) for size in rng.integers(1, 9, 20)]
        for size in sizes:
            engine.infer(rng.standard_normal(size, np.float32))
        with pytest.raises(fasttrt.InputError):
            engine.infer(rng.standard_normal((2, 2, 2), np.float32))
        stats = engine.stats()
    assert (stats.runs, stats.rows) == (20, sum(sizes))
    assert stats.batch_sizes == {size: sizes.count(size) for size in sizes}
    assert (stats.requests["ok"], stats.requests["error"]) == (20, 1)
    assert stats.errors == {"InputError": 1}
    assert stats.compute_seconds > 0
    assert engine.stats() == replace(stats, model_bytes=0)  # also once closed
    assert json.loads(json.dumps(stats.to_json()))["batch_sizes"] == {
        str(size): count for size, count in stats.batch_sizes.items()
    }


def test_queued_requests_count_once() -> None:
    rng = new_rng()
    with fasttrt.Engine(elementwise(("n", 4)).proto, device="cpu") as engine:
        x = rng.standard_normal((3, 4), np.float32)
        with pytest.raises(fasttrt.InputError):
            engine.submit(x[:, :2]).result(60)
        futures = [engine.submit(x) for _ in range(5)]
        for future in futures:
            future.result(60)
        for _ in range(2):
            engine.infer(x)
        stats = engine.stats()
    assert (stats.requests["ok"], stats.requests["error"]) == (7, 1)
    assert (stats.runs, stats.errors) == (7, {"InputError": 1})
    assert stats.batch_sizes == {3: 7}


def test_later_sizes_are_counted_together() -> None:
    found = _counted([*range(1, 400), 1], 0)
    assert found["runs"] == 400
    assert found["batch_sizes"][1] == 2
    assert found["batch_sizes"][0] == 399 - 256


def test_what_several_gpus_counted_is_added() -> None:
    seen = [{"observed": [{"x": (3,)}]}, {"observed": [{"x": (4,)}]}]
    parts = [_counted([1, 2], 1), _counted([2, 5, 2], 2)]
    total = sum_statistics([a | b for a, b in zip(parts, seen, strict=True)])
    assert engine_stats(total, {}).observed == ({"x": (3,)}, {"x": (4,)})
    assert (total["runs"], total["rows"]) == (5, 12)
    assert total["batch_sizes"] == {1: 1, 2: 3, 5: 1}
    assert total["errors"] == {"InputError": 3}


def test_queued_requests_and_direct_calls_are_told_apart() -> None:
    backend = _counted([4, 4, 1, 1, 1], 2)  # the first two were batches, an error was queued
    queue = {
        "requests": {"ok": 7, "error": 1, "deadline": 2, "rejected": 3, "cancelled": 4},
        "runs": 3,
        "function_runs": 2,
        "waiting": 5,
        "most_waiting": 9,
        "seconds": {"queue": 0.5, "staging": 0.25, "run": 4.0, "copy_out": 0.125},
    }
    stats = engine_stats(backend, queue)
    assert stats.requests == {
        "ok": 7 + 3, "error": 2, "deadline": 2, "rejected": 3, "cancelled": 4,
    }  # fmt: skip
    assert (stats.queue_depth, stats.max_queue_depth) == (5, 9)
    assert (stats.queue_seconds, stats.staging_seconds, stats.copy_out_seconds) == (
        0.5, 0.25, 0.125,
    )  # fmt: skip
    assert stats.compute_seconds == backend["compute_seconds"]


def test_shapes_with_a_profile_of_their_own() -> None:
    fixed, ranged = ((2, 3),) * 3, ((1, 3), (2, 3), (8, 3))
    pair, pairs = ((5,),) * 3, ((1,), (5,), (9,))
    dtype = np.dtype(np.float32)
    inputs = [
        TensorSpec("x", dtype, (-1, 3), profiles=(fixed, ranged, fixed)),
        TensorSpec("n", dtype, (-1,), profiles=(pair, pair, pairs)),
    ]
    assert tuned_shapes(inputs) == ({"x": (2, 3), "n": (5,)},)
    assert tuned_shapes([TensorSpec("x", dtype, (4,), profiles=(((4,),) * 3,))]) == ({"x": (4,)},)
    assert tuned_shapes([]) == ()
