"""`Engine.submit`: results, threads, and what closing does to them."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor, wait
from typing import Any

import numpy as np
import pytest

import fasttrt
from fasttrt import Batching, Engine, InputError
from fasttrt._runtime.request_queue import concurrent_runs
from support import models
from support.assertions import close_to
from support.gate import PATIENCE, Gate
from support.process import python_output
from support.threads import await_end, threads

Array = models.Array


# Results


def test_every_future_has_its_own_result(engine: Engine, mlp_model: models.Model) -> None:
    batches = [mlp_model.inputs(batch=n)[0] for n in range(1, 60)]
    futures = [engine.submit(x) for x in batches]
    for x, future in zip(batches, futures, strict=True):
        assert isinstance(future, Future)
        assert future.result(PATIENCE) == close_to(mlp_model.reference(x))


def test_all_forms_of_calls_are_taken() -> None:
    mlp_model = models.several()
    a, b = mlp_model.inputs()
    total, twice = mlp_model.reference(a, b)
    with Engine(mlp_model.proto, device="cpu") as engine:
        by_place = engine.submit(a, b).result(PATIENCE)
        assert isinstance(by_place, tuple)
        assert by_place[0] == close_to(total)
        np.testing.assert_array_equal(by_place[1], twice)
        by_name = engine.submit({"b": b, "a": a}).result(PATIENCE)
        assert list(by_name) == ["sum", "twice"]
        assert by_name["sum"] == close_to(total)
        target = np.zeros((3, 1), np.int32)
        assert engine.submit(a, b, out=[None, target]).result(PATIENCE)[1] is target
        np.testing.assert_array_equal(target, twice)
        small = b.astype(np.int8)
        np.testing.assert_array_equal(engine.submit(a, small, cast=True).result(PATIENCE)[1], twice)


def test_many_threads_submit(engine: Engine, mlp_model: models.Model) -> None:
    def ask(rows: int) -> tuple[Array, Array]:
        (x,) = mlp_model.inputs(batch=rows)
        return x, engine.submit(x).result(PATIENCE)

    with ThreadPoolExecutor(8) as pool:
        for x, y in pool.map(ask, range(1, 61)):
            assert y == close_to(mlp_model.reference(x))


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ((), "expected 1 inputs (x), got 0"),
        (
            (np.zeros((2, 16)),),
            "x: expected dtype float32, got float64; convert it, as in x.astype(np.float32)",
        ),
        ((np.zeros((2, 15), "f4"),), "x: expected shape (-1, 16) (-1 is any), got (2, 15)"),
        (({"z": 1},), "expected inputs named ['x'], got ['z']"),
    ],
)
def test_refusals_come_through_the_future(
    engine: Engine, mlp_model: models.Model, inputs: tuple[Any, ...], message: str
) -> None:
    error = engine.submit(*inputs).exception(PATIENCE)
    assert isinstance(error, InputError)
    assert str(error) == message
    (x,) = mlp_model.inputs()
    assert engine.submit(x).result(PATIENCE) == close_to(mlp_model.reference(x))


# Threads


@pytest.mark.parametrize("contexts", [1, 3])
def test_as_many_run_at_once_as_there_are_contexts(mlp_model: models.Model, contexts: int) -> None:
    (x,) = mlp_model.inputs()
    with Engine(mlp_model.proto, device="cpu", contexts=contexts) as engine:
        engine.infer(x)
        before = threads()
        gate = Gate(engine)
        futures = [engine.submit(x) for _ in range(contexts + 4)]
        gate.await_arrivals(contexts)
        assert len(threads() - before) == contexts
        assert [future.running() for future in futures] == [True] * contexts + [False] * 4
        gate.open()
        assert len(wait(futures, PATIENCE).done) == contexts + 4
    await_end(before)


@pytest.mark.parametrize(
    ("contexts", "batching", "ordinals", "expected"),
    [
        (2, None, None, 2),
        (2, Batching(32), None, 2),  # the CPU gathers nothing
        (2, None, [0], 2),
        (2, None, [0, 3, 5], 6),
        (2, Batching(8), [0], 16),
        (2, Batching(8), [0, 1], 32),
        (2, Batching(1000), [0], 256),
        (20, Batching(2), [0], 20),
        (500, Batching(1000), [0], 500),
    ],
)
def test_requests_enough_to_fill_batches_are_concurrent(
    contexts: int, batching: Batching | None, ordinals: list[int] | None, expected: int
) -> None:
    assert concurrent_runs(contexts, batching, ordinals) == expected


# The end


def test_a_closed_engine_takes_nothing(engine: Engine, mlp_model: models.Model) -> None:
    (x,) = mlp_model.inputs()
    y = engine.submit(x).result(PATIENCE)
    engine.close()
    engine.close()
    with pytest.raises(fasttrt.Error, match="the engine is closed"):
        engine.submit(x)
    with pytest.raises(fasttrt.Error, match="the engine is closed"):
        asyncio.run(engine.ainfer(x))
    with pytest.raises(fasttrt.Error, match="the engine is closed"):
        engine.infer(x, timeout=PATIENCE)
    assert y == close_to(mlp_model.reference(x))


def test_closing_finishes_what_runs_and_cancels_what_waits(mlp_model: models.Model) -> None:
    engine = Engine(mlp_model.proto, device="cpu", contexts=2)
    gate = Gate(engine)
    batches = [mlp_model.inputs(batch=n)[0] for n in range(1, 7)]
    futures = [engine.submit(x) for x in batches]
    gate.await_arrivals(2)
    others: list[Any] = []
    waiting = threading.Thread(target=lambda: others.append(wait(futures)))
    waiting.start()
    last = threading.Event()
    futures[-1].add_done_callback(lambda future: last.set())
    closing = threading.Thread(target=engine.close)
    closing.start()
    assert last.wait(PATIENCE)
    assert closing.is_alive()  # for two still run
    gate.open()
    closing.join(PATIENCE)
    waiting.join(PATIENCE)
    assert not closing.is_alive()
    assert not waiting.is_alive()
    assert len(others[0].done) == 6
    for x, future in zip(batches[:2], futures, strict=False):
        assert future.result() == close_to(mlp_model.reference(x))
    for future in futures[2:]:
        assert future.cancelled()
        with pytest.raises(CancelledError):
            future.result()
    assert gate.begun == 2


def test_a_callback_may_close_the_engine(mlp_model: models.Model) -> None:
    (x,) = mlp_model.inputs()
    mlp_model.reference(x)  # numpy's threads
    before = threads()
    engine = Engine(mlp_model.proto, device="cpu", contexts=2)
    gate = Gate(engine)
    closed = threading.Event()

    def close(future: Future[Any]) -> None:
        engine.close()
        closed.set()

    futures = [engine.submit(x) for _ in range(5)]
    futures[0].add_done_callback(close)
    futures[1].add_done_callback(lambda future: engine.close())
    gate.open()
    assert closed.wait(PATIENCE)
    assert futures[0].result() == close_to(mlp_model.reference(x))
    assert len(wait(futures, PATIENCE).done) == 5
    await_end(before)


def test_an_engine_that_nobody_holds_takes_its_threads_along(mlp_model: models.Model) -> None:
    before = threads()
    engine = Engine(mlp_model.proto, device="cpu")
    (x,) = mlp_model.inputs()
    future = engine.submit(x)
    assert wait([future], PATIENCE).done
    assert len(threads() - before) >= 2  # one that runs, and one for the callbacks
    gone = weakref.ref(engine)
    del engine, future
    gc.collect()
    assert gone() is None
    await_end(before)


def test_futures_outlive_the_name_of_their_engine(mlp_model: models.Model) -> None:
    engine = Engine(mlp_model.proto, device="cpu", contexts=1)
    gate = Gate(engine)
    batches = [mlp_model.inputs(batch=n)[0] for n in range(1, 6)]
    futures = [engine.submit(x) for x in batches]
    del engine
    gate.open()
    for x, future in zip(batches, futures, strict=True):
        assert future.result(PATIENCE) == close_to(mlp_model.reference(x))


def test_the_process_ends_with_work_in_the_queue() -> None:
    code = """
        import fasttrt
        from support.models import mlp
        made = mlp()
        engine = fasttrt.Engine(made.proto, device="cpu")
        futures = [engine.submit(*made.inputs()) for _ in range(50)]
        print(futures[0].result().shape)
    """
    assert python_output(code) == "(3, 8)"
