"""Find the node that an issue of TensorRT's parser is about, and explain the issue."""

import re
from typing import TYPE_CHECKING

from fasttrt._graph.model import OnnxModel
from fasttrt._graph.traversal import subgraphs, with_inner
from fasttrt._parser.reasons import explain
from fasttrt.errors import ParseError, ParseIssue

if TYPE_CHECKING:
    import onnx

_IMPORTER = re.compile(r"In function import(\w+):")


def explain_error(error: ParseError, model: OnnxModel, library: str) -> ParseError:
    """Name the nodes that the parser's issues are about, and explain the issues.

    Args:
        error: raised by the parser.
        model: the model that it has parsed.
        library: the name of the library.
    """
    found: dict[ParseIssue, str] = {}
    for issue in error.issues:
        located, node = _locate(issue, model)
        output = next(filter(None, node.output), "") if node is not None else ""
        for line in explain(located, node, model.skeleton, library):
            found.setdefault(line, output)
    placed = [issue for issue in found if issue.operator]
    if placed and _logged(error):  # which repeats an issue without a place
        found = {issue: found[issue] for issue in placed}
    return ParseError(str(error.args[0]), tuple(found), tuple(found.values()))


def _locate(issue: ParseIssue, model: OnnxModel) -> tuple[ParseIssue, "onnx.NodeProto | None"]:
    """Name the node that an issue is about, as in the caller's model.

    TensorRT 8.6 reports a node's index only, and for some failures every release names the operator
    alone, in its log.

    Args:
        issue: reported by the parser.
        model: the model that it has parsed.

    Returns:
        The issue with the node's name, its operator and its index in the original graph; and the
        node as it was parsed, None if there is none or it is ambiguous.
    """
    node = _node(issue, model)
    if node is None:
        return issue, None
    place = model.place_of(node)
    if place < 0:
        place = _outer_place(node, model)
    issue = ParseIssue(
        place if place >= 0 else issue.node,
        issue.name or node.name,
        node.op_type,
        issue.reason,
    )
    return issue, node


def _logged(error: ParseError) -> bool:
    """Return whether an issue is from the parser's log."""
    return any(_IMPORTER.search(issue.reason) for issue in error.issues)


def refused_nodes(error: ParseError, model: OnnxModel) -> "list[onnx.NodeProto]":
    """Return the nodes that an error names, also in a model before its conversion to 16 bits."""
    found = []
    for issue, output in zip(error.issues, error.outputs, strict=True):
        names = {name for name in (issue.name, output) if name}
        nodes = [n for n in with_inner(model.skeleton.graph.node) if n.op_type == issue.operator]
        found += [node for node in nodes if names & {node.name, *node.output}][:1]
    return found


def _node(issue: ParseIssue, model: OnnxModel) -> "onnx.NodeProto | None":
    if issue.node < 0:
        return _by_log(issue, model)
    # For a node in a subgraph, the index is that of the node which has the subgraph.
    around = model.skeleton.graph.node[issue.node : issue.node + 1]
    return next((n for n in with_inner(around) if issue.operator in ("", n.op_type)), None)


def _by_log(issue: ParseIssue, model: OnnxModel) -> "onnx.NodeProto | None":
    """Return the only node with the operator that the parser's log names; None if ambiguous."""
    match = _IMPORTER.search(issue.reason)
    if match is None:
        return None
    nodes = [n for n in with_inner(model.skeleton.graph.node) if n.op_type == match[1]]
    if len(nodes) > 1:  # the parser accepts those with default attributes
        nodes = [node for node in nodes if any(a.name == "reduction" for a in node.attribute)]
    return nodes[0] if nodes else None


def _outer_place(node: "onnx.NodeProto", model: OnnxModel) -> int:
    """Return the index of the node whose subgraph contains this one."""
    for outer in model.skeleton.graph.node:
        inner = with_inner(n for graph in subgraphs(outer) for n in graph.node)
        if any(candidate is node for candidate in inner):
            return model.place_of(outer)
    return -1
