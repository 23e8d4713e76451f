"""Group connected tensors of narrow integers, and find those that TensorRT does not support."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from fasttrt._graph.traversal import ONNX_DOMAINS, graphs_of, with_inner
from fasttrt._parser.narrow_rules import INTEGER_PRODUCTS, RULES, ZERO_POINTS
from fasttrt._parser.node_rules import input_name
from fasttrt._parser.quantization_writer import INT8, RANGES, UINT8, Writer, is_zero

if TYPE_CHECKING:
    import onnx

QUANTIZATIONS = ("QuantizeLinear", "DequantizeLinear")
_CONVOLUTIONS = ("Conv", "ConvTranspose")
_PRODUCTS = (*_CONVOLUTIONS, "Gemm", "MatMul")


def narrow_tensors(node: "onnx.NodeProto", writer: Writer) -> list[str]:
    """Return a node's narrow integer inputs and outputs, except for constant zero points."""
    shifts = ZERO_POINTS.get(node.op_type, ())
    names = [
        name
        for index, name in enumerate(node.input)
        if name and not (index in shifts and writer.value(name) is not None)
    ]
    return [name for name in (*names, *node.output) if writer.facts.dtype(name) in RANGES]


class Groups:
    """Group the narrow tensors that nodes connect, and that so need a common type."""

    def __init__(self, proto: "onnx.ModelProto", writer: Writer, has_convolutions: bool) -> None:
        self._proto, self._writer, self._has_convolutions = proto, writer, has_convolutions
        self._parents: dict[str, str] = {}
        self._nodes = [
            (node, tensors)
            for node in with_inner(proto.graph.node)
            if (tensors := narrow_tensors(node, writer))
        ]
        for _, tensors in self._nodes:
            for name in tensors:
                self._parents[self._root(name)] = self._root(tensors[0])
        self._excluded = {self._root(name) for name in self._at_borders()}
        self._to_promote = {self._root(name) for name in self._unsupported()}
        self._add_partners()

    def promoted(self) -> set[str]:
        """Return the tensors that become float32."""
        return {
            name
            for name in list(self._parents)
            if self._root(name) in self._to_promote and self._root(name) not in self._excluded
        }

    def exclude(self, node: "onnx.NodeProto") -> None:
        """Keep everything connected with a node unchanged."""
        self._excluded |= {self._root(name) for name in narrow_tensors(node, self._writer)}

    def _root(self, name: str) -> str:
        parent = self._parents.setdefault(name, name)
        if parent != name:
            parent = self._parents[name] = self._root(parent)
        return parent

    def _at_borders(self) -> "Iterable[str]":
        """Yield the tensors at the borders of subgraphs, and of nodes without a rule."""
        for node, tensors in self._nodes:
            if node.domain not in ONNX_DOMAINS or not (
                node.op_type in RULES or node.op_type == "Constant"
            ):
                yield from tensors
        for graph in graphs_of(self._proto.graph)[1:]:
            for value in (*graph.input, *graph.output):
                if value.name in self._parents:
                    yield value.name

    def _unsupported(self) -> "Iterable[str]":
        """Yield the tensors whose type TensorRT does not support where they are used."""
        facts, writer = self._writer.facts, self._writer
        ends = {v.name for v in (*self._proto.graph.input, *self._proto.graph.output)}
        for node, tensors in self._nodes:
            operator = node.op_type
            for name in tensors:
                is_constant = writer.value(name) is not None
                if facts.dtype(name) != INT8:
                    if operator != "Cast" or name not in ends or facts.dtype(name) != UINT8:
                        yield name
                elif (
                    (is_constant and operator not in ("DequantizeLinear", "Constant"))
                    or (operator in QUANTIZATIONS and not is_zero(writer, input_name(node, 2)))
                    or operator in (*INTEGER_PRODUCTS, "Clip")
                ):
                    yield name

    def _add_partners(self) -> None:
        """Add weights of products whose other operand is promoted, and int8 convolutions."""
        makers = {
            node.output[0]: tensors[0]
            for node, tensors in self._nodes
            if node.op_type == "DequantizeLinear"
        }
        for node in with_inner(self._proto.graph.node):
            if node.op_type not in _PRODUCTS:
                continue
            operands = [makers[name] for name in node.input[:2] if name in makers]
            is_unsupported = node.op_type in _CONVOLUTIONS and not self._has_convolutions
            if is_unsupported and len(operands) == 2:
                self._to_promote |= set(map(self._root, operands))
            elif any(self._root(name) in self._to_promote for name in operands):
                self._to_promote |= {
                    self._root(name) for name in operands if self._writer.value(name) is not None
                }
