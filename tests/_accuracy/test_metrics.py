"""The numbers of a comparison against the same in plain numpy, and what passes."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest

from fasttrt._accuracy.metrics import OutputComparison, combine, measure
from fasttrt._accuracy.thresholds import Limits
from support.models import Array, random_array

NONE: dict[str, Any] = {
    "rms_fraction": 0.0, "min_rms": 0.0, "cosine": None, "top1": None, "equal": 1.0,
    "integers_exact": True,
}  # fmt: skip


def limits(atol: float = 1e-3, rtol: float = 0.0, **others: Any) -> Limits:
    return Limits(**{**NONE, "atol": atol, "rtol": rtol, **others})


def compared(actual: Array, expected: Array, within: Limits | None = None) -> OutputComparison:
    within = within or limits()
    return combine("y", within, [measure(actual, expected, within)])


def test_errors_are_those_of_numpy() -> None:
    expected = random_array(np.float32, (5, 7))
    actual = expected + random_array(np.float32, (5, 7)) * np.float32(1e-4)
    found = compared(actual, expected)
    a, b = actual.astype(np.float64), expected.astype(np.float64)
    assert found.max_abs_error == pytest.approx(abs(a - b).max(), rel=1e-9)
    assert found.max_rel_error == pytest.approx((abs(a - b) / abs(b)).max(), rel=1e-9)
    assert found.mean_abs_error == pytest.approx(abs(a - b).mean(), rel=1e-9)
    assert found.rms == pytest.approx(np.sqrt((b * b).mean()), rel=1e-9)
    cosine = (a * b).sum() / np.linalg.norm(a) / np.linalg.norm(b)
    assert found.cosine == pytest.approx(cosine, rel=1e-14)
    assert found.top1 == np.mean(a.argmax(-1) == b.argmax(-1))
    assert (found.nan, found.inf, found.nonfinite_mismatches, found.elements) == (0, 0, 0, 35)
    assert found.passed


@pytest.mark.parametrize("off", [0.9, 1.1])
def test_the_limit_is_absolute_plus_relative_plus_a_share_of_the_rms(off: float) -> None:
    expected = random_array(np.float64, (50,))
    within = limits(1e-3, 1e-2, rms_fraction=1e-2)
    allowed = 1e-3 + 1e-2 * np.sqrt(np.square(expected).mean()) + 1e-2 * abs(expected)
    actual = expected.copy()
    actual[17] += off * allowed[17]
    found = compared(actual, expected, within)
    assert found.passed == (off < 1)
    assert found.out_of_tolerance == int(off > 1)
    if off > 1:
        (reason,) = found.reasons
        assert reason.startswith("1 of 50 elements are off by more than 0.001 + 0.01 rms + 0.01 |")


def test_samples_are_gathered() -> None:
    pairs = [(random_array(np.float32, (n, 4)), random_array(np.float32, (n, 4))) for n in (1, 5)]
    within = limits()
    found = combine("y", within, [measure(a, b, within) for a, b in pairs])
    errors = np.concatenate([abs(a.astype(float) - b.astype(float)).ravel() for a, b in pairs])
    assert found.elements == 24
    assert found.max_abs_error == pytest.approx(errors.max(), rel=1e-9)
    assert found.mean_abs_error == pytest.approx(errors.mean(), rel=1e-9)
    assert found.shape == (1, 4)
    separate = [compared(a, b).cosine for a, b in pairs]
    assert found.cosine == min(c for c in separate if c is not None)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_on_one_side_fails(value: float) -> None:
    expected = random_array(np.float32, (4, 4))
    broken = expected.copy()
    broken[1, 2] = value
    for actual, wanted in ((broken, expected), (expected, broken)):
        found = compared(actual, wanted)
        assert found.nonfinite_mismatches == 1
        assert found.reasons == ("1 elements are NaN or infinite on one side only",)
        assert found.max_abs_error == 0, "the other elements are still compared"
    assert compared(broken, broken.copy()).passed
    counted = compared(broken, expected)
    assert (counted.nan, counted.inf) == ((1, 0) if np.isnan(value) else (0, 1))
    assert (counted.reference_nan, counted.reference_inf) == (0, 0)


def test_infinities_of_other_signs_differ() -> None:
    a = np.array([np.inf, 1], np.float32)
    assert not compared(a, np.array([-np.inf, 1], np.float32)).passed


def test_numbers_near_the_largest_are_no_accident() -> None:
    huge = np.array([1e300, -1e300, 1e-320])
    assert compared(huge, huge.copy()).passed
    within = limits(rms_fraction=0.1)
    found = compared(huge, np.array([1e300, 1e300, 1e-320]), within)
    assert found.out_of_tolerance == 1
    assert found.cosine == pytest.approx(0, abs=1e-12)


def test_all_nan_has_no_errors_to_tell() -> None:
    a = np.full((2, 2), np.nan, np.float32)
    found = compared(a, np.zeros((2, 2), np.float32))
    assert found.max_abs_error is None
    assert found.rms is None
    assert not found.passed


def test_cosine_and_top1_are_judged_if_asked() -> None:
    expected = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    actual = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    found = compared(actual, expected, limits(9.0, cosine=0.9, top1=0.75))
    assert found.top1 == 0.5
    assert found.cosine == pytest.approx(0.5, rel=1e-9)
    assert found.reasons == ("cosine 0.5 is below 0.9", "top-1 agreement 0.5 is below 0.75")
    assert compared(actual, expected, limits(9.0, cosine=0.4, top1=0.5)).passed


def test_the_cosine_of_next_to_nothing_is_not_judged() -> None:
    expected = random_array(np.float32, (100,)) * np.float32(1e-6)
    actual = random_array(np.float32, (100,)) * np.float32(1e-6)
    assert compared(actual, expected, limits(1e-3, min_rms=1e-3, cosine=0.99)).passed
    assert not compared(actual, expected, limits(1e-3, min_rms=1e-8, cosine=0.99)).passed


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int32, np.int64, bool, ml_dtypes.int4])
def test_integers_and_booleans_have_to_be_equal(dtype: Any) -> None:
    expected = np.array([1, 0, 1, 1]).astype(dtype)
    actual = np.array([1, 0, 0, 1]).astype(dtype)
    assert compared(expected, expected.copy()).passed
    found = compared(actual, expected)
    assert found.equal == 0.75
    assert found.reasons == ("1 of 4 elements differ",)
    assert found.max_abs_error == 1
    assert compared(actual, expected, limits(0, equal=0.75)).passed
    assert compared(actual, expected, limits(1.0, integers_exact=False)).passed


def test_integers_that_float64_does_not_hold_are_told_apart() -> None:
    expected = np.array([2**60, 2**60], np.int64)
    found = compared(expected + np.array([0, 1]), expected)
    assert found.reasons == ("1 of 2 elements differ",)


@pytest.mark.parametrize("dtype", [ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn, np.float16])
def test_types_that_numpy_lacks_are_floats(dtype: Any) -> None:
    expected = random_array(np.float32, (3, 5)).astype(dtype)
    found = compared(expected, expected.copy())
    assert found.passed
    assert found.dtype == np.dtype(dtype).name
    assert found.cosine == pytest.approx(1, rel=1e-12)
    assert not compared((expected.astype(np.float32) + 1).astype(dtype), expected).passed


def test_types_of_other_widths_are_compared_and_told() -> None:
    expected = random_array(np.float32, (3, 5)).astype(np.float16).astype(np.float64)
    found = compared(expected.astype(np.float16), expected)
    assert found.passed
    assert (found.dtype, found.reference_dtype) == ("float16", "float64")


@pytest.mark.parametrize(
    ("actual", "reason"),
    [
        (np.zeros((2, 3), np.float32), "sample 0: shape (2, 3), but the reference has (2, 4)"),
        (np.zeros((2, 4), np.int32), "sample 0: dtype int32, but the reference has float32"),
        (np.zeros((2, 4), bool), "sample 0: dtype bool, but the reference has float32"),
    ],
)
def test_other_shapes_and_kinds_fail(actual: Array, reason: str) -> None:
    found = compared(actual, np.zeros((2, 4), np.float32))
    assert found.reasons == (reason,)


def test_scalars_empty_arrays_and_strings() -> None:
    scalar = np.array(3.0, np.float32)
    assert compared(scalar, scalar).passed
    assert not compared(scalar, scalar + 1).passed
    empty = np.zeros((0, 4), np.float32)
    assert compared(empty, empty).passed
    assert compared(empty, empty).max_abs_error is None
    text = np.array(["a", "b"], object)
    assert compared(text, text.copy()).passed
    assert not compared(text, np.array(["a", "c"], object)).passed
