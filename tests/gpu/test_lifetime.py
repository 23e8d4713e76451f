"""What an engine takes, it gives back; and what happens to those who use it afterwards."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import fasttrt
from fasttrt import _core
from support.assertions import assert_close
from support.gpu import Array, is_v8, normal, open_engine, product_tolerance
from support.models import Model, mlp

pytestmark = pytest.mark.gpu

# 8 MiB of weights and up to 4 MiB of input: a leak of either shows after a few cycles.
SHAPES = {"x": ((1, 1024), (256, 1024), (1024, 1024))}
SLACK = 16 << 20
"""The driver hands memory out in pages of 2 MiB, and keeps some for itself."""


@pytest.fixture(scope="module")
def mlp_model() -> Model:
    return mlp((1024, 2048, 8))


def _free() -> int:
    gc.collect()
    return _core.device_memory(0)[0]


def _use(engine: fasttrt.Engine, mlp_model: Model) -> None:
    x = normal(1024, 1024)
    assert_close(engine.infer(x), mlp_model.reference(x), 3 * product_tolerance())


def _closed(plan: fasttrt.Plan, mlp_model: Model) -> None:
    engine = fasttrt.Engine(plan, device="cuda")
    _use(engine, mlp_model)
    engine.close()


def _left_by_with(plan: fasttrt.Plan, mlp_model: Model) -> None:
    with fasttrt.Engine(plan, device="cuda", contexts=2) as engine:
        _use(engine, mlp_model)


def _collected(plan: fasttrt.Plan, mlp_model: Model) -> None:
    cycle: list[object] = [fasttrt.Engine(plan, device="cuda")]
    cycle.append(cycle)
    assert isinstance(cycle[0], fasttrt.Engine)
    _use(cycle[0], mlp_model)
    del cycle
    gc.collect()


def _failed_runs(plan: fasttrt.Plan, mlp_model: Model) -> None:
    with fasttrt.Engine(plan, device="cuda") as engine:
        with pytest.raises(fasttrt.InputError):
            engine.infer(normal(2048, 1024))
        with pytest.raises(fasttrt.InputError):
            engine.infer(normal(1024, 1024), out=np.zeros((1, 8), np.float32))


def _failed_load(plan: fasttrt.Plan, mlp_model: Model) -> None:
    cut = fasttrt.Plan(plan.data[:-1000], plan.metadata)
    with pytest.raises(fasttrt.EngineLoadError):
        fasttrt.Engine(cut, device="cuda")


@pytest.mark.parametrize(
    ("cycle", "times"),
    [(_closed, 30), (_left_by_with, 10), (_collected, 10), (_failed_runs, 10), (_failed_load, 30)],
    ids=["closed", "left by with", "collected", "failed runs", "failed load"],
)
def test_device_memory_comes_back(
    plan: fasttrt.Plan, mlp_model: Model, cycle: Callable[[fasttrt.Plan, Model], None], times: int
) -> None:
    for _ in range(3):  # what the driver and TensorRT load once and keep
        cycle(plan, mlp_model)
    before = _free()
    for _ in range(times):
        cycle(plan, mlp_model)
    lost = before - _free()
    assert lost <= SLACK, f"{lost / 2**20:.1f} MiB lost in {times} cycles"


def test_an_engine_does_take_memory(plan: fasttrt.Plan, mlp_model: Model) -> None:
    """Else the tests above would see no leak."""

    def taken_and_kept() -> tuple[int, int]:
        before = _free()
        engines = [fasttrt.Engine(plan, device="cuda") for _ in range(4)]
        for engine in engines:
            _use(engine, mlp_model)
        taken = before - _free()
        for engine in engines:
            engine.close()
        return taken, before - _free()

    taken_and_kept()  # the driver kept 30 MiB of the first four engines that were open at once
    taken, kept = taken_and_kept()
    assert taken > 4 * (8 << 20)
    assert kept <= SLACK


def test_failed_builds_give_memory_back(mlp_model: Model) -> None:
    class Stopped(Exception):  # noqa: N818
        pass

    def stop(step: fasttrt.BuildProgress) -> None:
        raise Stopped

    def cycle() -> None:
        if not is_v8():  # which cannot be stopped
            with pytest.raises(Stopped):
                open_engine(mlp_model, shapes=SHAPES, progress=stop)
        with pytest.raises(fasttrt.InputError):
            open_engine(mlp_model, shapes={"x": ((2, 1024), (1, 1024), (1, 1024))})
        with pytest.raises(fasttrt.InputError):
            open_engine(mlp_model, shapes={"q": (1, 1024)})

    cycle()
    before = _free()
    for _ in range(1 if is_v8() else 5):  # each takes TensorRT 8 a quarter of a minute
        cycle()
    assert before - _free() <= SLACK


def test_results_outlive_the_engine(plan: fasttrt.Plan, mlp_model: Model) -> None:
    engine = fasttrt.Engine(plan, device="cuda")
    x = normal(1024, 1024)
    y = engine.infer(x)
    part: Array = engine.infer(x)[3:5]
    kept, kept_part = y.copy(), part.copy()
    engine.close()
    del engine
    gc.collect()
    _closed(plan, mlp_model)
    np.testing.assert_array_equal(y, kept)
    np.testing.assert_array_equal(part, kept_part)
    assert_close(y, mlp_model.reference(x), 3 * product_tolerance())


def test_use_after_close(plan: fasttrt.Plan, tmp_path: Path) -> None:
    engine = fasttrt.Engine(plan, device="cuda")
    engine.close()
    engine.close()
    for _ in range(2):
        with pytest.raises(fasttrt.Error, match="the engine is closed"):
            engine.infer(normal(4, 1024))
        with pytest.raises(fasttrt.Error, match="the engine is closed"):
            engine.save(tmp_path / "m.plan")
    assert list(tmp_path.iterdir()) == []
    assert engine.inputs[0].max == (1024, 1024)
    assert "x: float32" in repr(engine)
    with engine:  # and closes it a third time
        pass


def test_with_closes_when_an_error_leaves_it(plan: fasttrt.Plan) -> None:
    with (
        pytest.raises(ZeroDivisionError),
        fasttrt.Engine(plan, device="cuda") as engine,
    ):
        raise ZeroDivisionError
    with pytest.raises(fasttrt.Error, match="closed"):
        engine.infer(normal(4, 1024))


def test_no_cycle_keeps_an_engine(plan: fasttrt.Plan) -> None:
    """It goes when the last name for it does, and need not wait for the collector."""
    gc.collect()
    gc.disable()
    try:
        engine = fasttrt.Engine(plan, device="cuda")
        engine.infer(normal(4, 1024))
        gone = weakref.ref(engine)
        del engine
        assert gone() is None
    finally:
        gc.enable()
