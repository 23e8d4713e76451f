"""Rewrite nodes that TensorRT's parser has refused in an equivalent form.

The form is given by a rule, or by ONNX's definition of the operator as a function. Only refused
nodes are rewritten: what the parser accepts stays unchanged, at no cost.
"""

from collections.abc import Callable, Collection, Iterable
from typing import TYPE_CHECKING, TypeVar

from fasttrt._graph.model import OnnxModel
from fasttrt._graph.opset import onnx_version
from fasttrt._graph.traversal import ONNX_DOMAINS, innermost_first, replace_at, with_inner
from fasttrt._parser.pipeline import Target, prepare
from fasttrt.errors import ParseError, ParseIssue

if TYPE_CHECKING:
    import onnx

_MAX_ROUNDS = 100
"""The most rounds of parsing and rewriting: the parser may report one node at a time."""
_T = TypeVar("_T")


def parse_in_other_forms(model: OnnxModel, target: Target, parse: Callable[[OnnxModel], _T]) -> _T:
    """Parse a model; as long as the parser refuses nodes that have another form, retry in that.

    Args:
        model: as `prepare` returns it.
        target: what it was prepared for.
        parse: returns the parsed model, or raises ParseError.

    Raises:
        ParseError: nodes are refused in every form.
    """
    reported: dict[int, ParseIssue] = {}
    for _ in range(_MAX_ROUNDS):
        try:
            return parse(model)
        except ParseError as error:
            failure = error
            for issue in error.issues:
                reported.setdefault(issue.node, issue)
            other = _rewrite(model, _refused(model, error))
            if other is None:
                break
            model = prepare(other, target)
    if not model.rewritten:
        raise failure
    # If a node's other form is refused, too, report why the caller's own form was.
    issues = dict.fromkeys(reported.get(issue.node, issue) for issue in failure.issues)
    raise ParseError(str(failure.args[0]), tuple(issues)) from None


def write_other_forms(
    model: OnnxModel, rewritten: Iterable[Collection[str]], target: Target
) -> OnnxModel:
    """Rewrite a prepared model like another one, whose ``rewritten`` is given."""
    for outputs in rewritten:
        other = _rewrite(model, outputs)
        model = model if other is None else prepare(other, target)
    return model


def _refused(model: OnnxModel, error: ParseError) -> list[str]:
    """Return the first outputs of the nodes that an error names, and of nodes like them."""
    from fasttrt._parser.parse_issues import refused_nodes

    kinds = {_kind(node) for node in refused_nodes(error, model)}
    nodes = list(with_inner(model.skeleton.graph.node)) if kinds else []
    return [node.output[0] for node in nodes if node.output and _kind(node) in kinds]


def _kind(node: "onnx.NodeProto") -> tuple[str, ...]:
    """Return what nodes have in common that the parser almost always refuses alike."""
    from fasttrt._parser.form_rules import RULES

    if node.domain in ONNX_DOMAINS and node.op_type in RULES:
        return (node.op_type,)
    attributes = sorted(a.name + str(a.SerializeToString()) for a in node.attribute)
    counts = [str(sum(map(bool, names))) for names in (node.input, node.output)]
    return (node.domain, node.op_type, *counts, *attributes)


def _rewrite(model: OnnxModel, outputs: Collection[str]) -> OnnxModel | None:
    """Rewrite the nodes that compute certain tensors; return None if none has another form."""
    from fasttrt._graph.tensor_info import TensorInfo
    from fasttrt._parser.form_rules import RULES
    from fasttrt._parser.function_bodies import function_body

    outputs = set(outputs)
    if not outputs:
        return None
    facts, opset = TensorInfo(model), onnx_version(model.skeleton.opset_import)

    def form(node: "onnx.NodeProto") -> "list[onnx.NodeProto] | None":
        if node.domain not in ONNX_DOMAINS or not node.output or node.output[0] not in outputs:
            return None
        for rule in RULES.get(node.op_type, ()):
            steps = rule(node, facts)
            if isinstance(steps, list):
                return steps
        return function_body(node, opset, facts)

    proto = model.copy_skeleton()
    lines, written, callers = [], [], dict(model.callers)
    for graph in innermost_first(proto.graph):
        for index in reversed(range(len(graph.node))):
            steps = form(graph.node[index])
            if steps is None:
                continue
            node = graph.node[index]
            replace_at(graph.node, index, steps)
            written.append(node.output[0])
            lines.append(
                f"{node.name or node.output[0]}: {node.op_type}, which TensorRT refuses, is "
                f"rewritten as {_listed(step.op_type for step in steps)}"
            )
            place = model.place_of(node)
            callers |= {name: place for step in steps for name in step.output if name}
    if not written:
        return None
    changed = model.changed(proto, lines[::-1])
    changed.callers = callers
    changed.rewritten = (*model.rewritten, tuple(written))
    return changed


def _listed(operators: "Iterable[str]") -> str:
    names = list(dict.fromkeys(name for name in operators if name != "Constant"))
    return ", ".join(names[:6]) + (", ..." if len(names) > 6 else "")
