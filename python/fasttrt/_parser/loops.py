"""Refuse Loops that collect values (scan outputs) and may end before their trip count.

TensorRT's scan outputs are as long as the trip count, whether or not the loop ends earlier.
"""

from typing import TYPE_CHECKING

from fasttrt._graph.tensor_info import TensorInfo
from fasttrt._graph.traversal import subgraphs
from fasttrt._parser.node_rules import Replacement, Rule, input_name

if TYPE_CHECKING:
    import onnx


def _loop(node: "onnx.NodeProto", facts: TensorInfo) -> Replacement:
    carried = max(len(node.input) - 2, 0)
    if not any(node.output[carried:]):
        return None
    (body,) = subgraphs(node)
    condition = body.output[0].name
    makers = {output: inner for inner in body.node for output in inner.output}
    while condition in makers and makers[condition].op_type == "Identity":
        condition = makers[condition].input[0]
    has_count, has_condition = (bool(input_name(node, index)) for index in range(2))
    if has_count and not has_condition:
        return None  # ONNX then ignores the body's condition
    goes_on = facts.is_true(condition) or condition == body.input[1].name
    if has_count and goes_on and facts.is_true(node.input[1]):
        return None
    return (
        "its scan outputs would be as long as its trip count, before which it may end; run a fixed "
        "number of iterations and return how many of them count, or make its condition a constant"
    )


RULES: dict[str, Rule] = {"Loop": _loop}
