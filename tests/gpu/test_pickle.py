"""Engines that are pickled: opened on the GPU of another process."""

from __future__ import annotations

import dataclasses
import multiprocessing
import pickle
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import fasttrt
from support.assertions import assert_close
from support.gpu import EXACT, is_v8, normal, product_tolerance
from support.models import Model, mlp

pytestmark = pytest.mark.gpu
SHAPES = {"x": ((1, 16), (4, 16), (16, 16))}


def infer_there(engine: fasttrt.Engine, x: Any) -> tuple[Any, str]:
    with engine:
        return engine.infer(x), engine.device


def _there(engine: fasttrt.Engine, x: Any) -> tuple[Any, str]:
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(infer_there, engine, x).result(120)


@pytest.mark.parametrize("kind", ["plan", "plan file", "model file"])
def test_another_process_opens_it(
    kind: str, plan: fasttrt.Plan, mlp_model: Model, tmp_path: Path
) -> None:
    options: dict[str, Any] = {}
    model: Any = plan
    if kind == "plan file":
        model = tmp_path / "m.plan"
        plan.save(model)
    elif kind == "model file":
        model = tmp_path / "m.onnx"
        mlp_model.save(model)
        options = {"shapes": SHAPES, "config": EXACT, "cache": tmp_path / "cache"}
    x = normal(5, 16)
    with fasttrt.Engine(model, device="cuda", **options) as engine:
        y, device = _there(engine, x)
        assert device == engine.device
        assert_close(y, mlp_model.reference(x), product_tolerance())
        assert_close(engine.infer(x), mlp_model.reference(x), product_tolerance())


@pytest.fixture
def refittable(mlp_model: Model) -> Iterator[fasttrt.Engine]:
    """An engine of the multilayer perceptron."""
    if is_v8():
        pytest.skip("TensorRT 8.6's parser cannot refit, see test_contents.py")
    config = dataclasses.replace(EXACT, refit=True)
    with fasttrt.Engine(mlp_model.proto, device="cuda", config=config, shapes=SHAPES) as engine:
        yield engine


def test_it_has_the_weights_of_the_last_refit(refittable: fasttrt.Engine) -> None:
    other, x = mlp(), normal(5, 16)
    with refittable as engine:
        engine.refit(other.proto)
        y, _ = _there(engine, x)
        assert_close(y, other.reference(x), product_tolerance())


def test_a_refit_leaves_those_that_shared_it_alone(
    refittable: fasttrt.Engine, mlp_model: Model
) -> None:
    other, x = mlp(), normal(5, 16)
    with refittable as engine:
        content = pickle.dumps(engine)
    with pickle.loads(content) as first, pickle.loads(content) as second:
        for each in (first, second):
            assert_close(each.infer(x), mlp_model.reference(x), product_tolerance())
        assert second.stats().runs == 2
        first.refit(other.proto)
        assert_close(first.infer(x), other.reference(x), product_tolerance())
        assert_close(second.infer(x), mlp_model.reference(x), product_tolerance())
        with pickle.loads(pickle.dumps(first)) as third:
            assert_close(third.infer(x), other.reference(x), product_tolerance())
