"""Compute both factors of a gate by products of their own, instead of parts of one product.

TensorRT-RTX 1.6.1 is wrong about layers ``a * f(b)`` whose ``a`` and ``b`` are the two halves of
``x @ weights + bias``, as GEGLU in the feed-forward layers of diffusion models: their errors are
those of a missing bias. On an H200, such a layer with GELU was off by 0.16 of its standard
deviation in float32 at batch 1, and right at 2 and 3; in float16, an attention block that ends with
it was off at each of them by twenty times what rounding explains. So the weights and the bias are
split instead of the product. A LeakyRelu with a slope of 1, which changes no value, keeps TensorRT
from taking the two for one again.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from fasttrt._graph.model import OnnxModel
from fasttrt._graph.tensor_info import TensorInfo
from fasttrt._graph.traversal import ONNX_DOMAINS, replace_at, subgraphs, with_inner
from fasttrt._parser.node_rules import attribute, constant_node
from fasttrt._parser.scope import Scope

if TYPE_CHECKING:
    import onnx

    from fasttrt._parser.pipeline import Target

_PARTS = {"Slice", "Split"}
_ELEMENTWISE = {
    "Add", "Cast", "Celu", "Clip", "Div", "Dropout", "Elu", "Erf", "Exp", "Gelu", "HardSigmoid",
    "HardSwish", "Identity", "LeakyRelu", "Max", "Min", "Mish", "Mul", "Neg", "Pow", "PRelu",
    "Reciprocal", "Relu", "Selu", "Sigmoid", "Softplus", "Softsign", "Sqrt", "Sub", "Swish", "Tanh",
    "ThresholdedRelu",
}  # fmt: skip
"""Operators of which activations consist."""
_PLAIN = {"Cast", "Constant", "Identity", "Transpose"}
"""Operators that may compute weights: quantized ones must stay beside their product."""


def split_gated_products(model: OnnxModel, target: "Target") -> OnnxModel:
    """Split the weights of gated products with a bias; return the model itself if it has none."""
    operators = {node.op_type for node in with_inner(model.skeleton.graph.node)}
    if target.library.family != "rtx" or not operators & _PARTS or "Mul" not in operators:
        return model
    facts = TensorInfo(model)
    if next(_find(model.skeleton.graph, Scope(), facts), None) is None:
        return model
    proto = model.copy_skeleton()
    lines = []
    for found in reversed(list(_find(proto.graph, Scope(), facts))):  # inner graphs come first
        node = found.graph.node[found.place]
        replace_at(found.graph.node, found.place, _Writer(node, found.product, facts).steps)
        lines.append(
            f"{node.name or node.output[0]}: the weights are split instead of their product, since "
            f"{target.library} computes gates from one product with a bias wrongly"
        )
    return model.changed(proto, lines[::-1])


class _Product(NamedTuple):
    """A product with constant weights, to which a constant is added."""

    node: "onnx.NodeProto"
    """A MatMul or Gemm."""
    bias: str


class _Part(NamedTuple):
    """A node that takes parts of a product's last axis."""

    graph: "onnx.GraphProto"
    place: int
    product: _Product


def _find(graph: "onnx.GraphProto", outer: Scope, facts: TensorInfo) -> Iterator[_Part]:
    """Yield the nodes to replace, those of subgraphs last."""
    scope = outer.within(graph)
    found: dict[int, _Part] = {}
    places: dict[str, int] = {}  # of the nodes of which tensors are parts
    for place, node in enumerate(graph.node):
        product = _product(node, scope, facts)
        if product is not None:
            found[place] = _Part(graph, place, product)
            places.update(dict.fromkeys(node.output, place))
    gated = _gated(graph, scope, {name: graph.node[i].input[0] for name, i in places.items()})
    for place, part in found.items():
        if graph.node[place].input[0] in gated:
            yield part
    for node in graph.node:
        for inner in subgraphs(node):
            yield from _find(inner, scope, facts)


def _gated(graph: "onnx.GraphProto", scope: Scope, wholes: dict[str, str]) -> set[str]:
    """Return the tensors of which two parts are multiplied, but for activations.

    Args:
        graph: the graph.
        scope: its scope.
        wholes: by part, the tensor that it is a part of.
    """
    parts = {name: frozenset([name]) for name in wholes}  # that a tensor is computed from alone
    gated: set[str] = set()
    for node in graph.node:
        if node.op_type not in _ELEMENTWISE or node.domain not in ONNX_DOMAINS:
            continue
        sets = [parts.get(name, frozenset()) for name in scope.computed(node)]
        if not sets or not all(sets):
            continue
        parts[node.output[0]] = frozenset().union(*sets)
        if node.op_type == "Mul" and sets[0] != sets[-1]:
            sources = {wholes[name] for name in parts[node.output[0]]}
            gated.update(sources if len(sources) == 1 else ())
    return gated


def _product(node: "onnx.NodeProto", scope: Scope, facts: TensorInfo) -> _Product | None:
    """Return the product of whose last axis a node takes parts, or None."""
    if node.op_type not in _PARTS or node.domain not in ONNX_DOMAINS:
        return None
    if not scope.constants.issuperset(node.input[1:]) or not _is_last(node, facts):
        return None
    maker = scope.makers.get(node.input[0])
    if maker is None or maker.domain not in ONNX_DOMAINS:
        return None
    if maker.op_type == "Gemm" and len(maker.input) == 3 and maker.input[2]:
        product = _Product(maker, maker.input[2])
    elif maker.op_type == "Add" and len(computed := scope.computed(maker)) == 1:
        inner = scope.makers.get(computed[0])
        if inner is None or inner.op_type != "MatMul" or inner.domain not in ONNX_DOMAINS:
            return None
        (bias,) = {*maker.input} - {*computed}
        product = _Product(inner, bias)
    else:
        return None
    weights = scope.makers.get(product.node.input[1])
    is_plain = weights is None or weights.op_type in _PLAIN
    is_first = scope.computed(product.node) == [product.node.input[0]]
    shape = facts.shape(product.node.input[1]) or []
    is_matrix = len(shape) > 1 and 1 not in shape[-2:]  # a column would be as wide as the bias
    is_known = is_plain and is_first and is_matrix and facts.shape(product.bias) is not None
    return product if is_known else None


def _is_last(node: "onnx.NodeProto", facts: TensorInfo) -> bool:
    """Return whether a Split or Slice takes parts of the last axis, and of no other."""
    if node.op_type == "Split":
        axes = [attribute(node, "axis", 0)]
    else:
        found = facts.constant(node.input[3]) if len(node.input) > 3 else None
        axes = [] if found is None else found.tolist()
    shape = facts.shape(node.input[0])
    return axes == [-1] or (shape is not None and axes == [len(shape) - 1])


class _Writer:
    """Write the products that replace a Split or Slice."""

    def __init__(self, node: "onnx.NodeProto", product: _Product, facts: TensorInfo) -> None:
        """Write `steps`, the nodes."""
        self._node, self._facts = node, facts
        self.steps: list[onnx.NodeProto] = []
        factor, weights = product.node.input[:2]
        is_gemm = product.node.op_type == "Gemm"
        is_turned = is_gemm and attribute(product.node, "transB", 0)
        matrices = self._split(weights, -2 if is_turned else -1)
        is_wide = (facts.shape(product.bias) or [1])[-1] != 1  # else it is one number for all
        biases = self._split(product.bias, -1) if is_wide else [product.bias] * len(node.output)
        for i, (matrix, bias, output) in enumerate(zip(matrices, biases, node.output, strict=True)):
            is_first = i == 0
            result = facts.unused(f"{output}_biased") if is_first else output
            if is_gemm:
                given = {a.name: attribute(product.node, a.name, 0) for a in product.node.attribute}
                self._add("Gemm", [factor, matrix, bias], [result], **given)
            else:
                found = facts.unused(f"{output}_MatMul")
                self._add("MatMul", [factor, matrix], [found])
                self._add("Add", [found, bias], [result])
            if is_first:
                self._add("LeakyRelu", [result], [output], alpha=1.0)

    def _split(self, name: str, axis: int) -> list[str]:
        """Split a constant as the node splits the product; return the parts."""
        outputs = [self._facts.unused(f"{name}_part") for _ in self._node.output]
        given = {a.name: attribute(self._node, a.name, None) for a in self._node.attribute}
        inputs = [name, *self._node.input[1:]]
        if self._node.op_type == "Split":
            self._add("Split", inputs, outputs, **{**given, "axis": axis})
            return outputs
        axes = self._facts.constant(inputs[3])
        assert axes is not None  # `_is_last` has read them
        inputs[3] = self._facts.unused(f"{name}_axes")
        self.steps.append(constant_node(inputs[3], [axis], dtype=axes.dtype))
        self._add("Slice", inputs, outputs)
        return outputs

    def _add(self, op_type: str, inputs: list[str], outputs: list[str], **given: Any) -> None:
        from onnx import helper

        self.steps.append(helper.make_node(op_type, inputs, outputs, outputs[0], **given))
