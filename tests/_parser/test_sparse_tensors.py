"""Sparse initializers and constants become dense ones."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import fasttrt
from fasttrt._graph.model import OnnxModel
from fasttrt._parser.pipeline import Target
from fasttrt._parser.sparse_tensors import write_dense

TARGET = Target("TensorRT")  # type: ignore[arg-type]  # of which only the name is asked for
DENSE = np.array([[0, 1.5, 0], [0, 0, -2], [3, 0, 0]], np.float32)


def sparse(
    indices: np.ndarray[tuple[int, ...], np.dtype[np.int64]], dims: tuple[int, ...] = (3, 3)
) -> onnx.SparseTensorProto:
    values = numpy_helper.from_array(np.array([1.5, -2, 3], np.float32), "w")
    return helper.make_sparse_tensor(values, numpy_helper.from_array(indices, "i"), dims)


FLAT = np.array([1, 5, 6])
BY_AXES = np.array([[0, 1], [1, 2], [2, 0]])


def product(tensor: onnx.SparseTensorProto, as_node: bool) -> onnx.ModelProto:
    ends = [[helper.make_tensor_value_info(name, TensorProto.FLOAT, [2, 3])] for name in ("x", "y")]
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    if as_node:
        nodes.insert(0, helper.make_node("Constant", [], ["w"], sparse_value=tensor))
    graph = helper.make_graph(nodes, "g", ends[0], ends[1])
    if not as_node:
        graph.sparse_initializer.append(tensor)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize("as_node", [False, True])
@pytest.mark.parametrize("indices", [FLAT, BY_AXES], ids=["flat", "by axes"])
def test_they_are_dense(
    indices: np.ndarray[tuple[int, ...], np.dtype[np.int64]],
    as_node: bool,
    build: Callable[..., fasttrt.Plan],
) -> None:
    model = product(sparse(indices), as_node)
    written = write_dense(OnnxModel(model), TARGET).proto
    tensors = list(written.graph.initializer) or [written.graph.node[0].attribute[0].t]
    assert [tensor.name for tensor in tensors] == ["w"]
    np.testing.assert_array_equal(numpy_helper.to_array(tensors[0]), DENSE)
    assert "w: the sparse tensor is made dense" in build(model).metadata["changes"]


@pytest.mark.parametrize(
    ("indices", "dims", "reason"),
    [
        (np.array([1, 5, 9]), (3, 3), "some indices lie outside"),
        (np.array([1, 5, -1]), (3, 3), "some indices lie outside"),
        (np.array([[0, 1], [1, 2], [2, 3]]), (3, 3), "some indices lie outside"),
        (np.array([[0, 1, 0], [1, 2, 0], [2, 0, 0]]), (3, 3), "its indices have 3 axes"),
        (np.array([1, 5]), (3, 3), "it has 3 values and 2 indices"),
        (np.array([1, 5, 6]), (2**40, 2**40), "take more than"),
    ],
)
def test_damaged_ones_are_refused(
    indices: np.ndarray[tuple[int, ...], np.dtype[np.int64]], dims: tuple[int, ...], reason: str
) -> None:
    with pytest.raises(fasttrt.ParseError, match=rf"the sparse tensor w: .*{reason}"):
        write_dense(OnnxModel(product(sparse(indices, dims), False)), TARGET)
