"""Telling weights from structure, before a refit."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import fasttrt
from fasttrt._graph.fingerprint import check_changes, check_same, structure
from fasttrt._graph.model import OnnxModel
from support import models
from support.randomness import new_rng

Change = Callable[[onnx.ModelProto], None]


def copy(proto: onnx.ModelProto) -> onnx.ModelProto:
    result = onnx.ModelProto()
    result.CopyFrom(proto)
    return result


def with_other_weights(proto: onnx.ModelProto) -> onnx.ModelProto:
    """New random values for everything of floating point."""
    changed = copy(proto)
    rng = new_rng()
    for tensor in changed.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.dtype.kind == "f":
            new = rng.standard_normal(values.shape).astype(values.dtype)
            tensor.CopyFrom(numpy_helper.from_array(new, tensor.name))
    return changed


@pytest.mark.parametrize(
    "make", [models.mlp, models.convolution, models.attention, models.conditional, models.loop]
)
def test_other_weights_are_the_same_structure(make: Callable[[], models.Model]) -> None:
    proto = make().proto
    built = json.loads(json.dumps(structure(OnnxModel(proto))))  # as a plan keeps it
    assert check_same(built, OnnxModel(proto)) == built
    other = with_other_weights(proto)
    new = check_same(built, OnnxModel(other))
    changed = {n for n in new["weights"] if new["weights"][n] != built["weights"][n]}
    assert changed == {
        t.name for t in proto.graph.initializer if numpy_helper.to_array(t).dtype.kind == "f"
    }


def test_how_a_file_holds_its_values_does_not_matter(tmp_path: Path) -> None:
    proto = models.mlp().proto
    built = structure(OnnxModel(proto))
    external = models.with_external_data(copy(proto), tmp_path / "m.onnx")
    assert structure(OnnxModel(external)) == built
    listed = copy(proto)
    for tensor in listed.graph.initializer:
        values = numpy_helper.to_array(tensor)
        tensor.ClearField("raw_data")
        tensor.float_data.extend(values.ravel().tolist())
    assert structure(OnnxModel(listed)) == built


def test_external_data_that_is_gone_is_said(tmp_path: Path) -> None:
    path = models.with_external_data(models.mlp().proto, tmp_path / "m.onnx")
    model = OnnxModel(path)
    for file in tmp_path.iterdir():
        if file != path:
            file.unlink()
    with pytest.raises(fasttrt.InputError, match="w0: its external data cannot be read"):
        structure(model)


def test_names_of_what_nodes_make_do_not_matter() -> None:
    proto = models.mlp().proto
    renamed = copy(proto)
    inner = {name for node in renamed.graph.node for name in node.output}
    inner -= {value.name for value in renamed.graph.output}
    assert inner
    for node in renamed.graph.node:
        node.name += "_again"
        for names in (node.input, node.output):
            for i, name in enumerate(names):
                names[i] = f"t_{name}" if name in inner else name
    assert check_same(structure(OnnxModel(proto)), OnnxModel(renamed))


def operator(proto: onnx.ModelProto) -> None:
    next(n for n in proto.graph.node if n.op_type == "Relu").op_type = "Sigmoid"


def order(proto: onnx.ModelProto) -> None:
    """Factors the other way round."""
    node = proto.graph.node[0]
    node.input[0], node.input[1] = node.input[1], node.input[0]


def attribute(proto: onnx.ModelProto) -> None:
    proto.graph.node[0].attribute.append(helper.make_attribute("extra", 3))


def fewer(proto: onnx.ModelProto) -> None:
    last = proto.graph.node[-1]
    proto.graph.node[-2].output[0] = last.output[0]
    del proto.graph.node[-1]


def renamed_weight(proto: onnx.ModelProto) -> None:
    tensor = proto.graph.initializer[0]
    for node in proto.graph.node:
        for i, name in enumerate(node.input):
            node.input[i] = "other" if name == tensor.name else name
    tensor.name = "other"


def reshaped_weight(proto: onnx.ModelProto) -> None:
    tensor = proto.graph.initializer[0]
    values = numpy_helper.to_array(tensor)
    tensor.CopyFrom(numpy_helper.from_array(values[..., :-1].copy(), tensor.name))


def wider_input(proto: onnx.ModelProto) -> None:
    proto.graph.input[0].type.tensor_type.shape.dim[1].dim_value += 1


def function(proto: onnx.ModelProto) -> None:
    body = [helper.make_node("Relu", ["a"], ["b"])]
    opsets = [helper.make_opsetid("", models.OPSET)]
    proto.functions.append(helper.make_function("own", "F", ["a"], ["b"], body, opsets))


def opset(proto: onnx.ModelProto) -> None:
    proto.opset_import[0].version -= 1


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (operator, r"node \d+ '.*' \(Sigmoid\) differs"),
        (order, r"node \d+ '.*' \(\w+\) differs"),
        (attribute, r"node 0 '.*' \(\w+\) differs"),
        (fewer, r"it has \d+ nodes, not \d+"),
        (renamed_weight, r"it has no weight .*its weight other is new"),
        (reshaped_weight, r" is FLOAT\[.*\], not FLOAT\["),
        (wider_input, "inputs, outputs, opsets"),
        (function, "opsets or functions"),
        (opset, "inputs, outputs, opsets"),
    ],
)
def test_another_structure_is_refused_and_named(change: Change, expected: str) -> None:
    proto = models.mlp().proto
    other = copy(proto)
    change(other)
    with pytest.raises(fasttrt.InputError, match=f"refit: the model is not the one.*{expected}"):
        check_same(structure(OnnxModel(proto)), OnnxModel(other))


def test_a_change_within_a_branch_is_seen() -> None:
    proto = models.conditional().proto
    other = copy(proto)
    node = next(n for n in other.graph.node if n.op_type == "If")
    inner = node.attribute[0].g.node[0]
    inner.op_type = "Neg" if inner.op_type != "Neg" else "Abs"
    with pytest.raises(fasttrt.InputError, match=r"\((Neg|Abs)\) differs"):
        check_same(structure(OnnxModel(proto)), OnnxModel(other))


def constants() -> onnx.ModelProto:
    """y = clip(x * scale, low, high), with ``scale`` from a Constant node."""
    weights = {"low": np.array(-1, np.float32), "high": np.array(1, np.float32)}
    scale = numpy_helper.from_array(np.full(4, 2, np.float32), "anything")
    nodes = [
        helper.make_node("Constant", [], ["scale"], "scale", value=scale),
        helper.make_node("Mul", ["x", "scale"], ["scaled"], "mul"),
        helper.make_node("Clip", ["scaled", "low", "high"], ["y"], "clip"),
    ]
    x, y = (models.value(name, TensorProto.FLOAT, [3, 4]) for name in "xy")
    return models.make(nodes, [x], [y], weights)


def changes(refittable: set[str], other: onnx.ModelProto) -> None:
    built = structure(OnnxModel(constants()))
    model = OnnxModel(other)
    check_changes(built, check_same(built, model), model, refittable)


def test_a_value_that_is_part_of_the_engine_cannot_change() -> None:
    other = constants()
    other.graph.initializer[1].CopyFrom(numpy_helper.from_array(np.array(6, np.float32), "high"))
    with pytest.raises(fasttrt.InputError, match=r"cannot replace these values.*rebuild it: high$"):
        changes({"scale"}, other)
    changes({"scale", "high"}, other)


def test_a_constant_nodes_value_is_a_weight_of_its_output() -> None:
    other = constants()
    values = numpy_helper.from_array(np.full(4, 3, np.float32))
    other.graph.node[0].attribute[0].t.CopyFrom(values)
    changes({"scale"}, other)
    with pytest.raises(fasttrt.InputError, match=r"rebuild it: scale$"):
        changes(set(), other)


def test_what_the_parser_folds_may_change() -> None:
    rng = new_rng()
    weights = {
        name: rng.uniform(0.5, 1.5, 4).astype(np.float32)
        for name in ("scale", "bias", "mean", "variance")
    }
    node = helper.make_node("BatchNormalization", ["x", *weights], ["y"], "norm")
    x, y = (models.value(name, TensorProto.FLOAT, [2, 4, 3, 3]) for name in "xy")
    built = structure(OnnxModel(models.make([node], [x], [y], weights)))
    weights = {name: rng.uniform(0.5, 1.5, 4).astype(np.float32) for name in weights}
    other = OnnxModel(models.make([node], [x], [y], weights))
    new = check_same(built, other)
    assert all(new["weights"][name] != built["weights"][name] for name in weights)
    check_changes(built, new, other, {"a name of the parser's"})
    other.proto.graph.node[0].op_type = "Unknown"  # which nothing says the parser folds
    with pytest.raises(fasttrt.InputError, match=r"rebuild it: scale, bias, mean, variance$"):
        check_changes(built, new, other, {"a name of the parser's"})


def test_long_lists_are_cut() -> None:
    proto = models.deep(depth=40).proto
    other: Any = copy(proto)
    for node in other.graph.node:
        node.attribute.append(helper.make_attribute("extra", 3))
    with pytest.raises(fasttrt.InputError, match=r"and \d+ more$") as caught:
        check_same(structure(OnnxModel(proto)), OnnxModel(other))
    assert len(str(caught.value)) < 2000
