"""Outputs that hold nothing to compare, and values that are lost within the limits."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest
from onnx.parser import parse_model

import fasttrt
from fasttrt._accuracy.metrics import OutputComparison, combine, measure
from fasttrt._accuracy.thresholds import Judge, Limits
from fasttrt._graph.model import OnnxModel
from support import models
from support.models import Array

SCALED = """
    <ir_version: 9, opset_import: ["" : 17]>
    g (float[n,8] x) => (float[n,8] y) <float s = {{{scale}}}> {{ y = Mul (x, s) }}
"""


def scaled(scale: float) -> Any:
    return parse_model(SCALED.format(scale=f"{scale:.10e}"))


def limits_of(precision: str, **thresholds: Any) -> Limits:
    return Judge(OnnxModel(scaled(1)), precision, thresholds or None).limits("y")


def judged(actual: Any, expected: Any, within: Limits, **options: Any) -> OutputComparison:
    pairs = zip(actual, expected, strict=True)
    return combine("y", within, [measure(a, b, within) for a, b in pairs], **options)


def normal(*shape: int) -> Array:
    return np.random.default_rng(3).standard_normal(shape).astype(np.float32)


# Nothing to compare


NOTHING = {
    "NaN": ("x / x", "Sub (x, x) y = Div (z, z)"),
    "infinity": ("1 / 0", "Sub (x, x) w = Exp (z) y = Div (w, z)"),
    "0": ("0", "Sub (x, x) y = Neg (z)"),
    "no elements": ("", "Sub (x, x) w = NonZero (z) v = Cast <to=1> (w) y = Transpose (v)"),
}


@pytest.mark.parametrize("kind", NOTHING)
@pytest.mark.parametrize("thresholds", [None, {"atol": 1.0}, {"cosine": 0.5}, {"top1": 1.0}])
def test_what_holds_nothing_does_not_pass(kind: str, thresholds: Any) -> None:
    text = f"""
        <ir_version: 9, opset_import: ["" : 17]>
        g (float[n,8] x) => (float y, float[n,8] other) {{
            other = Neg (x) z = {NOTHING[kind][1]}
        }}
    """
    made = parse_model(text)
    made.graph.output[0].type.tensor_type.ClearField("shape")
    other = parse_model(text.replace("Neg (x) z", "Identity (x) z"))
    for against in (None, other):
        found = fasttrt.compare(
            made, device="cpu", against=against, thresholds=thresholds and {"y": thresholds}
        )
        y = found.outputs[0]
        assert not y.passed
        assert not found.passed
        assert "so this proves nothing: use inputs" in y.reasons[-1]
        assert "so this proves nothing" in str(found)
        assert found.to_json()["passed"] is False
    allowed = (thresholds or {}) | {"allow_trivial": True}
    assert fasttrt.compare(made, device="cpu", thresholds={"y": allowed}).passed


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0])
def test_one_sample_that_holds_something_is_enough(value: float) -> None:
    within = limits_of("fp32")
    nothing, something = np.full((2, 8), value, np.float32), normal(2, 8)
    for samples in ([nothing, something], [something, nothing]):
        assert judged(samples, samples, within, must_hold=True).passed
    assert not judged([nothing] * 2, [nothing] * 2, within, must_hold=True).passed


def test_what_no_input_reaches_may_be_anything() -> None:
    made = parse_model("""
        <ir_version: 9, opset_import: ["" : 17]>
        g (float[2] x) => (float[2] y, float[2] zeros, float[0] none) {
            y = Neg (x)
            zeros = Constant <value = float[2] {0, 0}> ()
            none = Constant <value = float[0] {}> ()
        }
    """)
    assert fasttrt.compare(made, device="cpu").passed


def test_nan_among_numbers_passes_where_it_belongs() -> None:
    within = limits_of("fp32")
    expected = normal(4, 8)
    expected[0], expected[1, 2] = np.nan, -np.inf
    assert judged([expected], [expected.copy()], within, must_hold=True).passed
    moved = expected.copy()
    moved[[0, 2]] = moved[[2, 0]]
    found = judged([moved], [expected], within, must_hold=True)
    assert not found.passed
    assert found.nonfinite_mismatches == 16


def test_rows_of_nan_agree_in_nothing() -> None:
    within = limits_of("fp32", top1=0.9, atol=100.0)
    expected = normal(4, 8)
    expected[:3] = np.nan
    actual = expected.copy()
    actual[3] = expected[3, ::-1]
    found = judged([actual], [expected], within)
    assert found.top1 == 0
    assert any(reason.startswith("top-1 agreement") for reason in found.reasons)


def test_integers_that_are_0_are_values() -> None:
    within = limits_of("fp32")
    zeros = np.zeros((2, 3), np.int64)
    for values in (zeros, zeros.astype(bool), zeros.astype(ml_dtypes.int4)):
        assert judged([values], [values.copy()], within, must_hold=True).passed


# Values that are lost


@pytest.mark.parametrize("scale", [1e-38, 1e-20, 1e-10, 1e-5])
@pytest.mark.parametrize("precision", ["fp32", "tf32", "fp16", "bf16", "int8", "fp8"])
@pytest.mark.parametrize("thresholds", [{}, {"atol": 1e-3}, {"atol": 1.0, "rtol": 1.0}])
def test_zeros_for_small_values_fail(
    scale: float, precision: str, thresholds: dict[str, float]
) -> None:
    within = limits_of(precision, **thresholds)
    expected = normal(4, 8) * np.float32(scale)
    for actual in (np.zeros_like(expected), expected * np.float32(1e-5), -0 * expected):
        found = judged([actual], [expected], within)
        assert not found.passed, found
    assert judged([expected], [expected.copy()], within).passed


def test_what_float16_makes_of_values_below_its_range_fails() -> None:
    within = limits_of("fp16")
    for scale in (1e-10, 1e-8, 2e-8):
        expected = normal(64, 8) * np.float32(scale)
        found = judged([expected.astype(np.float16)], [expected], within)
        assert not found.passed
        assert "16 bits" in found.reasons[0]
    expected = normal(64, 8) * np.float32(1e-3)
    assert judged([expected.astype(np.float16)], [expected], within).passed


def test_compare_fails_an_engine_that_underflows() -> None:
    def half(proto: Any) -> fasttrt.Engine:
        text = """
            <ir_version: 9, opset_import: ["" : 17]>
            g (float[n,8] x) => (float[n,8] y) <float s = {1e-10}> {
                h = Cast <to=10> (x) t = Cast <to=10> (s) p = Mul (h, t) y = Cast <to=1> (p)
            }
        """
        return fasttrt.Engine(parse_model(text), device="cpu")

    found = fasttrt.compare(
        scaled(1e-10), engine=half, thresholds={"precision": "fp16"}, bisect=False
    )
    assert not found.passed
    assert "the values have vanished: their root mean square is 0" in str(found)


# Exact where values are equal


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "bfloat16"])
@pytest.mark.parametrize("scale", [1e-30, 1e-3, 1, 1e30])
@pytest.mark.parametrize("seed", range(5))
def test_the_cosine_of_equal_arrays_is_1(dtype: str, scale: float, seed: int) -> None:
    values = np.random.default_rng(seed).standard_normal((3, 257))
    if dtype != "float16":
        values *= scale
    array = values.astype(getattr(ml_dtypes, dtype, dtype))
    found = judged([array], [array.copy()], limits_of("fp32", cosine=1.0))
    assert found.cosine == 1
    assert found.passed


def test_the_cosine_tells_the_least_difference() -> None:
    values = np.random.default_rng(1).standard_normal(1000)
    other = values + 1e-7 * np.random.default_rng(2).standard_normal(1000)
    a, b = values.astype(np.longdouble), other.astype(np.longdouble)
    exact = 1 - float(1 - (a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum()))
    found = judged([values], [other], limits_of("fp32", cosine=0.0))
    assert found.cosine == pytest.approx(exact, abs=1e-16)
    assert not judged([-values], [values], limits_of("fp32", cosine=-0.999)).passed


@pytest.mark.parametrize("dtype", [np.int64, np.uint64])
def test_integers_of_64_bits_are_told_apart(dtype: Any) -> None:
    expected = np.array([2**53, 2**62, 3, np.iinfo(dtype).max], dtype)
    off = expected - np.array([0, 1, 0, 0], dtype)
    for thresholds in ({}, {"atol": 0.0}, {"atol": 0.5}):
        within = limits_of("fp32", **thresholds)
        found = judged([off], [expected], within)
        assert found.out_of_tolerance == 1
        assert not found.passed
        assert judged([expected.copy()], [expected], within).passed
    far = np.array([np.iinfo(dtype).min], dtype)
    found = judged([far], [np.array([np.iinfo(dtype).max], dtype)], limits_of("fp32", atol=1.0))
    assert found.max_abs_error == pytest.approx(2.0**64)


def test_complex_numbers_count_in_both_parts() -> None:
    expected = normal(3, 4) + 1j * normal(3, 4)[::-1]
    assert judged([expected], [expected.copy()], limits_of("fp32")).passed
    assert not judged([expected.conj()], [expected], limits_of("fp32")).passed


@pytest.mark.parametrize("made", [models.mlp(), models.attention(), models.several()])
def test_random_inputs_of_real_networks_hold_something(made: models.Model) -> None:
    assert fasttrt.compare(made.proto, device="cpu", seed=5, thresholds={"cosine": 1}).passed
