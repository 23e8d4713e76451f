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
from onnx.parser import parse_model

import fasttrt
from fasttrt._builder.advice import advise, builds_too, stop_at
from fasttrt._graph.model import OnnxModel
from fasttrt._graph.parameter_inputs import parameters
from support import models
from support.real_models import REAL_MODELS

Build = Callable[..., fasttrt.Plan]


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a slow machine find the same advice."""
    monkeypatch.setattr("fasttrt._builder.advice._SECONDS", 120.0)


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
        build(model, **options | {"advise": True})
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
    assert error.advice.startswith("Verified: the model parses with ")
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


@pytest.mark.parametrize("made", [models.unsupported()])
def test_nothing_is_said_where_nothing_helps(build: Build, made: models.Model) -> None:
    error = error_of(build, made.proto, shapes={"x": (2, 4)})
    assert error.advice == ""
    assert "Verified" not in str(error)


def test_a_model_with_nothing_else_to_feed_is_not_frozen(build: Build) -> None:
    """Of constants alone anything could be built."""
    axes = models.value("axes", TensorProto.INT64, [1])
    nodes = [
        helper.make_node("Constant", [], ["c"], value_floats=[1.0, 2.0]),
        helper.make_node("ReduceSum", ["c", "axes"], ["y"]),
    ]
    assert error_of(build, proto(nodes, [axes], 1)).advice == ""


def test_nested_ifs_build_once_what_decides_is_known(build: Build) -> None:
    model = next(model for model in REAL_MODELS if not model.builds)
    if model.missing:
        pytest.skip(model.missing)
    error = error_of(build, model.path, shapes=model.shapes)
    assert isinstance(error, fasttrt.BuildError)
    given = arguments(error.advice)
    assert given == {"dims": {"input.1": 288}}
    assert "builds with" in error.advice
    shapes: dict[str, Any] = {**model.shapes, "input": ((1, 288), (1, 288), (3, 288))}
    assert build(model.path, shapes=shapes, **given).data
    plan = build(model.path, shapes=model.shapes, freeze={"sr": 16000})  # which it compares
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

    assert advise(model, None, "parses", attempt, took=600) == ""
    assert tried == []
    assert advise(model, None, "parses", attempt, took=0.1) != ""
    assert tried


def test_a_build_stops_when_its_time_is_over(build: Build) -> None:
    over = stop_at(time.monotonic())
    with pytest.raises(fasttrt.Error, match="took too long"):
        build(models.deep(40).proto, shapes={"x": (2, 16)}, progress=over)


def test_the_model_stays_as_it_was(build: Build, tmp_path: Path) -> None:
    model = reduction()
    before = model.SerializeToString()
    error_of(build, model, shapes={"x": (3, 3, 4)})
    assert model.SerializeToString() == before


# What is proposed


def parsed(text: str) -> onnx.ModelProto:
    return parse_model(f'<ir_version: 9, opset_import: ["" : 17]> {text}')


CONDITION = parsed("""
    g (float[1,3] x, bool c) => (float[n] y) {
        k = Constant <value_ints = [0]> ()
        y = If (c) <
            then_branch = t () => (float[n] ty) { ty = Squeeze (x, k) },
            else_branch = e () => (float[n] ey) { ey = Identity (x) }
        >
    }
""")


def test_a_model_without_dynamic_inputs_gets_advice_too(build: Build) -> None:
    error = error_of(build, CONDITION)
    assert arguments(error.advice) == {"freeze": {"c": True}}
    assert build(CONDITION, freeze={"c": True}).data


@pytest.mark.parametrize(
    "text",
    [
        # Frozen, the node would be folded away.
        "g (float[4,4] x, int64[4] ids) => (int64[1,k] y) { y = NonZero (ids) }",
        """g (float[4,4] x, float[4] v) => (int64[1,k] y, float[4,4] z) {
            y = NonZero (v) z = Neg (x)
        }""",
        """g (float[4,4] x, int64[4] ids) => (int64[1,k] y, float[4,4] z) {
            z = Gather (x, ids) s = Add (ids, ids) y = NonZero (s)
        }""",
        "g (float[4,4] x, bool[4] b) => (int64[1,k] y, bool[4] z) { z = Not (b) y = NonZero (z) }",
    ],
)
def test_data_is_not_frozen(build: Build, text: str) -> None:
    assert error_of(build, parsed(text)).advice == ""


@pytest.mark.parametrize("given", ["a", "b"])
@pytest.mark.parametrize("name", ["n", "batch", "rows"])
def test_one_shape_says_it_for_all_inputs_of_the_name(build: Build, given: str, name: str) -> None:
    model = parsed(f"""
        g (float[{name},4,1] a, float[{name},4] b) => (float[m,k] y) {{
            s = Squeeze (a)
            y = Add (s, b)
        }}
    """)
    shape = (3, 4, 1) if given == "a" else (3, 4)
    error = error_of(build, model, shapes={given: shape})
    assert arguments(error.advice) == {"dims": {name: 3}}
    assert build(model, dims={name: 3}).data


@pytest.mark.parametrize(
    "text",
    [
        "g (float[batch,4,1] x) => (float[k] y) { z = Constant <value_floats = [1.0]> () "
        "s = Squeeze (x) y = Concat <axis = 0> (s, z) }",
        "g (float[batch,4,1] x) => (float[4] y) { z = Constant <value_ints = [4]> () "
        "s = Squeeze (x) y = Reshape (s, z) }",
    ],
)
def test_a_batch_of_1_is_named_where_no_other_builds(build: Build, text: str) -> None:
    model = parsed(text)
    error = error_of(build, model)
    given = arguments(error.advice)
    assert build(model, **given).data
    assert given == {"dims": {"batch": 1}}


def test_what_parses_and_does_not_build_is_no_advice() -> None:
    tried: list[Any] = []

    def attempt(changed: OnnxModel, shapes: Any, deadline: float) -> None:
        tried.append([tensor.shape for tensor in changed.inputs])

        def build() -> None:
            if tried[-1][0][0] != 1:
                raise fasttrt.BuildError("not this size")

        builds_too(build)

    advice = advise(OnnxModel(squeeze("batch", 4, 1, 2)), None, "parses", attempt, took=0)
    assert arguments(advice) == {"dims": {"batch": 1}}
    assert tried[0] == [(8, 4, 1, 2)]


def test_what_there_is_no_time_to_build_counts_as_parsed() -> None:
    def attempt(changed: OnnxModel, shapes: Any, deadline: float) -> None:
        builds_too(lambda: stop_at(0)(fasttrt.BuildProgress("build", "", 0, 9)))

    advice = advise(OnnxModel(squeeze("batch", 4, 1, 2)), None, "parses", attempt, took=0)
    assert arguments(advice) == {"dims": {"batch": 8}}


@pytest.mark.parametrize("model", [reduction(), CONDITION])
def test_nothing_is_tried_unasked(rtx: Any, model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*arguments: Any) -> str:
        raise AssertionError("tried")

    monkeypatch.setattr("fasttrt._builder.advice.advise", never)
    try:
        fasttrt.build(model, library=rtx.path)
    except (fasttrt.ParseError, fasttrt.BuildError) as error:
        advice = error.advice
    assert advice == ""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("g (float[2] x, int64[1] a) => (float y) { y = ReduceSum (x, a) }", {"a"}),
        ("g (float[2] x, int64[1] a) => (float[n] y) { b = Neg (a) y = Reshape (x, b) }", {"a"}),
        ("g (float[2] x, int64[1] a) => (float[n] y, int64[1] z)"
         " { z = Neg (a) y = Reshape (x, z) }", set()),
        ("g (float[2] x, float lo) => (float[2] y) { y = Clip (x, lo) }", {"lo"}),
        ("g (float[2] x, float s) => (float[2] y) { y = Mul (x, s) }", set()),
        ("g (float[2,2] x, int64[2] i) => (float[2,2] y) { y = Gather (x, i) }", set()),
        ("g (float[2] x, int64 unused) => (float[2] y) { y = Neg (x) }", set()),
        ("g (int64 a, int64 b, int64 c) => (int64[n] y) { y = Range (a, b, c) }", {"a", "b", "c"}),
    ],
)  # fmt: skip
def test_parameters_are_told_from_data(text: str, expected: set[str]) -> None:
    assert parameters(parsed(text)) == expected
