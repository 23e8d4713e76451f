"""Which sizes an engine is warmed up with, and that nothing of it may harm the engine."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import onnx.parser
import pytest

import fasttrt
from fasttrt import BuildProgress, InputError, TensorSpec
from fasttrt._common.tensor_spec import Range
from fasttrt._engine.warmup import given_sizes, is_wanted, tuned_sizes, warm_up
from fasttrt._runtime.backend import Backend
from support.models import elementwise
from support.randomness import new_rng

FLOAT = np.dtype(np.float32)


def _fixed(*shape: int) -> Range:
    return (shape, shape, shape)


RANGE = ((1, 3), (4, 3), (64, 3))
X = TensorSpec("x", FLOAT, (-1, 3), profiles=(RANGE, _fixed(8, 3), _fixed(2, 3), _fixed(16, 3)))


class Recorder:
    """A backend that notes what it is warmed up with, and fails with some sizes."""

    def __init__(self, *inputs: TensorSpec, failing: Sequence[int] = ()) -> None:
        self.inputs = inputs
        self.failing = failing
        self.seen: list[list[np.ndarray[Any, Any]]] = []
        self.stored = 0

    def warm_up(self, arrays: Sequence[Any]) -> None:
        self.seen.append(list(arrays))
        if arrays[0].shape[0] in self.failing:
            raise fasttrt.Error("this one fails")

    def store_kernels(self) -> None:
        self.stored += 1


def _warm(recorder: Recorder, sizes: Any, progress: Any = False) -> None:
    warm_up(cast(Backend, recorder), sizes, progress)


def test_the_sizes_of_fixed_profiles_are_tuned() -> None:
    assert tuned_sizes([X]) == [[(8, 3)], [(2, 3)], [(16, 3)]]


def test_without_fixed_profiles_it_is_the_optimum_of_each_range_once() -> None:
    spec = TensorSpec("x", FLOAT, (-1, 3), profiles=(RANGE, ((1, 3), (4, 3), (9, 3))))
    other = TensorSpec("y", FLOAT, (-1, 3), profiles=(RANGE, RANGE))
    assert tuned_sizes([spec, other]) == [[(4, 3), (4, 3)]]
    assert tuned_sizes([]) == []


def test_the_largest_size_comes_first_and_progress_counts_them() -> None:
    recorder, steps = Recorder(X), list[BuildProgress]()
    _warm(recorder, tuned_sizes([X]), steps.append)
    assert [arrays[0].shape for arrays in recorder.seen] == [(16, 3), (8, 3), (2, 3)]
    assert [(step.step, step.steps) for step in steps] == [(0, 3), (1, 3), (2, 3), (3, 3)]
    assert {step.phase for step in steps} == {"Warm-up"}
    assert recorder.stored == 1


def test_values_have_the_engines_types_and_shape_tensors_their_values() -> None:
    size = TensorSpec("size", np.dtype(np.int64), (2,), profiles=(((1, 1), (3, 5), (9, 9)),),
                      is_shape=True, engine_dtype=np.dtype(np.int32))  # fmt: skip
    double = TensorSpec("d", np.dtype(np.float64), (4,), profiles=(_fixed(4),), engine_dtype=FLOAT)
    recorder = Recorder(double, size)
    _warm(recorder, tuned_sizes([double, size]))
    ((d, values),) = recorder.seen
    assert (d.dtype, d.shape) == (FLOAT, (4,))
    assert not d.any()
    assert (values.dtype, values.tolist()) == (np.dtype(np.int32), [3, 5])


def test_a_size_that_fails_is_logged_and_the_others_are_warmed_up(
    caplog: pytest.LogCaptureFixture,
) -> None:
    recorder = Recorder(X, failing=[8])
    with caplog.at_level(logging.WARNING, "fasttrt"):
        _warm(recorder, tuned_sizes([X]))
    assert len(recorder.seen) == 3
    assert "the warm-up of x (8, 3) failed: this one fails" in caplog.text


def test_an_exception_of_the_callback_is_passed_on() -> None:
    def stop(step: BuildProgress) -> None:
        if step.step == 1:
            raise KeyboardInterrupt

    recorder = Recorder(X)
    with pytest.raises(KeyboardInterrupt):
        _warm(recorder, tuned_sizes([X]), stop)
    assert len(recorder.seen) == 1


@pytest.mark.parametrize(
    ("shapes", "expected"),
    [
        ({"x": (5, 3)}, [[(5, 3)]]),
        ((5, 3), [[(5, 3)]]),
        ([5, 3], [[(5, 3)]]),
        ([{"x": [5, 3]}, {"x": (6, 3)}], [[(5, 3)], [(6, 3)]]),
        ([(5, 3), (6, 3)], [[(5, 3)], [(6, 3)]]),
        ([], [[]]),
    ],
)
def test_shapes_may_be_given(shapes: Any, expected: Any) -> None:
    if expected == [[]]:  # which is the shape of a scalar
        with pytest.raises(InputError, match="expected"):
            given_sizes([X], shapes)
    else:
        assert given_sizes([X], shapes) == expected


def test_inputs_with_fixed_shapes_may_be_left_out() -> None:
    fixed = TensorSpec("w", FLOAT, (7,), profiles=(_fixed(7),))
    assert given_sizes([X, fixed], {"x": (5, 3)}) == [[(5, 3), (7,)]]


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ({"y": (5, 3)}, "there is no input 'y'"),
        ({"x": (5, 4)}, r"x: expected \(-1, 3\).*got \(5, 4\)"),
        ({"x": (65, 3)}, r"x: expected .*max \(64, 3\).*got \(65, 3\)"),
        ({"x": "5x3"}, "shapes: expected"),
        ({"x": (-1, 3)}, "shapes: expected"),
        ("5x3", "shapes: expected"),
        (5, "shapes: expected"),
        ([{"x": (5, 3)}, 5], "shapes: expected"),
        ({}, "expected a shape for x"),
    ],
)
def test_wrong_shapes_are_refused(shapes: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        given_sizes([X], shapes)


def test_by_default_it_is_for_tuned_sizes_and_batching() -> None:
    tuned: dict[str, Any] = {"tuned": {"x.0": [1, 2]}, "control_flow": []}
    assert is_wanted("auto", tuned, None)
    assert is_wanted("auto", {}, fasttrt.Batching(8))
    assert not is_wanted("auto", {}, None)
    assert not is_wanted("auto", tuned | {"control_flow": ["If", "Loop"]}, None)
    assert is_wanted(True, {"control_flow": ["Loop"]}, None)
    assert not is_wanted(False, tuned, fasttrt.Batching(8))


def test_it_stops_where_the_interpreter_is_ending(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("fasttrt._core.is_shutting_down", lambda: True)
    recorder = Recorder(X, failing=[16])
    with pytest.raises(fasttrt.Error, match="this one fails"):
        _warm(recorder, [[(16, 3)], [(8, 3)]])
    assert len(recorder.seen) == 1
    assert not caplog.records
    assert not recorder.stored


def test_on_the_cpu_there_is_nothing_to_warm_up() -> None:
    rng = new_rng()
    with fasttrt.Engine(elementwise(("n", 4)).proto, device="cpu", warmup=True) as engine:
        engine.warmup()
        engine.warmup({"x": (3, 4)})
        with pytest.raises(InputError, match="x: expected"):
            engine.warmup({"x": (3, 5)})
        assert engine.stats().runs == 0
        engine.infer(rng.standard_normal((3, 4), np.float32))
    with pytest.raises(fasttrt.Error, match="closed"):
        engine.warmup()


@pytest.mark.parametrize("warmup", ["yes", None, 1])
def test_other_values_of_the_option_are_refused(warmup: Any) -> None:
    with pytest.raises(InputError, match='warmup: expected "auto", True or False'):
        fasttrt.Engine(elementwise().proto, device="cpu", warmup=warmup)


def test_on_the_cpu_inputs_may_have_ranges_or_not() -> None:
    model = onnx.parser.parse_model("""
        <ir_version: 8, opset_import: ["" : 17]>
        g (float[n, 4] a, float[1, 4] b) => (float[n, 4] y) { y = Add (a, b) }
    """)
    with fasttrt.Engine(model, device="cpu", shapes={"a": "1x4:2x4:8x4"}) as engine:
        engine.warmup()
        engine.warmup({"a": (3, 4)})


@pytest.mark.parametrize("size", [2**44, 2**62, True, 10**30])
def test_absurd_sizes_are_refused_or_logged(size: int, caplog: pytest.LogCaptureFixture) -> None:
    with fasttrt.Engine(elementwise(("n", 4)).proto, device="cpu") as engine:
        if isinstance(size, bool) or size > 2**63:
            with pytest.raises(InputError, match="shapes: expected a mapping"):
                engine.warmup({"x": (size, 4)})
        else:
            engine.warmup({"x": (size, 4)})
            assert "not enough host memory" in caplog.text
