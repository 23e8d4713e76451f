"""Requests by the hundred: submit, ainfer, map, batches of several callers, several GPUs."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fasttrt
from fasttrt._engine.engine import backend_of
from support.assertions import assert_close
from support.gpu import (
    ELEMENTWISE,
    EXACT,
    Array,
    is_rtx,
    need_torch,
    normal,
    open_engine,
    product_tolerance,
)
from support.models import Model, constant_output, elementwise, several
from support.randomness import new_rng

pytestmark = pytest.mark.gpu
MOST = 32
SHAPES = {"x": ((1, 16), (8, 16), (MOST, 16))}
THREADS = 16
PATIENCE = 60
BATCHINGS = {
    "default sizes": fasttrt.Batching(MOST),
    "two sizes": fasttrt.Batching(MOST, sizes=(8, MOST)),
    "small": fasttrt.Batching(4, max_delay_us=2_000),
    "no delay": fasttrt.Batching(MOST, max_delay_us=0),
}


@pytest.fixture(scope="module")
def engine(plan: fasttrt.Plan) -> Iterator[fasttrt.Engine]:
    with fasttrt.Engine(plan, device="cuda", contexts=2) as engine:
        yield engine


@pytest.fixture(scope="module", params=BATCHINGS)
def batching(request: pytest.FixtureRequest, plan: fasttrt.Plan) -> Iterator[fasttrt.Engine]:
    with fasttrt.Engine(plan, device="cuda", batching=BATCHINGS[request.param]) as engine:
        yield engine


@pytest.fixture(scope="module")
def pair_model() -> Model:
    """Two inputs and two outputs, of two types."""
    return several()


@pytest.fixture(scope="module")
def pair_plan(pair_model: Model) -> fasttrt.Plan:
    shapes = {"a": ((1, 4), (8, 4), (MOST, 4)), "b": ((1, 1), (8, 1), (MOST, 1))}
    return fasttrt.build(pair_model.proto, EXACT, shapes=shapes, device="cuda")


def _requests(count: int) -> list[Array]:
    """Of 1 to 8 rows."""
    return [normal(rows, 16) for rows in new_rng().integers(1, 9, count)]


def _right(y: Any, mlp_model: Model, x: Array) -> None:
    assert_close(y, mlp_model.reference(x), product_tolerance())


def _pair(rows: int) -> tuple[Array, Array]:
    return normal(rows, 4), new_rng().integers(-999, 999, (rows, 1), dtype=np.int32)


def _right_pair(results: Any, model: Model, a: Array, b: Array) -> None:
    total, twice = results
    assert_close(total, model.reference(a, b)[0], ELEMENTWISE)
    np.testing.assert_array_equal(twice, b + b)


def _pinned(x: Array) -> Array:
    pinned: Array = fasttrt.empty_pinned(x.shape, x.dtype)
    pinned[...] = x
    return pinned


# submit and ainfer


@pytest.mark.parametrize("contexts", [1, 2, 3, 4])
def test_submitted_runs(plan: fasttrt.Plan, mlp_model: Model, contexts: int) -> None:
    with fasttrt.Engine(plan, device="cuda", contexts=contexts) as engine:
        xs = _requests(200)
        runs = [engine.submit(x) for x in xs]
        for x, run in zip(xs, runs, strict=True):
            _right(run.result(PATIENCE), mlp_model, x)


def test_submitted_into_memory_of_the_callers(engine: fasttrt.Engine, mlp_model: Model) -> None:
    xs = _requests(60)
    outs = [np.full((len(x), 8), np.nan, np.float32) for x in xs[:30]]
    outs += [_pinned(np.full((len(x), 8), np.nan, np.float32)) for x in xs[30:]]
    runs = [engine.submit(_pinned(x), out=out) for x, out in zip(xs, outs, strict=True)]
    for x, out, run in zip(xs, outs, runs, strict=True):
        assert run.result(PATIENCE) is out
        _right(out, mlp_model, x)


def test_submitted_tensors(engine: fasttrt.Engine, mlp_model: Model) -> None:
    torch = need_torch()
    xs = _requests(60)
    tensors = [torch.from_numpy(x).cuda() for x in xs]
    outs = [torch.full((len(x), 8), torch.nan, device="cuda") for x in xs]
    torch.cuda.synchronize()
    runs = [engine.submit(tensor) for tensor in tensors]
    written = [engine.submit(t, out=out) for t, out in zip(tensors, outs, strict=True)]
    for x, out, run, into in zip(xs, outs, runs, written, strict=True):
        assert into.result(PATIENCE) is out
        y = run.result(PATIENCE)
        torch.cuda.synchronize()
        assert y.is_cuda
        _right(y.cpu().numpy(), mlp_model, x)
        _right(out.cpu().numpy(), mlp_model, x)


def test_what_submit_refuses_comes_with_the_future(
    engine: fasttrt.Engine, mlp_model: Model
) -> None:
    for _ in range(5):
        xs = _requests(6)
        bad = [normal(MOST + 1, 16), np.zeros((2, 16)), normal(2, 15), None]
        good = [engine.submit(x) for x in xs[:3]]
        refused = [engine.submit(x) for x in bad]
        good += [engine.submit(x) for x in xs[3:]]
        for run in refused:
            with pytest.raises(fasttrt.InputError, match=r"^x: expected"):
                run.result(PATIENCE)
        for x, run in zip(xs, good, strict=True):
            _right(run.result(PATIENCE), mlp_model, x)


def test_asyncio(engine: fasttrt.Engine, mlp_model: Model) -> None:
    xs = _requests(60)

    async def ask() -> list[Any]:
        tasks = [engine.ainfer(x) for x in xs] + [engine.ainfer(normal(MOST + 1, 16))]
        results: list[Any] = await asyncio.gather(*tasks, return_exceptions=True)
        return results

    *results, refused = asyncio.run(asyncio.wait_for(ask(), PATIENCE))
    for x, y in zip(xs, results, strict=True):
        _right(y, mlp_model, x)
    assert isinstance(refused, fasttrt.InputError)


def test_close_with_runs_in_the_queue(plan: fasttrt.Plan, mlp_model: Model) -> None:
    """Each is right or cancelled."""
    engine = fasttrt.Engine(plan, device="cuda", contexts=1)
    xs = _requests(300)
    runs = [engine.submit(x) for x in xs]
    _right(runs[0].result(PATIENCE), mlp_model, xs[0])
    engine.close()
    wait(runs, PATIENCE)
    for x, run in zip(xs, runs, strict=True):
        if not run.cancelled():
            _right(run.result(0), mlp_model, x)
    with pytest.raises(fasttrt.Error, match="closed"):
        engine.submit(xs[0])
    with pytest.raises(fasttrt.Error, match="closed"):
        engine.infer(xs[0])


@pytest.mark.parametrize("options", [{}, {"batching": fasttrt.Batching(MOST)}], ids=["", "batches"])
def test_requests_with_deadlines(
    plan: fasttrt.Plan, mlp_model: Model, options: dict[str, Any]
) -> None:
    with fasttrt.Engine(plan, device="cuda", **options) as engine:
        xs = _requests(60)
        runs = [engine.submit(x, timeout=0 if i % 4 == 1 else PATIENCE) for i, x in enumerate(xs)]
        for i, (x, run) in enumerate(zip(xs, runs, strict=True)):
            if i % 4 == 1:
                assert isinstance(run.exception(PATIENCE), fasttrt.DeadlineError)
            else:
                _right(run.result(PATIENCE), mlp_model, x)
        _right(engine.infer(xs[0], timeout=PATIENCE, priority="high"), mlp_model, xs[0])
        tensor = need_torch().from_numpy(xs[0]).cuda()
        with pytest.raises(fasttrt.InputError, match="timeout, priority"):
            engine.infer(tensor, timeout=PATIENCE)
        with pytest.raises(fasttrt.InputError, match="timeout, priority"):
            engine.submit(tensor, priority="high").result(PATIENCE)


# map


@pytest.mark.parametrize("in_flight", [1, 2, 4, None])
def test_map_is_in_order(engine: fasttrt.Engine, mlp_model: Model, in_flight: int | None) -> None:
    xs = _requests(300)
    results = list(engine.map(iter(xs), in_flight=in_flight))
    for x, y in zip(xs, results, strict=True):
        _right(y, mlp_model, x)


@pytest.mark.parametrize("in_flight", [1, 2, 4])
def test_map_of_an_array_that_is_filled_anew(
    engine: fasttrt.Engine, mlp_model: Model, in_flight: int
) -> None:
    """As many arrays as there are items ahead will do, and one for the result at hand."""
    ring = [fasttrt.empty_pinned((8, 16), np.float32) for _ in range(in_flight + 1)]
    sent: list[Array] = []

    def items() -> Iterator[Array]:
        for i in range(100):
            x = ring[i % len(ring)]
            x[...] = normal(8, 16)
            sent.append(x.copy())
            yield x

    results = list(engine.map(items(), in_flight=in_flight))
    for x, y in zip(sent, results, strict=True):
        _right(y, mlp_model, x)


def test_map_of_tensors(engine: fasttrt.Engine, mlp_model: Model) -> None:
    torch = need_torch()
    xs = _requests(100)

    def items() -> Iterator[Any]:
        for i, x in enumerate(xs):
            tensor = torch.from_numpy(x).cuda()
            torch.cuda.synchronize()
            yield tensor if i % 3 else x

    for i, (x, y) in enumerate(zip(xs, engine.map(items(), in_flight=4), strict=True)):
        if i % 3:
            torch.cuda.synchronize()
            y = y.cpu().numpy()
        _right(y, mlp_model, x)


def test_map_of_tuples_and_mappings(pair_plan: fasttrt.Plan, pair_model: Model) -> None:
    pairs = [_pair(rows) for rows in new_rng().integers(1, 9, 60)]
    with fasttrt.Engine(pair_plan, device="cuda", contexts=3) as engine:
        for (a, b), results in zip(pairs, engine.map(pairs), strict=True):
            _right_pair(results, pair_model, a, b)
        named = ({"b": b, "a": a} for a, b in pairs)
        for (a, b), by_name in zip(pairs, engine.map(named), strict=True):
            assert list(by_name) == ["sum", "twice"]
            _right_pair(tuple(by_name.values()), pair_model, a, b)


def test_map_with_bad_items(engine: fasttrt.Engine, mlp_model: Model) -> None:
    xs: list[Array] = _requests(60)
    bad = {7, 8, 31, 59}
    items = [normal(2, 17) if i in bad else x for i, x in enumerate(xs)]
    seen = []
    for i, y in enumerate(engine.map(items, errors="return", in_flight=4)):
        if i in bad:
            assert isinstance(y, fasttrt.InputError)
            assert f"item {i}" in str(y)
            seen.append(i)
        else:
            _right(y, mlp_model, xs[i])
    assert set(seen) == bad
    results = engine.map(items, in_flight=4)
    for x in xs[:7]:
        _right(next(results), mlp_model, x)
    with pytest.raises(fasttrt.InputError, match="item 7"):
        next(results)
    _right(engine.infer(xs[0]), mlp_model, xs[0])


# Batches


def _ask(engine: fasttrt.Engine, mlp_model: Model, count: int) -> int:
    rng = new_rng()
    for i in range(count):
        x = normal(int(rng.integers(1, 4)), 16)
        if i % 3 == 1:
            out = np.full((len(x), 8), np.nan, np.float32)
            assert engine.infer(x, out=out) is out
            y = out
        else:
            y = engine.infer({"x": x})["y"] if i % 3 else engine.infer(x)
        kept = x.copy()
        x[...] = np.nan
        _right(y, mlp_model, kept)
    return count


def _all(pool: ThreadPoolExecutor, work: list[Callable[[], int]]) -> int:
    return sum(done.result() for done in [pool.submit(one) for one in work])


@pytest.mark.parametrize("contexts", [1, 3])
@pytest.mark.parametrize("graph", [True, False], ids=["graph", "no graph"])
def test_batches_of_many_threads(
    plan: fasttrt.Plan, mlp_model: Model, contexts: int, graph: bool
) -> None:
    for batching in BATCHINGS.values():
        with (
            fasttrt.Engine(
                plan, device="cuda", contexts=contexts, cuda_graph=graph, batching=batching
            ) as engine,
            ThreadPoolExecutor(THREADS) as pool,
        ):
            assert _all(pool, [lambda: _ask(engine, mlp_model, 40)] * THREADS) == 40 * THREADS


def test_one_caller_alone(batching: fasttrt.Engine, mlp_model: Model) -> None:
    for rows in (*range(1, MOST + 1, 3), MOST):
        x = normal(rows, 16)
        _right(batching.infer(x), mlp_model, x)


def test_results_of_batches_are_the_callers_own(batching: fasttrt.Engine, mlp_model: Model) -> None:
    """Each has its part of a batch, and may write to it."""

    def ask() -> int:
        kept = []
        for i in range(40):
            x = normal(1 + i % 3, 16)
            y = batching.infer(x)
            _right(y, mlp_model, x)
            kept.append((y, y.copy()))
            if i % 4 == 0:
                y[...] = np.nan
                kept.pop()
        for y, copy in kept:
            np.testing.assert_array_equal(y, copy)
        return len(kept)

    with ThreadPoolExecutor(THREADS) as pool:
        assert _all(pool, [ask] * THREADS) == 30 * THREADS


def test_batches_of_submitted_runs(batching: fasttrt.Engine, mlp_model: Model) -> None:
    xs = _requests(300)
    runs: list[Future[Any]] = [batching.submit(x) for x in xs]
    for x, run in zip(xs, runs, strict=True):
        _right(run.result(PATIENCE), mlp_model, x)
    for x, y in zip(xs, batching.map(xs), strict=True):
        _right(y, mlp_model, x)

    async def ask() -> list[Any]:
        results: list[Any] = await asyncio.gather(*map(batching.ainfer, xs))
        return results

    for x, y in zip(xs, asyncio.run(asyncio.wait_for(ask(), PATIENCE)), strict=True):
        _right(y, mlp_model, x)


# Whoever sends these may share a batch with others, and must not be able to spoil it.
BAD: dict[str, Callable[[fasttrt.Engine], Any]] = {
    "type": lambda engine: engine.infer(np.zeros((2, 16))),
    "extents": lambda engine: engine.infer(normal(2, 15)),
    "rank": lambda engine: engine.infer(normal(16)),
    "too many": lambda engine: engine.infer(normal(MOST + 1, 16)),
    "none": lambda engine: engine.infer(normal(0, 16)),
    "shape of out": lambda engine: engine.infer(normal(2, 16), out=np.zeros((3, 8), np.float32)),
    "type of out": lambda engine: engine.infer(normal(2, 16), out=np.zeros((2, 8))),
    "no array": lambda engine: engine.infer(None),
}


def test_bad_requests_hurt_nobody_else(batching: fasttrt.Engine, mlp_model: Model) -> None:
    def spoil() -> int:
        for name in BAD:
            for _ in range(5):
                with pytest.raises(fasttrt.InputError):
                    BAD[name](batching)
        return 0

    with ThreadPoolExecutor(THREADS) as pool:
        work: list[Callable[[], int]] = [lambda: _ask(batching, mlp_model, 40)] * (THREADS // 2)
        assert _all(pool, [*work, *[spoil] * (THREADS // 2)]) == 40 * (THREADS // 2)


def test_not_a_number_stays_in_its_row(batching: fasttrt.Engine, mlp_model: Model) -> None:
    def poison() -> int:
        for _ in range(40):
            x = normal(3, 16)
            x[1] = (np.nan, np.inf) * 8
            y = batching.infer(x)
            assert y.shape == (3, 8)
            _right(y[::2], mlp_model, x[::2])
        return 0

    with ThreadPoolExecutor(THREADS) as pool:
        work: list[Callable[[], int]] = [lambda: _ask(batching, mlp_model, 40)] * (THREADS // 2)
        assert _all(pool, [*work, *[poison] * (THREADS // 2)]) == 40 * (THREADS // 2)


def test_arrays_of_every_kind_in_batches(batching: fasttrt.Engine, mlp_model: Model) -> None:
    """Those on the GPU run alone; nobody is to notice."""
    torch = need_torch()

    def tensors() -> int:
        for _ in range(20):
            x = normal(3, 16)
            y = batching.infer(torch.from_numpy(x).cuda())
            _right(y.cpu().numpy(), mlp_model, x)
            out = torch.full((3, 8), torch.nan, device="cuda")
            assert batching.infer(x, out=out) is out
            _right(out.cpu().numpy(), mlp_model, x)
        return 20

    def pinned() -> int:
        for _ in range(20):
            x = normal(2, 16)
            out = fasttrt.empty_pinned((2, 8), np.float32)
            assert batching.infer(_pinned(x), out=out) is out
            _right(out, mlp_model, x)
            _right(batching.infer(np.asfortranarray(x)), mlp_model, x)
        return 20

    with ThreadPoolExecutor(12) as pool:
        asked: list[Callable[[], int]] = [lambda: _ask(batching, mlp_model, 20)] * 4
        assert _all(pool, [*asked, *[tensors] * 4, *[pinned] * 4]) == 20 * 12


def test_several_inputs_in_batches(pair_plan: fasttrt.Plan, pair_model: Model) -> None:
    def ask(engine: fasttrt.Engine) -> int:
        for i in range(40):
            a, b = _pair(1 + i % 3)
            _right_pair(engine.infer(a, b), pair_model, a, b)
            twice = np.zeros_like(b)
            total, same = engine.infer(a, b, out=[None, twice])
            assert same is twice
            _right_pair((total, twice), pair_model, a, b)
            if i % 3:
                with pytest.raises(fasttrt.Error):
                    engine.infer(a, _pair(4)[1])  # other rows than a has
        return 40

    for batching in BATCHINGS.values():
        with (
            fasttrt.Engine(pair_plan, device="cuda", batching=batching) as engine,
            ThreadPoolExecutor(THREADS) as pool,
        ):
            assert _all(pool, [lambda: ask(engine)] * THREADS) == 40 * THREADS


def test_samples_of_several_extents() -> None:
    """Only those of the same extents go together."""
    model = elementwise(("batch", "width"))
    shapes = {"x": ((1, 1), (8, 8), (16, 64))}

    def ask(engine: fasttrt.Engine) -> int:
        rng = new_rng()
        for _ in range(30):
            x = normal(int(rng.integers(1, 4)), int(rng.choice([3, 8, 64])))
            assert_close(engine.infer(x), model.reference(x), ELEMENTWISE)
        return 30

    batching = fasttrt.Batching(16, sizes=(4, 16))
    with (
        open_engine(model, shapes=shapes, batching=batching) as engine,
        ThreadPoolExecutor(THREADS) as pool,
    ):
        assert _all(pool, [lambda: ask(engine)] * THREADS) == 30 * THREADS


@pytest.mark.parametrize("drain", [True, False])
def test_close_waits_for_no_batch_to_fill(
    plan: fasttrt.Plan, mlp_model: Model, drain: bool
) -> None:
    """The delay is longer than any test may take."""
    hours = fasttrt.Batching(MOST, max_delay_us=2**31 - 1)
    engine = fasttrt.Engine(plan, device="cuda", batching=hours)
    xs = _requests(3)
    runs = [engine.submit(x) for x in xs]
    engine.close(drain=drain)
    for x, run in zip(xs, runs, strict=True):
        assert run.cancelled() is not drain
        if drain:
            _right(run.result(0), mlp_model, x)


def test_close_while_batches_fill(plan: fasttrt.Plan, mlp_model: Model) -> None:
    """Each call either is right or says that the engine is closed; and none waits for long."""
    batching = fasttrt.Batching(MOST, max_delay_us=20_000)
    engine = fasttrt.Engine(plan, device="cuda", batching=batching)
    begun = threading.Barrier(THREADS + 1)

    def run() -> int:
        _ask(engine, mlp_model, 2)
        begun.wait(PATIENCE)
        runs, deadline = 0, time.monotonic() + 20
        with pytest.raises(fasttrt.Error, match="closed"):  # noqa: PT012
            while time.monotonic() < deadline:
                _ask(engine, mlp_model, 1)
                runs += 1
        return runs

    with ThreadPoolExecutor(THREADS) as pool:
        running = [pool.submit(run) for _ in range(THREADS)]
        begun.wait(PATIENCE)
        queued = [engine.submit(x) for x in _requests(50)]
        time.sleep(0.1)
        engine.close()
        assert sum(done.result() for done in running) > 0
    for done in queued:
        with suppress(CancelledError, fasttrt.Error):
            assert done.result(PATIENCE).shape[1] == 8


# Refusals


def test_models_that_cannot_be_batched() -> None:
    batching = fasttrt.Batching(8)
    with pytest.raises(fasttrt.InputError, match=r"^x: cannot be batched: .*\(4, 3\)"):
        open_engine(elementwise((4, 3)), batching=batching)
    shapes = {"x": ((1, 4), (4, 4), (8, 4))}
    with pytest.raises(fasttrt.InputError, match=r"^c: cannot be batched: .*\(3,\)"):
        open_engine(constant_output(), shapes=shapes, batching=batching)


def test_batches_that_no_profile_takes(plan: fasttrt.Plan) -> None:
    with pytest.raises(fasttrt.InputError, match=rf"^x: a batch of {MOST + 1} .*max \({MOST}, 16"):
        fasttrt.Engine(plan, device="cuda", batching=fasttrt.Batching(MOST + 1))


# GPUs


@pytest.mark.parametrize(
    "where", [{"device": "cuda:0"}, {"devices": [0]}, {"devices": ["cuda:0"]}], ids=repr
)
def test_one_gpu_by_its_number(plan: fasttrt.Plan, mlp_model: Model, where: dict[str, Any]) -> None:
    with fasttrt.Engine(plan, **where) as engine:
        assert engine.device == "cuda:0"
        xs = _requests(30)
        for x, y in zip(xs, engine.map(xs), strict=True):
            _right(y, mlp_model, x)


def test_a_gpu_that_is_not_there(plan: fasttrt.Plan) -> None:
    with pytest.raises(fasttrt.CudaError):
        fasttrt.Engine(plan, devices=[0, 99])
    with pytest.raises(fasttrt.InputError, match="each GPU once"):
        fasttrt.Engine(plan, devices=[0, 0])


@pytest.fixture(scope="module")
def both(plan: fasttrt.Plan) -> Iterator[fasttrt.Engine]:
    if need_torch().cuda.device_count() < 2:
        pytest.skip("there is one GPU")
    with fasttrt.Engine(plan, devices=[0, 1]) as engine:
        assert engine.device == "cuda:0,1"
        yield engine


def test_kernels_are_compiled_once_for_two_gpus(
    plan: fasttrt.Plan, mlp_model: Model, tmp_path: Path
) -> None:
    if need_torch().cuda.device_count() < 2:
        pytest.skip("there is one GPU")
    if not is_rtx():
        pytest.skip("only TensorRT-RTX compiles kernels for runs")
    x = normal(5, 16)
    with fasttrt.Engine(plan, device="cuda:0", cache=tmp_path) as first:
        _right(first.infer(x), mlp_model, x)
        first_backend: Any = backend_of(first)
        first_backend.store_kernels()
        with fasttrt.Engine(plan, device="cuda:1", cache=tmp_path) as second:
            _right(second.infer(x), mlp_model, x)
            second_backend: Any = backend_of(second)
            assert second_backend.core.runtime_cache() is None  # nothing new
            y = normal(6, 16)
            _right(second.infer(y), mlp_model, y)
            assert second_backend.core.runtime_cache()


def test_two_gpus(both: fasttrt.Engine, mlp_model: Model) -> None:
    xs = _requests(300)
    for x, y in zip(xs, both.map(xs), strict=True):
        _right(y, mlp_model, x)
    with ThreadPoolExecutor(THREADS) as pool:
        assert _all(pool, [lambda: _ask(both, mlp_model, 20)] * THREADS) == 20 * THREADS


def test_tensors_of_two_gpus(both: fasttrt.Engine, mlp_model: Model) -> None:
    """They run where they are."""
    torch = need_torch()
    for _ in range(10):
        for ordinal in (0, 1, 1, 0):
            x = normal(5, 16)
            tensor = torch.from_numpy(x).to(f"cuda:{ordinal}")
            y = both.infer(tensor)
            assert y.device.index == ordinal
            _right(y.cpu().numpy(), mlp_model, x)
            out = torch.full((5, 8), torch.nan, device=f"cuda:{ordinal}")
            assert both.infer(x, out=out) is out
            _right(out.cpu().numpy(), mlp_model, x)
            other = torch.empty((5, 8), device=f"cuda:{1 - ordinal}")
            with pytest.raises(fasttrt.InputError, match=r"cuda:0.*cuda:1|cuda:1.*cuda:0"):
                both.infer(tensor, out=other)


def test_streams_of_two_gpus(both: fasttrt.Engine, mlp_model: Model) -> None:
    torch = need_torch()
    for ordinal in (0, 1):
        side = torch.cuda.Stream(device=ordinal)
        x = normal(5, 16)
        tensor = torch.from_numpy(x).to(f"cuda:{ordinal}")
        torch.cuda.synchronize(ordinal)
        y = both.infer(tensor, stream=side)
        side.synchronize()
        _right(y.cpu().numpy(), mlp_model, x)
        _right(both.infer(x, stream=side), mlp_model, x)
