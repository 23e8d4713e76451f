"""Products over an odd number of elements, of operands that are computed element by element.

TensorRT-RTX 1.6.1 fills the operands up to an even number and computes the elements within the
product, so that what fills them is f(0) instead of 0: on an H200, (a - 100) @ (b - 110) over 5
elements is wrong by 11,000, in float32, float16 and from uint8 alike. Zeros that are put in
beforehand make the number even.
"""

from enum import IntEnum
from typing import TYPE_CHECKING

from fasttrt._nodes import ONNX_DOMAINS, graphs_of, replace_all
from fasttrt._parser.node_chain import NodeChain
from fasttrt._parser.node_rules import attribute
from fasttrt._tensor_facts import TensorFacts
from fasttrt.model import OnnxModel

if TYPE_CHECKING:
    import onnx

    from fasttrt._parser.pipeline import Target

# What keeps a zero, or only moves it.
_KEEP_ZERO = {
    "Abs", "Asin", "Asinh", "Atan", "Atanh", "Cast", "Ceil", "DequantizeLinear", "Elu", "Erf",
    "Expand", "Flatten", "Floor", "Gelu", "HardSwish", "Identity", "LeakyRelu", "Mish", "Neg",
    "PRelu", "QuantizeLinear", "Relu", "Reshape", "Round", "Selu", "Sign", "Sin", "Sinh",
    "Softsign", "Sqrt", "Squeeze", "Swish", "Tan", "Tanh", "ThresholdedRelu", "Transpose",
    "Unsqueeze",
}  # fmt: skip
_MAKE_NONZERO = {
    "Acos", "Add", "And", "Celu", "Clip", "Cos", "Cosh", "Equal", "Exp", "Greater",
    "GreaterOrEqual", "HardSigmoid", "Less", "LessOrEqual", "Max", "Mean", "Min", "Mod", "Not",
    "Or", "Sigmoid", "Softplus", "Sub", "Sum", "Where", "Xor",
}  # fmt: skip
_MAKE_INFINITE = {"Acosh", "Div", "Log", "Pow", "Reciprocal"}
# All else (products, convolutions, Softmax, normalizations, reductions) writes its results to
# memory, where nothing is beyond them: an attention over an odd number of tokens stays as it is.


class _Filling(IntEnum):
    """What takes the place of the zeros beyond the last element."""

    ZERO = 0
    NONZERO = 1
    INFINITE = 2
    """Or no number: wrong whatever the other operand has there."""


def fill_odd_products(model: OnnxModel, target: "Target") -> OnnxModel:
    """Give the operands of such products a zero more; the model itself if it has none.

    A number that only the run tells is left as it is.
    """
    graphs = graphs_of(model.proto.graph)
    products = [
        node
        for graph in graphs
        for node in graph.node
        if node.op_type in ("MatMul", "Gemm") and node.domain in ONNX_DOMAINS
    ]
    if not products:
        return model
    fillings = _Fillings(graphs)
    chosen = {
        node.output[0]
        for node in products
        if _is_at_risk([fillings.of(name) for name in node.input[:2]])
    }
    if not chosen:
        return model
    facts = TensorFacts(model.proto)
    proto = model.copy_proto()
    lines = []
    for graph in graphs_of(proto.graph):
        nodes: list[onnx.NodeProto] = []
        for node in graph.node:
            steps = _filled(node, facts) if node.output[:1] and node.output[0] in chosen else None
            nodes += steps or [node]
            if steps:
                lines.append(
                    f"{node.name or node.output[0]}: its operands get a zero more, as "
                    f"{target.library} fills up odd numbers of elements with others"
                )
        replace_all(graph.node, nodes)
    return model.changed(proto, lines) if lines else model


def _is_at_risk(fillings: list[_Filling]) -> bool:
    return _Filling.INFINITE in fillings or fillings == [_Filling.NONZERO, _Filling.NONZERO]


class _Fillings:
    """What the tensors of a model have beyond their ends."""

    def __init__(self, graphs: "list[onnx.GraphProto]") -> None:
        self._known: dict[str, _Filling] = {}
        self._producers = {
            name: node for graph in graphs for node in graph.node for name in node.output if name
        }
        self._constants = {t.name: t for graph in graphs for t in graph.initializer} | {
            name: node.attribute[0].t
            for name, node in self._producers.items()
            if node.op_type == "Constant" and node.attribute and node.attribute[0].HasField("t")
        }

    def of(self, name: str) -> _Filling:
        """Tell what a tensor has beyond its end; of what is in memory, zeros."""
        passed = []
        found = _Filling.ZERO
        while name not in self._known:
            passed.append(name)
            node = self._producers.get(name)
            if node is None or node.domain not in ONNX_DOMAINS:
                break
            if self._keeps_zero(node):
                name = node.input[2 if node.op_type == "Where" else 0]
                continue
            inputs = [self.of(given) for given in node.input if given]
            if node.op_type in _MAKE_INFINITE:
                found = _Filling.INFINITE
            elif node.op_type in _MAKE_NONZERO:
                found = max([_Filling.NONZERO, *inputs])
            elif node.op_type == "Mul":
                found = max(inputs)
            break
        else:
            found = self._known[name]
        self._known.update(dict.fromkeys(passed, found))
        return found

    def _keeps_zero(self, node: "onnx.NodeProto") -> bool:
        from onnx import TensorProto
        from onnx.numpy_helper import to_array

        if node.op_type == "Where":  # exporters replace the NaN of attention so
            condition = self._producers.get(node.input[0])
            return condition is not None and condition.op_type == "IsNaN"
        if node.op_type not in ("Div", "Pow"):
            return node.op_type in _KEEP_ZERO
        tensor = self._constants.get(node.input[1])
        if tensor is None or tensor.data_location == TensorProto.EXTERNAL:
            return False
        values = to_array(tensor)
        return bool((values > 0).all() if node.op_type == "Pow" else (values != 0).all())


def _filled(node: "onnx.NodeProto", facts: TensorFacts) -> "list[onnx.NodeProto] | None":
    """Give the product of filled operands; None if their number of elements is even."""
    first, second = (facts.shape(name) for name in node.input[:2])
    dtype = facts.dtype(node.input[0])
    if first is None or second is None or not dtype or min(len(first), len(second)) < 1:
        return None
    if node.op_type == "Gemm":
        axes = (0 if attribute(node, "transA", 0) else 1, 1 if attribute(node, "transB", 0) else 0)
    else:
        axes = (len(first) - 1, max(len(second) - 2, 0))
    sizes = {size for size in (first[axes[0]], second[axes[1]]) if size is not None}
    # Attention must not be taken apart where only the run tells how long its heads are.
    if not sizes or any(size % 2 == 0 for size in sizes):
        return None
    chain = NodeChain(node, facts)
    operands = [
        _padded(chain, name, len(shape), axis, facts.opset)
        for name, shape, axis in zip(node.input[:2], (first, second), axes, strict=True)
    ]
    attributes = {a.name: attribute(node, a.name, None) for a in node.attribute}
    return chain.finish(node.op_type, *operands, *node.input[2:], **attributes)


def _padded(chain: NodeChain, name: str, rank: int, axis: int, opset: int) -> str:
    """Add a node that appends a zero along an axis; give its result."""
    pads = [0] * (rank + axis) + [1] + [0] * (rank - axis - 1)
    if opset < 11:
        return chain.add("Pad", name, pads=pads)
    return chain.add("Pad", name, chain.constant(pads))
