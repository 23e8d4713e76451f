"""Pad products over an odd number of elements whose operands are computed elementwise.

TensorRT-RTX 1.6.1 pads the operands to an even number and computes the elementwise operators within
the product, so that the padding is f(0) instead of 0: on an H200, (a - 100) @ (b - 110) over 5
elements is off by 11,000, in float32, float16, bfloat16 and from uint8 alike, and log(a) @ b is
NaN. Appending a zero beforehand makes the number even and the results right.
"""

from enum import IntEnum
from typing import TYPE_CHECKING

from fasttrt._graph.model import OnnxModel
from fasttrt._graph.tensor_info import TensorInfo
from fasttrt._graph.traversal import ONNX_DOMAINS, graphs_of, innermost_first, replace_all
from fasttrt._parser.node_chain import NodeChain
from fasttrt._parser.node_rules import attribute

if TYPE_CHECKING:
    import onnx

    from fasttrt._parser.pipeline import Target

# Operators that keep a zero, or only move it.
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
_KERNELS = {"Conv", "ConvTranspose", "Einsum", "Gemm", "MatMul"}
# All others (products, convolutions, Softmax, normalizations, reductions) write their results to
# memory, where nothing is computed beyond them: attention over an odd number of tokens stays.


class _Padding(IntEnum):
    """What TensorRT has computed in place of zeros beyond the last element."""

    ZERO = 0
    NONZERO = 1
    INFINITE = 2
    """Infinite or NaN: wrong whatever the other operand has there."""


def pad_odd_products(model: OnnxModel, target: "Target") -> OnnxModel:
    """Append a zero to operands of odd products; return the model itself if it has none.

    If the number of elements is known only at run time, so is whether a zero is appended.
    """
    graphs = graphs_of(model.skeleton.graph)
    if not any(_is_product(node) for graph in graphs for node in graph.node):
        return model
    facts = TensorInfo(model)
    paddings = {is_known: _Paddings(graphs, facts, is_known) for is_known in (True, False)}

    def padded(node: "onnx.NodeProto") -> "list[onnx.NodeProto] | None":
        if not _is_product(node):
            return None
        # Attention is a product of unknown size: these are left alone unless surely wrong.
        if not _is_at_risk([paddings[True].padding(name) for name in node.input[:2]]):
            return None
        axes, parity = _summed_axes(node, facts)
        if axes is None or parity == 0:
            return None
        if parity is None and not _is_at_risk([paddings[False].padding(n) for n in node.input[:2]]):
            return None
        return _with_zeros(node, facts, axes, is_known=parity is not None)

    chosen = {node.output[0] for graph in graphs for node in graph.node if padded(node)}
    if not chosen:
        return model
    proto = model.copy_skeleton()
    lines = []
    for graph in innermost_first(proto.graph):
        nodes: list[onnx.NodeProto] = []
        for node in graph.node:
            steps = padded(node) if node.output and node.output[0] in chosen else None
            nodes += steps or [node]
            if steps:
                lines.append(
                    f"{node.name or node.output[0]}: a zero is appended to its operands, since "
                    f"{target.library} pads odd numbers of elements with other values"
                )
        replace_all(graph.node, nodes)
    return model.changed(proto, lines)


def _is_product(node: "onnx.NodeProto") -> bool:
    is_product = node.op_type in ("MatMul", "Gemm", "Einsum") and node.domain in ONNX_DOMAINS
    return is_product and len(node.input) >= 2


def _is_at_risk(paddings: list[_Padding]) -> bool:
    return _Padding.INFINITE in paddings or paddings == [_Padding.NONZERO, _Padding.NONZERO]


class _Paddings:
    """Find what TensorRT computes beyond the ends of a model's tensors."""

    def __init__(self, graphs: "list[onnx.GraphProto]", facts: TensorInfo, is_strict: bool) -> None:
        """Index a model's nodes and constants.

        Args:
            graphs: its graph and subgraphs.
            facts: of the model.
            is_strict: whether a value that may be nonzero counts as nonzero. Otherwise only one
                that surely is: an operator right after a product is computed by the product's
                kernel, and sums of tensors of one shape are sums of zeros.
        """
        self._facts = facts
        self._is_strict = is_strict
        self._known: dict[str, _Padding] = {}
        self._producers = {
            name: node for graph in graphs for node in graph.node for name in node.output if name
        }
        self._constants = {t.name: t for graph in graphs for t in graph.initializer} | {
            name: node.attribute[0].t
            for name, node in self._producers.items()
            if node.op_type == "Constant" and node.attribute and node.attribute[0].HasField("t")
        }

    def padding(self, name: str) -> _Padding:
        """Return what is beyond a tensor's end; zeros if the tensor is in memory."""
        passed = []
        found = _Padding.ZERO
        while name not in self._known:
            passed.append(name)
            node = self._producers.get(name)
            if node is None or node.domain not in ONNX_DOMAINS:
                break
            if self._keeps_zero(node):
                name = node.input[2 if node.op_type == "Where" else 0]
                continue
            found = self._computed(node)
            break
        else:
            found = self._known[name]
        self._known.update(dict.fromkeys(passed, found))
        return found

    def _computed(self, node: "onnx.NodeProto") -> _Padding:
        is_computed = node.op_type in _MAKE_INFINITE | _MAKE_NONZERO | {"Mul"}
        if not is_computed or not (self._is_strict or not self._follows_kernel(node)):
            return _Padding.ZERO
        inputs = [self.padding(name) for name in node.input if name]
        if node.op_type in _MAKE_INFINITE:
            return _Padding.INFINITE
        if node.op_type == "Mul" or not (self._is_strict or self._moves_zero(node)):
            return max(inputs)
        return max([_Padding.NONZERO, *inputs])

    def _follows_kernel(self, node: "onnx.NodeProto") -> bool:
        producers = [self._producers.get(name) for name in node.input]
        return any(producer is not None and producer.op_type in _KERNELS for producer in producers)

    def _moves_zero(self, node: "onnx.NodeProto") -> bool:
        """Return whether a node surely turns zeros into other values."""
        if len(node.input) < 2 or not self._constants.keys().isdisjoint(node.input):
            return True
        shapes = [self._facts.shape(name) for name in node.input]
        known = [shape for shape in shapes if shape is not None]
        ranks = {len(shape) for shape in known}
        if len(ranks) != 1:
            return len(ranks) > 1
        return any(1 in sizes and set(sizes) != {1} for sizes in zip(*known, strict=True))

    def _keeps_zero(self, node: "onnx.NodeProto") -> bool:
        if node.op_type == "Where":  # how exporters replace the NaN of attention
            condition = self._producers.get(node.input[0])
            return condition is not None and condition.op_type == "IsNaN"
        if node.op_type not in ("Div", "Pow"):
            return node.op_type in _KEEP_ZERO
        tensor = self._constants.get(node.input[1])
        values = None if tensor is None else self._facts.values(tensor)
        if values is None:
            return False
        return bool((values > 0).all() if node.op_type == "Pow" else (values != 0).all())


def _summed_axes(
    node: "onnx.NodeProto", facts: TensorInfo
) -> tuple[tuple[int, int] | None, int | None]:
    """Return the axis of each operand to pad, and the number of summed elements modulo 2.

    The axes are None if no summed axis is known, the number is None if it is unknown.
    """
    first, second = (facts.shape(name) for name in node.input[:2])
    if first is None or second is None or min(len(first), len(second)) < 1:
        return None, None
    if node.op_type == "Gemm":
        axes = [
            (0 if attribute(node, "transA", 0) else 1, 1 if attribute(node, "transB", 0) else 0)
        ]
    elif node.op_type == "MatMul":
        axes = [(len(first) - 1, max(len(second) - 2, 0))]
    else:
        axes = _summed_in(attribute(node, "equation", b"").decode(), len(first), len(second))
    if not axes:
        return None, None
    sizes = [first[a] if first[a] is not None else second[b] for a, b in axes]
    if any(size is not None and size % 2 == 0 for size in sizes):
        return axes[0], 0
    unknown = [place for place, size in zip(axes, sizes, strict=True) if size is None]
    return (unknown or axes)[0], None if unknown else 1


def _summed_in(equation: str, first: int, second: int) -> list[tuple[int, int]]:
    """Return the axes that an Einsum of two operands sums over; none if it has an ellipsis."""
    given, _, result = equation.replace(" ", "").partition("->")
    terms = given.split(",")
    if len(terms) != 2 or "." in equation or [len(t) for t in terms] != [first, second]:
        return []
    if any(len(set(term)) != len(term) for term in terms):
        return []
    if "->" not in equation:
        result = "".join(set(terms[0]) ^ set(terms[1]))
    summed = [letter for letter in terms[0] if letter in terms[1] and letter not in result]
    return [(terms[0].index(letter), terms[1].index(letter)) for letter in summed]


def _with_zeros(
    node: "onnx.NodeProto", facts: TensorInfo, axes: tuple[int, int], *, is_known: bool
) -> "list[onnx.NodeProto] | None":
    """Return the product of operands with a zero appended; None if the opset has no form for it."""
    if not is_known and facts.opset < 11:  # pads are an attribute
        return None
    chain = NodeChain(node, facts)
    operands = []
    for name, axis in zip(node.input[:2], axes, strict=True):
        rank = len(facts.shape(name) or ())
        before, after = [0] * (rank + axis), [0] * (rank - axis - 1)
        if facts.opset < 11:
            operands.append(chain.add("Pad", name, pads=[*before, 1, *after]))
            continue
        if is_known:
            pads = chain.constant([*before, 1, *after])
        else:
            size = chain.add("Gather", chain.add("Shape", name), chain.constant([axis]), axis=0)
            rest = chain.add("Mod", size, chain.constant([2]))
            parts = [chain.constant(before), rest, *([chain.constant(after)] if after else [])]
            pads = chain.add("Concat", *parts, axis=0)
        operands.append(chain.add("Pad", name, pads))
    attributes = {a.name: attribute(node, a.name, None) for a in node.attribute}
    return chain.finish(node.op_type, *operands, *node.input[2:], **attributes)
