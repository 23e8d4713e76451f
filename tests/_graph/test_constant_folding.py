"""What follows from a model's constants is a constant for TensorRT, and the answers stay."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

import fasttrt
from fasttrt._graph.constant_folding import fold_constants
from fasttrt._graph.model import OnnxModel
from fasttrt._graph.transforms import transformed
from fasttrt._parser import passes
from support import models
from support.models import Array
from support.randomness import new_rng
from support.real_models import REAL_MODELS, Arrays, RealModel

Build = Callable[..., fasttrt.Plan]


def by_onnx_runtime(proto: onnx.ModelProto, *arrays: Array) -> list[Array]:
    session = onnxruntime.InferenceSession(
        proto.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    feeds = {value.name: array for value, array in zip(session.get_inputs(), arrays, strict=True)}
    return [np.asarray(result) for result in session.run(None, feeds)]


def operators(proto: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in proto.graph.node]


def computed_axes(weights: Sequence[str] = ()) -> onnx.ModelProto:
    """A sum over axes that nodes compute from constants, as exporters write it."""
    x = models.value("x", TensorProto.FLOAT, ["n", 3, 4])
    y = models.value("y", TensorProto.FLOAT, ["n", 1, 4])
    nodes = [
        helper.make_node("Constant", [], ["one"], value_int=1),
        helper.make_node("Add", ["one", "one"], ["two"], "add"),
        helper.make_node("Sub", ["two", "one"], ["axis"], "sub"),
        helper.make_node("Unsqueeze", ["axis", "zero"], ["axes"], "unsqueeze"),
        helper.make_node("ReduceSum", ["x", "axes"], ["sum"], "reduce"),
        helper.make_node("Mul", ["sum", "scale"], ["y"], "mul"),
    ]
    scale = new_rng().standard_normal(4).astype(np.float32)
    return models.make(nodes, [x], [y], {"zero": np.zeros(1, np.int64), "scale": scale})


def test_computed_parameters_become_constants(
    build: Build, caplog: pytest.LogCaptureFixture
) -> None:
    proto = computed_axes()
    with caplog.at_level(logging.INFO, logger="fasttrt"):
        plan = build(proto, shapes={"x": (5, 3, 4)})
    assert plan.metadata["changes"] == [
        "axes: the result of Unsqueeze is a constant, [1]",
        "nodes folded, or no longer needed: 1 Add, 1 Constant, 1 Sub, 1 Unsqueeze",
    ]
    lines = [record.message for record in caplog.records if record.name == "fasttrt"]
    assert lines == plan.metadata["changes"]
    changed = fold_constants(OnnxModel(proto))
    assert operators(changed.proto) == ["ReduceSum", "Mul"]
    x = models.random_array(np.float32, [5, 3, 4])
    np.testing.assert_array_equal(by_onnx_runtime(changed.proto, x), by_onnx_runtime(proto, x))


def test_tensorrt_needs_it(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without folding the parser refuses the model."""
    others = tuple(step for step in passes.PASSES if step is not fold_constants)
    monkeypatch.setattr(passes, "PASSES", others)
    with pytest.raises(fasttrt.ParseError):
        build(computed_axes(), shapes={"x": (5, 3, 4)})


@pytest.mark.parametrize(
    "made",
    [
        models.mlp(), models.convolution(), models.attention(), models.several(),
        models.reshape(), models.loop(), models.conditional(), models.constant_output(),
    ],
)  # fmt: skip
def test_what_has_nothing_to_fold_stays_as_it_is(made: models.Model) -> None:
    model = OnnxModel(made.proto)
    assert fold_constants(model) is model


def test_shapes_that_are_fixed_are_folded() -> None:
    made = models.attention()
    model = OnnxModel(made.proto)
    dims = {e: 3 for t in model.inputs for e in t.shape or () if isinstance(e, str)}
    fixed = transformed(model, None, dims)
    inputs = made.inputs(**dims)
    for actual, expected in zip(
        by_onnx_runtime(fold_constants(fixed).proto, *inputs),
        by_onnx_runtime(made.proto, *inputs),
        strict=True,
    ):
        np.testing.assert_allclose(actual, expected, 1e-6, 1e-6)


@pytest.mark.parametrize("flag", [True, False])
def test_a_known_condition_leaves_one_branch(build: Build, flag: bool) -> None:
    made = models.conditional()
    frozen = transformed(OnnxModel(made.proto), {"c": flag}, None)
    changed = fold_constants(frozen)
    assert operators(changed.proto) == ["Add" if flag else "Mul"]
    x = models.random_array(np.float32, [4])
    np.testing.assert_allclose(
        by_onnx_runtime(changed.proto, x)[0], made.reference(np.asarray(flag), x), 1e-6
    )
    assert build(made.proto, freeze={"c": flag}).metadata["changes"][0].startswith("c: the input")


def test_wrong_declarations_are_not_believed() -> None:
    """Shape of a tensor whose declared shape is not its own."""
    x = models.value("x", TensorProto.FLOAT, ["n", 4])
    y = models.value("y", TensorProto.INT64, [2])
    nodes = [
        helper.make_node("Transpose", ["x"], ["t"], perm=[1, 0]),
        helper.make_node("Shape", ["t"], ["s"]),
        helper.make_node("Add", ["s", "s"], ["y"]),
    ]
    proto = models.make(nodes, [x], [y])
    proto.graph.value_info.append(models.value("t", TensorProto.FLOAT, [1, 4]))
    changed = fold_constants(transformed(OnnxModel(proto), None, {"n": 3}))
    array = models.random_array(np.float32, [3, 4])
    np.testing.assert_array_equal(by_onnx_runtime(changed.proto, array)[0], [8, 6])


def test_large_weights_are_neither_read_nor_changed(tmp_path: Path) -> None:
    """Weights of more than a few thousand elements; their file is not even there."""
    proto = computed_axes()
    x = models.random_array(np.float32, [200, 3, 4])
    large = models.random_array(np.float32, [3000, 1, 4])
    proto.graph.node[-1].input[1] = "large"
    proto.graph.initializer.append(onnx.numpy_helper.from_array(large, "large"))
    proto.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 3000
    proto.graph.output[0].type.tensor_type.shape.dim[0].dim_value = 3000
    x = models.random_array(np.float32, [3000, 3, 4])
    changed = fold_constants(OnnxModel(proto))
    assert changed.is_changed
    np.testing.assert_array_equal(by_onnx_runtime(changed.proto, x), by_onnx_runtime(proto, x))

    path = models.with_external_data(proto, tmp_path / "m.onnx")
    (original,) = (t for t in OnnxModel(path).proto.graph.initializer if t.name == "large")
    for is_missing in (False, True):
        model = OnnxModel(path)
        if is_missing:
            (tmp_path / "m.onnx.data").unlink()
        changed = fold_constants(model)
        (kept,) = (t for t in changed.proto.graph.initializer if t.name == "large")
        assert kept == original
        assert not kept.raw_data
        # What needs no file is folded nevertheless.
        assert ("Unsqueeze" in operators(changed.proto)) is is_missing
        assert "Sub" not in operators(changed.proto)


def test_what_cannot_be_folded_goes_to_tensorrt_as_it_is(
    caplog: pytest.LogCaptureFixture,
) -> None:
    proto = computed_axes()
    proto.graph.node[2].output[0] = "two"  # given twice
    with caplog.at_level(logging.WARNING, logger="fasttrt"):
        model = fold_constants(OnnxModel(proto))
    assert not model.is_changed
    (message,) = [record.message for record in caplog.records if record.name == "fasttrt"]
    assert message.startswith("constants were not folded: ")


def test_random_numbers_and_quantization_are_not_folded() -> None:
    x, y = (models.value(name, TensorProto.FLOAT, [4]) for name in "xy")
    nodes = [
        helper.make_node("RandomUniformLike", ["w"], ["r"]),
        helper.make_node("QuantizeLinear", ["w", "scale"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "scale"], ["d"]),
        helper.make_node("Bernoulli", ["half"], ["b"]),
        helper.make_node("Sum", ["x", "r", "d", "b"], ["y"]),
    ]
    half = np.asarray(0.5, np.float32)
    weights: dict[str, Any] = {"w": np.ones(4, np.float32), "scale": half, "half": half}
    proto = models.make(nodes, [x], [y], weights)
    assert fold_constants(OnnxModel(proto)).proto is proto
    changed = fold_constants(transformed(OnnxModel(proto), {"x": np.zeros(4, np.float32)}, None))
    kept = {"RandomUniformLike", "Bernoulli", "QuantizeLinear", "DequantizeLinear"}
    assert kept <= set(operators(changed.proto))


def test_outputs_keep_their_names_and_nodes(build: Build) -> None:
    """TensorRT wants a node behind every output."""
    y = models.value("y", TensorProto.FLOAT, [2])
    x, z = (models.value(name, TensorProto.FLOAT, [2]) for name in "xz")
    nodes = [
        helper.make_node("Add", ["w", "w"], ["y"]),
        helper.make_node("Identity", ["y"], ["i"]),
        helper.make_node("Add", ["x", "i"], ["z"]),
    ]
    weight = models.random_array(np.float32, [2])
    proto = models.make(nodes, [x], [y, z], {"w": weight})
    plan = build(proto)
    assert [tensor["name"] for tensor in plan.metadata["outputs"]] == ["y", "z"]
    array = models.random_array(np.float32, [2])
    for actual, expected in zip(
        by_onnx_runtime(fold_constants(OnnxModel(proto)).proto, array),
        (weight + weight, array + (weight + weight)),
        strict=True,
    ):
        np.testing.assert_array_equal(actual, expected)


@pytest.mark.parametrize("model", REAL_MODELS, ids=lambda model: model.name)
def test_trained_models_answer_the_same(model: RealModel) -> None:
    if model.missing:
        pytest.skip(model.missing)
    assert model.path is not None
    read = OnnxModel(model.path)
    changed = fold_constants(read)
    if not changed.is_changed:
        pytest.skip("nothing to fold")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors: some of these files carry unused initializers

    def outputs(proto: onnx.ModelProto) -> list[Arrays]:
        session = onnxruntime.InferenceSession(
            proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        names = [output.name for output in session.get_outputs()]
        return model.run(lambda inputs: dict(zip(names, session.run(names, inputs), strict=True)))

    model.assert_close(outputs(changed.proto), outputs(read.proto))


def test_refused_nodes_are_named_as_in_the_file(build: Build) -> None:
    """Folding takes nodes away before the one that is refused."""
    made = models.unsupported()
    proto = computed_axes()
    node = made.proto.graph.node[0]
    whirl = helper.make_node(node.op_type, ["y"], ["z"], "whirl", domain=node.domain)
    proto.graph.node.append(whirl)
    proto.opset_import.append(helper.make_opsetid(node.domain, 1))
    proto.graph.output[0].name = "z"
    with pytest.raises(fasttrt.ParseError) as caught:
        build(proto, shapes={"x": (5, 3, 4)})
    (issue,) = caught.value.issues
    assert (issue.node, issue.name, issue.operator) == (6, "whirl", node.op_type)
