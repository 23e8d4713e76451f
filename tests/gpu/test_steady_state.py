"""One call after the other: nothing grows.

FASTTRT_STEADY_RUNS=100000 for a long run.
"""

from __future__ import annotations

import gc
import os
import resource
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

import fasttrt
from fasttrt import _core
from support.assertions import assert_close
from support.gpu import EXACT, Array, need, need_torch, normal, product_tolerance, report
from support.models import Model

pytestmark = pytest.mark.gpu
RUNS = int(os.environ.get("FASTTRT_STEADY_RUNS", "2000"))
WARM_UP = 300
OBJECTS = 100
"""Python objects that may come and stay, of whoever else is in the process: far fewer than runs."""
DEVICE_BYTES = 4 << 20
"""Two of the driver's pages. A result of the larger runs is of 128 KiB."""
HOST_BYTES = 24 << 20
THREADS = 16
"""Of an engine's workers, which start as they are needed."""
OBJECTS_OF_A_THREAD = 40
"""Of which 26 were counted."""


class State(NamedTuple):
    objects: int
    blocks: int
    device: int
    host: int
    threads: int


def _state() -> State:
    gc.collect()
    gc.collect()  # what the first pass let go of
    resident = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    free, total = _core.device_memory(0)
    return State(
        len(gc.get_objects()),
        sys.getallocatedblocks(),
        total - free,
        resident,
        threading.active_count(),
    )


def _assert_steady(call: Callable[[], Any], name: str) -> None:
    for _ in range(WARM_UP):
        call()
    _state()  # whose own first call may make objects too
    before = _state()
    for _ in range(RUNS):
        call()
    after = _state()
    grown = State(*(b - a for a, b in zip(before, after, strict=True)))
    report("steady state", call=name, runs=RUNS, **grown._asdict())
    allowed = OBJECTS + OBJECTS_OF_A_THREAD * max(grown.threads, 0)
    assert grown.objects <= allowed, f"{grown.objects} objects more after {RUNS} runs"
    assert grown.blocks <= 4 * allowed, f"{grown.blocks} blocks more after {RUNS} runs"
    assert grown.device <= DEVICE_BYTES, f"{grown.device} bytes more after {RUNS} runs"
    assert grown.host <= HOST_BYTES, f"{grown.host} bytes more after {RUNS} runs"
    assert grown.threads <= THREADS, f"{grown.threads} threads more after {RUNS} runs"


@pytest.fixture(scope="module")
def plan(mlp_model: Model) -> fasttrt.Plan:
    return fasttrt.build(
        mlp_model.proto, EXACT, shapes={"x": ((1, 16), (4, 16), (4096, 16))}, device="cuda"
    )


@pytest.fixture(scope="module", params=["auto", False])
def engine(request: pytest.FixtureRequest, plan: fasttrt.Plan) -> Iterator[fasttrt.Engine]:
    with fasttrt.Engine(plan, device="cuda", cuda_graph=request.param) as engine:
        yield engine


@pytest.fixture(params=[4, 4096], ids=["small", "large"])
def x(request: pytest.FixtureRequest) -> Array:
    return normal(request.param, 16)


def _right(y: Any, mlp_model: Model, x: Array) -> None:
    assert_close(y, mlp_model.reference(x), product_tolerance())


def test_numpy(engine: fasttrt.Engine, mlp_model: Model, x: Array) -> None:
    _assert_steady(lambda: engine.infer(x), "numpy")
    _right(engine.infer(x), mlp_model, x)


def test_numpy_by_name(engine: fasttrt.Engine, mlp_model: Model, x: Array) -> None:
    _assert_steady(lambda: engine.infer({"x": x}), "numpy by name")
    _right(engine.infer({"x": x})["y"], mlp_model, x)


@pytest.mark.parametrize("pinned", [False, True], ids=["numpy", "pinned"])
def test_numpy_out(engine: fasttrt.Engine, mlp_model: Model, x: Array, pinned: bool) -> None:
    given, out = x, np.empty((len(x), 8), np.float32)
    if pinned:
        given = fasttrt.empty_pinned(x.shape, x.dtype)
        given[...] = x
        out = fasttrt.empty_pinned(out.shape, out.dtype)
    _assert_steady(lambda: engine.infer(given, out=out), "pinned out" if pinned else "numpy out")
    out[...] = np.nan
    engine.infer(given, out=out)
    _right(out, mlp_model, x)


@pytest.mark.parametrize("explicit", [False, True], ids=["current", "explicit"])
def test_torch_out(engine: fasttrt.Engine, mlp_model: Model, x: Array, explicit: bool) -> None:
    torch = need_torch()
    given, out = torch.from_numpy(x).cuda(), torch.empty((len(x), 8), device="cuda")
    stream = torch.cuda.Stream() if explicit else None
    torch.cuda.synchronize()

    def call() -> None:
        engine.infer(given, out=out, stream=stream)

    def calls() -> Iterator[None]:
        """Some are queued, then waited for: what a queued run holds has to go when it is done."""
        while True:
            for _ in range(50):
                call()
                yield
            torch.cuda.synchronize()

    each = calls()
    _assert_steady(lambda: next(each), f"torch out{', stream' if explicit else ''}")
    out.fill_(torch.nan)
    torch.cuda.synchronize()
    call()
    torch.cuda.synchronize()
    _right(out.cpu().numpy(), mlp_model, x)


def test_torch_results(engine: fasttrt.Engine, mlp_model: Model, x: Array) -> None:
    torch = need_torch()
    given = torch.from_numpy(x).cuda()
    _assert_steady(lambda: engine.infer(given), "torch")
    _right(engine.infer(given).cpu().numpy(), mlp_model, x)


def test_device_arrays(engine: fasttrt.Engine, mlp_model: Model, x: Array) -> None:
    given = fasttrt.DeviceArray.from_numpy(x)
    _assert_steady(lambda: engine.infer(given), "DeviceArray")
    _right(engine.infer(given).numpy(), mlp_model, x)


def test_cupy_results(engine: fasttrt.Engine, mlp_model: Model, x: Array) -> None:
    cupy = need("cupy")
    given = cupy.asarray(x)
    _assert_steady(lambda: engine.infer(given), "cupy")
    _right(cupy.asnumpy(engine.infer(given)), mlp_model, x)


def test_refused_runs(engine: fasttrt.Engine, mlp_model: Model, x: Array) -> None:
    out = np.empty((len(x) + 1, 8), np.float32)

    def call() -> None:
        with pytest.raises(fasttrt.InputError):
            engine.infer(x, out=out)

    for _ in range(3):
        engine.infer(x)
    _assert_steady(call, "refused")
    _right(engine.infer(x), mlp_model, x)


def test_submitted_runs(engine: fasttrt.Engine, mlp_model: Model, x: Array) -> None:
    _assert_steady(lambda: engine.submit(x).result(60), "submit")
    _right(engine.submit(x).result(60), mlp_model, x)


def test_batches(plan: fasttrt.Plan, mlp_model: Model) -> None:
    x = normal(4, 16)
    batching = fasttrt.Batching(8, max_delay_us=0)
    with fasttrt.Engine(plan, device="cuda", batching=batching) as engine:

        def call() -> None:
            for run in [engine.submit(x) for _ in range(4)]:
                run.result(60)

        _assert_steady(call, "batches")
        _right(engine.infer(x), mlp_model, x)


def test_growth_would_be_seen(engine: fasttrt.Engine) -> None:
    """Else the tests above would pass whatever happens."""
    x = normal(4, 16)
    kept: list[Any] = []
    with pytest.raises(AssertionError, match="more after"):
        _assert_steady(lambda: kept.append((engine.infer(x), [])), "kept")
