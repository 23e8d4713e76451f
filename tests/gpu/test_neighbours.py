"""Other users of the GPU in the same process: nothing of theirs is changed."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import fasttrt
from support.assertions import assert_close
from support.gpu import EXACT, need, need_torch, normal, product_tolerance, report
from support.models import Model
from support.randomness import new_rng

pytestmark = pytest.mark.gpu
SHAPES = {"x": ((1, 16), (4, 16), (16, 16))}


@pytest.fixture(scope="module")
def engine(plan: fasttrt.Plan) -> Iterator[fasttrt.Engine]:
    with fasttrt.Engine(plan, device="cuda") as engine:
        yield engine


def _use(engine: fasttrt.Engine, mlp_model: Model, model: Any) -> None:
    """All that fasttrt does on a GPU: build a model, or load a plan; run, be refused, close."""
    with fasttrt.Engine(model, device="cuda", config=EXACT, shapes=_shapes(model)) as other:
        for one in (engine, other):
            x = normal(7, 16)
            assert_close(one.infer(x), mlp_model.reference(x), product_tolerance())
            with pytest.raises(fasttrt.InputError):
                one.infer(normal(17, 16))
    with pytest.raises(fasttrt.CudaError):
        fasttrt.Engine(mlp_model.proto, device="cuda:99", shapes=SHAPES)


def _shapes(model: Any) -> Any:
    return None if isinstance(model, fasttrt.Plan) else SHAPES


def _current_context() -> int:
    context = ctypes.c_void_p()
    assert ctypes.CDLL("libcuda.so.1").cuCtxGetCurrent(ctypes.byref(context)) == 0
    return context.value or 0


def test_a_thread_without_a_context_stays_without(engine: fasttrt.Engine, mlp_model: Model) -> None:
    seen: list[int | BaseException] = []

    def run() -> None:
        try:
            seen.append(_current_context())
            _use(engine, mlp_model, mlp_model.proto)
            seen.append(_current_context())
        except BaseException as error:
            seen.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert seen == [0, 0]


def test_the_callers_context_stays_current(
    engine: fasttrt.Engine, mlp_model: Model, plan: fasttrt.Plan
) -> None:
    """A context of the caller's own, which is not the primary one that fasttrt uses."""
    driver = ctypes.CDLL("libcuda.so.1")
    driver.cuCtxPopCurrent_v2.argtypes = [ctypes.c_void_p]
    driver.cuCtxDestroy_v2.argtypes = [ctypes.c_void_p]
    own = ctypes.c_void_p()
    assert driver.cuCtxCreate_v2(ctypes.byref(own), 0, 0) == 0
    try:
        assert _current_context() == own.value
        _use(engine, mlp_model, mlp_model.proto)
        assert _current_context() == own.value
    finally:
        popped = ctypes.c_void_p()
        assert driver.cuCtxPopCurrent_v2(ctypes.byref(popped)) == 0
        assert popped.value == own.value
        assert driver.cuCtxDestroy_v2(own) == 0
    _use(engine, mlp_model, plan)


def test_torch_in_the_same_process(
    engine: fasttrt.Engine, mlp_model: Model, plan: fasttrt.Plan
) -> None:
    torch = need_torch()
    a = torch.randn(300, 200, device="cuda", dtype=torch.float64)
    b = torch.randn(200, 100, device="cuda", dtype=torch.float64)
    expected = a.cpu().numpy() @ b.cpu().numpy()
    side = torch.cuda.Stream()
    with torch.cuda.stream(side):
        before = a @ b
        device, stream, context = torch.cuda.current_device(), side, _current_context()
        _use(engine, mlp_model, plan)
        assert torch.cuda.current_device() == device
        assert torch.cuda.current_stream() == stream
        assert _current_context() == context
        after = a @ b
    torch.cuda.synchronize()
    for product in (before, after):
        assert_close(product.cpu().numpy(), expected, 1e-12)
    x = torch.randn(5, 16)
    result = engine.infer(x)  # in host memory: numpy takes it as it is
    assert_close(result, mlp_model.reference(x.numpy()), product_tolerance())


def test_cupy_in_the_same_process(
    engine: fasttrt.Engine, mlp_model: Model, plan: fasttrt.Plan
) -> None:
    cupy = need("cupy")
    host = new_rng().standard_normal((1000, 50))
    with cupy.cuda.Device(0):
        a = cupy.asarray(host)
        before = (a * 2 + 1).sum(0)
        context = _current_context()
        _use(engine, mlp_model, plan)
        assert cupy.cuda.runtime.getDevice() == 0
        assert _current_context() == context
        after = (a * 2 + 1).sum(0)
    expected = (host * 2 + 1).sum(0)
    for total in (before, after):
        assert_close(cupy.asnumpy(total), expected, 1e-12)
    np.testing.assert_array_equal(cupy.asnumpy(a), host)


def test_waiting_for_the_device_while_runs_are_recorded(
    plan: fasttrt.Plan, mlp_model: Model
) -> None:
    """CUDA refuses that while a stream is captured, and spoils the capture.

    The GIL, which a recording holds, keeps threads from beginning to wait; a thread that has let go
    of it and not called CUDA yet may still be refused. Answers have to be right in any case.
    """
    torch = need("torch")
    over = threading.Event()
    waits, refusals = [0], []

    def wait_again_and_again() -> None:
        while not over.is_set():
            waits[0] += 1
            try:
                torch.cuda.synchronize()
            except RuntimeError as problem:
                refusals.append(str(problem))

    thread = threading.Thread(target=wait_again_and_again)
    thread.start()
    try:
        for _ in range(4):  # each engine records each batch anew
            with fasttrt.Engine(plan, device="cuda") as engine:
                for batch in range(1, 17):
                    x = normal(batch, 16)
                    for _ in range(3):
                        y = engine.infer(x)
                        assert_close(y, mlp_model.reference(x), product_tolerance())
    finally:
        over.set()
        thread.join(60)
    report("waits beside recordings", waits=waits[0], refused=len(refusals))
    assert not thread.is_alive()
    assert all("stream is capturing" in refusal for refusal in refusals)
    assert len(refusals) < waits[0] / 10
