"""Models with one node that gives wrong answers, as a broken kernel would."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

import fasttrt
from support import models
from support.randomness import new_rng

Array: TypeAlias = npt.NDArray[Any]
Maker: TypeAlias = Callable[[onnx.ModelProto], fasttrt.Engine]


def perturbed(
    proto: onnx.ModelProto, tensor: str, factor: float = 1.25, offset: float = 0.0
) -> onnx.ModelProto:
    """A copy in which a node makes ``factor * tensor + offset``; a factor of 1 is left out."""
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    nodes = list(copy.graph.node)
    (place,) = (i for i, node in enumerate(nodes) if tensor in node.output)
    outputs = nodes[place].output
    outputs[list(outputs).index(tensor)] = right = f"{tensor}.right"
    extra = [helper.make_node("Add", [f"{tensor}.scaled", f"{tensor}.offset"], [tensor])]
    if factor != 1:
        extra.insert(0, helper.make_node("Mul", [right, f"{tensor}.factor"], [f"{tensor}.scaled"]))
    else:
        extra[0].input[0] = right
    dtype = _dtype(proto, tensor)
    for name, value in (("factor", factor), ("offset", offset))[int(factor == 1) :]:
        array = np.array(value).astype(dtype)
        copy.graph.initializer.append(numpy_helper.from_array(array, f"{tensor}.{name}"))
    del copy.graph.node[:]
    copy.graph.node.extend([*nodes[: place + 1], *extra, *nodes[place + 1 :]])
    return copy


def _dtype(proto: onnx.ModelProto, tensor: str) -> np.dtype[Any]:
    inferred = onnx.shape_inference.infer_shapes(proto).graph
    for value in (*inferred.value_info, *inferred.output):
        if value.name == tensor and value.type.tensor_type.elem_type:
            return helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
    return np.dtype(np.float32)


def perturbing(tensor: str, factor: float = 1.25, offset: float = 0.0) -> Maker:
    """Makes engines on the CPU that give wrong answers at one node."""
    return lambda proto: fasttrt.Engine(perturbed(proto, tensor, factor, offset), device="cpu")


def with_weight(
    proto: onnx.ModelProto, name: str, change: Callable[[Array], Array]
) -> onnx.ModelProto:
    """A copy with another value of one weight."""
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    for weight in copy.graph.initializer:
        if weight.name == name:
            weight.CopyFrom(numpy_helper.from_array(change(numpy_helper.to_array(weight)), name))
    return copy


def residual(depth: int = 12, width: int = 16) -> onnx.ModelProto:
    """Blocks of two products with a way around each: neither way's tensors clear the other's."""
    rng = new_rng()
    nodes: list[onnx.NodeProto] = []
    weights: dict[str, Array] = {}
    before = "x"
    for i in range(depth):
        for side in "lr":
            name = f"{side}{i}"
            weights[f"w_{name}"] = (rng.standard_normal((width, width)) / 8).astype(np.float32)
            nodes.append(helper.make_node("MatMul", [before, f"w_{name}"], [name], f"mul_{name}"))
        nodes.append(helper.make_node("Tanh", [f"l{i}"], [f"t{i}"], f"tanh{i}"))
        nodes.append(helper.make_node("Add", [f"t{i}", f"r{i}"], [f"s{i}"], f"sum{i}"))
        after = "y" if i == depth - 1 else f"h{i}"
        nodes.append(helper.make_node("Add", [f"s{i}", before], [after], f"around{i}"))
        before = after
    x, y = (models.value(name, TensorProto.FLOAT, ["batch", width]) for name in "xy")
    return models.make(nodes, [x], [y], weights)
