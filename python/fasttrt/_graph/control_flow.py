"""Tell whether a model's control flow depends on values, or only on its inputs' shapes."""

from typing import TYPE_CHECKING

from fasttrt._graph.model import OnnxModel
from fasttrt._graph.traversal import ONNX_DOMAINS, all_nodes, graphs_of, subgraphs

if TYPE_CHECKING:
    import onnx

CONTROL_FLOW = "control_flow"
"""The result of `control_flow` in a plan's metadata."""
_DEPENDS_ON_VALUES = frozenset({"If", "Loop"})


def _operators(names: str) -> frozenset[str]:
    return frozenset(names.split())


_SHAPED_BY_SHAPES = _operators(
    "Abs Add AveragePool BatchNormalization Cast Clip Concat Conv Div Erf Exp Flatten GRU Gather "
    "Gelu Gemm GlobalAveragePool GroupNormalization HardSigmoid HardSwish Identity "
    "InstanceNormalization LSTM LayerNormalization LeakyRelu Log LogSoftmax MatMul Max MaxPool Min "
    "Mul Neg PRelu Pow RNN Reciprocal Relu Sigmoid Softmax Softplus Split Sqrt Sub Tanh Transpose "
    "Where"
)
"""Operators whose output shapes follow from their inputs' shapes and attributes."""
_SHAPED_BY_ARGUMENTS = _operators("Expand Pad Reshape Slice Squeeze Tile Unsqueeze")
"""Operators whose output shape follows from the first input's shape and the others' values."""
_COMPUTED = (
    _SHAPED_BY_SHAPES
    | _SHAPED_BY_ARGUMENTS
    | _operators(
        "And Ceil ConstantOfShape Equal Floor Greater GreaterOrEqual Less LessOrEqual Mod Not Or "
        "Range ReduceMax ReduceMin ReduceProd ReduceSum Round"
    )
)
"""Deterministic operators."""


class CountedLoops:
    """Proves that the trip counts of a model's Loops do not depend on values of its inputs."""

    def __init__(self, model: OnnxModel) -> None:
        """Index a model whose local functions are inlined."""
        from fasttrt._graph.tensor_info import TensorInfo  # here, since few models have loops

        self._facts = TensorInfo(model)
        proto = model.skeleton
        self._makers: dict[str, onnx.NodeProto | None] = {}
        for graph in graphs_of(proto.graph):
            for node in graph.node:
                for name in node.output:  # None where several graphs have the name
                    self._makers[name] = None if name in self._makers else node
        self._inputs = {value.name for value in proto.graph.input}
        self._inner = {v.name for g in graphs_of(proto.graph)[1:] for v in g.input}
        self._known: dict[tuple[str, bool], bool] = {}

    def is_counted(self, node: "onnx.NodeProto") -> bool:
        """Return whether a Loop has a trip count that follows from shapes, and no other end."""
        return bool(node.input[0]) and self.goes_on(node) and self._values_follow(node.input[0])

    def goes_on(self, node: "onnx.NodeProto") -> bool:
        """Return whether a Loop's condition stays true, or is absent."""
        condition = node.input[1] if len(node.input) > 1 else ""
        if not condition:  # then that of the body is ignored
            return True
        (body,) = subgraphs(node)
        makers = {name: inner for inner in body.node for name in inner.output}
        name = body.output[0].name
        while name in makers and makers[name].op_type == "Identity":
            name = makers[name].input[0]
        stays = name == body.input[1].name or self._facts.is_true(name)
        return stays and self._facts.is_true(condition)

    def _values_follow(self, name: str) -> bool:
        """Return whether a tensor's values follow from constants and the shapes of inputs."""
        return self._proved(name, shape=False)

    def _shape_follows(self, name: str) -> bool:
        """Return whether a tensor's shape follows from the shapes of inputs."""
        return self._proved(name, shape=True)

    def _proved(self, name: str, *, shape: bool) -> bool:
        key = name, shape
        if key not in self._known:
            self._known[key] = False  # during the proof
            self._known[key] = self._prove(name, shape)
        return self._known[key]

    def _prove(self, name: str, shape: bool) -> bool:
        if name in self._inner:
            return False
        if self._facts.constant(name) is not None or self._facts.weight(name) is not None:
            return shape or name not in self._inputs
        if name in self._inputs:
            return shape
        node = self._makers.get(name)
        if node is None or node.domain not in ONNX_DOMAINS:
            return False
        first, *others = [source for source in node.input if source] or [""]
        if node.op_type in ("Shape", "Size"):
            return shape or self._shape_follows(first)
        if not shape:
            return node.op_type in _COMPUTED and all(map(self._values_follow, [first, *others]))
        if node.op_type in _SHAPED_BY_SHAPES:
            return all(map(self._shape_follows, [first, *others]))
        if node.op_type in ("ConstantOfShape", "Range"):
            return all(map(self._values_follow, [first, *others]))
        by_arguments = node.op_type in _SHAPED_BY_ARGUMENTS
        return by_arguments and self._shape_follows(first) and all(map(self._values_follow, others))


def control_flow(model: OnnxModel) -> list[str]:
    """Return the control flow operators of a model that depend on values, in alphabetical order.

    A Loop whose trip count follows from the inputs' shapes is not one of them, as a CUDA graph is
    captured for one set of shapes.
    """
    nodes = [node for node in all_nodes(model.skeleton) if node.op_type in _DEPENDS_ON_VALUES]
    if not nodes:
        return []
    loops = CountedLoops(model)
    return sorted({n.op_type for n in nodes if not (n.op_type == "Loop" and loops.is_counted(n))})
