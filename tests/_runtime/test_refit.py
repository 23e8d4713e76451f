"""Models with other weights are changed as the build changed its own, before they are compared."""

from __future__ import annotations

import json
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import fasttrt
from fasttrt import _core
from fasttrt._graph.constant_folding import fold_constants
from fasttrt._graph.fingerprint import check_same, structure
from fasttrt._graph.model import OnnxModel
from fasttrt._graph.transforms import retransformed, transformed
from fasttrt._parser.pipeline import Target, prepare
from fasttrt._runtime.refit import as_built
from support import models


def model(scale: float) -> onnx.ModelProto:
    """y = w * the sum of x over axes, plus a constant that nodes compute."""
    x = models.value("x", TensorProto.FLOAT, ["?", "?", 4])
    axes = models.value("axes", TensorProto.INT64, [1])
    y = models.value("y", TensorProto.FLOAT, ["a", "b", "c"])
    nodes = [
        helper.make_node("ReduceSum", ["x", "axes"], ["sum"]),
        helper.make_node("Add", ["one", "one"], ["two"]),
        helper.make_node("Mul", ["sum", "w"], ["product"]),
        helper.make_node("Add", ["product", "two"], ["y"]),
    ]
    weights = {"w": np.full(4, scale, np.float32), "one": np.ones(1, np.float32)}
    return models.make(nodes, [x, axes], [y], weights)


def metadata_of(built: OnnxModel) -> dict[str, Any]:
    """What `fasttrt.build` keeps of a model that can be refitted, as it is read back."""
    kept = {
        "changes": list(built.changes),
        "structure": structure(built),
        "arguments": built.arguments,
    }
    read: dict[str, Any] = json.loads(json.dumps(kept))
    return read


def test_other_weights_are_of_the_same_structure(rtx_library: _core.Library) -> None:
    first = fold_constants(transformed(OnnxModel(model(1)), {"axes": [1]}, {"x.0": 2}))
    built = first.with_named_axes([("x", 1)])
    metadata = metadata_of(built)
    _, new = as_built(OnnxModel(model(2)), metadata, rtx_library)
    assert new is not None
    changed = {
        n for n, values in new["weights"].items() if values != metadata["structure"]["weights"][n]
    }
    assert changed == {"w"}
    with pytest.raises(fasttrt.InputError, match="not the one"):
        check_same(metadata["structure"], OnnxModel(model(2)))


def test_weights_go_through_all_the_passes_of_a_build(
    rtx_library: _core.Library,
) -> None:
    """A local function is written out, and the default of Trilu."""

    def triangle(seed: int) -> onnx.ModelProto:
        proto = onnx.parser.parse_model("""<ir_version: 8, opset_import: ["" : 17, "l" : 1]>
            g (float[2,40,40] x) => (float[2,40,40] y) { y = l.f (x, w) }
            <domain: "l", opset_import: ["" : 17]> f (x, w) => (y) {
                z = MatMul (x, w) y = Trilu (z) }
        """)
        w = np.random.default_rng(seed).standard_normal((40, 40)).astype(np.float32)
        proto.graph.initializer.append(numpy_helper.from_array(w, "w"))
        return proto

    metadata = metadata_of(prepare(OnnxModel(triangle(1)), Target(rtx_library)))
    assert len(metadata["changes"]) == 2
    _, new = as_built(OnnxModel(triangle(2)), metadata, rtx_library)
    assert new not in (None, metadata["structure"])


def test_what_was_changed_already_is_not_changed_again(rtx_library: _core.Library) -> None:
    changed = transformed(OnnxModel(model(2)), {"axes": [1]}, {"x.0": 2})
    metadata = metadata_of(fold_constants(changed))
    assert as_built(changed, metadata, rtx_library)[1]


def test_plans_of_other_tools_say_nothing_of_changes(rtx_library: _core.Library) -> None:
    other = OnnxModel(model(1))
    assert as_built(other, {}, rtx_library) == (other, None)


def test_a_model_without_the_frozen_input_is_refused(rtx_library: _core.Library) -> None:
    metadata = metadata_of(transformed(OnnxModel(model(1)), {"axes": [1]}))
    with pytest.raises(fasttrt.InputError, match="freeze: the model has no input 'axes'; it has x"):
        as_built(OnnxModel(models.mlp().proto), metadata, rtx_library)


@pytest.mark.parametrize(
    "value",
    [
        np.asarray([1, -2], np.int64),
        np.asarray(2**63 - 1, np.int64),
        np.asarray([True, False]),
        np.asarray([0.1, np.inf, -0.0], np.float32),
        np.asarray([[0.1], [1e-7]], np.float16),
        np.asarray([0.1, 3e38], ml_dtypes.bfloat16),
        np.zeros(0, np.int64),
        np.zeros((0, 4), np.float32),
        np.zeros((2, 0, 3), ml_dtypes.bfloat16),
    ],
    ids=lambda value: f"{value.dtype}{list(value.shape)}",
)
def test_frozen_values_are_kept_exactly(value: Any) -> None:
    onnx_type = helper.np_dtype_to_tensor_dtype(value.dtype)
    x, y = (models.value(name, onnx_type, list(value.shape)) for name in "xy")
    proto = models.make([helper.make_node("Identity", ["x"], ["y"])], [x], [y])
    arguments = json.loads(json.dumps(transformed(OnnxModel(proto), {"x": value}).arguments))
    (tensor,) = retransformed(OnnxModel(proto), arguments).proto.graph.initializer
    again = np.asarray(numpy_helper.to_array(tensor))
    assert (again.dtype, again.shape) == (value.dtype, value.shape)
    assert again.tobytes() == value.tobytes()
