"""Write a ConvTranspose that TensorRT lacks as a convolution whose outputs are interleaved.

With a stride of s, every s-th element of the output is a convolution of the input with every s-th
element of the kernel. So a single convolution computes all of these phases as channels: s times as
many, with kernels of 1/s of the length, rounded up. Reshape, Transpose and Reshape interleave them,
and a Slice removes the padding.

TensorRT-RTX 1.6.1 cannot build a ConvTranspose in bfloat16, nor one with strides and dilations in
any type. One in float32 fails when its plan is loaded or run, if its result is cast to bfloat16,
directly or after an activation: cuDNN has no plan for the two.
"""

from collections.abc import Callable, Sequence
from math import prod
from typing import TYPE_CHECKING

import numpy as np

from fasttrt._common.host_array import Array
from fasttrt._graph.model import OnnxModel
from fasttrt._graph.tensor_info import TensorInfo
from fasttrt._graph.traversal import ONNX_DOMAINS, innermost_first, replace_at, with_inner
from fasttrt._parser.node_chain import NodeChain
from fasttrt._parser.node_rules import attribute, input_name
from fasttrt._parser.phase_kernels import Axis, can_compute, computed_kernel, constant_kernel
from fasttrt._parser.quirks import refuse

if TYPE_CHECKING:
    import onnx

    from fasttrt._parser.pipeline import Target

_END = 2**63 - 1
_PRODUCTS = frozenset(("Conv", "ConvTranspose", "Einsum", "Gemm", "MatMul"))
_REFUSED = (
    "its weights are computed, with strides and dilations, groups of volumes, or an unknown shape, "
)
_IN_BFLOAT16 = _REFUSED + "and TensorRT has no ConvTranspose in bfloat16; make them a constant"
_BEFORE_BFLOAT16 = _REFUSED + (
    "and TensorRT-RTX cannot round its float32 results to bfloat16; make them a constant, keep the "
    "nodes after it in float32 up to and including the next convolution or product (keep_fp32), or "
    'use precision="fp16"'
)


def write_phase_convolutions(model: OnnxModel, target: "Target") -> OnnxModel:
    """Write a ConvTranspose that TensorRT lacks as a convolution; return the model if it has none.

    These are nodes in bfloat16, and for TensorRT-RTX also nodes in float32 whose results are cast
    to bfloat16, and nodes with strides and dilations.

    Raises:
        ParseError: nodes have no such form. Names them.
    """
    nodes = list(with_inner(model.skeleton.graph.node))
    found = [node for node in nodes if _is_transposed(node)]
    if not found:
        return model
    facts = TensorInfo(model)
    cast = _cast_to_bfloat16(nodes) if target.library.family == "rtx" else set()
    chosen: dict[str, tuple[_Plan, str]] = {}
    refused = []
    for node in found:
        plan = _Plan(node, facts)
        lack, refusal = _lack(node, facts, cast, target)
        if lack and plan.is_possible:
            chosen[node.output[0]] = plan, lack
        elif refusal:
            refused.append((node, refusal))
    refuse(model, str(target.library), refused)
    if not chosen:
        return model
    proto = model.copy_skeleton()
    lines = []
    for graph in innermost_first(proto.graph):
        for index in reversed(range(len(graph.node))):
            node = graph.node[index]
            if not _is_transposed(node) or node.output[0] not in chosen:
                continue
            plan, lack = chosen[node.output[0]]
            steps, weights = plan.write(model.weights.array)
            replace_at(graph.node, index, steps)
            proto.graph.initializer.extend(weights)
            lines.append(
                f"{node.name or node.output[0]}: its ConvTranspose is rewritten as a convolution, "
                f"since {target.library} has none {lack}"
            )
    _drop_unused(proto, {name for node in found for name in node.input[1:]})
    return model.changed(proto, lines[::-1])


def _is_transposed(node: "onnx.NodeProto") -> bool:
    return node.op_type == "ConvTranspose" and node.domain in ONNX_DOMAINS


def _lack(
    node: "onnx.NodeProto", facts: TensorInfo, cast: set[str], target: "Target"
) -> tuple[str, str]:
    """Return what TensorRT lacks, and why to refuse the node without it; empty strings if not."""
    from onnx import TensorProto

    if facts.dtype(node.input[1]) == TensorProto.BFLOAT16:
        return "in bfloat16", _IN_BFLOAT16
    if node.output[0] in cast:
        return "whose results are rounded to bfloat16", _BEFORE_BFLOAT16
    steps = [max(attribute(node, name, None) or [1]) for name in ("strides", "dilations")]
    if target.library.family == "rtx" and min(steps) > 1:
        return "with strides and dilations", ""  # which its builder reports
    return "", ""


def _cast_to_bfloat16(nodes: "Sequence[onnx.NodeProto]") -> set[str]:
    """Return the tensors that are cast to bfloat16 before a convolution or product uses them."""
    from onnx import TensorProto

    found: set[str] = set()
    for node in reversed(nodes):
        is_cast = node.op_type == "Cast" and attribute(node, "to", 0) == TensorProto.BFLOAT16
        is_before = node.op_type not in _PRODUCTS and not found.isdisjoint(node.output)
        if is_cast or is_before:
            found.update(node.input)
    return found


def _drop_unused(proto: "onnx.ModelProto", names: set[str]) -> None:
    """Remove the weights of these names that no node uses anymore."""
    unused = names - {value.name for value in (*proto.graph.input, *proto.graph.output)}
    unused -= {name for node in with_inner(proto.graph.node) for name in node.input}
    for index in reversed(range(len(proto.graph.initializer))):
        if proto.graph.initializer[index].name in unused:
            del proto.graph.initializer[index]


class _Plan:
    """Plan how to write a node as a convolution."""

    def __init__(self, node: "onnx.NodeProto", facts: TensorInfo) -> None:
        """Analyze a node with explicit ``pads``, which `transposed_convolution` writes out."""
        self._node, self._facts = node, facts
        self._groups = attribute(node, "group", 1)
        self._shape = facts.shape(node.input[1]) or []
        self._weights = facts.tensor(node.input[1])
        kernel = self._shape[2:]
        count = len(kernel)
        strides = attribute(node, "strides", None) or [1] * count
        dilations = attribute(node, "dilations", None) or [1] * count
        pads = attribute(node, "pads", None) or [0] * (2 * count)
        extra = attribute(node, "output_padding", None) or [0] * count
        ends = list(zip(pads[:count], pads[count:], strict=False))
        self._axes = [
            Axis.of(*(size, *of_axis))
            for size, *of_axis in zip(kernel, strides, dilations, ends, extra, strict=False)
            if size is not None
        ]
        is_stated = {len(x) for x in (self._axes, strides, dilations, ends, extra)} == {count}
        self.is_possible = is_stated and bool(self._axes) and (
            self._weights is not None or can_compute(self._shape, self._axes, self._groups)
        )  # fmt: skip
        """Whether the node can be written so."""

    def write(
        self, read: "Callable[[onnx.TensorProto], Array]"
    ) -> "tuple[list[onnx.NodeProto], list[onnx.TensorProto]]":
        """Return the nodes to write instead, and their weights.

        Args:
            read: returns the values of a constant.
        """
        node, axes, weights = self._node, self._axes, []
        chain = NodeChain(node, self._facts)
        channels = (self._shape[1] or 0) * self._groups
        phases = prod(axis.stride for axis in axes)
        inputs = [node.input[0]]
        if self._weights is None:
            inputs.append(computed_kernel(chain, node.input[1], self._shape, axes, self._groups))
        else:
            kernel = constant_kernel(read(self._weights), axes, self._groups)
            weights.append(self._weight(node.input[1], kernel, self._weights.data_type))
            inputs.append(weights[0].name)
        bias = input_name(node, 2)
        fixed_bias = self._facts.tensor(bias) if bias else None
        if fixed_bias is not None:
            values = np.repeat(read(fixed_bias), phases)
            weights.append(self._weight(bias, values, fixed_bias.data_type))
            inputs.append(weights[-1].name)
        result = chain.add(
            "Conv",
            *inputs,
            kernel_shape=[axis.taps for axis in axes],
            dilations=[axis.dilation for axis in axes],
            pads=[*(axis.before for axis in axes), *(axis.after for axis in axes)],
            group=self._groups,
        )
        if phases > 1:
            result = _interleave(chain, result, channels, axes, self._sizes())
        cut = [(place, axis) for place, axis in enumerate(axes, 2) if axis.start or axis.excess]
        if cut:
            starts = chain.constant([axis.start for _, axis in cut])
            ends = chain.constant([-axis.excess or _END for _, axis in cut])
            result = chain.add("Slice", result, starts, ends, chain.constant([i for i, _ in cut]))
        if bias and fixed_bias is None:
            dims = chain.constant([1, -1, *[1] * len(axes)])
            chain.add("Add", result, chain.add("Reshape", bias, dims))
        chain.nodes[-1].output[0], chain.nodes[-1].name = node.output[0], node.name
        return chain.nodes, weights

    def _sizes(self) -> list[int | None]:
        """Return the sizes of the convolution's output, without batch and channels."""
        shape = self._facts.shape(self._node.input[0]) or []
        sizes = shape[2:] if len(shape) == 2 + len(self._axes) else [None] * len(self._axes)
        return [axis.size(size) for axis, size in zip(self._axes, sizes, strict=True)]

    def _weight(self, name: str, values: Array, dtype: int) -> "onnx.TensorProto":
        from onnx import helper

        new = self._facts.unused(f"{name}_phases")
        return helper.make_tensor(new, dtype, values.shape, values.tobytes(), raw=True)


def _interleave(
    chain: NodeChain,
    result: str,
    channels: int,
    axes: Sequence[Axis],
    sizes: Sequence[int | None],
) -> str:
    """Interleave the phases of each axis, which are in [N, channels x phases, *sizes]."""
    strides = [axis.stride for axis in axes]
    split = [stride for stride in strides if stride > 1]
    if sizes.count(None) > 1:
        places = chain.constant(list(range(2, 2 + len(axes))))
        found = chain.add("Gather", chain.add("Shape", result), places)
        apart = chain.add("Concat", chain.constant([0, channels, *split]), found, axis=0)
        whole = chain.add("Mul", found, chain.constant(strides))
        joined = chain.add("Concat", chain.constant([0, channels]), whole, axis=0)
    else:
        known = [-1 if size is None else size for size in sizes]
        apart = chain.constant([0, channels, *split, *known])
        wide = [size if size < 0 else size * s for size, s in zip(known, strides, strict=True)]
        joined = chain.constant([0, channels, *wide])
    phases, order = iter(range(2, 2 + len(split))), [0, 1]
    for place, stride in enumerate(strides, 2 + len(split)):
        order += [place, *([next(phases)] if stride > 1 else [])]
    moved = chain.add("Transpose", chain.add("Reshape", result, apart), perm=order)
    return chain.add("Reshape", moved, joined)
