"""Refuse nodes that violate ONNX's definitions, some of which crash or hang TensorRT.

TensorRT's parser and builder divide by a block size of 0, follow outputs that do not exist, and
truncate numbers to 32 bits (measured with TensorRT-RTX 1.6.1).
"""

from typing import TYPE_CHECKING

from fasttrt._graph.model import OnnxModel
from fasttrt._graph.opset import onnx_version
from fasttrt._graph.traversal import ONNX_DOMAINS, subgraphs, with_inner
from fasttrt._parser.quirks import refuse
from fasttrt.errors import ParseError, ParseIssue

if TYPE_CHECKING:
    import onnx
    from onnx.defs import OpSchema

    from fasttrt._parser.pipeline import Target

_INT32 = range(-(2**31), 2**31)
_MINIMA = {
    "batch_dims": 0, "block_size": 0, "blocksize": 1, "dilations": 1, "group": 1, "hidden_size": 1,
    "kernel_shape": 1, "kv_num_heads": 1, "num_groups": 1, "num_heads": 1, "num_outputs": 1,
    "offset_group": 1, "output_padding": 0, "p": 1, "q_num_heads": 1, "sampling_ratio": 0,
    "size": 1, "strides": 1,
}  # fmt: skip
"""The minimum of an attribute in all operators that have one of that name."""
_WINDOW = {"dilations": 1, "kernel_shape": 1, "output_padding": 1, "pads": 2, "strides": 1}
"""Attributes with a value, or two, for each axis of a window."""
_LONG = ("Constant", "Slice")
"""Operators whose attributes may exceed 32 bits; a Slice then ends at the last element."""


def check_nodes(model: OnnxModel, target: "Target") -> OnnxModel:
    """Check that nodes have the inputs, outputs, subgraphs and attributes that ONNX defines.

    Raises:
        ParseError: nodes do not, or the shape of an input exceeds 32 bits. Names them.
    """
    from onnx import defs

    version = onnx_version(model.skeleton.opset_import)
    schemas: dict[str, OpSchema | None] = {}
    problems = []
    for node in with_inner(model.skeleton.graph.node):
        if not any(node.output):
            problems.append((node, "it has no outputs"))
        elif node.domain in ONNX_DOMAINS:
            name = node.op_type
            if name not in schemas:
                is_known = version <= defs.onnx_opset_version() and defs.has(name, version)
                schemas[name] = defs.get_schema(name, version) if is_known else None
            schema = schemas[name]
            reason = _wrong_form(node, schema) if schema is not None else ""
            reason = reason or _wrong_graphs(node) or _wrong_attribute(node)
            if reason := reason or _wrong_lengths(node):
                problems.append((node, reason))
    refuse(model, str(target.library), problems)
    for tensor in model.inputs:
        if any(isinstance(size, int) and size not in _INT32 for size in tensor.shape or ()):
            reason = f"input {tensor.name}: its shape {tensor.shape} exceeds 32 bits"
            message = f"{target.library} cannot build this model"
            raise ParseError(message, (ParseIssue(-1, "", "", reason),))
    return model


def _wrong_form(node: "onnx.NodeProto", schema: "OpSchema") -> str:
    """Compare a node with its operator's definition, and name what is missing or extra."""
    from onnx import AttributeProto

    for what, names, most in (
        ("inputs", node.input, schema.max_input), ("outputs", node.output, schema.max_output)
    ):  # fmt: skip
        if len(names) > most:
            return f"it has {len(names)} {what}, expected at most {most}"
    for index, formal in enumerate(schema.inputs[: schema.min_input]):
        is_single = formal.option == formal.option.Single
        if is_single and not (len(node.input) > index and node.input[index]):
            return f"its input {formal.name} is missing"
    if len(node.input) < schema.min_input:
        return f"it has {len(node.input)} inputs, expected at least {schema.min_input}"
    types = {a.name: AttributeProto.AttributeType.Name(a.type) for a in node.attribute}
    for name, attribute in schema.attributes.items():
        expected = str(attribute.type).rpartition(".")[2]
        if attribute.required and name not in types:
            return f"its attribute {name} is missing"
        if types.get(name, "UNDEFINED") not in ("UNDEFINED", expected):
            return f"its attribute {name} has type {types[name]}, expected {expected}"
    return ""


def _wrong_graphs(node: "onnx.NodeProto") -> str:
    """Check the subgraphs of an If, a Loop or a Scan; return what is wrong, empty if nothing."""
    inputs, outputs = len(node.input), len(node.output)
    for graph in subgraphs(node):
        graph_inputs, graph_outputs = len(graph.input), len(graph.output)
        name = f"its subgraph '{graph.name}'"
        has_both = f"{name} has {graph_inputs} inputs and {graph_outputs} outputs"
        if node.op_type == "If" and (graph_inputs, graph_outputs) != (0, outputs):
            return f"{has_both}, expected none and {outputs}"
        if node.op_type == "Loop":
            carried = max(inputs - 2, 0)
            if graph_inputs != 2 + carried:
                return f"{name} has {graph_inputs} inputs, expected {2 + carried}"
            if graph_outputs < 1 + max(carried, outputs):
                return f"{name} has {graph_outputs} outputs, expected {1 + max(carried, outputs)}"
        if node.op_type == "Scan" and (graph_inputs > inputs or graph_outputs < outputs):
            return f"{has_both}, expected {inputs} and {outputs}"
    return ""


def _wrong_attribute(node: "onnx.NodeProto") -> str:
    """Return which attribute has an invalid value; empty if none has."""
    for attribute in node.attribute:
        name = attribute.name
        values = list(attribute.ints) if attribute.type == attribute.INTS else []
        if attribute.type == attribute.INT:
            values = [attribute.i]
        if node.op_type not in _LONG and not all(value in _INT32 for value in values):
            return f"its {name}={list(values)} exceeds the 32 bits that TensorRT reads"
        if name in _MINIMA and min(values, default=1) < _MINIMA[name]:
            return f"its {name}={list(values)} is less than {_MINIMA[name]}"
        if name == "scales" and not all(0 < scale < float("inf") for scale in attribute.floats):
            return f"its scales={list(attribute.floats)} are not all positive"
        if name == "num_outputs" and attribute.i != len(node.output):
            return f"its num_outputs={attribute.i}, but it has {len(node.output)} outputs"
    return ""


def _wrong_lengths(node: "onnx.NodeProto") -> str:
    """Return which attributes of a window are not for the same number of axes; empty if none."""
    lengths = {
        attribute.name: len(attribute.ints) / _WINDOW[attribute.name]
        for attribute in node.attribute
        if attribute.name in _WINDOW and attribute.ints and node.op_type != "Pad"
    }
    if len(set(lengths.values())) <= 1:
        return ""
    listed = " and ".join(f"{name} for {axes:g} axes" for name, axes in lengths.items())
    return f"it has {listed}"
