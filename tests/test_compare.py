"""`fasttrt.compare` with engines on the CPU, some of which are wrong on purpose."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto

import fasttrt
from fasttrt import InputError
from fasttrt._graph.model import OnnxModel
from fasttrt._graph.transforms import transformed
from fasttrt._precision.conversion import convert_model
from support import models
from support.perturbed import perturbed, perturbing, with_weight
from support.real_models import REAL_MODELS, RealModel


@pytest.mark.parametrize(
    "made",
    [
        models.mlp(),
        models.attention(),
        models.several(),
        models.constant_output(),
        models.loop(),
        models.conditional(),
        models.elementwise(()),
        models.elementwise(dtype=TensorProto.DOUBLE),
        models.elementwise(dtype=TensorProto.INT64),
        models.elementwise(dtype=TensorProto.FLOAT16),
        models.logical_not(),
        models.through_float(TensorProto.UINT8),
        models.quantize(TensorProto.INT8),
        models.dequantize(TensorProto.FLOAT8E4M3FN),
    ],
    ids=lambda made: made.proto.graph.node[-1].name,
)
def test_a_right_engine_passes_against_onnx_runtime_and_numpy(made: models.Model) -> None:
    found = fasttrt.compare(made.proto, device="cpu")
    assert found.passed
    assert found.divergence is None
    assert found.samples == 4
    names = [value.name for value in made.proto.graph.output]
    assert [output.name for output in found.outputs] == names
    assert all(output.max_abs_error == 0 for output in found.outputs)
    assert fasttrt.compare(made.proto, device="cpu", against=made.reference).passed


def test_a_wrong_engine_fails_and_says_by_how_much() -> None:
    made = models.mlp()
    found = fasttrt.compare(made.proto, engine=perturbing("y", 1.5), seed=7)
    (y,) = found.outputs
    assert not found.passed
    assert not y.passed
    assert y.max_rel_error == pytest.approx(0.5, rel=1e-3)
    assert y.cosine == pytest.approx(1)
    assert y.top1 == 1
    again = fasttrt.compare(made.proto, engine=perturbing("y", 1.5), seed=7)
    assert again.outputs == found.outputs
    assert again.seed == found.seed == 7
    other = fasttrt.compare(made.proto, engine=perturbing("y", 1.5))
    assert other.seed != 7
    assert other.outputs[0].max_abs_error != y.max_abs_error


def test_each_output_has_its_verdict() -> None:
    made = models.several()
    found = fasttrt.compare(made.proto, engine=perturbing("twice", 1, 1))
    total, twice = found.outputs
    assert total.passed
    assert not twice.passed
    assert twice.equal == 0
    assert found.divergence is not None
    assert found.divergence.tensor == "twice"
    allowed = {"twice": {"atol": 1}}
    assert fasttrt.compare(made.proto, engine=perturbing("twice", 1, 1), thresholds=allowed).passed


def test_another_engine_is_held_against() -> None:
    made = models.mlp()
    with fasttrt.Engine(made.proto, device="cpu", shapes={"x": (4, 16)}) as right:
        assert fasttrt.compare(made.proto, engine=right, against=right).passed
        wrong = perturbed(made.proto, "y")
        found = fasttrt.compare(wrong, device="cpu", against=right, shapes={"x": (4, 16)})
        assert not found.passed
        assert found.divergence is None
        assert "has no intermediate tensors" in found.note
        found = fasttrt.compare(wrong, engine=right)
        assert not found.passed
        assert "requires a function for engine=" in found.note
        right.infer(*made.inputs(batch=4))  # it is left open


def test_another_model_is_held_against() -> None:
    """As before and after a conversion."""
    made = models.mlp([16, 32, 32, 8])
    wrong = with_weight(made.proto, "w1", lambda w: w * 1.5)
    found = fasttrt.compare(wrong, against=made.proto, device="cpu")
    assert found.divergence is not None
    assert (found.divergence.name, found.divergence.confirmed) == ("gemm1", True)
    assert fasttrt.compare(made.proto, against=wrong, device="cpu").divergence is not None


def test_functions_give_arrays_sequences_or_mappings() -> None:
    made = models.several()
    ways: list[Any] = [
        made.reference,
        lambda a, b: list(made.reference(a, b)),
        lambda a, b: dict(zip(("sum", "twice"), made.reference(a, b), strict=True)),
    ]
    for way in ways:
        assert fasttrt.compare(made.proto, against=way, device="cpu").passed
    with pytest.raises(InputError, match=r"against: expected 2 arrays \(sum, twice\), got 1"):
        fasttrt.compare(made.proto, against=lambda a, b: a, device="cpu")
    with pytest.raises(InputError, match="the reference lacks twice"):
        fasttrt.compare(made.proto, against=lambda a, b: {"sum": a}, device="cpu")


def test_data_dependent_shapes_that_differ_fail() -> None:
    made = models.nonzero()
    found = fasttrt.compare(
        made.proto, engine=lambda p: fasttrt.Engine(perturbed(p, "positive", 1, 1), device="cpu"),
        inputs=np.array([-1, 2, -3, 4], np.float32),
    )  # fmt: skip
    (y,) = found.outputs
    assert (y.shape, y.reference_shape) == ((1, 4), (1, 2))
    assert y.reasons == ("sample 0: shape (1, 4), but the reference has (1, 2)",)
    assert found.divergence is not None
    assert found.divergence.tensor == "positive"


def test_a_path_with_external_data_is_searched_too(tmp_path: Path) -> None:
    made = models.mlp([16] * 6)
    path = models.with_external_data(made.proto, tmp_path / "m.onnx")
    found = fasttrt.compare(path, engine=perturbing("hidden2"))
    assert found.divergence is not None
    assert found.divergence.tensor == "hidden2"
    assert fasttrt.compare(path, device="cpu").passed


def test_json_holds_everything() -> None:
    found = fasttrt.compare(models.mlp().proto, engine=perturbing("hidden0", 1, np.nan))
    plain = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert plain == found.to_json()
    assert plain["passed"] is plain["outputs"][0]["passed"] is False
    assert plain["seed"] == found.seed
    assert plain["outputs"][0]["nan"] == found.outputs[0].nan > 0
    assert plain["outputs"][0]["max_abs_error"] is None
    assert plain["divergence"]["tensor"] == "hidden0"
    assert plain["divergence"]["operator"] == "Relu"
    assert plain["inputs"]["x"].endswith(" normal")


def test_the_text_tells_the_numbers_and_the_node() -> None:
    found = fasttrt.compare(models.several().proto, engine=perturbing("wide", 2), seed=11)
    text = str(found)
    (total,) = (line for line in text.splitlines() if line.startswith("sum "))
    assert "FAILED" in total
    assert f"{found.outputs[0].max_abs_error:.3g}" in total
    (twice,) = (line for line in text.splitlines() if line.startswith("twice "))
    assert "passed" in twice
    assert "seed 11" in text
    assert "first divergence: node 0 'widen' (Cast), tensor wide: " in text
    assert "its inputs agree" in text


def test_a_model_without_inputs_is_compared() -> None:
    weights = {"w": models.random_array(np.float32, (3, 4))}
    y = models.value("y", TensorProto.FLOAT, [3, 4])
    proto = models.make([onnx.helper.make_node("Exp", ["w"], ["y"])], [], [y], weights)
    assert fasttrt.compare(proto, device="cpu").passed
    assert not fasttrt.compare(proto, engine=perturbing("y")).passed


def test_agreement_counts_over_all_samples() -> None:
    """One sample of four may be wrong where three quarters suffice."""
    made = models.mlp()
    samples = [made.inputs(batch=1)[0] for _ in range(4)]
    answers = [made.reference(x) for x in samples]
    answers[1] = -answers[1]
    given = iter(answers)
    allowed = {"atol": 1e9, "top1": 0.7}
    found = fasttrt.compare(
        made.proto, samples, against=lambda x: next(given), device="cpu", thresholds=allowed
    )
    assert found.outputs[0].top1 == 0.75
    assert found.passed
    assert found.note == ""


def test_json_has_no_infinity() -> None:
    x, huge = np.array([[1e300] * 4]), models.elementwise(dtype=TensorProto.DOUBLE).proto
    found = fasttrt.compare(huge, x, engine=perturbing("y", -1))
    assert not found.passed
    json.dumps(found.to_json(), allow_nan=False)


def test_an_output_that_inputs_hardly_reach_is_told() -> None:
    """Where every input has the same answer, a wrong one is not seen."""
    found = fasttrt.compare(models.constant_output().proto, device="cpu")
    assert [output.input_sensitive for output in found.outputs] == [True, False]
    assert "c: hardly depends on these inputs" in str(found)
    assert "y: hardly depends" not in str(found)
    made = models.mlp()
    (x,) = made.inputs()
    assert fasttrt.compare(made.proto, x, device="cpu").outputs[0].input_sensitive is None
    assert (
        fasttrt.compare(made.proto, [x, x.copy()], device="cpu").outputs[0].input_sensitive is False
    )


def test_brackets_in_names_are_no_markup() -> None:
    proto = onnx.ModelProto()
    proto.CopyFrom(models.elementwise().proto)
    proto.graph.node[-1].output[0] = proto.graph.output[0].name = "[red]y[/]"
    assert "[red]y[/]" in str(fasttrt.compare(proto, device="cpu"))


def test_wrong_arguments_are_refused() -> None:
    made = models.mlp()
    never: Any = None  # no engine is made of wrong arguments
    with pytest.raises(InputError, match="samples: expected an integer from 1 to 1000000, got 0"):
        fasttrt.compare(made.proto, engine=lambda proto: never, samples=0)
    with pytest.raises(InputError, match="seed: expected an integer >= 0 or None, got -1"):
        fasttrt.compare(made.proto, engine=lambda proto: never, seed=-1)
    with pytest.raises(InputError, match="thresholds: atol: expected a number"):
        fasttrt.compare(made.proto, engine=lambda proto: never, thresholds={"atol": -1})
    with (
        fasttrt.Engine(made.proto, device="cpu") as engine,
        pytest.raises(InputError, match="an engine takes no options of a build, got device too"),
    ):
        fasttrt.compare(made.proto, engine=engine, device="cpu")
    with pytest.raises(
        InputError, match="function that creates the engine, got device, shapes too"
    ):
        fasttrt.compare(made.proto, engine=lambda proto: never, device="cpu", shapes={})
    wrong: Any = "x"
    with pytest.raises(InputError, match=r"engine: expected an engine, or a function .* got 'x'"):
        fasttrt.compare(made.proto, engine=wrong)
    with pytest.raises(InputError, match=r"engine: expected a function .* one that returns None"):
        fasttrt.compare(made.proto, engine=lambda proto: never)


def test_an_engine_of_float16_throughout_is_held_against_its_float32_model() -> None:
    """Its inputs' values are the model's too, in more bits."""
    made = models.mlp()
    proto = convert_model(OnnxModel(made.proto), "fp16", convert_io=True)[0].proto
    (x,) = made.inputs()
    for inputs in (None, x.astype(np.float16)):
        found = fasttrt.compare(
            proto, inputs, device="cpu", against=made.proto, thresholds={"atol": 0.2, "rtol": 0.1}
        )
        assert found.passed
        assert found.outputs[0].reference_dtype == "float32"
        error = found.outputs[0].max_abs_error
        assert error is not None
        assert error > 0


def test_another_model_is_frozen_alike() -> None:
    made = models.several()
    a, b = made.inputs()
    options: dict[str, Any] = {"device": "cpu", "shapes": {"a": a.shape}, "freeze": {"b": b}}
    found = fasttrt.compare(made.proto, against=made.proto, **options)
    assert found.passed
    assert list(found.inputs) == ["a"]
    plain = transformed(OnnxModel(made.proto), {"b": b}).proto  # which has no such input
    assert fasttrt.compare(made.proto, against=plain, **options).passed


@pytest.mark.parametrize("model", REAL_MODELS, ids=lambda model: model.name)
def test_trained_models(model: RealModel) -> None:
    """Right ones pass on real inputs, and on random ones where those are defined."""
    if model.missing:
        pytest.skip(model.missing)
    assert model.path is not None
    assert fasttrt.compare(model.path, model.make_inputs()[:2], device="cpu").passed
    given: dict[str, dict[str, tuple[float, float]]] = {
        "silero-vad": {"sr": (16000, 16001)},
        "silero-vad-op18-ifless": {"sr": (16000, 16001)},
        "swift-f0": {"fmin": (50, 60), "fmax": (500, 600)},
    }
    shapes = {name: _usual(profile) for name, profile in model.shapes.items()}
    found = fasttrt.compare(
        model.path, shapes=shapes, device="cpu", ranges=given.get(model.name), samples=1
    )
    assert found.passed


def _usual(profile: Any) -> Any:
    return profile if isinstance(profile[0], int) else profile[1]
