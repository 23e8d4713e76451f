"""Remove the condition of a Loop if it is always true.

TensorRT then only counts, and with a constant count its compiler makes an engine that a CUDA graph
can capture, which it never does for a Loop that evaluates a condition.
"""

from typing import TYPE_CHECKING

from fasttrt._graph.control_flow import CountedLoops
from fasttrt._graph.model import OnnxModel
from fasttrt._graph.tensor_info import TensorInfo
from fasttrt._graph.traversal import subgraphs, with_inner
from fasttrt._parser.node_rules import (
    Replacement,
    apply_rules,
    constant_node,
    copy_node,
    input_name,
)

if TYPE_CHECKING:
    import onnx

    from fasttrt._parser.pipeline import Target


def drop_conditions(model: OnnxModel, target: "Target") -> OnnxModel:
    """Remove the condition of Loops that always run for their whole trip count."""
    nodes = list(with_inner(model.skeleton.graph.node))
    if not any(node.op_type == "Loop" for node in nodes):
        return model
    loops = CountedLoops(model)

    def without_condition(node: "onnx.NodeProto", facts: TensorInfo) -> Replacement:
        if not input_name(node, 0) or (input_name(node, 1) and not loops.goes_on(node)):
            return None
        counted = copy_node(node)
        (body,) = subgraphs(counted)
        if not input_name(node, 1) and not _reads(body, body.input[1].name):
            return None
        counted.input[1] = ""
        # The parser then passes no condition to the body, where something may still read it.
        always = facts.unused(f"{body.input[1].name}_always")
        for inner in with_inner(body.node):
            inner.input[:] = [always if x == body.input[1].name else x for x in inner.input]
        body.node.insert(0, constant_node(always, True, dtype=bool))
        if body.output[0].name == body.input[1].name:
            body.output[0].name = always
        return [counted]

    return apply_rules(
        model,
        str(target.library),
        {"Loop": without_condition},
        "its condition, which is always true, is removed",
    )


def _reads(body: "onnx.GraphProto", name: str) -> bool:
    inner = (x for node in with_inner(body.node) for x in node.input)
    return name == body.output[0].name or name in inner
