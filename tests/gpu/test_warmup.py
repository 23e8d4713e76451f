"""Engines that are warmed up: what is prepared, and that it changes no result."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import fasttrt
from support.assertions import assert_close
from support.gpu import EXACT, normal, product_tolerance
from support.models import Model, mlp
from support.randomness import new_rng

pytestmark = pytest.mark.gpu
SIZES = [1, 2, 4, 8]
SHAPES = {"x": ((1, 16), (4, 16), (64, 16))}


@pytest.fixture(scope="module")
def model() -> Model:
    return mlp((16, 32, 8))


@pytest.fixture(scope="module")
def plan(model: Model) -> fasttrt.Plan:
    return fasttrt.build(model.proto, EXACT, shapes=SHAPES, tuned=SIZES, device="cuda")


def _check(engine: fasttrt.Engine, model: Model, size: int) -> None:
    x = normal(size, 16)
    assert_close(engine.infer(x), model.reference(x), product_tolerance())


def _compiled(count: int) -> int:
    return count if fasttrt.library().family == "rtx" else 0


@pytest.mark.parametrize("contexts", [1, 3])
def test_tuned_sizes_are_prepared_before_the_engine_is_ready(
    model: Model, plan: fasttrt.Plan, tmp_path: Path, contexts: int
) -> None:
    for _ in range(2):  # compiled, and from the cache
        with fasttrt.Engine(plan, device="cuda", contexts=contexts, cache=tmp_path) as engine:
            ready = engine.stats()
            assert ready.runs == 0
            assert ready.compiles == _compiled(len(SIZES))
            assert ready.graph_captures == len(SIZES) * contexts
            for size in new_rng().permutation(SIZES * 4):
                _check(engine, model, int(size))
            assert engine.stats().compiles == ready.compiles


def test_without_it_the_first_run_of_a_size_prepares_it(model: Model, plan: fasttrt.Plan) -> None:
    with fasttrt.Engine(plan, device="cuda", warmup=False) as engine:
        assert engine.stats().compiles == 0
        _check(engine, model, 4)
        assert engine.stats().compiles == _compiled(1)
        engine.warmup()
        ready = engine.stats()
        assert (ready.runs, ready.compiles) == (1, _compiled(len(SIZES)))


def test_given_shapes_are_prepared_in_every_context(model: Model, plan: fasttrt.Plan) -> None:
    with fasttrt.Engine(plan, device="cuda", contexts=2, warmup=False) as engine:
        engine.warmup((33, 16))
        ready = engine.stats()
        assert ready.graph_captures == 2
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda _: _check(engine, model, 33), range(40)))
        stats = engine.stats()
        assert (stats.graph_captures, stats.graph_replays, stats.runs) == (2, 40, 40)


def test_other_sizes_go_on_while_new_ones_are_prepared(model: Model, plan: fasttrt.Plan) -> None:
    """Right results are what is looked at: kernels are compiled next to runs of prepared sizes."""
    with fasttrt.Engine(plan, device="cuda", contexts=3) as engine:
        done = threading.Event()

        def steady() -> int:
            rng, runs = new_rng(), 0
            while not done.is_set():
                _check(engine, model, int(rng.choice(SIZES)))
                runs += 1
            return runs

        with ThreadPoolExecutor(2) as pool:
            counts = [pool.submit(steady) for _ in range(2)]
            for size in range(9, 33):
                _check(engine, model, size)
            engine.warmup([(size, 16) for size in range(33, 37)])
            done.set()
            assert min(count.result() for count in counts) > 0
        assert engine.stats().compiles == _compiled(len(SIZES) + 24 + 4)


def test_what_zeros_make_fail_leaves_the_engine_as_it_was(
    model: Model, plan: fasttrt.Plan, caplog: pytest.LogCaptureFixture
) -> None:
    with fasttrt.Engine(plan, device="cuda", warmup=False) as engine:
        with pytest.raises(fasttrt.InputError, match="x: expected"):
            engine.warmup((65, 16))
        _check(engine, model, 64)
    with pytest.raises(fasttrt.Error, match="closed"):
        engine.warmup()
