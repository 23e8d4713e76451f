"""`Engine.submit` and `Engine.ainfer`: results, threads, and what closing does to them."""

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
from fasttrt._runtime.workers import Workers, worker_count
from support import models
from support.assertions import close_to
from support.gate import PATIENCE, Gate
from support.process import python_output

Array = models.Array


def workers() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name.startswith("fasttrt-")}


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
    before = workers()
    (x,) = mlp_model.inputs()
    with Engine(mlp_model.proto, device="cpu", contexts=contexts) as engine:
        engine.infer(x)
        assert workers() - before == set()  # none without need
        gate = Gate(engine)
        futures = [engine.submit(x) for _ in range(contexts + 4)]
        gate.await_arrivals(contexts)
        assert len(workers() - before) == contexts
        assert [future.running() for future in futures] == [True] * contexts + [False] * 4
        gate.open()
        assert len(wait(futures, PATIENCE).done) == contexts + 4
    assert workers() - before == set()


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
def test_there_are_threads_enough_to_fill_batches(
    contexts: int, batching: Batching | None, ordinals: list[int] | None, expected: int
) -> None:
    assert worker_count(contexts, batching, ordinals) == expected


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


def test_what_runs_is_hurried_when_nothing_else_can_begin() -> None:
    group, hurried, begun = Workers(2), threading.Event(), threading.Barrier(3)

    def run() -> bool:
        begun.wait(PATIENCE)
        return hurried.wait(PATIENCE)

    running = [group.submit(run) for _ in range(2)]
    waiting = [group.submit(run) for _ in range(3)]
    begun.wait(PATIENCE)

    def flush() -> None:
        assert all(future.cancelled() for future in waiting)
        hurried.set()

    group.close(flush)
    assert [future.result(PATIENCE) for future in running] == [True, True]


def test_a_callback_may_close_the_engine(mlp_model: models.Model) -> None:
    engine = Engine(mlp_model.proto, device="cpu", contexts=2)
    gate = Gate(engine)
    (x,) = mlp_model.inputs()
    before = workers()
    closed = threading.Event()

    def close(future: Future[Any]) -> None:
        engine.close()
        closed.set()

    futures = [engine.submit(x) for _ in range(5)]
    started = workers() - before
    futures[0].add_done_callback(close)
    futures[1].add_done_callback(lambda future: engine.close())
    gate.open()
    assert closed.wait(PATIENCE)
    assert futures[0].result() == close_to(mlp_model.reference(x))
    assert len(wait(futures, PATIENCE).done) == 5
    for thread in started:
        thread.join(PATIENCE)
        assert not thread.is_alive()


def test_an_engine_that_nobody_holds_takes_its_threads_along(mlp_model: models.Model) -> None:
    before = workers()
    engine = Engine(mlp_model.proto, device="cpu")
    (x,) = mlp_model.inputs()
    engine.submit(x).result(PATIENCE)
    started = workers() - before
    assert started
    gone = weakref.ref(engine)
    del engine
    for thread in started:
        gc.collect()
        thread.join(PATIENCE)
        assert not thread.is_alive()
    assert gone() is None


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


# asyncio


def test_results_can_be_awaited(engine: Engine, mlp_model: models.Model) -> None:
    batches = [mlp_model.inputs(batch=n)[0] for n in range(1, 30)]

    async def ask() -> list[Any]:
        results: list[Any] = await asyncio.gather(*(engine.ainfer(x) for x in batches))
        return results

    for x, y in zip(batches, asyncio.run(ask()), strict=True):
        assert y == close_to(mlp_model.reference(x))


def test_arguments_of_ainfer_are_those_of_infer(engine: Engine, mlp_model: models.Model) -> None:
    (x,) = mlp_model.inputs()
    half = x.astype(np.float16)
    target = np.zeros((3, 8), np.float32)

    async def ask() -> Any:
        return await engine.ainfer({"x": half}, out={"y": target}, cast=True)

    assert asyncio.run(ask())["y"] is target
    assert target == close_to(mlp_model.reference(half))


def test_errors_can_be_awaited(engine: Engine) -> None:
    with pytest.raises(InputError, match=r"^x: expected dtype float32, got int64"):
        asyncio.run(engine.ainfer(np.zeros((2, 16), np.int64)))


def test_the_loop_goes_on_while_a_run_is_awaited(engine: Engine, mlp_model: models.Model) -> None:
    gate = Gate(engine)
    (x,) = mlp_model.inputs()

    async def ask() -> Array:
        task = asyncio.create_task(engine.ainfer(x))
        await asyncio.sleep(0)  # the task begins
        gate.open()  # only reached if the task let go of the loop
        y: Array = await asyncio.wait_for(task, PATIENCE)
        return y

    assert asyncio.run(ask()) == close_to(mlp_model.reference(x))


def test_cancelled_tasks_leave_the_engine_alone(mlp_model: models.Model) -> None:
    with Engine(mlp_model.proto, device="cpu", contexts=1) as engine:
        gate = Gate(engine)
        batches = [mlp_model.inputs(batch=n)[0] for n in range(1, 5)]

        async def ask() -> list[Any]:
            tasks = [asyncio.create_task(engine.ainfer(x)) for x in batches]
            await asyncio.to_thread(gate.await_arrivals, 1)
            tasks[0].cancel()  # runs
            tasks[2].cancel()  # waits
            await asyncio.wait([tasks[0], tasks[2]])
            gate.open()
            results: list[Any] = await asyncio.gather(*tasks, return_exceptions=True)
            return results

        results = asyncio.run(ask())
        for i in (0, 2):
            assert isinstance(results[i], asyncio.CancelledError)
        for i in (1, 3):
            assert results[i] == close_to(mlp_model.reference(batches[i]))
        assert engine.submit(batches[0]).result(PATIENCE) == close_to(
            mlp_model.reference(batches[0])
        )
        assert gate.begun == 4  # the one that waited never ran


def test_closing_cancels_tasks_that_wait(mlp_model: models.Model) -> None:
    engine = Engine(mlp_model.proto, device="cpu", contexts=1)
    gate = Gate(engine)
    (x,) = mlp_model.inputs()

    async def ask() -> list[Any]:
        tasks = [asyncio.create_task(engine.ainfer(x)) for _ in range(3)]
        await asyncio.to_thread(gate.await_arrivals, 1)
        closing = asyncio.create_task(asyncio.to_thread(engine.close))
        await asyncio.wait(tasks[1:])
        gate.open()
        await closing
        results: list[Any] = await asyncio.gather(*tasks, return_exceptions=True)
        return results

    first, *others = asyncio.run(ask())
    assert first == close_to(mlp_model.reference(x))
    assert [type(other) for other in others] == [asyncio.CancelledError] * 2
