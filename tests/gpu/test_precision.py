"""Each precision on a GPU: errors against float64, types of inputs and outputs, and the proof."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

import fasttrt
from fasttrt._library.inspector import layers_of
from fasttrt._precision.engine_check import layer_types
from support.gpu import Array, errors, is_v8, library, need, report
from support.models import Model, convolution, mlp
from support.precision_models import TRAPS, quantized, quantized_range
from support.process import python_output
from support.real_models import REAL_MODELS, RealModel

pytestmark = pytest.mark.gpu

Precision = Literal["fp32", "tf32", "fp16", "bf16"]
# Of the largest result. Products are summed in float32; what rounds is each layer's factors and
# results: by up to 2^-11 (tf32, fp16) or 2^-8 (bf16). For fp32 see `support.gpu`.
BOUNDS: dict[str, float] = {"fp32": 5e-5, "tf32": 4e-3, "fp16": 4e-3, "bf16": 3e-2}
# An engine of 16 bits is at least so far off: float32 and TF32 by chance would not be.
LEAST = {"fp16": 2.0**-15, "bf16": 2.0**-12}
NETS: dict[str, tuple[Callable[[], Model], dict[str, int]]] = {
    "mlp": (lambda: mlp((512, 1024, 1024, 256)), {"batch": 4096}),
    "convolution": (lambda: convolution(32, 3), {"batch": 2, "height": 24, "width": 20}),
}
"""Large enough for float16 to be faster, as TensorRT 8.6 goes by that."""
_CHILD = """
    import json, sys
    import numpy as np
    import fasttrt
    content = np.load(sys.argv[2])
    shapes = {"x": content.shape}
    with fasttrt.Engine(sys.argv[1], device="cuda", precision="tf32", shapes=shapes) as engine:
        np.save(sys.argv[3], engine.infer(content))
"""
REDUCED: tuple[Precision, ...] = ("fp16", "bf16")


def reduced() -> tuple[Precision, ...]:
    """Those of 16 bits that this library has."""
    return REDUCED[:1] if is_v8() else REDUCED


def opened(model: Model, x: Array, **options: Any) -> fasttrt.Engine:
    return fasttrt.Engine(model.proto, device="cuda", shapes={"x": x.shape}, **options)


@pytest.mark.parametrize("name", NETS)
def test_errors_are_those_of_the_precision(
    name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    make, extents = NETS[name]
    model = make()
    (x,) = model.inputs(**extents)
    expected = model.reference(x)
    found: dict[str, float] = {}
    precisions: tuple[Precision, ...] = ("fp32", *reduced())
    for precision in precisions:
        with caplog.at_level(logging.INFO, "fasttrt"), chosen(model, x, precision) as e:
            assert e.outputs[0].dtype == np.float32
            found[precision] = errors(e.infer(x), expected)["max_rel_error"]
    # TensorRT-RTX heeds a variable for TF32, which the tests here run with.
    model.save(tmp_path / "m.onnx")
    np.save(tmp_path / "x.npy", x)
    environment: dict[str, Any] = {"NVIDIA_TF32_OVERRIDE": "1"}
    if used := os.environ.get("FASTTRT_LIBRARY"):
        environment["FASTTRT_LIBRARY"] = used
    paths = [tmp_path / file for file in ("m.onnx", "x.npy", "y.npy")]
    python_output(_CHILD, *paths, **environment)
    found["tf32"] = errors(np.load(tmp_path / "y.npy"), expected)["max_rel_error"]
    told = [r.getMessage() for r in caplog.records if "engine computes in" in r.getMessage()]
    report("precision", mlp_model=name, told=told, **found)
    for key, error in found.items():
        assert LEAST.get(key, 0) < error < BOUNDS[key], key
    assert found["fp32"] < found["fp16"]
    assert is_v8() or found["fp16"] < found["bf16"]
    assert len(told) == len(reduced())  # confirmed, or said not to be


def chosen(model: Model, x: Array, precision: Precision) -> fasttrt.Engine:
    """An engine of that precision; an expected failure where TensorRT 8 measures another faster."""
    try:
        return opened(model, x, precision=precision)
    except fasttrt.BuildError as error:
        if not (is_v8() and "got one without" in str(error)):
            raise
        pytest.xfail(f"{precision} was not chosen: {error}")


def test_version_8_has_no_bfloat16() -> None:
    if not is_v8():
        pytest.skip("this library has it")
    model = mlp()
    with pytest.raises(fasttrt.BuildError, match='precision="bf16" is not an option of TensorRT 8'):
        opened(model, *model.inputs(), precision="bf16")


def test_version_8_chooses_by_speed() -> None:
    """Float16 or an error, whichever its measurements of a small network come to."""
    if not is_v8():
        pytest.skip("this library computes in the types that the graph states")
    model = mlp((64, 64, 16))
    (x,) = model.inputs()
    refused, precision = None, "fp16"
    try:
        engine = opened(model, x, precision="fp16")
    except fasttrt.BuildError as error:
        refused, precision = error, "fp32"
        engine = opened(model, x, precision="fp32")
    with engine:
        measured = errors(engine.infer(x), model.reference(x))
    report("precision by speed", refused=str(refused), **measured)
    assert LEAST.get(precision, 0) < measured["max_rel_error"] < BOUNDS[precision]
    if refused is not None:
        assert "computes in float16, got one without" in str(refused)
        assert 'precision="tf32" or "fp32" is the faster choice' in refused.advice


def test_inputs_and_outputs_change_on_request() -> None:
    model = mlp((64, 64, 16))
    (x,) = model.inputs()
    config = fasttrt.BuildConfig(precision="fp16", convert_io=True, conversion="graph")
    half = x.astype(np.float16)
    with opened(model, x, config=config) as engine:
        assert engine.inputs[0].dtype == engine.outputs[0].dtype == np.float16
        with pytest.raises(fasttrt.InputError, match="float16"):
            engine.infer(x)
        y = engine.infer(half)
    assert errors(y, model.reference(half))["max_rel_error"] < BOUNDS["fp16"]


@pytest.mark.parametrize("precision", REDUCED)
@pytest.mark.parametrize("name", TRAPS)
def test_what_does_not_fit_is_right_all_the_same(name: str, precision: Precision) -> None:
    if is_v8():
        pytest.skip("TensorRT 8 chooses types itself")
    model, inputs = TRAPS[name]()
    with fasttrt.Engine(model.proto, device="cuda", precision=precision) as engine:
        measured = errors(engine.infer(*inputs), model.reference(*inputs))
    report("precision traps", trap=name, precision=precision, **measured)
    assert measured["max_rel_error"] < 2 * BOUNDS[precision]


@pytest.mark.parametrize("precision", REDUCED)
@pytest.mark.parametrize("kind", ["int8", "fp8"])
def test_explicit_quantization_stays(kind: str, precision: Precision) -> None:
    if is_v8() and (kind, precision) != ("int8", "fp16"):
        pytest.skip("TensorRT 8 has neither bfloat16 nor float8")
    model = quantized(kind, opset=13 if is_v8() else 21)
    (x,) = model.inputs()
    with fasttrt.Engine(model.proto, device="cuda", precision=precision) as engine:
        y = engine.infer(x)
    expected = model.reference(x)
    report("precision of quantized", kind=kind, precision=precision, **errors(y, expected))
    # Before x is quantized, it, s and their quotient are rounded.
    low, high = quantized_range(model.proto, x, off=BOUNDS[precision] / 2)
    slack = BOUNDS[precision] * np.abs(expected).max()
    assert ((low - slack < y) & (y < high + slack)).all(), (y - low, y - high, slack)


def test_a_plan_keeps_its_precision(tmp_path: Path) -> None:
    make, extents = NETS["convolution"]
    model = make()
    (x,) = model.inputs(**extents)
    with chosen(model, x, "fp16") as engine:
        y = engine.infer(x)
        engine.save(tmp_path / "m.plan")
    with fasttrt.Engine(tmp_path / "m.plan", precision="fp16") as engine:
        np.testing.assert_array_equal(engine.infer(x), y)
    with pytest.raises(fasttrt.InputError, match="expected 'fp16', with which the plan was built"):
        fasttrt.Engine(tmp_path / "m.plan", precision="tf32")


def test_new_weights_are_rounded_too() -> None:
    if is_v8():
        pytest.skip("TensorRT 8.6's parser cannot refit, see test_contents.py")
    model, other = mlp((64, 64, 16)), mlp((64, 64, 16))
    (x,) = model.inputs()
    config = fasttrt.BuildConfig(precision="fp16", refit=True)
    with opened(model, x, config=config) as engine:
        engine.refit(other.proto)
        measured = errors(engine.infer(x), other.reference(x))
    assert LEAST["fp16"] < measured["max_rel_error"] < BOUNDS["fp16"]


def test_a_downgrade_is_an_error(caplog: pytest.LogCaptureFixture) -> None:
    """A plan of float32 that claims to be of float16."""
    model = mlp((64, 64, 16), batch=4)
    config = fasttrt.BuildConfig(tf32=False, profiling_verbosity="detailed")
    plan = fasttrt.build(model.proto, config, device="cuda")
    with fasttrt.Engine(plan, device="cuda") as engine:
        backend: Any = engine._backend
        information = backend.core.layer_information()
    told = layer_types(information)
    report("inspector", types=dict(told.types), hidden=told.hidden, layers=layers_of(information))
    metadata = plan.metadata | {"config": plan.metadata["config"] | {"precision": "fp16"}}
    doctored = fasttrt.Plan(plan.data, metadata)
    if told.hidden or not told.types:  # then nothing is proven, which is said
        with caplog.at_level(logging.WARNING, "fasttrt"):
            fasttrt.Engine(doctored, device="cuda").close()
        assert any("was not confirmed" in r.getMessage() for r in caplog.records)
        return
    with pytest.raises(fasttrt.BuildError, match="computes in float16, got one without"):
        fasttrt.Engine(doctored, device="cuda")


@pytest.mark.parametrize("precision", REDUCED)
@pytest.mark.parametrize("real", REAL_MODELS, ids=lambda model: model.name)
def test_trained_models_give_the_right_answers(real: RealModel, precision: Precision) -> None:
    need("PIL")
    if real.missing or is_v8() or not (real.builds and real.runs_on_rtx):
        pytest.skip(real.missing or f"not for {library()}")
    assert real.path is not None
    with fasttrt.Engine(
        real.path, device="cuda", shapes=real.shapes or None, precision=precision
    ) as engine:
        outputs = real.run(engine.infer)
    real.check(outputs)
