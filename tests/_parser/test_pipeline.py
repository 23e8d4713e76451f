"""The passes together: what they share, and what they leave unchanged."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from fasttrt import _core
from fasttrt._graph.model import OnnxModel
from fasttrt._parser.pipeline import Target, finish, prepare
from fasttrt._precision.conversion import convert_model
from support.randomness import new_rng


def _changed_by_many() -> onnx.ModelProto:
    """A function, computed constants, a default to write out, and nodes that are computed wrong."""
    rng = new_rng()
    weights = {name: rng.standard_normal((128, 128)).astype(np.float32) for name in ("a", "b")}
    constants = [numpy_helper.from_array(array, name) for name, array in weights.items()]
    constants += [
        numpy_helper.from_array(np.array(3, np.float32), "three"),
        numpy_helper.from_array(np.array([-1, 4], np.int64), "head"),
        numpy_helper.from_array(np.array([128], np.int64), "tail"),
    ]
    twice = helper.make_node("Add", ["v", "v"], ["r"], "add")
    opset = helper.make_opsetid("", 20)
    function = helper.make_function("local", "Twice", ["v"], ["r"], [twice], [opset])
    nodes = [
        helper.make_node("MatMul", ["t", "b"], ["p"], "second"),
        helper.make_node("MatMul", ["x", "a"], ["h"], "first"),
        helper.make_node("Twice", ["h"], ["t"], "twice", domain="local"),
        helper.make_node("Concat", ["head", "tail"], ["shape"], "shape", axis=0),
        helper.make_node("Reshape", ["p", "shape"], ["q"], "reshape"),
        helper.make_node("Trilu", ["q"], ["u"], "triangle"),
        helper.make_node("Mod", ["u", "three"], ["y"], "mod", fmod=1),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [4, 128])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4, 128])
    graph = helper.make_graph(nodes, "g", [x], [y], constants)
    opsets = [opset, helper.make_opsetid("local", 1)]
    return helper.make_model(graph, functions=[function], opset_imports=opsets, ir_version=9)


def test_passes_share_large_weights_and_change_no_callers_model(
    rtx_library: _core.Library,
) -> None:
    proto = _changed_by_many()
    before = proto.SerializeToString(deterministic=True)
    model, target = OnnxModel(proto), Target(rtx_library)
    result = finish(prepare(model, target), target)
    assert len(result.changes) >= 5
    stored = {t.name: model.weights.stored(t) for t in model.skeleton.graph.initializer}
    large = {t.name: t for t in result.skeleton.graph.initializer if t.name in ("a", "b")}
    assert large.keys() == {"a", "b"}
    for name, tensor in large.items():
        assert result.weights.stored(tensor) is stored[name]
    assert onnx.load_model_from_string(result.to_bytes()) == result.proto
    assert proto.SerializeToString(deterministic=True) == before


def test_a_conversion_leaves_the_model_that_it_began_with(rtx_library: _core.Library) -> None:
    target = Target(rtx_library)
    prepared = prepare(OnnxModel(_changed_by_many()), target)
    before = prepared.to_bytes()
    reduced, changes = convert_model(prepared, "fp16")
    result = finish(reduced, target)
    assert changes.converted >= 2
    halves = {t.name: numpy_helper.to_array(t) for t in result.proto.graph.initializer}
    wanted = {t.name: numpy_helper.to_array(t) for t in prepared.proto.graph.initializer}
    for name in ("a", "b"):
        np.testing.assert_array_equal(halves[f"{name}_float16"], wanted[name].astype(np.float16))
    assert prepared.to_bytes() == before
