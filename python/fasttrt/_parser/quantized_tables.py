"""Dequantize int8 tables before rows are gathered from them, so that they stay int8.

TensorRT accepts int8 constants only where they are dequantized immediately.
"""

from collections import Counter
from typing import TYPE_CHECKING

from fasttrt._graph.tensor_info import TensorInfo
from fasttrt._graph.traversal import (
    ONNX_DOMAINS,
    graphs_of,
    innermost_first,
    replace_all,
    with_inner,
)
from fasttrt._parser.node_rules import input_name
from fasttrt._parser.quantization_writer import INT8, Writer, is_zero

if TYPE_CHECKING:
    import onnx

    from fasttrt._graph.model import OnnxModel
    from fasttrt._parser.pipeline import Target


def dequantize_tables(model: "OnnxModel", target: "Target") -> "OnnxModel":
    """Swap a Gather from an int8 constant and the DequantizeLinear nodes after it."""
    operators = {node.op_type for node in with_inner(model.skeleton.graph.node)}
    if not operators >= {"Gather", "DequantizeLinear"}:
        return model
    writer = Writer(TensorInfo(model), model.weights)
    gathers = _from_tables(model.skeleton, writer)
    if not gathers:
        return model
    proto = model.copy_skeleton()
    for graph in innermost_first(proto.graph):
        nodes: list[onnx.NodeProto] = []
        for node in graph.node:
            gather = gathers.get(node.input[0]) if node.op_type == "DequantizeLinear" else None
            if gather is None:
                if not (node.op_type == "Gather" and node.output[0] in gathers):
                    nodes.append(node)
                continue
            gathered = type(node)()
            gathered.CopyFrom(gather)
            gathered.name = writer.facts.unused(f"{node.output[0]}/Gather")
            gathered.output[0] = node.output[0]
            node.input[0] = gather.input[0]
            node.output[0] = writer.facts.unused(f"{gather.input[0]}/dequantized")
            gathered.input[0] = node.output[0]
            nodes += [node, gathered]
        replace_all(graph.node, nodes)
    lines = [
        f"{gather.name or name}: the int8 table {gather.input[0]} is dequantized before the Gather"
        for name, gather in gathers.items()
    ]
    return model.changed(proto, lines)


def _from_tables(proto: "onnx.ModelProto", writer: Writer) -> "dict[str, onnx.NodeProto]":
    """Return by output the Gathers that are only dequantized, and with a single scale."""
    nodes = list(with_inner(proto.graph.node))
    found = {
        node.output[0]: node
        for node in nodes
        if node.op_type == "Gather"
        and node.domain in ONNX_DOMAINS
        and writer.facts.dtype(node.input[0]) == INT8
        and writer.facts.tensor(node.input[0]) is not None
    }
    uses = Counter(name for node in nodes for name in node.input)
    uses.update(value.name for graph in graphs_of(proto.graph) for value in graph.output)
    dequantized = Counter(
        node.input[0]
        for node in nodes
        if node.op_type == "DequantizeLinear"
        and (scale := writer.value(node.input[1])) is not None
        and scale.size == 1
        and is_zero(writer, input_name(node, 2))
    )
    return {name: node for name, node in found.items() if uses[name] == dequantized[name]}
