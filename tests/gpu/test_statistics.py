"""What an engine on a GPU counts."""

from __future__ import annotations

import numpy as np
import pytest

import fasttrt
from support.assertions import assert_close
from support.gpu import EXACT, normal, product_tolerance
from support.models import mlp

pytestmark = pytest.mark.gpu


def test_runs_graphs_sizes_and_memory_are_counted() -> None:
    model = mlp((16, 32, 8))
    shapes = {"x": ((1, 16), (4, 16), (64, 16))}
    with fasttrt.Engine(
        model.proto, config=EXACT, shapes=shapes, tuned=None, device="cuda"
    ) as engine:
        before = engine.stats()
        assert (before.runs, before.graph_replays, before.errors) == (0, 0, {})
        for size in [4, 4, 4, 4, 2]:
            x = normal(size, 16)
            assert_close(engine.infer(x), model.reference(x), product_tolerance())
        with pytest.raises(fasttrt.InputError):
            engine.infer(normal(65, 16))
        with pytest.raises(fasttrt.InputError):
            engine.infer(normal(4, 16).astype(np.float64))
        stats = engine.stats()
        assert (stats.runs, stats.rows) == (5, 18)
        assert stats.batch_sizes == {4: 4, 2: 1}
        assert (stats.graph_captures, stats.graph_replays) == (1, 2)
        assert stats.compiles == (2 if fasttrt.library().family == "rtx" else 0)
        assert stats.compile_seconds <= stats.staging_seconds
        assert min(stats.compute_seconds, stats.copy_out_seconds, stats.queue_seconds) > 0
        assert stats.errors == {"InputError": 2}
        assert (stats.requests["ok"], stats.requests["error"]) == (5, 2)
        assert stats.device_bytes >= 4 * 16 * 4
        assert stats.pinned_bytes >= 4 * (16 + 8) * 4
    closed = engine.stats()
    assert (closed.runs, closed.device_bytes, closed.pinned_bytes) == (5, 0, 0)


def test_batches_count_their_requests_and_errors() -> None:
    model = mlp((16, 32, 8))
    shapes = {"x": ((1, 16), (4, 16), (64, 16))}
    with fasttrt.Engine(
        model.proto, config=EXACT, shapes=shapes, device="cuda", batching=fasttrt.Batching(8)
    ) as engine:
        xs = [normal(1, 16) for _ in range(40)]
        futures = [engine.submit(x) for x in xs]
        for x, future in zip(xs, futures, strict=True):
            assert_close(future.result(60), model.reference(x), product_tolerance())
        stats = engine.stats()
        assert stats.requests["ok"] == 40
        assert 5 <= stats.runs <= 40
        assert stats.rows >= 40  # with those that pad
        assert sum(stats.batch_sizes.values()) == stats.runs
        assert max(stats.batch_sizes) <= 8
        assert stats.queue_depth == 0
        assert stats.max_queue_depth >= 1
