"""Analyze the dataflow of an ONNX graph: the producer and the ancestors of each tensor."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fasttrt._graph.model import OnnxModel
from fasttrt._graph.traversal import subgraphs, with_inner
from fasttrt._runtime import ort_session as _ort

if TYPE_CHECKING:
    import onnx

# Operators that sum many products, or divide by such a sum. TensorRT rounds there; elementwise
# operators are mostly fused into the same kernel, before the result is rounded.
_ROUNDING = frozenset(
    {
        "Attention", "BatchNormalization", "Conv", "ConvInteger", "ConvTranspose", "DeformConv",
        "Einsum", "GRU", "Gemm", "GroupNormalization", "InstanceNormalization", "LSTM",
        "LayerNormalization", "LogSoftmax", "MatMul", "MatMulInteger", "QLinearConv",
        "QLinearMatMul", "RMSNormalization", "RNN", "Softmax",
    }
)  # fmt: skip


@dataclass(frozen=True)
class Node:
    """A node of the main graph."""

    index: int
    name: str
    operator: str
    inputs: tuple[str, ...]
    """The tensors that it reads, including those that its subgraphs read from outside."""
    outputs: tuple[str, ...]


class Graph:
    """The main graph of a model. Sets of nodes are integers with the nodes' bits set."""

    def __init__(self, proto: "onnx.ModelProto") -> None:
        """Read the nodes, which ONNX has in topological order."""
        graph = proto.graph
        given = {tensor.name for tensor in graph.initializer}
        fed = {value.name for value in graph.input} - given
        self.inputs = frozenset(fed)
        self.nodes: list[Node] = []
        self.producer: dict[str, Node] = {}
        """The node that computes a tensor."""
        self.ancestors: list[int] = []
        """For each node, the set of nodes that it depends on, itself included."""
        self.fed = 0
        """The set of nodes that depend on the model's inputs."""
        self.roundings: list[int] = []
        """For each node, the number of products, normalizations and softmaxes on the longest path
        to it; those in subgraphs all count, those in loops once."""
        for index, proto_node in enumerate(graph.node):
            inputs = tuple(dict.fromkeys(name for name in _reads(proto_node) if name))
            outputs = tuple(name for name in proto_node.output if name)
            node = Node(index, proto_node.name, proto_node.op_type, inputs, outputs)
            makers = [self.producer[name].index for name in inputs if name in self.producer]
            reached = any(name in fed for name in inputs)
            ancestors, before = 1 << index, 0
            for maker in makers:
                ancestors |= self.ancestors[maker]
                before = max(before, self.roundings[maker])
            self.nodes.append(node)
            self.producer |= dict.fromkeys(outputs, node)
            self.ancestors.append(ancestors)
            self.roundings.append(before + _roundings(proto_node))
            if reached or ancestors & self.fed:
                self.fed |= 1 << index

    def depends_on_inputs(self, tensor: str) -> bool:
        """Return whether a tensor is an input or depends on one."""
        node = self.producer.get(tensor)
        return bool(self.fed >> node.index & 1) if node else tensor in self.inputs

    def roundings_to(self, tensor: str) -> int:
        """Count the roundings on the longest path to a tensor; at least 1."""
        node = self.producer.get(tensor)
        return max(1, self.roundings[node.index]) if node else 1


def _reads(node: "onnx.NodeProto") -> Iterable[str]:
    """Yield the names that a node reads.

    They include names of a subgraph's own tensors, which is harmless: ONNX requires these to differ
    from the outer ones.
    """
    yield from node.input
    for graph in subgraphs(node):
        for inner in graph.node:
            yield from _reads(inner)
        yield from (value.name for value in graph.output)


def _roundings(node: "onnx.NodeProto") -> int:
    inner = sum(n.op_type in _ROUNDING for graph in subgraphs(node) for n in with_inner(graph.node))
    return int(node.op_type in _ROUNDING) + inner


def self_contained(model: OnnxModel) -> "onnx.ModelProto":
    """Copy a model with all its weights in it.

    Raises:
        InputError: they take 2 GiB or more, protobuf's limit.
    """
    return model.with_weights()


def tensor_types(proto: "onnx.ModelProto") -> dict[str, int]:
    """Return the ONNX type of every tensor that the main graph's nodes compute, by ONNX Runtime."""
    import onnx

    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    declared = {value.name for value in copy.graph.output}
    names = dict.fromkeys(name for node in copy.graph.node for name in node.output if name)
    copy.graph.output.extend(onnx.ValueInfoProto(name=n) for n in names if n not in declared)
    session = _ort.open_session(copy.SerializeToString(), _ort.unoptimized())
    types = {}
    for value in session.get_outputs():
        kind, _, element = value.type.partition("(")
        if kind == "tensor":
            types[value.name] = int(onnx.TensorProto.DataType.Value(element[:-1].upper()))
    return types


def with_outputs(
    proto: "onnx.ModelProto", names: Iterable[str], types: Mapping[str, int]
) -> "onnx.ModelProto":
    """Copy a model with these tensors as additional outputs."""
    import onnx

    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    declared = {value.name for value in copy.graph.output}
    for name in names:
        if name not in declared:
            copy.graph.output.append(onnx.helper.make_tensor_value_info(name, types[name], None))
    return copy


def constant_shape(graph: "onnx.GraphProto") -> dict[str, tuple[int, ...]]:
    """Return the known shapes: of weights, of constants, and of tensors that the file declares."""
    shapes: dict[str, tuple[int, ...]] = {}
    for value in (*graph.value_info, *graph.input):
        dims: Any = value.type.tensor_type.shape.dim
        shapes[value.name] = tuple(d.dim_value if d.HasField("dim_value") else -1 for d in dims)
    shapes |= {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    for node in with_inner(graph.node):
        if node.op_type == "Constant" and node.attribute[0].HasField("t"):
            shapes[node.output[0]] = tuple(node.attribute[0].t.dims)
        elif node.op_type in {"DequantizeLinear", "Cast", "Identity"} and node.input[0] in shapes:
            shapes.setdefault(node.output[0], shapes[node.input[0]])
        for inner in subgraphs(node):
            shapes |= {tensor.name: tuple(tensor.dims) for tensor in inner.initializer}
    return shapes
