"""Tell a model's parameter inputs (axes, sizes, a condition) from its data."""

from typing import TYPE_CHECKING, TypeAlias

from fasttrt._graph.traversal import ONNX_DOMAINS, with_inner

if TYPE_CHECKING:
    import onnx

Places: TypeAlias = tuple[int, ...]
_AXES: Places = (1,)
# The parameter inputs of operators; the others are data.
_PARAMETERS: dict[str, Places] = {
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
# What these operators compute from parameters is a parameter, too.
_PROPAGATING = frozenset(
    {
        "Abs", "Add", "And", "Cast", "Ceil", "Concat", "Div", "Equal", "Flatten", "Floor",
        "Gather", "Greater", "GreaterOrEqual", "Identity", "Less", "LessOrEqual", "Max", "Min",
        "Mod", "Mul", "Neg", "Not", "Or", "Pow", "Reshape", "Round", "Shape", "Size", "Slice",
        "Split", "Squeeze", "Sub", "Tile", "Transpose", "Unsqueeze", "Where", "Xor",
    }
)  # fmt: skip


def parameters(proto: "onnx.ModelProto") -> frozenset[str]:
    """Return the inputs that are only used as parameters of operators, directly or indirectly.

    Unused inputs are not included, nor are those that reach an output or a node of another domain.
    """
    readers: dict[str, list[tuple[onnx.NodeProto, int]]] = {}
    for node in with_inner(proto.graph.node):
        for place, name in enumerate(node.input):
            readers.setdefault(name, []).append((node, place))
    given = {value.name for value in proto.graph.output}
    return frozenset(
        value.name for value in proto.graph.input if _is_parameter(value.name, readers, given)
    )


def _is_parameter(
    name: str, readers: "dict[str, list[tuple[onnx.NodeProto, int]]]", given: set[str]
) -> bool:
    is_parameter, seen, left = False, {name}, [name]
    while left:
        tensor = left.pop()
        if tensor in given:
            return False
        for node, place in readers.get(tensor, ()):
            if node.domain not in ONNX_DOMAINS:
                return False
            if place in _PARAMETERS.get(node.op_type, ()):
                is_parameter = True
            elif node.op_type in _PROPAGATING:
                new = set(node.output) - seen
                seen |= new
                left += new
            else:
                return False
    return is_parameter
