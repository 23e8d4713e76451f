"""Write out Attention in basic operators where TensorRT has no fused kernel, or crashes.

Measured with TensorRT-RTX 1.6.1: there are fused kernels for float16 and bfloat16, head sizes of 9
to 256, in the main graph, with a single output, and with either a mask or is_causal. In bfloat16
the build terminates the process if the queries or keys, once scaled, have other consumers as well,
or if equal nodes compute both.
"""

from collections import Counter
from collections.abc import Mapping
from functools import partial
from math import sqrt
from typing import TYPE_CHECKING

import numpy as np

from fasttrt._graph.model import OnnxModel
from fasttrt._graph.tensor_info import TensorInfo
from fasttrt._parser.node_chain import NodeChain
from fasttrt._parser.node_rules import Replacement, apply_rules, attribute, input_name
from fasttrt._parser.origins import origins

if TYPE_CHECKING:
    import onnx

    from fasttrt._parser.pipeline import Target

_BOOL, _FLOAT16, _BFLOAT16 = 9, 10, 16  # TensorProto.DataType
_INFINITY = float("inf")
_FUSED_HEADS = range(9, 257)
_BEFORE_SOFTCAP, _AFTER_SOFTCAP, _WITH_MASK, _PROBABILITIES = range(4)  # qk_matmul_output_mode


def write_attention(model: OnnxModel, target: "Target") -> OnnxModel:
    """Replace Attention by its definition in ONNX where TensorRT cannot build it.

    Raises:
        ParseError: the type, the number of heads or the head size of such a node is unknown.
    """
    has_kernels = target.library.generation == "v11"
    rule = partial(_attention, fusible=_fusible(model.skeleton.graph) if has_kernels else {})
    change = "written out in basic operators, which {library} can build"
    return apply_rules(model, str(target.library), {"Attention": rule}, change)


def _fusible(graph: "onnx.GraphProto") -> dict[str, bool]:
    """Return, by output, whether an Attention of the graph shares neither queries nor keys."""
    nodes = [node for node in graph.node if node.op_type == "Attention"]
    values = origins(graph) if nodes else {}
    used = Counter(values.get(name, name) for node in nodes for name in node.input[:2])
    for node in graph.node if nodes else ():  # which may scale them as TensorRT does
        used.update(values.get(name, name) for name in node.input if node.op_type == "Mul")
    return {
        node.output[0]: all(used[values.get(name, name)] == 1 for name in node.input[:2])
        for node in nodes
    }


def _attention(
    node: "onnx.NodeProto", facts: TensorInfo, fusible: Mapping[str, bool]
) -> Replacement:
    """Return the replacement of a node; ``fusible`` is the result of `_fusible`."""
    q, k, v = (facts.shape(name) for name in node.input[:3])
    dtype = facts.dtype(node.input[0])
    q_heads, kv_heads = (attribute(node, f"{name}_num_heads", None) for name in ("q", "kv"))
    has_three_axes = len(q) == 3 if q is not None else q_heads is not None
    if not has_three_axes:
        q_heads, kv_heads = (shape[1] if shape else None for shape in (q, k))
    size = q[-1] if q else None
    if size is not None and has_three_axes and q_heads:
        size //= q_heads
    scale = attribute(node, "scale", None)
    if scale is None and size:
        scale = 1 / sqrt(size)
    if not (dtype and q_heads and kv_heads and scale):
        return "the type of its inputs, its number of heads and their size must be known"
    if q_heads % kv_heads:
        return f"its {q_heads} query heads are not a multiple of its {kv_heads} key heads"
    alone = fusible.get(node.output[0])  # None: the node is in a subgraph
    is_safe = alone or (alone is not None and dtype == _FLOAT16)
    attention = _Attention(node, facts, dtype, has_three_axes)
    if is_safe and _has_kernel(node, dtype, size, k == v) and not attention.missing_mask():
        return None
    return attention.write_out(q_heads, kv_heads, scale)


def _has_kernel(node: "onnx.NodeProto", dtype: int, size: int | None, same_values: bool) -> bool:
    """Return whether TensorRT's parser accepts the node and its builder has a kernel for it."""
    is_masked = bool(input_name(node, 3))
    return (
        dtype in (_FLOAT16, _BFLOAT16)
        and size in _FUSED_HEADS
        and same_values  # values have the keys' shape
        and len(node.output) == 1
        and not any(input_name(node, index) for index in (4, 5, 6))
        and not (is_masked and attribute(node, "is_causal", 0))
        and not attribute(node, "softcap", 0)
        and not attribute(node, "softmax_precision", 0)
        and all(attribute(node, f"{s}_window_size", -1) == -1 for s in ("left", "right"))
    )


class _Attention:
    """Write out one Attention of queries [B, H, Sq, D] and keys [B, G, Sk, D], G <= H."""

    def __init__(
        self, node: "onnx.NodeProto", facts: TensorInfo, dtype: int, has_three_axes: bool
    ) -> None:
        from onnx import helper

        self._node, self._facts, self._dtype = node, facts, dtype
        self._has_three_axes = has_three_axes
        self._kind = helper.tensor_dtype_to_np_dtype(dtype)
        self._write = NodeChain(node, facts)
        self._results = [*node.output, "", "", ""][:4]

    def write_out(self, q_heads: int, kv_heads: int, scale: float) -> "list[onnx.NodeProto]":
        write, node = self._write.add, self._node
        y, present_k, present_v, shown = self._results
        q = self._heads(node.input[0], q_heads)
        k = self._with_past(self._heads(node.input[1], kv_heads), 4, present_k)
        v = self._with_past(self._heads(node.input[2], kv_heads), 5, present_v)
        bias = self._bias(q, k)
        if scale != 1:
            q = write("Mul", q, self._write.constant(scale, self._kind))
        if q_heads != kv_heads:  # stack the queries that share keys
            q = self._reshape(q, [0, kv_heads, -1, 0])
        scores = write("MatMul", q, write("Transpose", k, perm=[0, 1, 3, 2]))
        if q_heads != kv_heads:
            scores = self._reshape(scores, [0, q_heads, -1, 0])
        mode = attribute(node, "qk_matmul_output_mode", _BEFORE_SOFTCAP) if shown else None
        if mode == _BEFORE_SOFTCAP:
            write("Identity", scores, output=shown)
        if softcap := attribute(node, "softcap", 0.0):
            cap = self._write.constant(softcap, self._kind)
            scores = write("Mul", write("Tanh", write("Div", scores, cap)), cap)
        if mode == _AFTER_SOFTCAP:
            write("Identity", scores, output=shown)
        if mode == _WITH_MASK:
            write("Add" if bias else "Identity", *filter(None, (scores, bias)), output=shown)
        live = ""
        if bias and self._may_mask_rows():  # rows without keys return zeros, not NaN
            zero = self._write.constant(0.0, self._kind)
            highest = write("ReduceMax", bias, self._write.constant([-1]), keepdims=1)
            live = write("Greater", highest, self._write.constant(-_INFINITY, self._kind))
            bias = write("Where", live, bias, zero)
        if bias:
            scores = write("Add", scores, bias)
        weights = self._softmax(scores)
        if mode == _PROBABILITIES:
            self._zero_dead_rows(weights, live, shown)
        if q_heads != kv_heads:
            weights = self._reshape(weights, [0, kv_heads, -1, 0])
        result = write("MatMul", weights, v)
        if q_heads != kv_heads:
            result = self._reshape(result, [0, q_heads, -1, 0])
        if not self._has_three_axes:
            self._zero_dead_rows(result, live, y)
        else:
            result = write("Transpose", self._zero_dead_rows(result, live), perm=[0, 2, 1, 3])
            self._reshape(result, [0, 0, -1], y)
        return self._write.nodes

    def _heads(self, name: str, heads: int) -> str:
        """Split the heads of a tensor [B, S, H * D]; return [B, H, S, D]."""
        if not self._has_three_axes:
            return name
        return self._write.add(
            "Transpose", self._reshape(name, [0, 0, heads, -1]), perm=[0, 2, 1, 3]
        )

    def _reshape(self, name: str, shape: list[int], output: str = "") -> str:
        shape_name = self._write.constant(shape)
        return self._write.add("Reshape", name, shape_name, output=output)

    def _with_past(self, name: str, index: int, present: str) -> str:
        """Append keys or values to the past ones, and write them to the present output."""
        past = input_name(self._node, index)
        if past:
            return self._write.add("Concat", past, name, output=present, axis=2)
        return self._write.add("Identity", name, output=present) if present else name

    def _softmax(self, scores: str) -> str:
        precision = attribute(self._node, "softmax_precision", 0) or self._dtype
        if precision == self._dtype:
            return self._write.add("Softmax", scores, axis=-1)
        wide = self._write.add("Cast", scores, to=precision)
        return self._write.add("Cast", self._write.add("Softmax", wide, axis=-1), to=self._dtype)

    def _zero_dead_rows(self, name: str, live: str, output: str = "") -> str:
        """Write zeros for queries that may not attend to any key."""
        if live:
            zero = self._write.constant(0.0, self._kind)
            return self._write.add("Where", live, name, zero, output=output)
        return self._write.add("Identity", name, output=output) if output else name

    def _may_mask_rows(self) -> bool:
        is_windowed = attribute(self._node, "left_window_size", -1) >= 0
        return is_windowed or bool(input_name(self._node, 3) or input_name(self._node, 6))

    def _bias(self, q: str, k: str) -> str:
        """Return the addend of the scores [B, H, Sq, Sk], of the axes it needs; empty if none."""
        write, mask = self._write.add, input_name(self._node, 3)
        allowed = self._allowed(q, k)
        if mask:
            mask, is_bool = self._mask(mask)
            if is_bool:
                allowed, mask = (write("And", allowed, mask) if allowed else mask), ""
        if not allowed:
            return mask
        lowest = self._write.constant(-_INFINITY, self._kind)
        return write("Where", allowed, mask or self._write.constant(0.0, self._kind), lowest)

    def missing_mask(self) -> int:
        """Return by how many keys the mask is too short; 0 if unknown."""
        mask = self._facts.shape(input_name(self._node, 3))
        keys, past = (self._facts.shape(input_name(self._node, index)) for index in (1, 4))
        total = keys[1 if self._has_three_axes else 2] if keys else None
        if total is not None and input_name(self._node, 4):
            total = total + past[2] if past and past[2] is not None else None
        if not mask or mask[-1] is None or total is None:
            return 0
        return max(total - mask[-1], 0)

    def _mask(self, mask: str) -> tuple[str, bool]:
        """Pad the mask to the number of keys; return it in the scores' type or bool, and which."""
        dtype, shape = self._facts.dtype(mask), self._facts.shape(mask)
        is_bool = dtype == _BOOL
        if not is_bool and dtype != self._dtype:
            mask = self._write.add("Cast", mask, to=self._dtype)
        if shape and (missing := self.missing_mask()):
            pads = [0] * (2 * len(shape) - 1) + [missing]
            lowest, kind = (False, np.bool_) if is_bool else (-_INFINITY, self._kind)
            value = self._write.constant(lowest, kind)
            mask = self._write.add("Pad", mask, self._write.constant(pads), value)
        return mask, is_bool

    def _allowed(self, q: str, k: str) -> str:
        """Return which keys each query may attend to by position, as bool; empty if all."""
        windows = [attribute(self._node, f"{side}_window_size", -1) for side in ("left", "right")]
        if attribute(self._node, "is_causal", 0):
            windows[1] = 0 if windows[1] < 0 else min(windows[1], 0)
        past, valid = input_name(self._node, 4), input_name(self._node, 6)
        if max(windows) < 0 and not valid:
            return ""
        write, constant = self._write.add, self._write.constant
        keys = self._positions(k)  # [Sk]
        conditions = []
        if valid:  # [B, 1, 1, 1]
            valid = write("Unsqueeze", valid, constant([1, 2, 3]))
            conditions.append(write("Less", keys, valid))
        if max(windows) >= 0:
            queries = write("Unsqueeze", self._positions(q), constant([1]))  # [Sq, 1]
            if past:
                queries = write("Add", queries, write("Shape", past, start=2, end=3))
            elif valid:
                before = write("Sub", valid, write("Shape", q, start=2, end=3))
                queries = write("Add", queries, before)
            distance = write("Sub", queries, keys)
            left, right = windows
            if left >= 0:
                conditions.append(write("LessOrEqual", distance, constant(left)))
            if right >= 0:
                conditions.append(write("GreaterOrEqual", distance, constant(-right)))
        allowed = conditions[0]
        for condition in conditions[1:]:
            allowed = write("And", allowed, condition)
        return allowed

    def _positions(self, name: str) -> str:
        """Return 0, 1, ... along the sequence axis of a tensor [B, H, S, D]."""
        write, constant = self._write.add, self._write.constant
        length = write("Squeeze", write("Shape", name, start=2, end=3))
        return write("Range", constant(0), length, constant(1))
