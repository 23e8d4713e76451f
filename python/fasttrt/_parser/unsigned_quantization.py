"""Quantization to uint8, which TensorRT takes for int8: written in floating point.

A QuantizeLinear without a zero point gives uint8, unless ``output_dtype`` says else. TensorRT has
uint8 for inputs and outputs alone, so the quantized values are held as float32, which is exact.
"""

from typing import TYPE_CHECKING

import numpy as np

from fasttrt._misread import refuse
from fasttrt._nodes import ONNX_DOMAINS, graphs_of, with_inner
from fasttrt._parser.node_chain import NodeChain
from fasttrt._parser.node_rules import attribute, input_name
from fasttrt._tensor_facts import TensorFacts
from fasttrt.model import OnnxModel

if TYPE_CHECKING:
    import onnx

_MOVES = {
    "Concat", "Expand", "Flatten", "Gather", "GatherElements", "GatherND", "Identity", "MaxPool",
    "Reshape", "Slice", "Split", "Squeeze", "Tile", "Transpose", "Unsqueeze",
}  # fmt: skip
"""Operators that give the values they get, so that it does not matter in what type."""
_BLOCKS = "of uint8 by blocks, which TensorRT takes for int8"
_RANK = "of uint8 with several scales, which TensorRT takes for int8, and the rank is not known"
_EXTERNAL = "of uint8 weights in a file of their own, which TensorRT takes for int8"


def write_unsigned_quantization(model: OnnxModel, library: str) -> OnnxModel:
    """Give the model with its uint8 values held as float32; itself if it quantizes to none.

    Raises:
        ParseError: names the nodes that quantize to uint8 and cannot be written so.
    """
    kinds = ("QuantizeLinear", "DequantizeLinear")
    if not any(node.op_type in kinds for node in with_inner(model.proto.graph.node)):
        return model
    facts = TensorFacts(model.proto)
    nodes = [n for n in with_inner(model.proto.graph.node) if n.domain in ONNX_DOMAINS]
    quantizes = [node for node in nodes if _quantizes(node, facts)]
    held = {node.output[0] for node in quantizes}
    for node in nodes:  # in order, as ONNX has them
        if node.op_type in _MOVES and not held.isdisjoint(node.input):
            held.update(node.output)
    dequantizes = [n for n in nodes if n.op_type == kinds[1] and _is_unsigned(n, held, facts)]
    if not quantizes and not dequantizes:
        return model
    writer = _Writer(facts, held)
    steps = {node.output[0]: writer.quantize(node) for node in quantizes}
    steps |= {node.output[0]: writer.dequantize(node) for node in dequantizes}
    refuse(
        model, library,
        [(n, s) for n in (*quantizes, *dequantizes) if isinstance(s := steps[n.output[0]], str)],
    )  # fmt: skip
    proto = model.copy_proto()
    lines = []
    for graph in graphs_of(proto.graph):
        before = list(graph.node)
        del graph.node[:]
        for node in before:
            written = steps.get(node.output[0]) if node.op_type in kinds else None
            graph.node.extend(written if isinstance(written, list) else [node])
            if isinstance(written, list):
                lines.append(
                    f"{node.name or node.output[0]}: {node.op_type} of uint8 is written in "
                    f"floating point, as {library} takes it for int8"
                )
        _keep_outputs(graph, held, facts)
    return model.changed(proto, lines)


def _quantizes(node: "onnx.NodeProto", facts: TensorFacts) -> bool:
    from onnx import TensorProto

    if node.op_type != "QuantizeLinear":
        return False
    zero_point = input_name(node, 2)
    if zero_point:
        return facts.dtype(zero_point) == TensorProto.UINT8
    return attribute(node, "output_dtype", 0) in (0, TensorProto.UINT8)


def _is_unsigned(node: "onnx.NodeProto", held: set[str], facts: TensorFacts) -> bool:
    from onnx import TensorProto

    return node.input[0] in held or facts.dtype(node.input[0]) == TensorProto.UINT8


def _keep_outputs(graph: "onnx.GraphProto", held: set[str], facts: TensorFacts) -> None:
    """Cast what is held as float32 and leaves a graph."""
    from onnx import TensorProto, helper

    made = {name for node in graph.node for name in node.output}
    for name in {output.name for output in graph.output} & held & made:
        inner = facts.unused(f"{name}_float")
        for node in with_inner(graph.node):
            for names in (node.input, node.output):
                names[:] = [inner if each == name else each for each in names]
        graph.node.append(helper.make_node("Cast", [inner], [name], name, to=TensorProto.UINT8))


class _Writer:
    def __init__(self, facts: TensorFacts, held: set[str]) -> None:
        self._facts = facts
        self._held = held

    def quantize(self, node: "onnx.NodeProto") -> "list[onnx.NodeProto] | str":
        from onnx import TensorProto

        chain = NodeChain(node, self._facts)
        parameters = self._parameters(node, chain)
        if isinstance(parameters, str):
            return parameters
        scale, zero = parameters
        x = chain.add("Cast", node.input[0], to=TensorProto.FLOAT)
        steps = chain.add("Round", chain.add("Div", x, scale))
        if zero:
            steps = chain.add("Add", steps, zero)
        lowest, highest = chain.constant(0, np.float32), chain.constant(255, np.float32)
        return chain.finish("Min", chain.add("Max", steps, lowest), highest)

    def dequantize(self, node: "onnx.NodeProto") -> "list[onnx.NodeProto] | str":
        from onnx import TensorProto

        chain = NodeChain(node, self._facts)
        parameters = self._parameters(node, chain)
        if isinstance(parameters, str):
            return parameters
        scale, zero = parameters
        steps = self._steps(node.input[0], chain)
        if not steps:
            return _EXTERNAL
        if zero:
            steps = chain.add("Sub", steps, zero)
        kind = attribute(node, "output_dtype", 0) or self._facts.dtype(node.input[1])
        product = chain.add("Mul", steps, scale)
        return chain.finish("Cast", product, to=kind or TensorProto.FLOAT)

    def _steps(self, name: str, chain: NodeChain) -> str:
        """Give the quantized values as float32; an empty name if they cannot be read."""
        from onnx import TensorProto

        if name in self._held:
            return name
        if self._facts.weight(name) is None and self._facts.constant(name) is None:
            return chain.add("Cast", name, to=TensorProto.FLOAT)
        values = self._facts.weight_values(name)
        if values is None:
            values = self._facts.constant(name)
        return "" if values is None else chain.constant(values, np.float32)

    def _parameters(self, node: "onnx.NodeProto", chain: NodeChain) -> tuple[str, str] | str:
        """Give the names of the scale and of the zero point (empty without one), as float32."""
        from onnx import TensorProto

        if attribute(node, "block_size", 0):
            return _BLOCKS
        scales, shape = self._facts.shape(node.input[1]), self._facts.shape(node.input[0])
        scale = chain.add("Cast", node.input[1], to=TensorProto.FLOAT)
        name = input_name(node, 2)
        zero = self._steps(name, chain) if name else ""
        if scales is None or len(scales) > 1:
            return _RANK
        if scales in ([], [1]):
            return scale, zero
        if shape is None:
            return _RANK
        extents = [1] * len(shape)
        extents[attribute(node, "axis", 1)] = -1
        target = chain.constant(extents)
        scale, *rest = (chain.add("Reshape", n, target) for n in (scale, zero) if n)
        return scale, rest[0] if rest else ""
