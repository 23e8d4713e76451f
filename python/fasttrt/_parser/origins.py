"""Find tensors that TensorRT may merge: those that equal nodes compute from equal tensors."""

from collections.abc import Hashable
from typing import TYPE_CHECKING

from fasttrt._graph.traversal import ONNX_DOMAINS, subgraphs

if TYPE_CHECKING:
    import onnx

_VIEWS = {"Cast", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze"}
"""Operators whose output counts as the same tensor as their input."""


def origins(graph: "onnx.GraphProto") -> dict[str, Hashable]:
    """Return a value for each tensor of a graph, equal for those that may be merged.

    Views of a tensor have its value. Weights in other files are identified by their place there.
    """
    found: dict[Hashable, int] = {}
    values: dict[str, Hashable] = {"": ""}

    def number(key: Hashable) -> int:
        return found.setdefault(key, len(found))

    for tensor in graph.initializer:
        place = tuple((entry.key, entry.value) for entry in tensor.external_data)
        content = place or hash(tensor.raw_data) or tensor.name
        values[tensor.name] = number((tensor.data_type, tuple(tensor.dims), content))
    for node in graph.node:
        inputs = tuple(values.get(name, name) for name in node.input)
        if node.op_type in _VIEWS and node.domain in ONNX_DOMAINS and inputs:
            values[node.output[0]] = inputs[0]
            continue
        attributes = tuple(sorted(a.SerializeToString(deterministic=True) for a in node.attribute))
        whose = node.output[0] if any(subgraphs(node)) else ""  # which may read other tensors
        for index, output in enumerate(node.output):
            key = (node.domain, node.op_type, inputs, attributes, whose, index)
            values[output] = number(key)
    return values
