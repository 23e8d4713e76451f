"""Large weights apart from the graph: shared by the models that passes make, copied by none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from fasttrt._graph.model import OnnxModel
from fasttrt._graph.tensor_info import TensorInfo
from fasttrt._graph.weights import MAX_ELEMENTS
from support.randomness import new_rng


@pytest.fixture
def proto() -> onnx.ModelProto:
    """Two products with large weights, and a small addend."""
    rng = new_rng()
    weights = {
        name: rng.standard_normal(shape).astype(np.float32)
        for name, shape in (("a", (128, 96)), ("b", (96, 128)), ("c", (128,)))
    }
    nodes = [
        helper.make_node("MatMul", ["x", "a"], ["h"], "first"),
        helper.make_node("MatMul", ["h", "b"], ["g"], "second"),
        helper.make_node("Add", ["g", "c"], ["y"], "third"),
    ]
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, ["n", 128]) for n in "xy")
    constants = [numpy_helper.from_array(array, name) for name, array in weights.items()]
    graph = helper.make_graph(nodes, "g", [x], [y], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def _renamed(model: OnnxModel) -> OnnxModel:
    """A change of the kind that passes make: a weight gets another name, and the nodes new ones."""
    copy = model.copy_skeleton()
    for node in copy.graph.node:
        node.name += "_"
        node.input[:] = ["new" if name == "a" else name for name in node.input]
    copy.graph.initializer[0].name = "new"
    return model.changed(copy, ["renamed"])


def _values(proto: onnx.ModelProto) -> dict[str, np.ndarray[Any, Any]]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in proto.graph.initializer}


def test_a_skeleton_has_no_large_weights_and_all_else(proto: onnx.ModelProto) -> None:
    skeleton = OnnxModel(proto).skeleton
    assert skeleton.ByteSize() < 2 * MAX_ELEMENTS
    assert [t.name for t in skeleton.graph.initializer] == ["a", "b", "c"]
    assert list(skeleton.graph.initializer[0].dims) == [128, 96]
    assert skeleton.graph.node == proto.graph.node
    assert skeleton.graph.initializer[2] == proto.graph.initializer[2]


def test_changed_models_have_the_weights_and_earlier_ones_stay(proto: onnx.ModelProto) -> None:
    before = proto.SerializeToString()
    model = OnnxModel(proto)
    first = _renamed(model)
    second = _renamed(first)
    for changed, suffix in ((first, "_"), (second, "__")):
        restored = onnx.load_model_from_string(changed.to_bytes())
        assert restored == changed.proto
        assert [node.name for node in restored.graph.node] == [
            node.name + suffix for node in proto.graph.node
        ]
        expected = _values(proto)
        expected["new"] = expected.pop("a")
        np.testing.assert_equal(_values(restored), expected)
    assert proto.SerializeToString() == before
    assert model.to_bytes() == before
    assert model.proto is proto


def test_changes_copy_no_large_weight(proto: onnx.ModelProto) -> None:
    model = OnnxModel(proto)
    changed = _renamed(_renamed(model))
    for index in (0, 1):
        old, new = (each.skeleton.graph.initializer[index] for each in (model, changed))
        assert changed.weights.stored(new) is model.weights.stored(old)
    assert "proto" not in vars(changed)


def test_new_weights_are_kept_by_the_model_that_has_them(
    proto: onnx.ModelProto,
) -> None:
    model = OnnxModel(proto)
    array = new_rng().standard_normal((96, 128)).astype(np.float32)
    copy = model.copy_skeleton()
    copy.graph.initializer[1].CopyFrom(numpy_helper.from_array(array, "b"))
    changed = model.changed(copy, ["b is another"])
    assert changed.skeleton.ByteSize() < 2 * MAX_ELEMENTS
    again = _renamed(changed)
    np.testing.assert_array_equal(_values(again.proto)["b"], array)
    np.testing.assert_array_equal(_values(_renamed(model).proto)["b"], _values(proto)["b"])
    assert changed.sha256() != _renamed(model).sha256() != again.sha256()


def test_external_data_stays_where_it_is(proto: onnx.ModelProto, tmp_path: Path) -> None:
    expected = _values(proto)
    path = tmp_path / "m.onnx"
    onnx.save_model(proto, path, save_as_external_data=True, location="m.data", size_threshold=0)
    changed = _renamed(OnnxModel(path))
    read = onnx.load_model_from_string(changed.to_bytes())
    assert [t.data_location for t in read.graph.initializer] == [TensorProto.EXTERNAL] * 3
    np.testing.assert_array_equal(_values(changed.with_weights())["b"], expected["b"])
    info = TensorInfo(changed)
    assert info.weight_values("b") is None
    tensor = info.weight("new")
    assert tensor is not None
    np.testing.assert_array_equal(changed.weights.array(tensor), expected["a"])


def test_the_values_of_large_weights_are_there_for_passes(proto: onnx.ModelProto) -> None:
    info = TensorInfo(_renamed(OnnxModel(proto)))
    np.testing.assert_equal(info.weight_values("new"), _values(proto)["a"])
    assert info.shape("h") == [None, 96]


def test_what_a_pass_writes_is_no_other_ones_affair(proto: onnx.ModelProto) -> None:
    model = OnnxModel(proto)
    one, other = TensorInfo(model), TensorInfo(model)
    assert one.unused("h") == other.unused("h") == "h_"
    assert one.unused("h") == "h__"
    one.declare("h", TensorProto.INT8, [1])
    assert (one.dtype("h"), one.shape("h")) == (TensorProto.INT8, [1])
    assert (other.dtype("h"), other.shape("h")) == (TensorProto.FLOAT, [None, 96])
