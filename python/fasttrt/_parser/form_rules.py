"""The other forms of operators, where these are no functions that ONNX defines."""

from collections.abc import Mapping

from fasttrt._parser.einsum import lowercase_einsum
from fasttrt._parser.low_ranks import matrix_product, of_scalar, with_leading_axis
from fasttrt._parser.node_rules import Rule
from fasttrt._parser.small_forms import centered_crop, compress, floored_remainder, of_booleans

_REDUCTIONS = (
    "ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd "
    "ReduceSum ReduceSumSquare"
)
RULES: Mapping[str, tuple[Rule, ...]] = {
    "Einsum": (lowercase_einsum,),
    **dict.fromkeys(
        ("Softmax", "LogSoftmax", "Hardmax", "LpNormalization", "ArgMax", "ArgMin"),
        (with_leading_axis,),
    ),
    **dict.fromkeys(_REDUCTIONS.split(), (of_booleans, of_scalar)),
    "MatMul": (matrix_product,),
    "Mod": (floored_remainder,),
    "Compress": (compress,),
    "CenterCropPad": (centered_crop,),
}
"""By operator; the first that gives something is taken, and before the operator's definition."""
