"""Look up a graph's tensors: their names, types, shapes and constants, all cached."""

from collections import Counter
from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from fasttrt._common.log import logger
from fasttrt._graph.opset import onnx_version
from fasttrt._graph.traversal import ONNX_DOMAINS, all_names, graphs_of
from fasttrt._graph.weights import with_weight_inputs

if TYPE_CHECKING:
    import onnx

_MAX_ELEMENTS = 64
"""The maximum size of constants that are read here, such as axes."""

Described: TypeAlias = tuple[int, list[int | None] | None]
"""A type (a value of ``TensorProto.DataType``, or 0) and the known dimensions."""


class GraphTensors:
    """Look up the tensors of a model, which must not be changed meanwhile.

    For a name that several graphs use, such as the branches of an If, only what all have in common.
    """

    def __init__(self, proto: "onnx.ModelProto") -> None:
        self._proto = proto
        self._graphs = graphs_of(proto.graph)

    @cached_property
    def names(self) -> frozenset[str]:
        """All names in use."""
        return frozenset(all_names(self._proto.graph))

    @cached_property
    def opset(self) -> int:
        """The model's opset version of the ONNX domain; at least 1."""
        return onnx_version(self._proto.opset_import) or 1

    @cached_property
    def _uses(self) -> Counter[str]:
        uses = Counter[str]()
        for graph in self._graphs:
            uses.update({tensor.name for tensor in (*graph.initializer, *graph.input)})
            uses.update(output for node in graph.node for output in node.output if output)
        return uses

    @cached_property
    def ambiguous(self) -> frozenset[str]:
        """Names that several graphs define."""
        return frozenset(name for name, count in self._uses.items() if count > 1)

    @cached_property
    def weights(self) -> "dict[str, onnx.TensorProto]":
        """The initializers."""
        return {tensor.name: tensor for graph in self._graphs for tensor in graph.initializer}

    @cached_property
    def held(self) -> "dict[str, onnx.TensorProto]":
        """The tensors of Constant nodes, by output name."""
        return {
            node.output[0]: attribute.t
            for graph in self._graphs
            for node in graph.node
            if node.op_type == "Constant" and node.domain in ONNX_DOMAINS
            for attribute in node.attribute
            if attribute.name == "value"
        }

    @cached_property
    def constants(self) -> dict[str, npt.NDArray[Any]]:
        """The values of small constants that are stored in the model file."""
        found: dict[str, list[npt.NDArray[Any]]] = {}
        for name, value in _constants(self._graphs):
            found.setdefault(name, []).append(value)
        return {
            name: values[0]
            for name, values in found.items()
            if len(values) == self._uses[name] and all(np.array_equal(v, values[0]) for v in values)
        }

    @cached_property
    def inferred(self) -> dict[str, Described]:
        """Types and shapes inferred by ONNX, without the file's shapes, which may be wrong."""
        from onnx.shape_inference import infer_shapes

        copy = with_weight_inputs(self._proto)
        for graph in graphs_of(copy.graph):
            del graph.value_info[:]
            for output in graph.output:
                if output.type.HasField("tensor_type"):
                    output.type.tensor_type.ClearField("shape")
        try:
            copy = infer_shapes(copy)
        except Exception as error:  # several classes; a node that needs shapes is rejected later
            logger.debug("no shapes were inferred: %s", error)
        return {
            value.name: (value.type.tensor_type.elem_type, _shape(value.type.tensor_type))
            for graph in graphs_of(copy.graph)
            for value in (*graph.input, *graph.value_info, *graph.output)
            if value.type.HasField("tensor_type")
        }


def _constants(graphs: "list[onnx.GraphProto]") -> "Iterator[tuple[str, npt.NDArray[Any]]]":
    """Yield small constants, without reading external data."""
    from onnx import TensorProto
    from onnx.numpy_helper import to_array

    def is_readable(tensor: "onnx.TensorProto") -> bool:
        small = np.prod(tensor.dims, dtype=np.int64) <= _MAX_ELEMENTS
        is_inside = tensor.data_location != TensorProto.EXTERNAL
        return bool(small) and is_inside and tensor.data_type != TensorProto.UNDEFINED

    for graph in graphs:
        for tensor in filter(is_readable, graph.initializer):
            yield tensor.name, to_array(tensor)
        for node in graph.node:
            if node.op_type != "Constant" or node.domain not in ONNX_DOMAINS:
                continue
            for attribute in node.attribute:
                if attribute.name == "value" and is_readable(attribute.t):
                    yield node.output[0], to_array(attribute.t)
                elif attribute.name == "value_int":
                    yield node.output[0], np.array(attribute.i)
                elif attribute.name == "value_ints":
                    yield node.output[0], np.array(attribute.ints, np.int64)
                elif attribute.name == "value_float":
                    yield node.output[0], np.array(attribute.f, np.float32)
                elif attribute.name == "value_floats":
                    yield node.output[0], np.array(attribute.floats, np.float32)


def _shape(tensor: "onnx.TypeProto.Tensor") -> list[int | None] | None:
    if not tensor.HasField("shape"):
        return None
    return [dim.dim_value if dim.HasField("dim_value") else None for dim in tensor.shape.dim]
