"""Write pools without ``ceil_mode``, where TensorRT rounds differently from ONNX.

TensorRT keeps a last window that starts beyond the input and its leading padding, which ONNX
(opset 22), ONNX Runtime and PyTorch drop; in a MaxPool it is -inf. Windows that reach beyond the
padding are the same as with more padding at the end. With

    end = min(pads_end + stride - 1, kernel - 1)

there are as many with ``ceil_mode=0`` as ONNX requires, whatever the size of the input: the first
bound rounds up, and with the second no window starts beyond the input.
"""

from math import prod
from typing import TYPE_CHECKING

from fasttrt._graph.tensor_info import TensorInfo
from fasttrt._parser.node_chain import NodeChain
from fasttrt._parser.node_rules import Replacement, Rule, attribute, copy_node

if TYPE_CHECKING:
    import onnx


def _without_ceil_mode(node: "onnx.NodeProto", facts: TensorInfo) -> Replacement:
    """Replace ceil_mode by padding at the end."""
    if not attribute(node, "ceil_mode", 0):
        return None
    kernel = attribute(node, "kernel_shape", [])
    axes = len(kernel)
    strides = attribute(node, "strides", None) or [1] * axes
    dilations = attribute(node, "dilations", None) or [1] * axes
    reach = [(k - 1) * d for k, d in zip(kernel, dilations, strict=True)]
    auto_pad = attribute(node, "auto_pad", b"NOTSET")
    if auto_pad in (b"SAME_UPPER", b"SAME_LOWER"):
        return [copy_node(node, ceil_mode=None)]  # their sizes are rounded up anyway
    if auto_pad == b"VALID":
        sizes = (facts.shape(node.input[0]) or [])[2:] or [None] * axes
        steps = zip(sizes, reach, strides, strict=True)
        if all(s == 1 or (size is not None and (size - r - 1) % s == 0) for size, r, s in steps):
            return [copy_node(node, ceil_mode=None)]
        return (
            'ceil_mode=1 with auto_pad="VALID" has one window less in ONNX\'s specification than '
            "in ONNX Runtime; set pads instead"
        )
    pads = attribute(node, "pads", None) or [0] * (2 * axes)
    begin, end = list(pads[:axes]), list(pads[axes:])
    ends = [min(e + s - 1, max(r, e)) for e, s, r in zip(end, strides, reach, strict=True)]
    if not attribute(node, "count_include_pad", 0):
        return [copy_node(node, ceil_mode=None, pads=begin + ends)]
    # Averages include the padding, but not what lies beyond it: so the padding becomes data.
    chain = NodeChain(node, facts)
    data = node.input[0]
    if any(begin + end):
        amounts = [0, 0, *begin, 0, 0, *end]
        if facts.opset < 11:
            data = chain.add("Pad", data, pads=amounts)
        else:
            data = chain.add("Pad", data, chain.constant(amounts))
    beyond = [after - before for after, before in zip(ends, end, strict=True)]
    pool = copy_node(node, ceil_mode=None, count_include_pad=None, pads=[0] * axes + beyond)
    pool.input[0] = data
    return [*chain.nodes, pool]


def _lp_pool(node: "onnx.NodeProto", facts: TensorInfo) -> Replacement:
    """Write norms other than 1 and 2, and those along one axis, as an AveragePool of powers."""
    from onnx import helper

    rounded = _without_ceil_mode(node, facts)
    if isinstance(rounded, str):
        return rounded
    p, kernel = attribute(node, "p", 2), attribute(node, "kernel_shape", [])
    kind = facts.dtype(node.input[0])
    if (p in (1, 2) and len(kernel) > 1) or not kind:
        return rounded
    (pool,) = rounded or [copy_node(node)]
    dtype = helper.tensor_dtype_to_np_dtype(kind)
    chain = NodeChain(node, facts)
    sizes = chain.add("Abs", node.input[0])
    average = copy_node(pool, p=None, count_include_pad=1)
    average.op_type = "AveragePool"
    average.input[0] = chain.add("Pow", sizes, chain.constant(p, dtype))
    average.name = average.output[0] = facts.unused(f"{node.output[0]}_mean")
    chain.nodes.append(average)
    total = chain.add("Mul", average.output[0], chain.constant(prod(kernel), dtype))
    return chain.finish("Pow", total, chain.constant(1 / p, dtype))


RULES: dict[str, Rule] = {
    "MaxPool": _without_ceil_mode,
    "AveragePool": _without_ceil_mode,
    "LpPool": _lp_pool,
}
