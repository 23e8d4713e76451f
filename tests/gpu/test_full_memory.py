"""A GPU whose memory is full. These tests take all of it: run them alone on a GPU."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from queue import SimpleQueue
from typing import Any

import numpy as np
import pytest

import fasttrt
from fasttrt import _core
from support.assertions import assert_close
from support.gpu import EXACT, is_v8, normal, open_engine, product_tolerance
from support.models import Model, mlp

pytestmark = pytest.mark.gpu
SMALL, LARGE = 4, 40_000
SHAPES = {"x": ((1, 16), (SMALL, 16), (LARGE, 16))}


@contextmanager
def _full() -> Iterator[None]:
    """All of the memory taken, to the last pages."""
    filling = []
    try:
        for size in (1 << 30, 1 << 24, 1 << 20, 1 << 16, 1 << 12):
            with suppress(fasttrt.OutOfMemoryError):
                while True:
                    filling.append(fasttrt.DeviceArray.empty(size, np.uint8))
        yield
    finally:
        filling.clear()


def _check(engine: fasttrt.Engine, model: Model, *shape: int) -> None:
    x = normal(*shape)
    assert_close(engine.infer(x), model.reference(x), product_tolerance())


@pytest.mark.parametrize("policy", ["auto", True, False])
def test_a_run_is_right_or_refused(mlp_model: Model, policy: Any) -> None:
    """Old shapes and new ones, recorded before or not."""
    plan = fasttrt.build(mlp_model.proto, EXACT, shapes=SHAPES, device="cuda")
    with fasttrt.Engine(plan, device="cuda", contexts=1, cuda_graph=policy) as engine:
        for _ in range(3):
            _check(engine, mlp_model, SMALL, 16)
        right = 0
        with _full():
            for batch in (SMALL, SMALL, 1, 1, 1, 64, 64, 64, SMALL, LARGE, LARGE, 1, SMALL) * 2:
                with suppress(fasttrt.Error):
                    _check(engine, mlp_model, batch, 16)
                    right += 1
        assert right > 0  # the first needs nothing new
        for batch in (SMALL, SMALL, SMALL, LARGE, LARGE, LARGE, 1, 1, 1, SMALL, LARGE):
            _check(engine, mlp_model, batch, 16)


def test_no_run_waits_for_a_context_that_cannot_be_made() -> None:
    """A refit takes all contexts away, and the first run makes one: for want of memory or not."""
    if is_v8():
        pytest.skip("it cannot refit engines from ONNX models")
    model = mlp((64, 256, 8))
    shapes = {"x": ((1, 64), (1024, 64), (1 << 20, 64))}  # for which a context takes 1 GiB
    config = dataclasses.replace(EXACT, refit=True)
    with open_engine(model, config=config, shapes=shapes, contexts=1) as engine:
        engine.refit(model.proto)
        free = _core.device_memory(0)[0]
        filling = fasttrt.DeviceArray.empty(free - (256 << 20), np.uint8)
        begin, ends = threading.Barrier(4), SimpleQueue[bool]()

        def run() -> None:
            begin.wait()
            try:
                engine.infer(normal(4, 64))
            except fasttrt.Error:
                ends.put(False)
            else:
                ends.put(True)

        for _ in range(4):
            threading.Thread(target=run, daemon=True).start()
        assert [ends.get(timeout=60) for _ in range(4)] == [False] * 4
        del filling
        _check(engine, model, 4, 64)


def test_arrays_that_nobody_takes() -> None:
    free = _core.device_memory(0)[0]
    for _ in range(50):  # with the copies three times what is free
        array = fasttrt.DeviceArray.empty((free // 32,), "uint8")
        array.__dlpack__(max_version=(1, 0))  # nobody takes it
        array.__dlpack__()
        array.__dlpack__(copy=True)
        del array
    assert _core.device_memory(0)[0] > free // 2
