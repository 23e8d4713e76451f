"""Make sparse initializers and constants dense: TensorRT's parser ignores or refuses them."""

from typing import TYPE_CHECKING

import numpy as np

from fasttrt._graph.traversal import graphs_of, with_inner
from fasttrt._graph.weights import Weights, allow_constants
from fasttrt.errors import ParseError, ParseIssue

if TYPE_CHECKING:
    import onnx

    from fasttrt._graph.model import OnnxModel
    from fasttrt._parser.pipeline import Target

MAX_BYTES = 2**30
"""The most bytes of all of them together, dense: a few numbers can stand for any size."""


def write_dense(model: "OnnxModel", target: "Target") -> "OnnxModel":
    """Convert sparse tensors to dense ones.

    Raises:
        ParseError: a tensor's indices do not fit its shape, or all of them would take more
            than `MAX_BYTES`. Names the tensor.
    """
    graphs = graphs_of(model.skeleton.graph)
    if not any(graph.sparse_initializer for graph in graphs) and not any(
        attribute.HasField("sparse_tensor")
        for node in with_inner(model.skeleton.graph.node)
        for attribute in node.attribute
    ):
        return model
    proto = model.copy_skeleton()
    writer = _Writer(model.weights)
    for graph in graphs_of(proto.graph):
        for sparse in graph.sparse_initializer:
            graph.initializer.append(writer.dense(sparse, sparse.values.name))
        del graph.sparse_initializer[:]
        for node in graph.node:
            for attribute in node.attribute:
                if attribute.name == "sparse_value":
                    tensor = writer.dense(attribute.sparse_tensor, node.output[0])
                    attribute.Clear()
                    attribute.name, attribute.type = "value", attribute.TENSOR
                    attribute.t.CopyFrom(tensor)
    allow_constants(proto)
    return model.changed(
        proto, [f"{name}: the sparse tensor is made dense" for name in writer.names]
    )


class _Writer:
    def __init__(self, weights: Weights) -> None:
        self._weights, self._bytes = weights, 0
        self.names: list[str] = []

    def dense(self, sparse: "onnx.SparseTensorProto", name: str) -> "onnx.TensorProto":
        from onnx import numpy_helper

        values, indices = (self._weights.array(t) for t in (sparse.values, sparse.indices))
        shape = tuple(sparse.dims)
        size = int(np.prod([max(dim, 0) for dim in shape], dtype=object))
        self._bytes += size * values.dtype.itemsize
        if self._bytes > MAX_BYTES:
            _refuse(
                name, f"made dense, the model's sparse tensors take more than {MAX_BYTES} bytes"
            )
        if indices.ndim == 2:
            if indices.shape[1] != len(shape):
                _refuse(name, f"its indices have {indices.shape[1]} axes, its shape {len(shape)}")
            if ((indices < 0) | (indices >= np.array(shape))).any():
                _refuse(name, f"some indices lie outside its shape {shape}")
            strides = np.array([int(np.prod(shape[i + 1 :])) for i in range(len(shape))], np.int64)
            indices = indices @ strides if len(shape) else np.zeros(len(indices), np.int64)
        if indices.size != values.size:
            _refuse(name, f"it has {values.size} values and {indices.size} indices")
        if indices.size and (indices.min() < 0 or indices.max() >= size):
            _refuse(name, f"some indices lie outside its shape {shape}")
        array = np.zeros(size, values.dtype)
        array[indices.ravel()] = values.ravel()
        self.names.append(name)
        return numpy_helper.from_array(array.reshape(shape), name)


def _refuse(name: str, reason: str) -> None:
    issue = ParseIssue(-1, "", "", f"the sparse tensor {name}: {reason}")
    raise ParseError("the model's sparse tensors cannot be made dense", (issue,))
