"""Rewrite nodes by rules: a rule returns the nodes to write instead, or why to refuse."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from fasttrt._graph.model import OnnxModel
from fasttrt._graph.tensor_info import TensorInfo
from fasttrt._graph.traversal import ONNX_DOMAINS, innermost_first, replace_at, with_inner
from fasttrt._parser.quirks import refuse

if TYPE_CHECKING:
    import onnx

Replacement: TypeAlias = "list[onnx.NodeProto] | str | None"
"""The nodes to write instead; the reason to refuse the node; None to keep it."""
Rule: TypeAlias = "Callable[[onnx.NodeProto, TensorInfo], Replacement]"
"""Rewrites a node of ONNX's domain, with what is known of the model's tensors."""


def apply_rules(
    model: OnnxModel, library: str, rules: Mapping[str, Rule], change: str
) -> OnnxModel:
    """Rewrite the nodes of a model and its subgraphs; return the model itself if none changes.

    Args:
        model: the model, its local functions inlined. It is not modified.
        library: the name of the TensorRT library in messages.
        rules: by operator, of ONNX's domain.
        change: what is recorded of a rewritten node after its name, such as ``"its {op_type}
            is rewritten for {library}"``.

    Raises:
        ParseError: names each node that a rule refuses.
    """
    if not any(node.op_type in rules for node in with_inner(model.skeleton.graph.node)):
        return model
    facts = TensorInfo(model)

    def replace(node: "onnx.NodeProto") -> Replacement:
        rule = rules.get(node.op_type) if node.domain in ONNX_DOMAINS else None
        return rule(node, facts) if rule is not None else None

    found = [(node, replace(node)) for node in with_inner(model.skeleton.graph.node)]
    refuse(model, library, [(node, reason) for node, reason in found if isinstance(reason, str)])
    if all(steps is None for _, steps in found):
        return model
    proto = model.copy_skeleton()
    lines = []
    for graph in innermost_first(proto.graph):
        for index in reversed(range(len(graph.node))):
            steps = replace(graph.node[index])
            if not isinstance(steps, list):
                continue
            node = graph.node[index]
            replace_at(graph.node, index, steps)
            line = change.format(op_type=node.op_type, library=library)
            lines.append(f"{node.name or node.output[0]}: {line}")
    return model.changed(proto, lines)


def attribute(node: "onnx.NodeProto", name: str, default: Any) -> Any:
    """Return an attribute's value, or the default if the node does not have it."""
    from onnx.helper import get_attribute_value

    return next((get_attribute_value(a) for a in node.attribute if a.name == name), default)


def input_name(node: "onnx.NodeProto", index: int) -> str:
    """Return an input's name; empty if it is omitted."""
    return node.input[index] if len(node.input) > index else ""


def copy_node(
    node: "onnx.NodeProto", inputs: int | None = None, **attributes: Any
) -> "onnx.NodeProto":
    """Copy a node with its first inputs and with attributes set, or removed where None."""
    import onnx

    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    if inputs is not None:
        del copy.input[inputs:]
    kept = [a for a in node.attribute if a.name not in attributes]
    del copy.attribute[:]
    copy.attribute.extend(kept)
    copy.attribute.extend(
        onnx.helper.make_attribute(k, v) for k, v in attributes.items() if v is not None
    )
    return copy


def constant_node(
    output: str, value: Any, name: str = "", dtype: Any = np.int64
) -> "onnx.NodeProto":
    """Create a Constant node with a value, of int64 by default."""
    from onnx import helper, numpy_helper

    tensor = numpy_helper.from_array(np.array(value, dtype), output)
    return helper.make_node("Constant", [], [output], name or f"{output}_constant", value=tensor)


def separator_node(name: str, facts: TensorInfo) -> "onnx.NodeProto":
    """Create a LeakyRelu of a tensor that changes no value, and that TensorRT does not remove."""
    from onnx import helper

    output = facts.unused(f"{name}_LeakyRelu")
    return helper.make_node("LeakyRelu", [name], [output], output, alpha=1.0)
