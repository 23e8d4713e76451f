"""``out=``: results in the caller's memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import fasttrt
from support.gpu import ELEMENTWISE, Array, need, normal, open_engine
from support.gpu_models import crossed
from support.models import Model, elementwise

pytestmark = pytest.mark.gpu


@pytest.fixture(scope="module")
def model() -> Model:
    return elementwise()


@pytest.fixture(scope="module")
def engine(model: Model) -> Iterator[fasttrt.Engine]:
    with open_engine(model, shapes={"x": ((1, 4), (4, 4), (16, 4))}) as engine:
        yield engine


@pytest.fixture(scope="module")
def subtractions_engine() -> Iterator[fasttrt.Engine]:
    shapes = dict.fromkeys("abc", ((1, 4), (2, 4), (8, 4)))
    with open_engine(crossed(), shapes=shapes) as engine:
        yield engine


@pytest.mark.parametrize("batch", [1, 4, 16])
def test_array(engine: fasttrt.Engine, model: Model, batch: int) -> None:
    out = np.full((batch, 4), np.nan, np.float32)
    for _ in range(3):
        x = normal(batch, 4)
        assert engine.infer(x, out=out) is out
        np.testing.assert_allclose(out, model.reference(x), rtol=ELEMENTWISE)


def test_part_of_a_larger_array(engine: fasttrt.Engine, model: Model) -> None:
    whole = np.full((8, 4), np.nan, np.float32)
    x = normal(3, 4)
    engine.infer(x, out=whole[2:5])
    np.testing.assert_allclose(whole[2:5], model.reference(x), rtol=ELEMENTWISE)
    assert np.isnan(whole[:2]).all()
    assert np.isnan(whole[5:]).all()


def test_into_the_input_itself(engine: fasttrt.Engine, model: Model) -> None:
    x = normal(4, 4)
    expected = model.reference(x)
    engine.infer(x, out=x)
    np.testing.assert_allclose(x, expected, rtol=ELEMENTWISE)


def test_sequence_with_some_left_out(subtractions_engine: fasttrt.Engine) -> None:
    c, a, b = (normal(2, 4) for _ in range(3))
    z, y = np.empty((2, 4), np.float32), np.empty((2, 4), np.float32)
    results = subtractions_engine.infer(c, a, b, out=[z, None, y])
    assert results[0] is z
    assert results[2] is y
    for result, expected in zip(results, (c - a, a - b, c + b), strict=True):
        np.testing.assert_array_equal(result, expected)


def test_results_in_the_same_memory_are_refused(subtractions_engine: fasttrt.Engine) -> None:
    inputs = [normal(2, 4) for _ in subtractions_engine.inputs]
    shared = np.full((3, 4), np.nan, np.float32)
    targets: list[Array | None] = [None] * len(subtractions_engine.outputs)
    targets[0], targets[1] = shared[:2], shared[1:]
    with pytest.raises(fasttrt.InputError, match="the same memory"):
        subtractions_engine.infer(*inputs, out=targets)
    assert np.isnan(shared).all()


def test_mapping_with_some_left_out(subtractions_engine: fasttrt.Engine) -> None:
    c, a, b = (normal(2, 4) for _ in range(3))
    m = np.empty((2, 4), np.float32)
    results = subtractions_engine.infer({"a": a, "b": b, "c": c}, out={"m": m})
    assert results["m"] is m
    np.testing.assert_array_equal(m, a - b)
    np.testing.assert_array_equal(results["z"], c - a)
    np.testing.assert_array_equal(results["y"], c + b)


def _locked() -> Array:
    array = np.zeros((4, 4), np.float32)
    array.flags.writeable = False
    return array


def _unaligned() -> Array:
    return np.frombuffer(bytearray(1 + 64), np.float32, offset=1).reshape(4, 4)


BAD: dict[str, tuple[Callable[[], Any], str]] = {
    "type": (lambda: np.zeros((4, 4)), "y: out= must have dtype float32, got float64"),
    "shape": (lambda: np.zeros((5, 4), np.float32), r"y: .*\(4, 4\).*out= has shape \(5, 4\)"),
    "rank": (lambda: np.zeros(16, np.float32), r"y: .*\(4, 4\).*out= has shape \(16,\)"),
    "order": (lambda: np.zeros((4, 4), np.float32, "F"), "y: out= must be C-contiguous"),
    "gaps": (lambda: np.zeros((4, 8), np.float32)[:, ::2], "y: out= must be C-contiguous"),
    "read-only": (_locked, "y: out= must be .*writeable"),
    "unaligned": (_unaligned, "y: out= must be .*aligned"),
    "too many": (lambda: [np.zeros((4, 4), np.float32)] * 2, "expected 1 arrays, got 2"),
    "no array": (lambda: [[0.0] * 16], "y: out= must be a numpy array"),
    "by name": (lambda: {"y": np.zeros((4, 4), np.float32)}, "out: .* not passed by name"),
}


@pytest.mark.parametrize("fault", BAD)
def test_refusals_leave_the_engine_usable(engine: fasttrt.Engine, model: Model, fault: str) -> None:
    make, message = BAD[fault]
    out, x = make(), normal(4, 4)
    with pytest.raises(fasttrt.InputError, match=message):
        engine.infer(x, out=out)
    assert not np.asarray(out if not isinstance(out, dict) else out["y"]).any(), "was written to"
    np.testing.assert_allclose(engine.infer(x), model.reference(x), rtol=ELEMENTWISE)


@pytest.mark.parametrize("place", ["cpu", "cuda"])
def test_memory_without_elements_is_no_memory_for_some(
    engine: fasttrt.Engine, model: Model, place: str
) -> None:
    """PyTorch gives such a tensor no address."""
    torch = need("torch")
    if not torch.cuda.is_available():
        pytest.skip("this torch has no CUDA")
    for x in (normal(4, 4), torch.from_numpy(normal(4, 4)).cuda()):
        with pytest.raises(fasttrt.InputError, match=r"y: .*\(4, 4\).*out= has shape \(0, 4\)"):
            engine.infer(x, out=torch.empty((0, 4), device=place))
    x = normal(4, 4)
    np.testing.assert_allclose(engine.infer(x), model.reference(x), rtol=ELEMENTWISE)


def test_unknown_name(engine: fasttrt.Engine, model: Model) -> None:
    x = normal(4, 4)
    with pytest.raises(fasttrt.InputError, match=r"out: expected outputs of \['y'\].*\['q'\]"):
        engine.infer({"x": x}, out={"q": x})
    np.testing.assert_allclose(engine.infer(x), model.reference(x), rtol=ELEMENTWISE)
