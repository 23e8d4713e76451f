"""Every element type that TensorRT has, as input and as output."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pytest
from onnx import TensorProto

import fasttrt
from support.gpu import ELEMENTWISE, Array, is_v8, library, open_engine
from support.gpu_models import int8_edges
from support.models import (
    Model,
    dequantize,
    elementwise,
    logical_not,
    quantize,
    random_array,
    through_float,
)
from support.randomness import new_rng

pytestmark = pytest.mark.gpu
Refused = (fasttrt.ParseError, fasttrt.BuildError)


class Case(NamedTuple):
    """A model of fixed shape, its types, and how close it has to come; rtol 0 is exactly."""

    make: Callable[[], Model]
    input: str
    output: str
    rtol: float = 0
    v8: str = "runs"
    """In TensorRT 8: "runs"; "refused"; "seen elsewhere" for one more that is refused, which takes
    7 seconds each; or "xfail" for what it could do and does not."""


def _edges(name: str, shape: tuple[int, ...] = (2, 16), v8: str = "refused") -> dict[str, Case]:
    """One case that reads a type and one that writes it."""
    code = {
        "int8": TensorProto.INT8,
        "float8_e4m3fn": TensorProto.FLOAT8E4M3FN,
        "int4": TensorProto.INT4,
        "float4_e2m1fn": TensorProto.FLOAT4E2M1,
    }[name]
    label = f"{name} {list(shape)}"
    return {
        f"{label} read": Case(lambda: dequantize(code, shape), name, "float32", v8=v8),
        f"{label} written": Case(
            lambda: quantize(code, shape), "float32", name, v8="seen elsewhere"
        ),
    }


# rtol: two roundings to the type itself, each of half a unit in the last place. Where the factor
# and the scale are powers of two, or the type is an integer, the result is exact.
CASES: dict[str, Case] = {
    "float32": Case(lambda: elementwise((3, 5)), "float32", "float32", ELEMENTWISE),
    "float64": Case(
        lambda: elementwise((3, 5), TensorProto.DOUBLE), "float64", "float64", ELEMENTWISE
    ),
    "float16": Case(lambda: elementwise((3, 5), TensorProto.FLOAT16), "float16", "float16", 2**-10),
    "bfloat16": Case(
        lambda: elementwise((3, 5), TensorProto.BFLOAT16), "bfloat16", "bfloat16", 2**-7, "refused"
    ),
    "int32": Case(lambda: elementwise((3, 5), TensorProto.INT32), "int32", "int32"),
    "int64": Case(lambda: elementwise((3, 5), TensorProto.INT64), "int64", "int64"),
    "bool": Case(lambda: logical_not((3, 5)), "bool", "bool"),
    "uint8": Case(lambda: through_float(TensorProto.UINT8, (3, 5)), "uint8", "uint8"),
    "int8 cast": Case(lambda: through_float(TensorProto.INT8, (3, 5)), "int8", "int8", 0, "xfail"),
    "int8 zero point read": Case(lambda: int8_edges()[0], "int8", "float32", 0, "xfail"),
    "int8 zero point written": Case(lambda: int8_edges()[1], "float32", "int8", 0, "xfail"),
    **_edges("int8"),
    **_edges("int8", (3, 5), v8="seen elsewhere"),
    **_edges("float8_e4m3fn"),
    **_edges("float8_e4m3fn", (3, 5), v8="seen elsewhere"),
    **_edges("int4"),
    **_edges("int4", (6, 5), v8="seen elsewhere"),
    **_edges("float4_e2m1fn"),
    **_edges("float4_e2m1fn", (6, 5), v8="seen elsewhere"),
}


def _inputs(case: Case, model: Model) -> tuple[Array, ...]:
    inputs = model.inputs()
    for x in inputs:
        x.flat[:2] = 0, 1  # so that never all results are the same
    if case.input == "float32" and case.output != "float32":
        # Far enough from the middle between two values that no rounding of x / scale decides.
        return tuple(np.round(x * 16) / 16 + np.float32(1 / 64) for x in inputs)
    return inputs


@pytest.mark.parametrize("name", CASES)
def test_types(name: str) -> None:
    case = CASES[name]
    model = case.make()
    fate = case.v8 if is_v8() else "runs"
    if fate == "seen elsewhere":
        pytest.skip(f"{library()} refuses this type in another test")
    if fate == "refused":
        with pytest.raises(Refused):
            open_engine(model)
        return
    try:
        engine = open_engine(model)
    except Refused as error:
        if fate == "runs":
            raise
        # TensorRT 8 wants its INT8 flag for models that say themselves what is quantized.
        pytest.xfail(f"{library()} refuses {name}: {error}")
    with engine:
        assert engine.inputs[0].dtype.name == case.input
        assert engine.outputs[0].dtype.name == case.output
        for _ in range(3):
            inputs = _inputs(case, model)
            result, expected = engine.infer(*inputs), model.reference(*inputs)
            assert result.dtype.name == case.output
            assert result.shape == expected.shape
            assert len(np.unique(expected.astype(np.float64))) > 1
            np.testing.assert_allclose(
                result.astype(np.float64), expected.astype(np.float64), rtol=case.rtol
            )


@pytest.mark.parametrize("name", ["int4", "float4_e2m1fn"])
def test_four_bits_come_in_pairs(name: str) -> None:
    """TensorRT takes no odd number of them: it has to say so, not to run."""
    if is_v8():
        pytest.skip("TensorRT 8 has no types of four bits")
    reads, writes = _edges(name, (3, 5)).values()
    for case in (reads, writes):
        with pytest.raises(Refused):
            open_engine(case.make())


@pytest.mark.parametrize("name", ["int4", "float4_e2m1fn"])
def test_four_bits_of_any_batch(name: str) -> None:
    if is_v8():
        pytest.skip("TensorRT 8 has no types of four bits")
    code = {"int4": TensorProto.INT4, "float4_e2m1fn": TensorProto.FLOAT4E2M1}[name]
    for model in (dequantize(code, ("batch", 6)), quantize(code, ("batch", 6))):
        with open_engine(model, shapes={"x": ((1, 6), (4, 6), (9, 6))}) as engine:
            for batch in (9, 1, 4):
                x = random_array(engine.inputs[0].dtype, (batch, 6))
                result, expected = engine.infer(x), model.reference(x)
                assert result.shape == (batch, 6)
                np.testing.assert_array_equal(
                    result.astype(np.float32), expected.astype(np.float32)
                )


def test_four_bits_in_any_layout() -> None:
    if is_v8():
        pytest.skip("TensorRT 8 has no types of four bits")
    model = dequantize(TensorProto.INT4, (4, 6))
    with open_engine(model) as engine:
        x = random_array(engine.inputs[0].dtype, (6, 8))
        for view in (x[:4, :6], x[::-1, :4].T, x[1:5, 1:7]):
            np.testing.assert_array_equal(engine.infer(view), model.reference(view))


def test_integers_of_64_bits() -> None:
    model = elementwise((4,), TensorProto.INT64)
    rng = new_rng()
    with open_engine(model) as engine:
        (spec,) = engine.inputs
        if is_v8():
            assert spec.engine_dtype == np.int32
            assert spec.converted
            small = rng.integers(-(2**29), 2**29, 4)
            np.testing.assert_array_equal(engine.infer(small), model.reference(small))
            for bad in (2**31, -(2**31) - 1, 2**40):
                x = np.array([1, 2, bad, 3])
                with pytest.raises(fasttrt.InputError, match=rf"x: .*fit int32.*{abs(bad)}"):
                    engine.infer(x)
        else:
            assert not spec.converted
            big = rng.integers(-(2**60), 2**60, 4)
            np.testing.assert_array_equal(engine.infer(big), model.reference(big))
        x = np.array([7, -8, 9, -(2**20)])
        y = engine.infer(x)
        assert y.dtype == np.int64
        np.testing.assert_array_equal(y, 4 * x)


def test_float64_is_converted_and_said_so_once(caplog: pytest.LogCaptureFixture) -> None:
    model = elementwise(("batch", 4), TensorProto.DOUBLE)
    with open_engine(model, shapes={"x": ((1, 4), (2, 4), (8, 4))}) as engine:
        for spec in (*engine.inputs, *engine.outputs):
            assert spec.dtype == np.float64
            assert spec.engine_dtype == np.float32
            assert spec.converted
        for batch in (1, 8, 2):
            x = new_rng().standard_normal((batch, 4))
            y = engine.infer(x)
            assert y.dtype == np.float64
            np.testing.assert_allclose(y, model.reference(x), rtol=ELEMENTWISE)
        with pytest.raises(fasttrt.InputError, match="x: expected dtype float64, got float32"):
            engine.infer(x.astype(np.float32))
        wide = engine.infer(x.astype(np.float32), cast=True)
        np.testing.assert_allclose(wide, model.reference(x), rtol=ELEMENTWISE)
        out = np.full((2, 4), np.nan)
        assert engine.infer(x, out=out) is out
        np.testing.assert_array_equal(out, y)
    lines = [r.getMessage() for r in caplog.records if "declares float64" in r.getMessage()]
    assert [line.split(":")[0] for line in lines] == ["x", "y"]
    assert all("float32" in line for line in lines)


def test_special_values_pass_through() -> None:
    """Infinity and NaN go in and come out as they are, in every float that has them."""
    types = [TensorProto.FLOAT] if is_v8() else [TensorProto.FLOAT, TensorProto.FLOAT16]
    for dtype in types:
        model = elementwise((5,), dtype)
        with open_engine(model) as engine:
            x = np.array([np.inf, -np.inf, np.nan, 0, -1.5], engine.inputs[0].dtype)
            np.testing.assert_array_equal(engine.infer(x), [np.inf, -np.inf, np.nan, 0, -6])
