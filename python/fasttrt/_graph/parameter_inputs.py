"""Which inputs of a model are parameters (axes, sizes, a condition) and which are data."""

from typing import TYPE_CHECKING, TypeAlias

from fasttrt._graph.traversal import ONNX_DOMAINS, with_inner

if TYPE_CHECKING:
    import onnx

Places: TypeAlias = tuple[int, ...]
_AXES: Places = (1,)
# Inputs by which an operator is told what to do; the others are what it does it to.
_TOLD: dict[str, Places] = {
    **dict.fromkeys(
        (
            "CenterCropPad", "Compress", "CumSum", "Expand", "ReduceL1", "ReduceL2",
            "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin",
            "ReduceProd", "ReduceSum", "ReduceSumSquare", "Reshape", "Split", "Squeeze", "Tile",
            "TopK", "Trilu", "Unsqueeze", "Upsample", "AffineGrid",
        ),
        _AXES,
    ),
    **dict.fromkeys(("Bernoulli", "ConstantOfShape", "If"), (0,)),
    **dict.fromkeys(("BlackmanWindow", "HammingWindow", "HannWindow"), (0,)),
    **dict.fromkeys(("GRU", "LSTM", "RNN"), (4,)),
    **dict.fromkeys(("Clip", "Col2Im", "DFT", "DequantizeLinear", "Dropout", "OneHot",
                     "QuantizeLinear"), (1, 2)),
    "Loop": (0, 1),
    "MaxUnpool": (2,),
    "MelWeightMatrix": (0, 1, 2, 3, 4),
    "NonMaxSuppression": (2, 3, 4),
    "Pad": (1, 2, 3),
    "Range": (0, 1, 2),
    "Resize": (1, 2, 3),
    "STFT": (1, 3),
    "Slice": (1, 2, 3, 4),
}  # fmt: skip
# What is computed from parameters with these is one, too.
_CARRYING = frozenset(
    {
        "Abs", "Add", "And", "Cast", "Ceil", "Concat", "Div", "Equal", "Flatten", "Floor",
        "Gather", "Greater", "GreaterOrEqual", "Identity", "Less", "LessOrEqual", "Max", "Min",
        "Mod", "Mul", "Neg", "Not", "Or", "Pow", "Reshape", "Round", "Shape", "Size", "Slice",
        "Split", "Squeeze", "Sub", "Tile", "Transpose", "Unsqueeze", "Where", "Xor",
    }
)  # fmt: skip


def parameters(proto: "onnx.ModelProto") -> frozenset[str]:
    """The inputs of which everything that is computed only tells operators what to do.

    An input that nothing reads is none, and neither is one that an output, or a node of another
    domain, gets.
    """
    readers: dict[str, list[tuple[onnx.NodeProto, int]]] = {}
    for node in with_inner(proto.graph.node):
        for place, name in enumerate(node.input):
            readers.setdefault(name, []).append((node, place))
    given = {value.name for value in proto.graph.output}
    return frozenset(
        value.name for value in proto.graph.input if _only_tells(value.name, readers, given)
    )


def _only_tells(
    name: str, readers: "dict[str, list[tuple[onnx.NodeProto, int]]]", given: set[str]
) -> bool:
    told, seen, left = False, {name}, [name]
    while left:
        tensor = left.pop()
        if tensor in given:
            return False
        for node, place in readers.get(tensor, ()):
            if node.domain not in ONNX_DOMAINS:
                return False
            if place in _TOLD.get(node.op_type, ()):
                told = True
            elif node.op_type in _CARRYING:
                new = set(node.output) - seen
                seen |= new
                left += new
            else:
                return False
    return told
