"""Write out the padding of a ConvTranspose if it follows from the size of its output.

TensorRT puts the larger half of an odd padding on the other side than ONNX. If the size of the
input is unknown, the output is sliced instead.
"""

from typing import TYPE_CHECKING

from fasttrt._graph.tensor_info import TensorInfo
from fasttrt._parser.node_chain import NodeChain
from fasttrt._parser.node_rules import Replacement, Rule, attribute, copy_node, input_name

if TYPE_CHECKING:
    import onnx


def _transposed_convolution(node: "onnx.NodeProto", facts: TensorInfo) -> Replacement:
    written = _padded(node, facts)
    if written is None:
        written = _wider(node, facts)
    if isinstance(written, str):
        return written
    last = (written or [node])[-1]
    bias = input_name(node, 2)
    is_fixed = facts.weight(bias) is not None or facts.constant(bias) is not None
    if not bias or is_fixed or not any(attribute(last, "output_padding", [])):
        return written
    return _with_separate_bias(node, facts, written or [copy_node(node)])


def _with_separate_bias(
    node: "onnx.NodeProto", facts: TensorInfo, written: "list[onnx.NodeProto]"
) -> Replacement:
    """Add a computed bias after the node: TensorRT omits it from the output_padding."""
    shape = facts.shape(node.input[1])
    if shape is None:
        return "the rank of its weights must be known, as its bias is added by another node"
    chain = NodeChain(node, facts)
    plain = facts.unused(f"{node.output[0]}_plain")
    for step in written:
        step = copy_node(step, inputs=2) if step.op_type == node.op_type else step
        step.output[0] = plain if step.output[0] == node.output[0] else step.output[0]
        chain.nodes.append(step)
    dims = chain.constant([1, -1, *[1] * (len(shape) - 2)])
    return chain.finish("Add", plain, chain.add("Reshape", node.input[2], dims))


def _wider(node: "onnx.NodeProto", facts: TensorInfo) -> Replacement:
    """Pad a computed kernel that is narrower than the stride with zeros to the stride's size.

    TensorRT-RTX 1.6.1 may leave elements between its products as they were in the output's memory.
    """
    shape = facts.shape(node.input[1])
    strides = attribute(node, "strides", None)
    is_fixed = facts.weight(node.input[1]) is not None
    if shape is None or strides is None or is_fixed or None in shape[2:]:
        return None
    axes = len(strides)
    if len(shape) != axes + 2:  # which TensorRT reports
        return None
    kernel = [size or 0 for size in shape[2:]]
    dilations = attribute(node, "dilations", None) or [1] * axes
    missing = [
        max(s - (k - 1) * d - 1, 0) for s, k, d in zip(strides, kernel, dilations, strict=True)
    ]
    if not any(missing):
        return None
    if any(n and d > 1 for n, d in zip(missing, dilations, strict=True)) or facts.opset < 11:
        return (
            "its kernel is computed and narrower than its stride: TensorRT may not write the "
            "elements between its products; make the kernel a constant"
        )
    chain = NodeChain(node, facts)
    wide = copy_node(node, kernel_shape=None)
    amounts = chain.constant([*[0] * (2 + axes), 0, 0, *missing])
    wide.input[1] = chain.add("Pad", node.input[1], amounts)
    pads = attribute(node, "pads", None) or [0] * (2 * axes)
    extra = attribute(node, "output_padding", None) or [0] * axes
    # What this adds at the end is first taken off output_padding.
    added = [max(e - n, 0) for e, n in zip(extra, missing, strict=True)]
    cut = [max(n - e, 0) for e, n in zip(extra, missing, strict=True)]
    ends = [p + n for p, n in zip(pads[axes:], cut, strict=True)]
    wide = copy_node(wide, pads=[*pads[:axes], *ends], output_padding=added)
    return [*chain.nodes, wide]


def _padded(node: "onnx.NodeProto", facts: TensorInfo) -> Replacement:
    auto_pad = attribute(node, "auto_pad", b"NOTSET").decode()
    sizes = attribute(node, "output_shape", None)
    if auto_pad == "VALID" and not sizes:
        return [copy_node(node, auto_pad=None, pads=None)]
    if not sizes and not auto_pad.startswith("SAME"):
        return None
    weight = facts.shape(node.input[1])
    kernel = attribute(node, "kernel_shape", None) or (weight[2:] if weight is not None else None)
    if not kernel or None in kernel:
        return "the size of its kernel must be known, as its padding follows from it"
    axes = len(kernel)
    strides = attribute(node, "strides", None) or [1] * axes
    dilations = attribute(node, "dilations", None) or [1] * axes
    extra = attribute(node, "output_padding", None) or [0] * axes
    if {len(strides), len(dilations), len(extra)} != {axes}:
        return f"its strides, dilations or output_padding are not for its kernel's {axes} axes"
    # The size of the output beyond stride * size of the input.
    surplus = [
        e + (k - 1) * d + 1 - s
        for e, k, d, s in zip(extra, kernel, dilations, strides, strict=True)
    ]
    is_upper = auto_pad == "SAME_UPPER"
    if sizes:
        shape = facts.shape(node.input[0])
        if shape is None or None in shape[2:]:
            return _cut(node, facts, list(sizes[-axes:]), is_upper)
        known = [size or 0 for size in shape[2:]]
        surplus = [
            s * size + more - target
            for s, size, more, target in zip(strides, known, surplus, sizes[-axes:], strict=True)
        ]
    if min(surplus) < 0 and auto_pad.startswith("SAME"):
        return (
            f'its output is larger than it is without padding, where with auto_pad="{auto_pad}" '
            "ONNX's reference and ONNX Runtime differ; set pads and output_padding instead"
        )
    # Elements beyond all products hold only the bias, as with output_padding.
    extra = [e + max(-n, 0) for e, n in zip(extra, surplus, strict=True)]
    surplus = [max(n, 0) for n in surplus]
    less, more = [n // 2 for n in surplus], [n - n // 2 for n in surplus]
    pads = less + more if is_upper else more + less
    return [
        copy_node(node, output_shape=None, auto_pad=None, pads=pads, output_padding=extra or None)
    ]


def _cut(
    node: "onnx.NodeProto", facts: TensorInfo, sizes: list[int], is_upper: bool
) -> Replacement:
    """Remove the padding, and slice the required part of the output."""
    chain = NodeChain(node, facts)
    whole = copy_node(node, output_shape=None, auto_pad=None, pads=None)
    name = whole.output[0] = facts.unused(f"{node.output[0]}_whole")
    chain.nodes.append(whole)
    axes = list(range(2, 2 + len(sizes)))
    shape = chain.add("Shape", name)
    dims = chain.add("Gather", shape, chain.constant(axes))
    target = chain.constant(sizes)
    surplus = chain.add("Sub", dims, target)
    if not is_upper:  # the larger half of an odd number
        surplus = chain.add("Add", surplus, chain.constant([1] * len(sizes)))
    begin = chain.add("Div", surplus, chain.constant([2] * len(sizes)))
    end = chain.add("Add", begin, target)
    return chain.finish("Slice", name, begin, end, chain.constant(axes))


RULES: dict[str, Rule] = {"ConvTranspose": _transposed_convolution}
