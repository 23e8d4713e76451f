"""Engines used from many threads at once."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import pytest

import fasttrt
from support.assertions import assert_close
from support.gpu import (
    ELEMENTWISE,
    normal,
    open_engine,
    product_tolerance,
)
from support.models import Model, elementwise, mlp
from support.randomness import new_rng

pytestmark = pytest.mark.gpu
THREADS = 8
SHAPES = [{"x": ((1, 16), (4, 16), (8, 16))}, {"x": ((9, 16), (16, 16), (64, 16))}]


def _run_checked(engine: fasttrt.Engine, mlp_model: Model, runs: int) -> int:
    rng = new_rng()
    for batch in rng.integers(1, 65, runs):
        x = normal(batch, 16)
        assert_close(engine.infer(x), mlp_model.reference(x), product_tolerance())
    return runs


def _all(work: Callable[[], int], threads: int = THREADS) -> list[int]:
    """What every thread returned; raises what one raised."""
    with ThreadPoolExecutor(threads) as pool:
        return [done.result() for done in [pool.submit(work) for _ in range(threads)]]


@pytest.mark.parametrize("contexts", [1, 4])
def test_every_thread_gets_its_own_answers(
    plan: fasttrt.Plan, mlp_model: Model, contexts: int
) -> None:
    with fasttrt.Engine(plan, device="cuda", contexts=contexts) as engine:
        assert _all(lambda: _run_checked(engine, mlp_model, 40)) == [40] * THREADS


@pytest.mark.parametrize("contexts", [1, 4])
def test_refusals_of_one_thread_do_not_reach_others(
    plan: fasttrt.Plan, mlp_model: Model, contexts: int
) -> None:
    def wrong(engine: fasttrt.Engine) -> int:
        for rows in (65, 0, 100) * 10:
            with pytest.raises(fasttrt.InputError, match=rf"got \({rows}, 16\)"):
                engine.infer(normal(rows, 16))
        return 0

    with (
        fasttrt.Engine(plan, device="cuda", contexts=contexts) as engine,
        ThreadPoolExecutor(6) as pool,
    ):
        right = [pool.submit(_run_checked, engine, mlp_model, 40) for _ in range(3)]
        refused = [pool.submit(wrong, engine) for _ in range(3)]
        assert [done.result() for done in (*right, *refused)] == [40, 40, 40, 0, 0, 0]


@pytest.mark.parametrize("contexts", [1, 4])
def test_close_while_others_run(plan: fasttrt.Plan, mlp_model: Model, contexts: int) -> None:
    """Each call either is right or says that the engine is closed."""
    engine = fasttrt.Engine(plan, device="cuda", contexts=contexts)
    begun = threading.Barrier(THREADS + 1)

    def run() -> int:
        _run_checked(engine, mlp_model, 2)
        begun.wait(60)
        runs, deadline = 0, time.monotonic() + 20
        with pytest.raises(fasttrt.Error, match="closed"):  # noqa: PT012
            while time.monotonic() < deadline:
                _run_checked(engine, mlp_model, 1)
                runs += 1
        return runs

    with ThreadPoolExecutor(THREADS) as pool:
        running = [pool.submit(run) for _ in range(THREADS)]
        begun.wait(60)
        time.sleep(0.1)
        engine.close()
        with pytest.raises(fasttrt.Error, match="closed"):
            engine.infer(normal(4, 16))
        assert sum(done.result() for done in running) > 0


def test_several_threads_close_the_same_engine(plan: fasttrt.Plan, mlp_model: Model) -> None:
    for _ in range(3):
        engine = fasttrt.Engine(plan, device="cuda")
        _run_checked(engine, mlp_model, 1)
        begun = threading.Barrier(4)

        def close(engine: fasttrt.Engine = engine, begun: threading.Barrier = begun) -> int:
            begun.wait(60)
            engine.close()
            return 1

        assert _all(close, 4) == [1] * 4


def test_engines_come_and_go_in_threads(plan: fasttrt.Plan, mlp_model: Model) -> None:
    def cycle() -> int:
        for _ in range(3):
            with fasttrt.Engine(plan, device="cuda") as engine:
                _run_checked(engine, mlp_model, 5)
        return 3

    with fasttrt.Engine(plan, device="cuda") as engine:
        with ThreadPoolExecutor(1) as pool:
            beside = pool.submit(_run_checked, engine, mlp_model, 100)
            assert _all(cycle, 4) == [3] * 4
            assert beside.result() == 100
        _run_checked(engine, mlp_model, 5)


def test_an_engine_outlives_the_thread_that_made_it(plan: fasttrt.Plan, mlp_model: Model) -> None:
    made: list[fasttrt.Engine] = []
    maker = threading.Thread(target=lambda: made.append(fasttrt.Engine(plan, device="cuda")))
    maker.start()
    maker.join()
    with made[0] as engine:
        _run_checked(engine, mlp_model, 5)


def test_models_built_side_by_side() -> None:
    def make() -> int:
        model = mlp((8, 8, 4))
        with open_engine(model, shapes={"x": ((1, 8), (4, 8), (8, 8))}) as engine:
            x = normal(5, 8)
            assert_close(engine.infer(x), model.reference(x), product_tolerance())
        return 1

    assert _all(make, 2) == [1, 1]


@contextmanager
def _switching_only_when_released() -> Iterator[None]:
    """No thread is made to give up the interpreter: another runs only if this one lets it."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(100)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


def test_other_threads_go_on_meanwhile() -> None:
    """The interpreter is free while a run of some 100 MB of copies is under way."""
    model = elementwise(("n",))
    many = 16 << 20
    x = normal(many)
    counted = 0
    done = threading.Event()

    def count() -> None:
        nonlocal counted
        while not done.is_set():
            counted += 1
            time.sleep(0.0002)  # lets go of the interpreter

    with open_engine(model, shapes={"x": ((1,), (many,), (many,))}) as engine:
        engine.infer(x)
        with _switching_only_when_released():
            counter = threading.Thread(target=count)
            counter.start()
            before = counted
            held_anyway = sum(range(3_000_000))  # nobody else runs during this
            assert counted - before <= 1
            assert held_anyway > 0
            before = counted
            y = engine.infer(x)
            after = counted
            done.set()
        counter.join()
    assert after - before > 1
    some = slice(None, None, 9973)
    np.testing.assert_allclose(y[some], model.reference(x[some]), rtol=ELEMENTWISE)
