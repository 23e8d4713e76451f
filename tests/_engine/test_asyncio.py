"""`Engine.ainfer`: event loops, cancelled tasks, and what closing does to them."""

from __future__ import annotations

import asyncio
import gc
import threading
import warnings
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fasttrt
from fasttrt import Engine, InputError
from fasttrt._runtime import event_loops
from support import models
from support.assertions import close_to
from support.gate import PATIENCE, Gate

Array = models.Array


# Results


def ask(engine: Engine, mlp_model: models.Model, count: int, run: Any = asyncio.run) -> None:
    """Run an event loop, and check what its tasks get."""
    batches = [mlp_model.inputs(batch=n)[0] for n in range(1, count + 1)]

    async def all_of_them() -> list[Any]:
        results: list[Any] = await asyncio.gather(*map(engine.ainfer, batches))
        return results

    for x, y in zip(batches, run(all_of_them()), strict=True):
        assert y == close_to(mlp_model.reference(x))


def test_results_can_be_awaited(engine: Engine, mlp_model: models.Model) -> None:
    ask(engine, mlp_model, 30)


@pytest.mark.parametrize("count", [1, 2, 40])
def test_a_loop_may_poll_for_results(engine: Engine, mlp_model: models.Model, count: int) -> None:
    """As it does for those of a GPU: they are the same, and other tasks go on."""
    engine._queue.polls = True
    for _ in range(5):
        ask(engine, mlp_model, count)
    gate = Gate(engine)
    (x,) = mlp_model.inputs()

    async def wait_long() -> Array:
        task = asyncio.create_task(engine.ainfer(x))
        for _ in range(20):
            await asyncio.sleep(0.001)
        gate.open()
        y: Array = await task
        for _ in range(5):
            assert await engine.ainfer(x) == close_to(mlp_model.reference(x))
        return y

    assert asyncio.run(wait_long()) == close_to(mlp_model.reference(x))


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


# The end


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


# Loops


def test_loops_of_several_threads_share_an_engine(engine: Engine, mlp_model: models.Model) -> None:
    failures: list[BaseException] = []

    def run() -> None:
        try:
            for _ in range(3):  # each a loop of its own
                ask(engine, mlp_model, 20)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive()
    assert failures == []


def test_one_loop_asks_several_engines(mlp_model: models.Model) -> None:
    other_model = models.several()
    a, b = other_model.inputs()
    (x,) = mlp_model.inputs()

    async def both(first: Engine, second: Engine) -> Any:
        return await asyncio.gather(first.ainfer(x), second.ainfer(a, b))

    with (
        Engine(mlp_model.proto, device="cpu") as first,
        Engine(other_model.proto, device="cpu") as second,
    ):
        y, (total, _) = asyncio.run(both(first, second))
    assert y == close_to(mlp_model.reference(x))
    assert total == close_to(other_model.reference(a, b)[0])


def test_a_loop_that_is_closed_meanwhile_harms_nobody(mlp_model: models.Model) -> None:
    with Engine(mlp_model.proto, device="cpu", contexts=1) as engine:
        gate = Gate(engine)
        (x,) = mlp_model.inputs()
        loop = asyncio.new_event_loop()
        tasks = [loop.create_task(engine.ainfer(x)) for _ in range(3)]
        loop.run_until_complete(asyncio.sleep(0))
        gate.await_arrivals(1)
        loop.close()
        gate.open()
        assert engine.submit(x).result(PATIENCE) == close_to(mlp_model.reference(x))
        gone = weakref.ref(loop)
        for task in tasks:
            task._log_destroy_pending = False  # type: ignore[attr-defined]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # coroutines that were never finished
            del loop, tasks, task
            ask(engine, mlp_model, 5)
            gc.collect()
        assert gone() is None


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_loops_that_end_leave_no_files_open(engine: Engine, mlp_model: models.Model) -> None:
    ask(engine, mlp_model, 2)
    gc.collect()
    before = open_files()
    for _ in range(20):
        ask(engine, mlp_model, 2)
    gc.collect()
    assert open_files() <= before


class WithoutReaders(asyncio.SelectorEventLoop):
    """Like Windows' proactor loop."""

    def add_reader(self, *arguments: Any) -> None:  # type: ignore[override]
        raise NotImplementedError


def test_a_loop_that_watches_no_files(engine: Engine, mlp_model: models.Model) -> None:
    loop = WithoutReaders()
    try:
        ask(engine, mlp_model, 20, loop.run_until_complete)
        with pytest.raises(InputError):
            loop.run_until_complete(engine.ainfer(mlp_model.inputs()[0][:, 1:]))
    finally:
        loop.close()


def test_uvloop(engine: Engine, mlp_model: models.Model) -> None:
    uvloop = pytest.importorskip("uvloop")
    for _ in range(3):
        ask(engine, mlp_model, 30, uvloop.run)


def test_a_waiting_task_can_time_out(mlp_model: models.Model) -> None:
    with Engine(mlp_model.proto, device="cpu", contexts=1) as engine:
        gate = Gate(engine)
        (x,) = mlp_model.inputs()

        async def hurry() -> None:
            running = asyncio.create_task(engine.ainfer(x))
            await asyncio.to_thread(gate.await_arrivals, 1)
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(engine.ainfer(x), 0.01)
            gate.open()
            assert await running == close_to(mlp_model.reference(x))

        asyncio.run(hurry())
        assert engine.submit(x).result(PATIENCE) is not None
        assert gate.begun == 2  # not the one that was given up


def test_what_cannot_be_queued_is_raised_in_the_task(mlp_model: models.Model) -> None:
    with Engine(mlp_model.proto, device="cpu", contexts=1, max_queue=2) as engine:
        gate = Gate(engine)
        (x,) = mlp_model.inputs()

        async def many() -> list[Any]:
            first = asyncio.create_task(engine.ainfer(x))
            await asyncio.to_thread(gate.await_arrivals, 1)
            others = [asyncio.create_task(engine.ainfer(x)) for _ in range(5)]
            await asyncio.sleep(0)
            gate.open()
            results: list[Any] = await asyncio.gather(first, *others, return_exceptions=True)
            return results

        *taken, a, b, c = asyncio.run(many())
        for y in taken:
            assert y == close_to(mlp_model.reference(x))
        assert [type(error) for error in (a, b, c)] == [fasttrt.QueueFullError] * 3


def test_loops_of_other_threads_are_not_mistaken_for_this_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    other = asyncio.new_event_loop()

    async def both() -> None:
        loop = asyncio.get_running_loop()
        own = event_loops.completions_of(loop)
        foreign = event_loops.Completions(other)

        def found() -> asyncio.AbstractEventLoop:
            """Stand for the last loop's reference, and for a thread that replaces it meanwhile."""
            monkeypatch.setattr(event_loops, "_last", (weakref.ref(other), foreign))
            return loop

        monkeypatch.setattr(event_loops, "_last", (found, own))
        assert event_loops.completions_of(loop) is own

    try:
        asyncio.run(both())
    finally:
        other.close()
