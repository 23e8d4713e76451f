"""Convert a model and the nodes of its functions to one version of ONNX's operators."""

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import TYPE_CHECKING

from fasttrt._graph.opset import onnx_version
from fasttrt._graph.traversal import (
    ONNX_DOMAINS,
    all_names,
    graphs_of,
    replace_all,
    unused_name,
    with_inner,
)
from fasttrt._graph.weights import with_weight_inputs

if TYPE_CHECKING:
    import onnx

_CHANGED_MEANING = {"GroupNormalization": 21}
"""Operators that ONNX's converter leaves unchanged, and the version that changed their meaning."""


def unify_opsets(model: "onnx.ModelProto", functions: "Sequence[onnx.FunctionProto]") -> int:
    """Convert a model's graph to the newest version of ONNX's operators that its functions import.

    The model imports the functions' other domains as well.

    Returns:
        The newest version.

    Raises:
        Exception: of several classes, if ONNX cannot convert the graph.
    """
    version = onnx_version(model.opset_import)
    newest = max([version, *(onnx_version(function.opset_import) for function in functions)])
    if version and _must_convert(model.graph.node, version, newest):
        from onnx import version_converter

        light = with_weight_inputs(model)
        del light.functions[:]
        converted = version_converter.convert_version(light, newest)
        replace_all(model.graph.node, converted.graph.node)
    imports = [*(function.opset_import for function in functions), model.opset_import]
    opsets = {
        entry.domain: entry.version
        for entry in chain.from_iterable(imports)
        if entry.domain not in ONNX_DOMAINS
    }
    del model.opset_import[:]
    for domain, number in {"": newest, **opsets}.items():
        model.opset_import.add(domain=domain, version=number)
    return newest


def convert_nodes(
    nodes: "list[onnx.NodeProto]", version: int, newer: int, taken: set[str]
) -> "list[onnx.NodeProto]":
    """Convert nodes to a newer version of ONNX's operators, if their definitions differ.

    Args:
        nodes: a part of a graph.
        version: the version of the nodes.
        newer: the version to convert them to.
        taken: names in use, which new tensors must not have; theirs are added.

    Raises:
        Exception: of several classes, if ONNX cannot convert them.
    """
    if not _must_convert(nodes, version, newer):
        return nodes
    from onnx import ValueInfoProto, helper, version_converter

    graph = helper.make_graph(nodes, "part", [], [])
    old = set(all_names(graph))
    outputs = {output for node in with_inner(nodes) for output in node.output}
    used = {name for node in with_inner(nodes) for name in node.input if name}
    graph.input.extend(ValueInfoProto(name=name) for name in sorted(used - outputs))
    graph.output.extend(ValueInfoProto(name=name) for node in nodes for name in node.output if name)
    part = helper.make_model(graph, opset_imports=[helper.make_opsetid("", version)])
    result = version_converter.convert_version(part, newer).graph
    replace_all(result.node, [*map(_constant, result.initializer), *result.node])
    new = {name: unused_name(name, taken) for name in {*all_names(result)} - old if name}
    for inner in graphs_of(result):
        for node in inner.node:
            for names in (node.input, node.output):
                replace_all(names, [new.get(name, name) for name in names])
    return list(result.node)


def _must_convert(nodes: "Iterable[onnx.NodeProto]", version: int, newer: int) -> bool:
    """Return whether an operator's definition differs in the newer version.

    Raises:
        ValueError: ONNX's converter would leave a node unchanged whose meaning differs.
    """
    from onnx import defs

    differs = False
    for node in with_inner(nodes) if version != newer else ():
        if node.domain not in ONNX_DOMAINS or not defs.has(node.op_type, version):
            continue
        since = defs.get_schema(node.op_type, version, "").since_version
        differs |= since != defs.get_schema(node.op_type, newer, "").since_version
        if version < _CHANGED_MEANING.get(node.op_type, version) <= newer:
            raise ValueError(f"the meaning of {node.op_type} has changed by opset {newer}")
    return differs


def _constant(tensor: "onnx.TensorProto") -> "onnx.NodeProto":
    from onnx import helper

    return helper.make_node("Constant", [], [tensor.name], value=tensor)
