"""Keep TensorRT from adding a convolution to another tensor in place, without CUDA graphs.

TensorRT-RTX 1.6.1 queues kernels that may begin before those in front of them have ended
(programmatic dependent launch). Some that add a convolution to another tensor then read that one
before it is written: in float32 with TF32, ResNet-50's bottleneck blocks were off by 0.4 to 0.9 of
the largest value in most runs but the first (H200). Graphs of a run are captured so that each
kernel waits (`cuda::StreamCapture`), and all runs that can be captured are launched as graphs.
Models that cannot be are left: their kernels are queued one by one.

With an operator between convolution and sum, all such blocks that were tried are right, though
overlapping runs of MobileNetV2 were not. TensorRT must not remove that operator, and it must change
no value: LeakyRelu with a slope of 1 keeps NaN, infinities and -0, too. It makes ResNet-50 slower,
by 6 to 12 %.
"""

from typing import TYPE_CHECKING

from fasttrt._graph.model import OnnxModel
from fasttrt._graph.tensor_info import TensorInfo
from fasttrt._graph.traversal import with_inner
from fasttrt._parser.scope import Scope
from fasttrt._parser.scoped_rewrites import rewrite_found, separate

if TYPE_CHECKING:
    import onnx

    from fasttrt._parser.pipeline import Target

_SUMS = {"Add", "Sum"}
_CONVOLUTIONS = {"Conv", "ConvTranspose"}
_NEVER_CAPTURED = {"Compress", "If", "Loop", "NonMaxSuppression", "NonZero", "Scan", "Unique"}
"""Operators whose outputs' sizes, or whose kernels, depend on the data."""
_SCALED = {"Add", "Div", "Mul", "Sub", "Sum"}
"""Operators that become part of a convolution if all but one of their inputs are constant."""
_PASSED = {
    "BatchNormalization", "Cast", "Dropout", "Flatten", "Identity", "Reshape", "Squeeze",
    "Transpose", "Unsqueeze",
}  # fmt: skip
"""Operators that become part of the convolution, or that TensorRT removes."""


def separate_convolutions(model: OnnxModel, target: "Target") -> OnnxModel:
    """Write a LeakyRelu between convolutions and their sums with what is computed, too.

    Return the model itself if it has no such sum, or can be captured in a CUDA graph.
    """
    operators = {node.op_type for node in with_inner(model.skeleton.graph.node)}
    if target.library.family != "rtx" or not operators & _CONVOLUTIONS:
        return model
    if not operators & _NEVER_CAPTURED:
        return model
    change = (
        "a LeakyRelu that changes no value stands between this sum and its convolutions, since "
        f"{target.library} may be wrong without CUDA graphs"
    )
    return rewrite_found(model, _convolved, separate, change)


def _convolved(node: "onnx.NodeProto", scope: Scope, _facts: TensorInfo) -> list[str] | None:
    """Return which operands of a sum with a tensor that is not constant are convolutions."""
    if node.op_type not in _SUMS or len(scope.computed(node)) < 2:
        return None
    return [name for name in dict.fromkeys(node.input) if _is_convolved(name, scope)] or None


def _is_convolved(name: str, scope: Scope) -> bool:
    """Return whether a tensor is a convolution, but for what becomes part of it."""
    node = scope.origin(name, _CONVOLUTIONS, _PASSED, _SCALED)
    return node is not None and len(scope.computed(node)) == 1
