"""More requests than can run: the limit of the queue, deadlines, priorities, draining."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import CancelledError
from typing import Any

import numpy as np
import pytest

import fasttrt
from fasttrt import DeadlineError, Engine, InputError, QueueFullError
from support import models
from support.assertions import close_to
from support.gate import PATIENCE, Gate, replace_run

Array = models.Array
Opener = Callable[..., tuple[Engine, Gate]]


@pytest.fixture
def opened(mlp_model: models.Model) -> Any:
    """Return a function that opens an engine behind a gate; both are ended after the test."""
    made: list[tuple[Engine, Gate]] = []

    def open_engine(contexts: int = 1, **options: Any) -> tuple[Engine, Gate]:
        engine = Engine(mlp_model.proto, device="cpu", contexts=contexts, **options)
        made.append((engine, Gate(engine)))
        return made[-1]

    yield open_engine
    for engine, gate in made:
        gate.open()
        engine.close()


def occupied(engine: Engine, gate: Gate, x: Array) -> Any:
    """Return the future of a run that stands before the gate, on the only worker."""
    future = engine.submit(x)
    gate.await_arrivals(1)
    return future


# The limit


def test_a_full_queue_refuses(opened: Opener, mlp_model: models.Model) -> None:
    engine, gate = opened(max_queue=3)
    (x,) = mlp_model.inputs()
    running = occupied(engine, gate, x)
    waiting = [engine.submit(x) for _ in range(3)]
    for _ in range(2):
        with pytest.raises(QueueFullError, match="3"):
            engine.submit(x)
        with pytest.raises(QueueFullError):
            engine.infer(x, timeout=PATIENCE)
        with pytest.raises(QueueFullError):
            asyncio.run(engine.ainfer(x))
    assert waiting[1].cancel()
    waiting.append(engine.submit(x))  # where the cancelled one was
    with pytest.raises(QueueFullError):
        engine.submit(x)
    gate.open()
    for future in (running, waiting[0], *waiting[2:]):
        assert future.result(PATIENCE) == close_to(mlp_model.reference(x))
    assert engine.submit(x).result(PATIENCE) == close_to(mlp_model.reference(x))


def test_a_call_that_waits_for_nothing_is_not_refused(
    opened: Opener, mlp_model: models.Model
) -> None:
    """`infer` has its own way to the backend."""
    engine, gate = opened(max_queue=1)
    (x,) = mlp_model.inputs()
    occupied(engine, gate, x)
    engine.submit(x)
    gate.open()
    assert engine.infer(x) == close_to(mlp_model.reference(x))


@pytest.mark.parametrize("in_flight", [1, 2, 8, None])
def test_map_waits_where_the_queue_is_full(
    opened: Opener, mlp_model: models.Model, in_flight: int | None
) -> None:
    engine, gate = opened(max_queue=1)
    gate.open()
    buffer = np.empty((2, 16), np.float32)
    values = [mlp_model.inputs(batch=2)[0] for _ in range(30)]

    def source() -> Any:
        for value in values:
            buffer[...] = value
            yield buffer

    results = engine.map(source(), in_flight=in_flight)
    for value, y in zip(values, results, strict=True):
        buffer.fill(np.nan)
        assert y == close_to(mlp_model.reference(value))


def test_map_is_refused_where_others_fill_the_queue(
    opened: Opener, mlp_model: models.Model
) -> None:
    engine, gate = opened(max_queue=1)
    (x,) = mlp_model.inputs()
    occupied(engine, gate, x)
    waiting = engine.submit(x)
    with pytest.raises(QueueFullError, match="item 0"):
        next(engine.map([x, x]))
    refused = list(engine.map([x, x], errors="return"))
    assert [type(error) for error in refused] == [QueueFullError] * 2
    gate.open()
    assert waiting.result(PATIENCE) == close_to(mlp_model.reference(x))


@pytest.mark.parametrize("value", [0, -1, 1.5, True, "10"])
def test_the_limit_is_a_number(mlp_model: models.Model, value: Any) -> None:
    with pytest.raises(
        InputError, match=r"^max_queue: expected an integer from 1 to 2147483647, or None, got"
    ):
        Engine(mlp_model.proto, device="cpu", max_queue=value)


# Deadlines


def test_what_has_not_begun_in_time_is_not_run(opened: Opener, mlp_model: models.Model) -> None:
    engine, gate = opened()
    (x,) = mlp_model.inputs()
    running = occupied(engine, gate, x)
    late = [engine.submit(x, timeout=0.02) for _ in range(3)]
    patient = engine.submit(x, timeout=PATIENCE)
    for future in late:  # while the only worker is busy
        error = future.exception(PATIENCE)
        assert isinstance(error, DeadlineError)
        assert isinstance(error, TimeoutError)
        assert not future.cancelled()
        with pytest.raises(TimeoutError):
            future.result()
    assert not running.done()
    with pytest.raises(DeadlineError):
        engine.infer(x, timeout=0.02)
    with pytest.raises(DeadlineError):
        asyncio.run(engine.ainfer(x, timeout=0.02))
    gate.open()
    for future in (running, patient):
        assert future.result(PATIENCE) == close_to(mlp_model.reference(x))
    assert gate.begun == 2


def test_what_ends_too_late_is_an_error(opened: Opener, mlp_model: models.Model) -> None:
    engine, gate = opened()
    (x,) = mlp_model.inputs()
    future = engine.submit(x, timeout=0.05)
    gate.await_arrivals(1)
    time.sleep(0.1)
    gate.open()
    assert isinstance(future.exception(PATIENCE), DeadlineError)
    assert gate.ended == 1


def test_deadlines_hurt_no_others(opened: Opener, mlp_model: models.Model) -> None:
    engine, gate = opened(contexts=2)
    gate.open()
    items = [mlp_model.inputs(batch=n)[0] for n in range(1, 101)]
    futures = [engine.submit(x, timeout=0 if n % 3 == 0 else PATIENCE) for n, x in enumerate(items)]
    for n, (x, future) in enumerate(zip(items, futures, strict=True)):
        if n % 3 == 0:
            assert isinstance(future.exception(PATIENCE), DeadlineError)
        else:
            assert future.result(PATIENCE) == close_to(mlp_model.reference(x))


def test_items_of_map_have_deadlines(opened: Opener, mlp_model: models.Model) -> None:
    engine, gate = opened()
    items = [mlp_model.inputs(batch=n)[0] for n in range(1, 4)]
    occupied(engine, gate, items[0])
    late = list(engine.map(items, timeout=0.02, errors="return"))
    assert [type(error) for error in late] == [DeadlineError] * 3
    assert [str(error).partition(":")[0] for error in late] == ["item 0", "item 1", "item 2"]
    gate.open()
    for x, y in zip(items, engine.map(items, timeout=PATIENCE, priority="high"), strict=True):
        assert y == close_to(mlp_model.reference(x))


@pytest.mark.parametrize("value", [None, 60, 60.0, np.float32(60), np.int64(60), 1e300, np.inf])
def test_numbers_of_seconds(opened: Opener, mlp_model: models.Model, value: Any) -> None:
    engine, gate = opened()
    gate.open()
    (x,) = mlp_model.inputs()
    assert engine.submit(x, timeout=value).result(PATIENCE) == close_to(mlp_model.reference(x))


WRONG: dict[str, Any] = {"timeout": [-1, np.nan, True, "1", [1]], "priority": ["urgent", 1, None]}


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in WRONG.items() for value in values]
)
def test_wrong_options_are_named(
    opened: Opener, mlp_model: models.Model, name: str, value: Any
) -> None:
    engine, gate = opened()
    gate.open()
    (x,) = mlp_model.inputs()
    match = f"^{name}: expected .*, got "
    option: dict[str, Any] = {name: value}
    with pytest.raises(InputError, match=match):
        engine.infer(x, **option)
    with pytest.raises(InputError, match=match):
        engine.submit(x, **option).result(PATIENCE)
    with pytest.raises(InputError, match=match):
        asyncio.run(engine.ainfer(x, **option))
    with pytest.raises(InputError, match=match):
        engine.map([x], **option)


# Priorities


def test_high_priority_comes_first(opened: Opener, mlp_model: models.Model) -> None:
    engine, gate = opened()
    order: list[int] = []
    run = engine._run

    def noting(arrays: Any, out: Any, stream: Any = None) -> Any:
        order.append(len(arrays[0]))
        return run(arrays, out)

    replace_run(engine, noting)
    items = [mlp_model.inputs(batch=n)[0] for n in range(1, 10)]
    futures = [occupied(engine, gate, items[0])]
    futures += [engine.submit(x) for x in items[1:4]]
    futures += [engine.submit(x, priority="high") for x in items[4:6]]
    futures += [engine.submit(x, priority="normal") for x in items[6:]]
    gate.open()
    for x, future in zip(items, futures, strict=True):
        assert future.result(PATIENCE) == close_to(mlp_model.reference(x))
    assert order == [1, 5, 6, 2, 3, 4, 7, 8, 9]
    assert engine.infer(items[0], priority="high") == close_to(mlp_model.reference(items[0]))


# The end


def test_draining_runs_what_waits(opened: Opener, mlp_model: models.Model) -> None:
    engine, gate = opened(contexts=2)
    items = [mlp_model.inputs(batch=n)[0] for n in range(1, 20)]
    futures = [engine.submit(x) for x in items]
    gate.await_arrivals(2)
    closing = threading.Thread(target=lambda: engine.close(drain=True))
    closing.start()
    with pytest.raises(fasttrt.Error, match="the engine is closed"):  # noqa: PT012
        while True:  # until it has begun to close
            futures.append(engine.submit(items[0]))
    gate.open()
    closing.join(PATIENCE)
    assert not closing.is_alive()
    for x, future in zip(items, futures, strict=False):
        assert future.result(0) == close_to(mlp_model.reference(x))
    for future in futures[len(items) :]:
        assert future.result(0) == close_to(mlp_model.reference(items[0]))


def test_closing_cancels_what_waits(opened: Opener, mlp_model: models.Model) -> None:
    engine, gate = opened()
    (x,) = mlp_model.inputs()
    running = occupied(engine, gate, x)
    waiting = [engine.submit(x) for _ in range(5)]
    found: list[BaseException] = []

    def blocked() -> None:
        try:
            engine.infer(x, priority="high")
        except fasttrt.Error as error:
            found.append(error)

    caller = threading.Thread(target=blocked)
    caller.start()
    closing = threading.Thread(target=engine.close)
    closing.start()
    for future in waiting:
        with pytest.raises(CancelledError):
            future.result(PATIENCE)
    gate.open()
    for thread in (closing, caller):
        thread.join(PATIENCE)
        assert not thread.is_alive()
    assert running.result(0) == close_to(mlp_model.reference(x))
    assert [str(error) for error in found] == ["the engine is closed"]


def test_a_bad_request_hurts_no_others(opened: Opener, mlp_model: models.Model) -> None:
    engine, gate = opened(contexts=2)
    gate.open()
    items = [mlp_model.inputs(batch=n)[0] for n in range(1, 41)]
    futures = [engine.submit(x[:, 1:] if n % 4 == 1 else x) for n, x in enumerate(items)]
    for n, (x, future) in enumerate(zip(items, futures, strict=True)):
        if n % 4 == 1:
            assert isinstance(future.exception(PATIENCE), InputError)
        else:
            assert future.result(PATIENCE) == close_to(mlp_model.reference(x))


@pytest.mark.parametrize("drain", [None, 1, "yes"])
def test_drain_is_true_or_false(engine: Engine, drain: Any) -> None:
    with pytest.raises(InputError, match="drain: expected True or False"):
        engine.close(drain=drain)
