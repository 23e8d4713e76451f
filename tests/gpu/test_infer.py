"""One call: what goes in and what comes out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import onnx
import pytest

import fasttrt
from support.assertions import assert_close
from support.gpu import ELEMENTWISE, Array, normal, open_engine, product_tolerance
from support.gpu_models import FLOAT, crossed
from support.models import Model, constant_output, elementwise, make, several, value
from support.randomness import new_rng

pytestmark = pytest.mark.gpu


@pytest.fixture(scope="module")
def engine(mlp_model: Model) -> Iterator[fasttrt.Engine]:
    with open_engine(mlp_model, shapes={"x": ((1, 16), (8, 16), (32, 16))}) as engine:
        yield engine


def test_engine_is_on_the_gpu(engine: fasttrt.Engine) -> None:
    assert engine.device == "cuda:0"
    assert [spec.name for spec in (*engine.inputs, *engine.outputs)] == ["x", "y"]
    (x,), (y,) = engine.inputs, engine.outputs
    assert x.dtype == np.float32
    assert x.shape == (-1, 16)
    assert (x.min, x.opt, x.max) == ((1, 16), (8, 16), (32, 16))
    assert y.dtype == np.float32
    assert y.shape == (-1, 8)


@pytest.mark.parametrize("batch", [1, 2, 7, 8, 9, 31, 32])
def test_batches(engine: fasttrt.Engine, mlp_model: Model, batch: int) -> None:
    for _ in range(3):  # the first run of a shape and later ones may use other kernels
        x = normal(batch, 16)
        y = engine.infer(x)
        assert y.dtype == np.float32
        assert_close(y, mlp_model.reference(x), product_tolerance())


def test_mapping_in_mapping_out(engine: fasttrt.Engine, mlp_model: Model) -> None:
    x = normal(5, 16)
    results = engine.infer({"x": x})
    assert list(results) == ["y"]
    assert_close(results["y"], mlp_model.reference(x), product_tolerance())


def test_results_are_the_callers_own(engine: fasttrt.Engine) -> None:
    x = normal(8, 16)
    first = engine.infer(x)
    kept = first.copy()
    assert first.flags.c_contiguous
    assert first.flags.writeable
    second = engine.infer(-x)
    assert not np.shares_memory(first, second)
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(first, kept)


def test_inputs_are_left_alone(engine: fasttrt.Engine) -> None:
    x = normal(8, 16)
    kept = x.copy()
    engine.infer(x)
    np.testing.assert_array_equal(x, kept)


def test_several_types_and_outputs() -> None:
    model = several()
    rng = new_rng()
    shapes = {"a": ((1, 4), (4, 4), (16, 4)), "b": ((1, 1), (4, 1), (16, 1))}
    with open_engine(model, shapes=shapes) as engine:
        for batch in (1, 4, 16):
            a = normal(batch, 4)
            b = rng.integers(-1000, 1000, (batch, 1), dtype=np.int32)
            total, twice = engine.infer(a, b)
            assert total.dtype == np.float32
            assert twice.dtype == np.int32
            assert_close(total, model.reference(a, b)[0], ELEMENTWISE)
            np.testing.assert_array_equal(twice, b + b)


def test_order_is_the_models() -> None:
    model = crossed()
    with open_engine(model, shapes=dict.fromkeys("abc", ((1, 4), (2, 4), (8, 4)))) as engine:
        assert [spec.name for spec in engine.inputs] == ["c", "a", "b"]
        assert [spec.name for spec in engine.outputs] == ["z", "m", "y"]
        c, a, b = (normal(3, 4) for _ in range(3))
        expected = model.reference(c, a, b)
        results = engine.infer(c, a, b)
        assert isinstance(results, tuple)
        named = engine.infer({"b": b, "c": c, "a": a})
        assert list(named) == ["z", "m", "y"]
        for by_order, by_name, right in zip(results, named.values(), expected, strict=True):
            assert_close(by_order, right, ELEMENTWISE)
            assert_close(by_name, right, ELEMENTWISE)


def test_scalars() -> None:
    model = elementwise(())
    with open_engine(model) as engine:
        assert engine.inputs[0].shape == ()
        for x in (normal()[()], np.array(-2.75, np.float32)):
            y = engine.infer(x)
            assert y.shape == ()
            assert_close(y, model.reference(np.asarray(x)), ELEMENTWISE)


def test_empty_arrays() -> None:
    model = elementwise()
    with open_engine(model, shapes={"x": ((0, 4), (3, 4), (8, 4))}) as engine:
        for batch in (0, 3, 8, 0, 0, 1):
            x = normal(batch, 4)
            y = engine.infer(x)
            assert y.dtype == np.float32
            assert y.shape == (batch, 4)
            np.testing.assert_allclose(y, model.reference(x), rtol=ELEMENTWISE)


def test_output_that_no_input_reaches() -> None:
    model = constant_output()
    with open_engine(model, shapes={"x": ((1, 4), (2, 4), (4, 4))}) as engine:
        for batch in (4, 1):
            x = normal(batch, 4)
            y, c = engine.infer(x)
            assert_close(y, model.reference(x)[0], ELEMENTWISE)
            np.testing.assert_array_equal(c, model.reference(x)[1].astype(np.float32))


@pytest.mark.parametrize(("given", "part"), [({}, np.triu), ({"upper": 0}, np.tril)])
def test_the_upper_part_is_the_default(
    given: dict[str, Any], part: Callable[[Array], Array]
) -> None:
    node = onnx.helper.make_node("Trilu", ["x"], ["y"], **given)
    model = make([node], [value("x", FLOAT, (5, 4))], [value("y", FLOAT, (5, 4))])
    with fasttrt.Engine(model, device="cuda") as engine:
        x = normal(5, 4)
        np.testing.assert_array_equal(engine.infer(x), part(x))
