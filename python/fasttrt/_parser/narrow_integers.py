"""Compute integers of 8 and 16 bits in float32 where TensorRT does not support their type.

It supports uint8 for network inputs and outputs that are cast, int8 where values are quantized with
a zero point of 0, and neither int16 nor uint16. A uint8 zero point of 0 is taken for one of int8.
Models quantized by ONNX Runtime have all of these. float32 represents such integers exactly, so
operators that move, select, compare and quantize them are rewritten in float32 and return the same
values, only without integer kernels.
"""

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from fasttrt._common.log import logger
from fasttrt._graph.tensor_info import TensorInfo
from fasttrt._graph.traversal import ONNX_DOMAINS, graphs_of, replace_all, with_inner
from fasttrt._graph.weights import allow_constants
from fasttrt._parser.int8_support import has_int8_convolutions
from fasttrt._parser.narrow_groups import QUANTIZATIONS, Groups, narrow_tensors
from fasttrt._parser.narrow_rules import INTEGER_PRODUCTS, RULES
from fasttrt._parser.quantization_writer import (
    INT32,
    RANGES,
    UnwritableError,
    Writer,
)

if TYPE_CHECKING:
    import onnx

    from fasttrt._graph.model import OnnxModel
    from fasttrt._parser.pipeline import Target


def promote_narrow_integers(model: "OnnxModel", target: "Target") -> "OnnxModel":
    """Rewrite operators on narrow integers in float32, except where TensorRT supports them.

    If a node is not known to return the same values in float32, everything connected with it stays
    unchanged, for TensorRT's parser to accept or refuse.
    """
    if not _has_narrow(model.skeleton):
        return model
    has_convolutions = has_int8_convolutions(target.library)
    facts, weights = TensorInfo(model), model.weights
    groups = Groups(model.skeleton, Writer(facts, weights), has_convolutions)
    while True:
        promotion = _Promotion(model.skeleton, Writer(facts, weights), groups.promoted())
        try:
            promotion.write()
        except _StuckError as stuck:
            groups.exclude(stuck.node)
        else:
            break
    if not promotion.replaced:
        return model
    proto = model.copy_skeleton()
    promotion.apply(proto)
    counts = Counter(node.op_type for node in promotion.replaced)
    if any(op in counts for op in ("QuantizeLinear", *INTEGER_PRODUCTS)):
        logger.warning(
            "%s supports int8 only with a zero point of 0%s; other quantization of the model is "
            "computed in float32: the same values, without the speed of int8",
            target.library, "" if has_convolutions else ", and has no int8 convolutions",
        )  # fmt: skip
    types = sorted({_type_name(facts.dtype(name)) for name in promotion.promoted})
    listed = ", ".join(f"{count} {operator}" for operator, count in sorted(counts.items()))
    line = f"{', '.join(types)} values are computed in float32, which is exact for them: {listed}"
    if not types:
        line = f"int32 values are dequantized in float32: {listed}"
    changed = model.changed(proto, [line])
    changed.wide = model.wide | promotion.wide
    return changed


def _type_name(dtype: int) -> str:
    from onnx import TensorProto

    return str(TensorProto.DataType.Name(dtype)).lower()


def _has_narrow(proto: "onnx.ModelProto") -> bool:
    """Return whether a node or tensor states a narrow type, or is quantized."""
    for graph in graphs_of(proto.graph):
        tensors = list(graph.initializer)
        for node in graph.node:
            if node.op_type in QUANTIZATIONS or node.op_type in INTEGER_PRODUCTS:
                return True
            for attribute in node.attribute:
                if attribute.name == "to" and attribute.i in RANGES:
                    return True
                if attribute.HasField("t"):
                    tensors.append(attribute.t)
        if any(tensor.data_type in RANGES for tensor in tensors):
            return True
        if any(value.type.tensor_type.elem_type in RANGES for value in graph.input):
            return True
    return False


class _StuckError(Exception):
    def __init__(self, node: "onnx.NodeProto") -> None:
        super().__init__(node.op_type)
        self.node = node


class _Promotion:
    """Collect the nodes in float32, and the names of their tensors: the `Context` of rules."""

    def __init__(self, proto: "onnx.ModelProto", writer: Writer, promoted: set[str]) -> None:
        self._proto, self.writer, self.promoted = proto, writer, promoted
        self.replaced: list[onnx.NodeProto] = []
        self.wide: set[str] = set()
        """Names of nodes that stay in float32 whatever the precision."""
        self._steps: dict[tuple[int, int], list[onnx.NodeProto]] = {}
        """By the index of the graph, and of the replaced node in it."""
        self._names: dict[str, str] = {}

    def is_promoted(self, name: str) -> bool:
        return name in self.promoted

    def float32(self, name: str) -> str:
        if name not in self._names:
            value = self.writer.value(name)
            if value is not None:
                self._names[name] = self.writer.constant(value.astype(np.float32))
            elif name in self.promoted:
                self._names[name] = self.writer.new_like(name)
            else:
                raise UnwritableError(f"{name} stays an integer")
        return self._names[name]

    def write(self) -> None:
        """Rewrite all nodes with promoted tensors, and DequantizeLinear of int32."""
        for i, graph in enumerate(graphs_of(self._proto.graph)):
            for j, node in enumerate(graph.node):
                if node.op_type == "Constant" or not self._is_affected(node):
                    continue
                self.writer.begin(node)
                self.writer.nodes = self._steps[i, j] = []
                try:
                    rule = RULES[node.op_type]
                    rule(node, self)
                except UnwritableError as error:
                    if not narrow_tensors(node, self.writer):
                        del self._steps[i, j]
                        continue
                    logger.debug("%s (%s) stays as it is: %s", node.name, node.op_type, error)
                    raise _StuckError(node) from None
                self.replaced.append(node)

    def _is_affected(self, node: "onnx.NodeProto") -> bool:
        if node.domain not in ONNX_DOMAINS or node.op_type not in RULES:
            return False
        if node.op_type == "DequantizeLinear" and self.writer.facts.dtype(node.input[0]) == INT32:
            return True
        return not self.promoted.isdisjoint(narrow_tensors(node, self.writer))

    def apply(self, proto: "onnx.ModelProto") -> None:
        """Put the new nodes into a copy of the model."""
        for i, graph in reversed(list(enumerate(graphs_of(proto.graph)))):  # as innermost_first()
            nodes: list[onnx.NodeProto] = []
            for j, node in enumerate(graph.node):
                nodes += self._steps.get((i, j), [node])
            if i == 0:
                nodes = [*self._casts(graph.input, True), *nodes, *self._casts(graph.output, False)]
            replace_all(graph.node, nodes)
            kept = [value for value in graph.value_info if value.name not in self.promoted]
            replace_all(graph.value_info, kept)
        self._keep_wide(proto)
        proto.graph.initializer.extend(self.writer.constants)
        allow_constants(proto)
        self._remove_unused(proto)

    def _keep_wide(self, proto: "onnx.ModelProto") -> None:
        """Record the new nodes as wide, and those that scale sums of integers into range."""
        self.wide |= {step.name for steps in self._steps.values() for step in steps}
        sums = {
            node.output[0]
            for node in self.replaced
            if node.op_type in ("MatMulInteger", "ConvInteger")
        }
        for node in with_inner(proto.graph.node):
            if sums.isdisjoint(node.input) or node.op_type not in ("Cast", "Mul", "Div"):
                continue
            node.name = node.name or self.writer.facts.unused(f"{node.output[0]}/{node.op_type}")
            self.wide.add(node.name)
            if node.op_type == "Cast":
                sums.add(node.output[0])

    def _casts(
        self, ends: "Iterable[onnx.ValueInfoProto]", is_input: bool
    ) -> "list[onnx.NodeProto]":
        from onnx import helper

        casts = []
        for value in ends:
            promoted = self._names.get(value.name)
            if value.name not in self.promoted or promoted is None:
                continue
            name, dtype = self.writer.facts.unused(f"{value.name}/Cast"), 1
            names = [value.name, promoted]
            if not is_input:
                names, dtype = names[::-1], value.type.tensor_type.elem_type
            casts.append(helper.make_node("Cast", names[:1], names[1:], name, to=dtype))
        return casts

    def _remove_unused(self, proto: "onnx.ModelProto") -> None:
        """Remove constants that only replaced nodes used; TensorRT may not support their type."""
        candidates = {name for node in self.replaced for name in node.input}
        graphs = graphs_of(proto.graph)
        used = {name for node in with_inner(proto.graph.node) for name in node.input}
        used |= {value.name for graph in graphs for value in graph.output}
        unused = candidates - used
        for graph in graphs:
            replace_all(graph.initializer, [t for t in graph.initializer if t.name not in unused])
            replace_all(
                graph.node,
                [n for n in graph.node if n.op_type != "Constant" or n.output[0] not in unused],
            )
        initializers = {tensor.name for tensor in self._proto.graph.initializer}
        kept = [v for v in proto.graph.input if v.name not in unused or v.name not in initializers]
        replace_all(proto.graph.input, kept)
