"""Weights replaced in an engine that is loaded, left out of its plan, or streamed."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import fasttrt
from support.assertions import assert_close
from support.gpu import (
    EXACT,
    Array,
    is_v8,
    normal,
    open_engine,
    product_tolerance,
)
from support.models import Model, convolution, make, mlp, value, with_external_data
from support.randomness import new_rng

pytestmark = pytest.mark.gpu
SHAPES = {"x": ((1, 16), (4, 16), (64, 16))}
REFIT = dataclasses.replace(EXACT, refit=True)
STRIPPED = dataclasses.replace(REFIT, strip_weights=True)
STREAMED = dataclasses.replace(EXACT, weight_streaming=True)


@pytest.fixture(autouse=True)
def _needs_a_refitter() -> None:
    if is_v8():
        pytest.skip("TensorRT 8.6's parser cannot refit, see test_contents.py")


def check(engine: fasttrt.Engine, model: Model, *extents: int, times: int = 4) -> None:
    """The same shapes again and again, so that the later runs are replays."""
    for _ in range(times):
        x = normal(*(extents or (4, 16)))
        assert_close(engine.infer(x), model.reference(x), product_tolerance())


@pytest.fixture(scope="module")
def plan(mlp_model: Model) -> fasttrt.Plan:
    return fasttrt.build(mlp_model.proto, REFIT, shapes=SHAPES, device="cuda")


@pytest.mark.parametrize("cuda_graph", ["auto", True, False])
def test_the_answers_are_those_of_the_new_weights(
    plan: fasttrt.Plan, mlp_model: Model, cuda_graph: Any
) -> None:
    """Also of runs that were recorded with the old ones."""
    other = mlp()
    with fasttrt.Engine(plan, device="cuda", cuda_graph=cuda_graph) as engine:
        check(engine, mlp_model)
        for model in (other, mlp_model, other):
            engine.refit(model.proto)
            check(engine, model)
            check(engine, model, 64, 16)


def test_every_way_to_give_a_model(plan: fasttrt.Plan, tmp_path: Path) -> None:
    a, b, c = mlp(), mlp(), mlp()
    ways: list[tuple[Model, Any]] = [
        (a, a.save(tmp_path / "a.onnx")),
        (b, str(b.save(tmp_path / "b.onnx"))),
        (c, with_external_data(c.proto, tmp_path / "c.onnx")),
        (a, a.to_bytes()),
        (b, b.proto),
    ]
    with fasttrt.Engine(plan, device="cuda") as engine:
        for model, given in ways:
            engine.refit(given)
            check(engine, model, times=2)


def normalized() -> Model:
    """A convolution and a batch normalization, whose parameters the parser folds."""
    rng = new_rng()
    weights = {
        "w": (rng.standard_normal((6, 4, 1, 1)) / 2).astype(np.float32),
        **{n: rng.uniform(0.5, 1.5, 6).astype(np.float32) for n in ("s", "b", "m", "v")},
    }
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], "conv"),
        helper.make_node("BatchNormalization", ["c", "s", "b", "m", "v"], ["y"], "norm"),
    ]
    x, y = (value(n, TensorProto.FLOAT, [2, c, 5, 5]) for n, c in (("x", 4), ("y", 6)))

    def reference(x: Array) -> Array:
        w, s, b, m, v = (weights[n].astype(np.float64) for n in ("w", "s", "b", "m", "v"))
        c = np.einsum("nchw,oc->nohw", x.astype(np.float64), w[:, :, 0, 0])
        s, b, m, v = (p[:, None, None] for p in (s, b, m, v))
        return np.asarray((c - m) / np.sqrt(v + 1e-5) * s + b)

    return Model(make(nodes, [x], [y], weights), reference)


@pytest.mark.parametrize(
    ("maker", "shapes", "extents"),
    [
        (convolution, {"x": (2, 4, 8, 8)}, (2, 4, 8, 8)),
        (normalized, None, (2, 4, 5, 5)),
    ],
    ids=["convolution", "folded"],
)
def test_other_layers(maker: Callable[[], Model], shapes: Any, extents: tuple[int, ...]) -> None:
    old, new = maker(), maker()
    with open_engine(old, config=REFIT, shapes=shapes) as engine:
        check(engine, old, *extents)
        engine.refit(new.proto)
        check(engine, new, *extents)


def test_runs_meanwhile_are_of_one_model_or_the_other(plan: fasttrt.Plan, mlp_model: Model) -> None:
    """Never of a mix; and of the new one, once it is there."""
    other = mlp()
    stop = threading.Event()
    with fasttrt.Engine(plan, device="cuda", contexts=3) as engine:

        def run() -> int:
            count = 0
            while not stop.is_set():
                x = normal(4, 16)
                y = engine.infer(x).astype(np.float64)
                errors = [
                    np.abs(y - expected).max() / np.abs(expected).max()
                    for expected in (mlp_model.reference(x), other.reference(x))
                ]
                assert min(errors) < product_tolerance()
                count += 1
            return count

        with ThreadPoolExecutor(4) as pool:
            runs = [pool.submit(run) for _ in range(4)]
            try:
                for model in (other, mlp_model) * 5:
                    engine.refit(model.proto)
                    check(engine, model, times=1)
            finally:
                stop.set()
            assert all(future.result() > 0 for future in runs)


def test_a_model_that_does_not_fit_changes_nothing(plan: fasttrt.Plan, mlp_model: Model) -> None:
    relabelled = onnx.ModelProto()
    relabelled.CopyFrom(mlp().proto)
    relabelled.graph.node[1].op_type = "Sigmoid"
    with fasttrt.Engine(plan, device="cuda") as engine:
        for wrong in (mlp((16, 24, 8)).proto, mlp((16, 32, 32, 8)).proto, relabelled):
            with pytest.raises(fasttrt.InputError, match="refit: the model is not the one"):
                engine.refit(wrong)
            check(engine, mlp_model)


def test_without_a_record_tensorrt_names_what_does_not_fit(
    plan: fasttrt.Plan, mlp_model: Model
) -> None:
    """A plan as another tool would have written it."""
    renamed = onnx.ModelProto()
    renamed.CopyFrom(mlp_model.proto)
    renamed.graph.initializer[0].name = renamed.graph.node[0].input[1] = "renamed"
    new = mlp()
    with fasttrt.Engine(plan.data, device="cuda") as engine:
        with pytest.raises(fasttrt.InputError, match="do not fit the engine") as caught:
            engine.refit(renamed)
        assert "w0" in str(caught.value)
        with pytest.raises(fasttrt.InputError, match="do not fit the engine"):
            engine.refit(mlp((16, 24, 8)).proto)
        check(engine, mlp_model)
        engine.refit(new.proto)
        check(engine, new)


def test_refit_never_keeps_an_old_value_without_an_error() -> None:
    """Limits of a Clip: some libraries replace them, others made them part of the engine."""

    def clip(limit: float) -> Model:
        weights = {"low": np.array(-limit, np.float32), "high": np.array(limit, np.float32)}
        nodes = [helper.make_node("Clip", ["x", "low", "high"], ["y"], "clip")]
        x, y = (value(name, TensorProto.FLOAT, [4, 16]) for name in "xy")
        return Model(
            make(nodes, [x], [y], weights),
            lambda x: np.clip(x.astype(np.float64), -limit, limit),
        )

    old, new = clip(0.5), clip(0.25)
    with open_engine(old, config=REFIT) as engine:
        refused = False
        try:
            engine.refit(new.proto)
        except fasttrt.InputError:
            refused = True
        check(engine, old if refused else new)


def test_an_engine_that_was_not_built_for_it(mlp_model: Model) -> None:
    with open_engine(mlp_model, shapes=SHAPES) as engine:
        with pytest.raises(fasttrt.Error, match="not built to be refitted"):
            engine.refit(mlp().proto)
        check(engine, mlp_model)


def test_a_closed_engine(plan: fasttrt.Plan) -> None:
    engine = fasttrt.Engine(plan, device="cuda")
    engine.close()
    with pytest.raises(fasttrt.Error, match="the engine is closed"):
        engine.refit(mlp().proto)


def test_a_refitted_engine_is_saved_with_its_weights(plan: fasttrt.Plan, tmp_path: Path) -> None:
    new = mlp()
    with fasttrt.Engine(plan, device="cuda") as engine:
        engine.refit(new.proto)
        engine.save(tmp_path / "new.plan")
    saved = fasttrt.Plan.load(tmp_path / "new.plan")
    assert saved.metadata["model_sha256"] != plan.metadata["model_sha256"]
    with fasttrt.Engine(saved, device="cuda") as engine:
        check(engine, new)


def test_a_plan_without_weights(tmp_path: Path) -> None:
    model, other = mlp((16, 1024, 1024, 8)), mlp((16, 1024, 1024, 8))
    size = sum(numpy_helper.to_array(t).nbytes for t in model.proto.graph.initializer)
    full = fasttrt.build(model.proto, REFIT, shapes=SHAPES, device="cuda")
    plan = fasttrt.build(model.proto, STRIPPED, shapes=SHAPES, device="cuda")
    assert len(plan.data) < len(full.data) - size // 2
    with pytest.raises(fasttrt.EngineLoadError, match=r"built without weights"):
        fasttrt.Engine(plan, device="cuda")
    with pytest.raises(fasttrt.InputError, match="refit: the model is not the one"):
        fasttrt.Engine(plan, device="cuda", weights=mlp().proto)
    for given in (model, other):
        with fasttrt.Engine(plan, device="cuda", weights=given.proto) as engine:
            check(engine, given)
            engine.save(tmp_path / "again.plan")
    again = fasttrt.Plan.load(tmp_path / "again.plan")
    assert len(again.data) < len(full.data) - size // 2
    with fasttrt.Engine(again, device="cuda", weights=model.save(tmp_path / "m.onnx")) as engine:
        check(engine, model)
        engine.refit(other.proto)
        check(engine, other)


def test_a_model_built_without_weights_still_has_them(mlp_model: Model) -> None:
    with open_engine(mlp_model, config=STRIPPED, shapes=SHAPES) as engine:
        check(engine, mlp_model)


def test_weights_in_place_of_a_plans_own(plan: fasttrt.Plan) -> None:
    other = mlp()
    with fasttrt.Engine(plan, device="cuda", weights=other.proto) as engine:
        check(engine, other)


@pytest.mark.parametrize("budget", [0, 1 << 40], ids=["none", "all"])
def test_streamed_weights(budget: int) -> None:
    model = mlp((16, 1024, 1024, 8))
    with open_engine(
        model, config=STREAMED, shapes=SHAPES, weight_streaming_budget=budget
    ) as engine:
        check(engine, model)
        check(engine, model, 64, 16)


def test_a_budget_needs_a_plan_built_for_it(mlp_model: Model) -> None:
    with pytest.raises(fasttrt.InputError, match="weight_streaming_budget: expected a plan built"):
        open_engine(mlp_model, shapes=SHAPES, weight_streaming_budget=0)
