"""Conversions at the edge, where the engine's types are not the model's."""

import numpy as np
import pytest

import fasttrt
from fasttrt._runtime.io_conversion import from_engine, to_engine
from fasttrt._runtime.output_arrays import check_target
from support.randomness import new_rng


def _spec(declared: str, engine: str) -> fasttrt.TensorSpec:
    return fasttrt.TensorSpec("x", np.dtype(declared), (-1,), engine_dtype=np.dtype(engine))


def test_floats_are_rounded() -> None:
    x = new_rng().standard_normal(100)
    converted = to_engine(_spec("float64", "float32"), x)
    assert converted.dtype == np.float32
    np.testing.assert_allclose(converted, x, rtol=2**-24)


@pytest.mark.parametrize("value", [1e39, -1e300])
def test_floats_out_of_range_are_refused(value: float) -> None:
    with pytest.raises(fasttrt.InputError, match=r"x: expected values that fit float32.*got"):
        to_engine(_spec("float64", "float32"), np.array([1.0, value]))


def test_infinities_and_nans_pass() -> None:
    x = np.array([np.inf, -np.inf, np.nan, 1.5])
    np.testing.assert_array_equal(to_engine(_spec("float64", "float32"), x), x)


def test_integers_have_to_fit() -> None:
    limits = np.array([-(2**31), 2**31 - 1])
    np.testing.assert_array_equal(to_engine(_spec("int64", "int32"), limits), limits)
    with pytest.raises(fasttrt.InputError, match=r"x: expected values that fit int32"):
        to_engine(_spec("int64", "int32"), limits + 1)


def test_another_type_is_refused() -> None:
    with pytest.raises(fasttrt.InputError, match=r"x: expected dtype float64, got float32"):
        to_engine(_spec("float64", "float32"), np.ones(3, np.float32))


def test_converted_results_go_into_the_callers_memory() -> None:
    result = new_rng().standard_normal(5).astype(np.float32)
    target = np.empty(5)
    check_target(_spec("float64", "float32"), target)
    assert from_engine(_spec("float64", "float32"), result, target) is target
    np.testing.assert_array_equal(target, result.astype(np.float64))


def test_targets_of_converted_results_are_checked() -> None:
    spec = _spec("float64", "float32")
    frozen = np.empty(5)
    frozen.flags.writeable = False
    for target in ([0.0] * 5, np.empty(5, np.float32), np.empty(10)[::2], frozen):
        with pytest.raises(fasttrt.InputError, match="x: out= must"):
            check_target(spec, target)
    with pytest.raises(fasttrt.InputError, match=r"x: the result has shape \(5,\).*\(4,\)"):
        from_engine(spec, np.ones(5, np.float32), np.empty(4))
