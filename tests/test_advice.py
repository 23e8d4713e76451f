"""Errors name the changes that help, and what they name does help."""

from __future__ import annotations

import ast
import logging
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import fasttrt
from fasttrt.advice import advise, stop_at
from fasttrt.model import OnnxModel
from support import models
from support.real_models import REAL_MODELS

Build = Callable[..., fasttrt.Plan]


def proto(
    nodes: list[onnx.NodeProto], inputs: list[onnx.ValueInfoProto], rank: int = 3
) -> onnx.ModelProto:
    y = models.value("y", TensorProto.FLOAT, [f"y{axis}" for axis in range(rank)])
    return models.make(nodes, inputs, [y])


def squeeze(*names: str | int) -> onnx.ModelProto:
    """Squeeze without axes, which TensorRT wants fixed extents for."""
    x = models.value("x", TensorProto.FLOAT, names)
    return proto([helper.make_node("Squeeze", ["x"], ["y"])], [x])


def reduction() -> onnx.ModelProto:
    """A sum over axes that are an input."""
    x = models.value("x", TensorProto.FLOAT, ["n", 3, 4])
    axes = models.value("axes", TensorProto.INT64, [1])
    return proto([helper.make_node("ReduceSum", ["x", "axes"], ["y"])], [x, axes])


def resize() -> onnx.ModelProto:
    """Scales that are an input: of floats."""
    x = models.value("x", TensorProto.FLOAT, [1, 1, 4, 4])
    scales = models.value("scales", TensorProto.FLOAT, [4])
    return proto([helper.make_node("Resize", ["x", "", "scales"], ["y"])], [x, scales], 4)


def arguments(advice: str) -> dict[str, Any]:
    """``freeze`` and ``dims`` as a sentence has them."""
    found = re.findall(r"(freeze|dims)=(\{.*?\})", advice)
    assert found, advice
    return {name: ast.literal_eval(text) for name, text in found}


def error_of(build: Build, model: Any, **options: Any) -> fasttrt.ParseError | fasttrt.BuildError:
    try:
        build(model, **options)
    except (fasttrt.ParseError, fasttrt.BuildError) as error:
        return error
    pytest.fail("it was built")


@pytest.mark.parametrize(
    ("model", "shapes", "expected"),
    [
        (squeeze("n", 4, "m", 2), {"x": (3, 4, 1, 2)}, {"dims": {"n": 3, "m": 1}}),
        (squeeze("batch", 4, 1, 2), None, {"dims": {"batch": 8}}),
        (squeeze("?", "?", 4, 1), {"x": (3, 5, 4, 1)}, {"dims": {"x.0": 3, "x.1": 5}}),
        (squeeze("n", "n", 4, 1), {"x": (3, 5, 4, 1)}, {"dims": {"x.0": 3, "x.1": 5}}),
        (reduction(), {"x": (3, 3, 4)}, {"freeze": {"axes": [1]}}),
        (reduction(), None, {"freeze": {"axes": [1]}}),
        (resize(), None, {"freeze": {"scales": [1, 1, 1, 1]}}),
    ],
)
def test_a_model_that_does_not_parse(
    build: Build, model: onnx.ModelProto, shapes: Any, expected: dict[str, Any]
) -> None:
    error = error_of(build, model, shapes=shapes)
    assert isinstance(error, fasttrt.ParseError)
    assert arguments(error.advice) == expected
    assert error.advice.startswith("The model parses with ")
    assert str(error).endswith(f"\n{error.advice}")
    # It does.
    given = expected.get("freeze", {})
    left = {
        name: shape for name, shape in (shapes or {"x": (3, 3, 4)}).items() if name not in given
    }
    if "dims" in expected or resize() == model:
        left = {}
    freeze = {
        tensor.name: np.asarray(given[tensor.name], tensor.dtype)
        for tensor in OnnxModel(model).inputs
        if tensor.name in given
    }
    assert build(model, shapes=left, dims=expected.get("dims"), freeze=freeze).data


def test_both_may_be_needed(build: Build) -> None:
    x = models.value("x", TensorProto.FLOAT, ["n", 4, 1, 2])
    axes = models.value("axes", TensorProto.INT64, ["m"])
    nodes = [
        helper.make_node("Squeeze", ["x"], ["s"]),
        helper.make_node("ReduceSum", ["s", "axes"], ["y"]),
    ]
    model = proto(nodes, [x, axes])
    given = arguments(error_of(build, model, shapes={"x": (3, 4, 1, 2), "axes": (1,)}).advice)
    assert given == {"freeze": {"axes": [1]}, "dims": {"n": 3}}
    assert build(model, **given).data


@pytest.mark.parametrize("made", [models.unsupported(), models.unbuildable()])
def test_nothing_is_said_where_nothing_helps(build: Build, made: models.Model) -> None:
    error = error_of(build, made.proto, shapes={"x": (2, 4)})
    assert error.advice == ""
    assert "this was tried" not in str(error)


def test_a_model_with_nothing_else_to_feed_is_not_frozen(build: Build) -> None:
    """Of constants alone anything could be built."""
    axes = models.value("axes", TensorProto.INT64, [1])
    nodes = [
        helper.make_node("Constant", [], ["c"], value_floats=[1.0, 2.0]),
        helper.make_node("ReduceSum", ["c", "axes"], ["y"]),
    ]
    assert error_of(build, proto(nodes, [axes], 1)).advice == ""


def test_nested_ifs_build_once_the_condition_is_known(build: Build) -> None:
    model = next(model for model in REAL_MODELS if not model.builds)
    if model.missing:
        pytest.skip(model.missing)
    error = error_of(build, model.path, shapes=model.shapes)
    assert isinstance(error, fasttrt.BuildError)
    given = arguments(error.advice)
    assert given == {"freeze": {"sr": 16000}}  # the model compares it with 16000
    assert "builds with" in error.advice
    shapes = {name: shape for name, shape in model.shapes.items() if name != "sr"}
    plan = build(model.path, shapes=shapes, freeze={"sr": 16000})
    assert [tensor["name"] for tensor in plan.metadata["inputs"]] == ["input", "state"]


def test_trials_are_no_news(build: Build, caplog: pytest.LogCaptureFixture) -> None:
    """What is logged is of the build that was asked for."""
    with caplog.at_level(logging.INFO, logger="fasttrt"):
        error_of(build, reduction(), shapes={"x": (3, 3, 4)})
    assert not any("input is a constant" in record.message for record in caplog.records)
    caplog.clear()
    with caplog.at_level(logging.DEBUG, logger="fasttrt"):
        error_of(build, reduction(), shapes={"x": (3, 3, 4)})
    levels = {r.levelno for r in caplog.records if "the input is a constant" in r.message}
    assert levels == {logging.DEBUG}


def test_what_took_long_is_not_tried() -> None:
    tried: list[OnnxModel] = []
    model = OnnxModel(reduction())

    def attempt(changed: OnnxModel, shapes: Any, deadline: float) -> None:
        tried.append(changed)

    assert advise(model, None, "parses", attempt, took=60) == ""
    assert tried == []
    assert advise(model, None, "parses", attempt, took=0.1) != ""
    assert tried


def test_a_build_stops_when_its_time_is_over(build: Build) -> None:
    begin = time.monotonic()
    with pytest.raises(fasttrt.Error, match="took too long"):
        build(models.deep(400).proto, shapes={"x": (2, 16)}, progress=stop_at(begin + 0.5))
    assert time.monotonic() - begin < 60


def test_the_model_stays_as_it_was(build: Build, tmp_path: Path) -> None:
    model = reduction()
    before = model.SerializeToString()
    error_of(build, model, shapes={"x": (3, 3, 4)})
    assert model.SerializeToString() == before
