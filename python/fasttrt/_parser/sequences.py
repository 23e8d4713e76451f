"""Rewrite sequences that only hold the parts of one tensor as slices of it.

PyTorch's exporter writes ``unbind``, ``chunk`` and ``split`` as SplitToSequence, whose elements
SequenceAt selects. TensorRT does not support sequences.
"""

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from fasttrt._graph.model import OnnxModel
from fasttrt._graph.tensor_info import TensorInfo
from fasttrt._graph.traversal import innermost_first, replace_all, with_inner
from fasttrt._parser.node_rules import (
    Replacement,
    apply_rules,
    attribute,
    constant_node,
    input_name,
)

if TYPE_CHECKING:
    import onnx

    from fasttrt._parser.pipeline import Target


def slice_sequences(model: OnnxModel, target: "Target") -> OnnxModel:
    """Rewrite each SequenceAt of a SplitToSequence as a Gather or a Slice of the tensor."""
    nodes = list(with_inner(model.skeleton.graph.node))
    if not any(node.op_type == "SplitToSequence" for node in nodes):
        return model
    # Branches may each use the same name.
    producers = Counter(name for node in nodes for name in node.output)
    splits = {
        node.output[0]: node
        for node in nodes
        if node.op_type == "SplitToSequence" and producers[node.output[0]] == 1
    }
    taken: set[str] = set()

    def element(node: "onnx.NodeProto", facts: TensorInfo) -> Replacement:
        split = splits.get(node.input[0])
        index = facts.constant(node.input[1])
        if split is None or index is None:
            return None
        steps = _part(split, int(index), node.output[0], facts)
        if steps is not None:
            taken.add(split.output[0])
        return steps

    changed = apply_rules(
        model,
        str(target.library),
        {"SequenceAt": element},
        "the element of a sequence is rewritten as a slice",
    )
    used = {name for node in with_inner(changed.skeleton.graph.node) for name in node.input}
    graphs = innermost_first(changed.skeleton.graph)
    used.update(value.name for graph in graphs for value in graph.output)
    if unused := taken - used:
        for graph in graphs:
            replace_all(graph.node, [n for n in graph.node if unused.isdisjoint(n.output)])
    return changed


def _part(
    split: "onnx.NodeProto", index: int, output: str, facts: TensorInfo
) -> "list[onnx.NodeProto] | None":
    """Write one element of a sequence; return None if its position is unknown."""
    from onnx import helper

    x, axis = split.input[0], attribute(split, "axis", 0)
    sizes_name = input_name(split, 1)
    sizes = facts.constant(sizes_name) if sizes_name else np.array(1)
    if sizes is None:
        return None
    name = facts.unused(f"{output}_at")
    if not sizes_name and not attribute(split, "keepdims", 1):
        return [
            constant_node(name, index),
            helper.make_node("Gather", [x, name], [output], output, axis=axis),
        ]
    if sizes.ndim == 0:
        if index < 0:
            return None
        begin, end = index * int(sizes), (index + 1) * int(sizes)
    else:
        if not -len(sizes) <= index < len(sizes):
            return None
        begin = int(sizes[: index % len(sizes)].sum())
        end = begin + int(sizes[index])
    bounds = {name: begin, facts.unused(f"{output}_to"): end, facts.unused(f"{output}_on"): axis}
    return [
        *(constant_node(key, [bound]) for key, bound in bounds.items()),
        helper.make_node("Slice", [x, *bounds], [output], output),
    ]
