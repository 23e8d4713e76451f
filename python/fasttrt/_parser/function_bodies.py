"""Expand operators that ONNX defines as functions of other operators."""

from typing import TYPE_CHECKING, Any

from fasttrt._graph.opset import onnx_version
from fasttrt._graph.tensor_info import TensorInfo
from fasttrt._graph.traversal import ONNX_DOMAINS
from fasttrt._parser.local_functions import expand_call
from fasttrt._parser.node_rules import copy_node
from fasttrt._parser.opsets import convert_nodes

if TYPE_CHECKING:
    import onnx


def function_body(
    node: "onnx.NodeProto", opset: int, facts: TensorInfo
) -> "list[onnx.NodeProto] | None":
    """Return the nodes by which ONNX defines a node's operator.

    Args:
        node: any node.
        opset: the model's version of ONNX's operators.
        facts: of the model; new names are registered there.

    Returns:
        The nodes; None if ONNX does not define the operator as a function, cannot convert the
        function to the opset, or needs input types that are unknown.
    """
    import onnx

    if node.domain not in ONNX_DOMAINS or not onnx.defs.has(node.op_type, opset, ""):
        return None
    schema: Any = onnx.defs.get_schema(node.op_type, opset, "")  # its stub lacks members
    plain = [v for v in schema.function_opset_versions if v <= opset]
    by_context = [v for v in schema.context_dependent_function_opset_versions if v <= opset]
    if plain:
        body = schema.get_function_with_opset_version(max(plain))
    elif by_context:
        types = [_type(name, facts) for name in node.input]
        if None in types:
            return None
        body = schema.get_context_dependent_function_with_opset_version(
            max(by_context), node.SerializeToString(), types
        )
    else:
        return None
    if not body:
        return None
    function = onnx.FunctionProto.FromString(body)
    stated = {attribute.name for attribute in node.attribute}
    call = copy_node(node)
    call.attribute.extend(
        definition.default_value
        for name, definition in schema.attributes.items()
        if name not in stated and definition.default_value.name
    )
    try:
        nodes = expand_call(function, call, facts.names)
        version = onnx_version(function.opset_import) or opset
        return convert_nodes(nodes, version, opset, facts.names)
    except Exception:  # of several classes: ONNX has no such conversion
        return None


def _type(name: str, facts: TensorInfo) -> bytes | None:
    """Return a tensor's type, serialized: empty for an omitted input, None if unknown."""
    from onnx import TypeProto, helper

    if not name:
        return bytes(TypeProto().SerializeToString())
    dtype = facts.dtype(name)
    if not dtype:
        return None
    return bytes(helper.make_tensor_type_proto(dtype, facts.shape(name)).SerializeToString())
