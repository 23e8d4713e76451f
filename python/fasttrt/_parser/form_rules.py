"""List the rules by which `other_forms` rewrites operators that TensorRT refuses."""

from collections.abc import Mapping

from fasttrt._parser.einsum import lowercase_einsum
from fasttrt._parser.low_ranks import add_leading_axis, reduce_scalar, widen_vector
from fasttrt._parser.node_rules import Rule
from fasttrt._parser.small_forms import centered_crop, compress, floored_remainder, reduce_booleans

_REDUCTIONS = (
    "ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd "
    "ReduceSum ReduceSumSquare"
)
RULES: Mapping[str, tuple[Rule, ...]] = {
    "Einsum": (lowercase_einsum,),
    **dict.fromkeys(
        ("Softmax", "LogSoftmax", "Hardmax", "LpNormalization", "ArgMax", "ArgMin"),
        (add_leading_axis,),
    ),
    **dict.fromkeys(_REDUCTIONS.split(), (reduce_booleans, reduce_scalar)),
    "MatMul": (widen_vector,),
    "Mod": (floored_remainder,),
    "Compress": (compress,),
    "CenterCropPad": (centered_crop,),
}
"""By operator. The first rule that returns nodes counts, before ONNX's function definition."""
