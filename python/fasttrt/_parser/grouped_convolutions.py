"""Find grouped convolutions for which TensorRT-RTX compiles wrong kernels.

With dynamic shapes, TensorRT-RTX compiles kernels for the shapes of a run. In release 1.6.1, on an
H200, those of grouped convolutions are wrong in two cases:

* In float32, of two with the same channels and groups and different kernel sizes (3x3 and 5x5), the
  second one gets the first one's kernel. MnasNet and EfficientNet have such pairs.
* With 8 or 16 input channels per group, in float32 and float16, results for the second shape and
  later are wrong, or the GPU reads out of bounds, which ends all work of the process there. RegNet
  has such convolutions. All but depthwise ones, which have 1, are taken to be at risk.

The kernels that serve all shapes, and those of an engine with fixed shapes, are right.
"""

from collections import defaultdict
from typing import TYPE_CHECKING, TypeAlias

from fasttrt._graph.model import OnnxModel
from fasttrt._graph.tensor_info import TensorInfo
from fasttrt._graph.traversal import ONNX_DOMAINS, with_inner
from fasttrt._parser.node_rules import attribute

if TYPE_CHECKING:
    import onnx

_Sizes: TypeAlias = tuple[int | None, ...]


def convolutions_at_risk(model: OnnxModel) -> list[str]:
    """Return the names of convolutions whose kernels for the shapes of a run may be wrong.

    Args:
        model: the model as it is parsed, its local functions inlined. For types and sizes of
            weights that are unknown, the worst is assumed.
    """
    grouped = [node for node in with_inner(model.skeleton.graph.node) if _is_grouped(node)]
    if not grouped:
        return []
    facts = TensorInfo(model)
    kernels: dict[_Sizes, set[_Sizes]] = defaultdict(set)  # in float32, by channels
    found = []
    for node in grouped:
        channels, kernel = _layout(node, facts)
        is_float32 = _is_float32(node, facts)
        if is_float32:
            kernels[channels].add(kernel)
        found.append((node.name or node.output[0], channels, is_float32))
    return [
        name
        for name, channels, is_float32 in found
        if channels[1] != 1 or (is_float32 and len(kernels[channels]) > 1)
    ]


def _is_grouped(node: "onnx.NodeProto") -> bool:
    is_convolution = node.op_type == "Conv" and node.domain in ONNX_DOMAINS
    return is_convolution and attribute(node, "group", 1) > 1


def _layout(node: "onnx.NodeProto", facts: TensorInfo) -> tuple[_Sizes, _Sizes]:
    """Return (output channels, input channels per group, groups) and the kernel's size."""
    shape = facts.shape(node.input[1]) or []
    outputs, inputs = (*shape[:2], None, None)[:2]
    kernel = attribute(node, "kernel_shape", shape[2:])
    return (outputs, inputs, attribute(node, "group", 1)), tuple(kernel)


def _is_float32(node: "onnx.NodeProto", facts: TensorInfo) -> bool:
    from onnx import TensorProto

    types = {facts.dtype(name) for name in node.input[:2]} - {TensorProto.UNDEFINED}
    return types.isdisjoint((TensorProto.FLOAT16, TensorProto.BFLOAT16))
