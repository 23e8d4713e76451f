"""all-MiniLM-L6-v2 as an ONNX graph, made from its weights: six layers of a BERT, and the pooling.

Token ids ``[batch, length]`` and a mask of the same shape (1 for tokens, 0 for padding), both
int64, to embeddings ``[batch, 384]`` of length 1. Weights have the names that the package gives.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

LAYERS, HEADS, WIDTH, EPSILON = 6, 12, 384, 1e-12
Array = npt.NDArray[Any]


class _Graph:
    """Nodes in order; each call adds one and gives its result's name."""

    def __init__(self, weights: Mapping[str, Array]) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self._weights = weights
        self._known: set[str] = set()

    def __call__(self, operator: str, *inputs: str, **attributes: Any) -> str:
        name = f"{operator.lower()}{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [name], name, **attributes))
        return name

    def constant(self, value: Any, dtype: npt.DTypeLike) -> str:
        return self._add(f"constant{len(self.initializers)}", np.asarray(value, dtype))

    def weight(self, name: str, transposed: bool = False) -> str:
        return self._add(name, self._weights[name].T if transposed else self._weights[name])

    def _add(self, name: str, array: Array) -> str:
        if name not in self._known:
            self._known.add(name)
            self.initializers.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def dense(self, x: str, name: str) -> str:
        product = self("MatMul", x, self.weight(f"{name}.weight", transposed=True))
        return self("Add", product, self.weight(f"{name}.bias"))

    def normalize(self, x: str, name: str) -> str:
        scale, bias = self.weight(f"{name}.weight"), self.weight(f"{name}.bias")
        return self("LayerNormalization", x, scale, bias, axis=-1, epsilon=EPSILON)


def _attention(graph: _Graph, x: str, bias: str, name: str) -> str:
    split = graph.constant((0, 0, HEADS, WIDTH // HEADS), np.int64)
    parts = {}
    for part, order in (("query", (0, 2, 1, 3)), ("key", (0, 2, 3, 1)), ("value", (0, 2, 1, 3))):
        heads = graph("Reshape", graph.dense(x, f"{name}.self.{part}"), split)
        parts[part] = graph("Transpose", heads, perm=order)
    root = graph.constant(np.sqrt(WIDTH // HEADS), np.float32)
    scores = graph("Div", graph("MatMul", parts["query"], parts["key"]), root)
    shares = graph("Softmax", graph("Add", scores, bias), axis=-1)
    mixed = graph("Transpose", graph("MatMul", shares, parts["value"]), perm=(0, 2, 1, 3))
    joined = graph("Reshape", mixed, graph.constant((0, 0, WIDTH), np.int64))
    result = graph("Add", graph.dense(joined, f"{name}.output.dense"), x)
    return graph.normalize(result, f"{name}.output.LayerNorm")


def _gelu(graph: _Graph, x: str) -> str:
    scaled = graph("Erf", graph("Div", x, graph.constant(np.sqrt(2), np.float32)))
    gate = graph("Add", scaled, graph.constant(1, np.float32))
    return graph("Mul", graph("Mul", x, gate), graph.constant(0.5, np.float32))


def _embedded(graph: _Graph) -> str:
    words = graph("Gather", graph.weight("embeddings.word_embeddings.weight"), "ids")
    end = graph("Shape", "ids", start=1, end=2)
    positions = graph(
        "Slice",
        graph.weight("embeddings.position_embeddings.weight"),
        graph.constant([0], np.int64),
        end,
        graph.constant([0], np.int64),
    )
    kind = graph(  # all tokens are of the first kind
        "Gather",
        graph.weight("embeddings.token_type_embeddings.weight"),
        graph.constant(0, np.int64),
    )
    total = graph("Add", graph("Add", words, positions), kind)
    return graph.normalize(total, "embeddings.LayerNorm")


def _pooled(graph: _Graph, x: str, mask: str) -> str:
    """The mean over tokens, then of length 1."""
    axis = graph.constant([1], np.int64)
    weights = graph("Unsqueeze", mask, graph.constant([2], np.int64))
    total = graph("ReduceSum", graph("Mul", x, weights), axis, keepdims=0)
    mean = graph("Div", total, graph("ReduceSum", weights, axis, keepdims=0))
    return graph("Div", mean, graph("ReduceL2", mean, axes=[1], keepdims=1))


def to_onnx(weights: Mapping[str, Array]) -> onnx.ModelProto:
    """The model; see above."""
    graph = _Graph(weights)
    mask = graph("Cast", "mask", to=TensorProto.FLOAT)
    hidden = graph("Sub", graph.constant(1, np.float32), mask)
    far = graph("Mul", hidden, graph.constant(-1e4, np.float32))  # fits float16, too
    bias = graph("Unsqueeze", far, graph.constant([1, 2], np.int64))
    x = _embedded(graph)
    for layer in range(LAYERS):
        name = f"encoder.layer.{layer}"
        x = _attention(graph, x, bias, f"{name}.attention")
        wide = _gelu(graph, graph.dense(x, f"{name}.intermediate.dense"))
        x = graph.normalize(
            graph("Add", graph.dense(wide, f"{name}.output.dense"), x), f"{name}.output.LayerNorm"
        )
    graph("Identity", _pooled(graph, x, mask))
    graph.nodes[-1].output[0] = "embedding"
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "length"])
        for name in ("ids", "mask")
    ]
    outputs = [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", WIDTH])]
    proto = helper.make_graph(graph.nodes, "minilm", inputs, outputs, graph.initializers)
    return helper.make_model(proto, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
