"""Conversions at the edge, where the engine's types are not the model's."""

import numpy as np
import pytest

import fasttrt
from fasttrt.tensorrt import _to_engine


def _spec(declared: str, engine: str) -> fasttrt.TensorSpec:
    return fasttrt.TensorSpec("x", np.dtype(declared), (-1,), engine_dtype=np.dtype(engine))


def test_floats_are_rounded() -> None:
    x = np.random.default_rng().standard_normal(100)
    converted = _to_engine(_spec("float64", "float32"), x)
    assert converted.dtype == np.float32
    np.testing.assert_allclose(converted, x, rtol=2**-24)


@pytest.mark.parametrize("value", [1e39, -1e300])
def test_floats_out_of_range_are_refused(value: float) -> None:
    with pytest.raises(fasttrt.InputError, match=r"x: expected values that fit float32.*got"):
        _to_engine(_spec("float64", "float32"), np.array([1.0, value]))


def test_infinities_and_nans_pass() -> None:
    x = np.array([np.inf, -np.inf, np.nan, 1.5])
    np.testing.assert_array_equal(_to_engine(_spec("float64", "float32"), x), x)


def test_integers_have_to_fit() -> None:
    limits = np.array([-(2**31), 2**31 - 1])
    np.testing.assert_array_equal(_to_engine(_spec("int64", "int32"), limits), limits)
    with pytest.raises(fasttrt.InputError, match=r"x: expected values that fit int32"):
        _to_engine(_spec("int64", "int32"), limits + 1)


def test_another_type_is_refused() -> None:
    with pytest.raises(fasttrt.InputError, match=r"x: expected dtype float64, got float32"):
        _to_engine(_spec("float64", "float32"), np.ones(3, np.float32))
