"""The futures of `Engine.submit`, as ``concurrent.futures`` and asyncio use them."""

from __future__ import annotations

import asyncio
import copy
import gc
import pickle
import threading
import time
import traceback
import weakref
from collections.abc import Iterator
from concurrent.futures import (
    ALL_COMPLETED,
    FIRST_COMPLETED,
    FIRST_EXCEPTION,
    CancelledError,
    Future,
    as_completed,
    wait,
)
from concurrent.futures import TimeoutError as WaitTimeoutError
from typing import Any

import numpy as np
import pytest

from fasttrt import Engine, InputError
from support import models
from support.assertions import close_to
from support.gate import PATIENCE, Gate, replace_run

Array = models.Array


@pytest.fixture
def engine(mlp_model: models.Model) -> Iterator[Engine]:
    """An engine that runs one request after the other."""
    with Engine(mlp_model.proto, device="cpu", contexts=1) as engine:
        yield engine


@pytest.fixture
def gate(engine: Engine) -> Iterator[Gate]:
    gate = Gate(engine)
    yield gate
    gate.open()


def batches(mlp_model: models.Model, count: int) -> list[Array]:
    return [mlp_model.inputs(batch=n)[0] for n in range(1, count + 1)]


def test_results_come_without_a_thread_of_python(engine: Engine, mlp_model: models.Model) -> None:
    before = set(threading.enumerate())
    for x in batches(mlp_model, 10):
        future = engine.submit(x)
        assert future.result(PATIENCE) == close_to(mlp_model.reference(x))
        assert future.exception() is None
        assert future.done()
        assert not future.running()
        assert not future.cancelled()
        assert not future.cancel()
    assert [t for t in set(threading.enumerate()) - before if t.name.startswith("fasttrt")] == []


def test_everybody_gets_the_same_result(
    engine: Engine, mlp_model: models.Model, gate: Gate
) -> None:
    (x,) = mlp_model.inputs()
    future = engine.submit(x)
    found: list[Any] = []
    threads = [threading.Thread(target=lambda: found.append(future.result())) for _ in range(8)]
    for thread in threads:
        thread.start()
    gate.open()
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive()
    assert len(found) == 8
    assert all(result is found[0] for result in (*found, future.result()))


def test_a_wait_for_the_result_can_time_out(
    engine: Engine, mlp_model: models.Model, gate: Gate
) -> None:
    (x,) = mlp_model.inputs()
    running, waiting = engine.submit(x), engine.submit(x)
    gate.await_arrivals(1)
    for future in (running, waiting):
        with pytest.raises(WaitTimeoutError):
            future.result(0.01)
        with pytest.raises(WaitTimeoutError):
            future.exception(timeout=0)
        assert not future.done()
    assert running.running()
    assert not waiting.running()
    gate.open()
    assert waiting.result(PATIENCE) == close_to(mlp_model.reference(x))


def test_errors_are_raised_to_everybody(engine: Engine, mlp_model: models.Model) -> None:
    future = engine.submit(mlp_model.inputs()[0][:, 1:])
    found = future.exception(PATIENCE)
    assert isinstance(found, InputError)
    for _ in range(3):
        with pytest.raises(InputError) as caught:
            future.result()
        assert caught.value is found
    assert future.done()
    assert not future.cancelled()


def test_errors_of_others_keep_their_traceback(engine: Engine, mlp_model: models.Model) -> None:
    def run_and_fail(arrays: Any, out: Any) -> Any:
        raise LookupError("no such thing")

    replace_run(engine, run_and_fail)
    with pytest.raises(LookupError, match="no such thing") as caught:
        engine.submit(mlp_model.inputs()[0]).result(PATIENCE)
    assert "run_and_fail" in "".join(traceback.format_tb(caught.value.__traceback__))


@pytest.mark.parametrize("ask", [lambda f: f.exception(), lambda f: wait([f])])
def test_a_future_with_an_error_is_let_go_of(
    engine: Engine, mlp_model: models.Model, ask: Any
) -> None:
    future = engine.submit(mlp_model.inputs()[0][:, 1:])
    ask(future)
    gone = weakref.ref(future)
    gc.disable()  # not for the collector of cycles to do
    try:
        engine.submit(mlp_model.inputs()[0]).add_done_callback(lambda _: None)
        engine.infer(mlp_model.inputs()[0])
        del future
        assert_gone(gone)
    finally:
        gc.enable()


def assert_gone(reference: weakref.ref[Any]) -> None:
    """The thread for callbacks lets go of a future shortly after it was published."""
    for _ in range(1000):
        if reference() is None:
            return
        threading.Event().wait(0.01)
    raise AssertionError(f"{reference()} is still held")


# concurrent.futures


def test_all_can_be_waited_for(engine: Engine, mlp_model: models.Model) -> None:
    items = batches(mlp_model, 30)
    futures = [engine.submit(x) for x in items]
    done, others = wait(futures, PATIENCE)
    assert (len(done), len(others)) == (30, 0)
    for x, future in zip(items, futures, strict=True):
        assert future.result(0) == close_to(mlp_model.reference(x))


def test_futures_of_several_engines_are_waited_for(engine: Engine, mlp_model: models.Model) -> None:
    (x,) = mlp_model.inputs()
    with Engine(mlp_model.proto, device="cpu") as other:
        futures = [e.submit(x) for e in (engine, other) * 20]
        strange: Future[Any] = Future()
        strange.set_result(x)
        assert len(wait([*futures, strange], PATIENCE).done) == 41


@pytest.mark.parametrize("until", [FIRST_COMPLETED, FIRST_EXCEPTION, ALL_COMPLETED])
def test_the_first_can_be_waited_for(
    engine: Engine, mlp_model: models.Model, gate: Gate, until: str
) -> None:
    (x,) = mlp_model.inputs()
    futures = [engine.submit(y) for y in (x, x[:, 1:], x)]
    gate.await_arrivals(1)
    assert wait(futures, 0.01, until).not_done == set(futures)
    gate.open()
    done = wait(futures, PATIENCE, until).done
    if until == FIRST_EXCEPTION:
        assert futures[1] in done
    elif until == ALL_COMPLETED:
        assert done == set(futures)
    assert done


def test_they_come_as_they_are_completed(engine: Engine, mlp_model: models.Model) -> None:
    items = batches(mlp_model, 30)
    futures = {engine.submit(x): x for x in items}
    seen = []
    for future in as_completed(futures, PATIENCE):
        assert future.result(0) == close_to(mlp_model.reference(futures[future]))
        seen.append(future)
    assert set(seen) == set(futures)
    assert list(as_completed(seen, 0)) != []  # again, of those that are done


def test_as_completed_can_time_out(engine: Engine, mlp_model: models.Model, gate: Gate) -> None:
    with pytest.raises(WaitTimeoutError):
        list(as_completed([engine.submit(mlp_model.inputs()[0])], 0.01))


def test_callbacks_are_called_once(engine: Engine, mlp_model: models.Model, gate: Gate) -> None:
    (x,) = mlp_model.inputs()
    called: list[tuple[str, Future[Any]]] = []
    last = threading.Event()
    future = engine.submit(x)
    future.add_done_callback(lambda f: called.append(("first", f)))
    future.add_done_callback(lambda f: called.append(("second", f)))
    gate.await_arrivals(1)
    assert called == []
    gate.open()
    assert future.result(PATIENCE) == close_to(mlp_model.reference(x))
    future.add_done_callback(lambda f: last.set())
    assert last.wait(PATIENCE)
    assert called == [("first", future), ("second", future)]


def test_a_callback_of_what_is_done_is_called_at_once(
    engine: Engine, mlp_model: models.Model
) -> None:
    future = engine.submit(mlp_model.inputs()[0])
    future.result(PATIENCE)
    called: list[Any] = []
    future.add_done_callback(lambda f: called.append(threading.current_thread()))
    assert called == [threading.current_thread()]


def test_a_callback_that_fails_hurts_nobody(
    engine: Engine, mlp_model: models.Model, gate: Gate, caplog: pytest.LogCaptureFixture
) -> None:
    (x,) = mlp_model.inputs()

    def fail(future: Future[Any]) -> None:
        raise SystemExit if len(future.result()) == 3 else LookupError

    called = threading.Event()
    parts = (x, x[:2], x)
    futures = [engine.submit(part) for part in parts]
    for future in futures[:2]:  # while they wait: else it would be called on this thread
        future.add_done_callback(fail)
    futures[2].add_done_callback(lambda f: called.set())
    gate.open()
    for future, part in zip(futures, parts, strict=True):
        assert future.result(PATIENCE) == close_to(mlp_model.reference(part))
    assert called.wait(PATIENCE)
    end = time.monotonic() + PATIENCE  # the callbacks are called in the order of completion
    while {type(r.exc_info[1]) for r in caplog.records if r.exc_info} != {SystemExit, LookupError}:
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_callback_may_submit_and_wait(engine: Engine, mlp_model: models.Model) -> None:
    (x,) = mlp_model.inputs()
    found: list[Any] = []
    done = threading.Event()

    def again(future: Future[Any]) -> None:
        found.append(engine.submit(x).result(PATIENCE))
        done.set()

    engine.submit(x).add_done_callback(again)
    assert done.wait(PATIENCE)
    assert found[0] == close_to(mlp_model.reference(x))


def test_what_waits_can_be_cancelled(engine: Engine, mlp_model: models.Model, gate: Gate) -> None:
    (x,) = mlp_model.inputs()
    running, waiting, watched = (engine.submit(x) for _ in range(3))
    gate.await_arrivals(1)
    called: list[Future[Any]] = []
    watched.add_done_callback(called.append)
    assert not running.cancel()
    for future in (waiting, watched):
        assert future.cancel()
        assert future.cancel()  # as in the standard library
        assert future.cancelled()
        assert future.done()
        with pytest.raises(CancelledError):
            future.result()
        with pytest.raises(CancelledError):
            future.exception()
    assert called == [watched]
    assert wait([waiting, watched], 0).not_done == set()
    gate.open()
    assert running.result(PATIENCE) == close_to(mlp_model.reference(x))
    assert not running.cancelled()
    assert gate.begun == 1


def test_a_thread_that_waits_learns_of_a_cancellation(
    engine: Engine, mlp_model: models.Model, gate: Gate
) -> None:
    (x,) = mlp_model.inputs()
    engine.submit(x)
    gate.await_arrivals(1)
    future = engine.submit(x)
    found: list[Any] = []

    def ask() -> None:
        with pytest.raises(CancelledError):
            future.result(PATIENCE)
        found.append(wait([future], PATIENCE).done)

    thread = threading.Thread(target=ask)
    thread.start()
    future.cancel()
    thread.join(PATIENCE)
    assert found == [{future}]


def test_a_future_may_be_watched_while_its_engine_is_closed(
    engine: Engine, mlp_model: models.Model, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    (x,) = mlp_model.inputs()
    running, waiting = engine.submit(x), engine.submit(x)
    gate.await_arrivals(1)
    running.add_done_callback(lambda _: None)  # so that the thread for callbacks is there
    collector = engine._queue.collector
    add = collector.add

    def add_later(future: Any, request: Any) -> None:
        closing = threading.Thread(target=engine.close)
        closing.start()
        assert request.wait(PATIENCE)  # cancelled, while the other one goes on
        gate.open()
        closing.join(PATIENCE)
        assert not closing.is_alive()
        add(future, request)

    monkeypatch.setattr(collector, "add", add_later)
    assert wait([waiting], PATIENCE).done == {waiting}
    assert waiting.cancelled()


def test_asyncio_wraps_them(engine: Engine, mlp_model: models.Model, gate: Gate) -> None:
    (x,) = mlp_model.inputs()
    bad = x[:, 1:]

    async def ask() -> Any:
        running = asyncio.wrap_future(engine.submit(x))
        await asyncio.to_thread(gate.await_arrivals, 1)
        waiting = engine.submit(x)
        wrapped = asyncio.wrap_future(waiting)
        wrapped.cancel()
        await asyncio.wait([wrapped])
        assert waiting.cancelled()
        failing = asyncio.wrap_future(engine.submit(bad))
        gate.open()
        with pytest.raises(InputError):
            await failing
        return await running

    assert asyncio.run(ask()) == close_to(mlp_model.reference(x))


def test_they_are_futures(engine: Engine, mlp_model: models.Model, gate: Gate) -> None:
    (x,) = mlp_model.inputs()
    running, waiting = engine.submit(x), engine.submit(x)
    gate.await_arrivals(1)
    assert isinstance(running, Future)
    assert "running" in repr(running)
    assert "pending" in repr(waiting)
    waiting.cancel()
    assert "cancelled" in repr(waiting)
    gate.open()
    running.result(PATIENCE)
    assert "finished" in repr(running)
    for future in (running, waiting):
        for spread in (pickle.dumps, copy.copy):
            with pytest.raises(TypeError, match="cannot pickle"):
                spread(future)
    with pytest.raises(AttributeError, match="no attribute 'value'"):
        running.value  # type: ignore[attr-defined]  # noqa: B018


def test_results_written_into_memory_of_the_caller(engine: Engine, mlp_model: models.Model) -> None:
    (x,) = mlp_model.inputs()
    y = np.full((3, 8), np.nan, np.float32)
    future = engine.submit({"x": x}, out={"y": y})
    assert future.result(PATIENCE)["y"] is y
    assert y == close_to(mlp_model.reference(x))
