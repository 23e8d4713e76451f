"""Outputs whose shapes depend on the data."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest

import fasttrt
from support.gpu import Array, is_rtx, is_v8, library, normal, open_engine
from support.gpu_models import cut_by_data, range_by_data, suppression
from support.models import Model, nonzero
from support.randomness import new_rng

pytestmark = pytest.mark.gpu
Refused = (fasttrt.ParseError, fasttrt.BuildError)
RANGE = {"x": ((1,), (64,), (512,))}
MAKERS: dict[str, Callable[[], Model]] = {
    "NonZero": nonzero,
    "Slice": cut_by_data,
    "Range": range_by_data,
}


def _why_not(name: str) -> str:
    if name == "NonZero" and is_rtx():
        return "TensorRT-RTX has no NonZero"
    if name != "NonZero" and is_v8():
        return "TensorRT 8 takes no extents computed from data"
    return ""


@pytest.fixture(scope="module", params=MAKERS)
def engine_and_model(request: pytest.FixtureRequest) -> Iterator[tuple[fasttrt.Engine, Model]]:
    if reason := _why_not(request.param):
        pytest.skip(reason)
    model = MAKERS[request.param]()
    with open_engine(model, shapes=RANGE) as engine:
        yield engine, model


def _with_positives(count: int, of: int) -> Array:
    """Random values, ``count`` of them above 0 at random places."""
    x: Array = -np.abs(normal(of)) - np.float32(0.1)
    x[new_rng().permutation(of)[:count]] *= -1
    return x


def _check(results: Array | tuple[Array, ...], expected: Array | tuple[Array, ...]) -> None:
    if isinstance(results, np.ndarray):
        results, expected = (results,), (np.asarray(expected),)
    for result, right in zip(results, expected, strict=True):
        assert result.shape == right.shape
        np.testing.assert_array_equal(result, right)  # values are copied or counted, not computed


# Nothing, everything, growing and shrinking, with and without another size of the input.
CALLS = ((0, 8), (1, 8), (8, 8), (3, 64), (64, 64), (0, 64), (500, 512), (512, 512), (2, 512),
         (0, 512), (1, 1), (0, 1), (17, 40))  # fmt: skip


def test_true_shapes(engine_and_model: tuple[fasttrt.Engine, Model]) -> None:
    engine, model = engine_and_model
    assert -1 in engine.outputs[0].shape
    for count, of in CALLS:
        x = _with_positives(count, of)
        _check(engine.infer(x), model.reference(x))


def test_results_are_the_callers_own(engine_and_model: tuple[fasttrt.Engine, Model]) -> None:
    engine, model = engine_and_model
    x = _with_positives(40, 64)
    kept = engine.infer(x)
    engine.infer(_with_positives(60, 64))
    engine.infer(_with_positives(500, 512))
    _check(kept, model.reference(x))


def test_into_memory_of_the_callers(engine_and_model: tuple[fasttrt.Engine, Model]) -> None:
    """out= has to have the true shape, which only this call's values tell."""
    engine, model = engine_and_model
    x = _with_positives(5, 20)
    expected = model.reference(x)
    outs = [
        np.full(e.shape, -7, spec.dtype)
        for spec, e in zip(
            engine.outputs, expected if isinstance(expected, tuple) else (expected,), strict=True
        )
    ]
    results = engine.infer(x, out=outs)
    assert (results if isinstance(results, tuple) else (results,))[0] is outs[0]
    _check(results, expected)
    with pytest.raises(fasttrt.InputError, match="out="):
        engine.infer(_with_positives(6, 20), out=outs)
    _check(engine.infer(x), expected)


def test_refused_inputs_leave_it_usable(engine_and_model: tuple[fasttrt.Engine, Model]) -> None:
    engine, model = engine_and_model
    for _ in range(2):
        with pytest.raises(fasttrt.InputError, match=r"x: .*max \(512,\), got \(513,\)"):
            engine.infer(normal(513))
        x = _with_positives(5, 20)
        _check(engine.infer(x), model.reference(x))


@pytest.mark.parametrize("declared", [32, "boxes"], ids=["fixed", "dynamic"])
def test_suppression_of_boxes(declared: int | str) -> None:
    if is_rtx():
        pytest.skip("TensorRT-RTX has no NonMaxSuppression")
    model = suppression(declared)
    rng = new_rng()
    found = set()
    shapes = {
        "boxes": ((1, 1, 4), (1, 32, 4), (1, 64, 4)),
        "scores": ((1, 2, 1), (1, 2, 32), (1, 2, 64)),
    }
    with open_engine(model, shapes=shapes if declared == "boxes" else None) as engine:
        for spread, many in ((0.05, 32), (0.5, 32), (4.0, 64), (20.0, 64), (4.0, 5), (4.0, 32)):
            if isinstance(declared, int):
                many = declared
            # On a grid, on which no two overlap by just the threshold of one half.
            corners = np.round(rng.random((1, many, 2)) * spread * 64) / 64
            boxes = np.concatenate([corners, corners + 1], -1).astype(np.float32)
            scores = rng.permutation(2 * many).reshape(1, 2, many).astype(np.float32) / (2 * many)
            if spread == 0.05:
                scores *= 0.1  # not one is good enough
            expected = model.reference(boxes, scores)
            result = engine.infer(boxes, scores)
            assert result.shape == expected.shape
            # The order of what is left is nobody's promise.
            assert sorted(result.tolist()) == sorted(expected.tolist())
            found.add(len(expected))
    assert len(found) > 2


def test_what_the_library_lacks_is_refused_by_name() -> None:
    if not is_rtx():
        pytest.skip(f"{library()} has NonZero and NonMaxSuppression")
    with pytest.raises(fasttrt.ParseError) as caught:
        open_engine(nonzero(), shapes=RANGE)
    assert [(issue.node, issue.operator) for issue in caught.value.issues] == [(1, "NonZero")]
    with pytest.raises(Refused):
        open_engine(suppression())
