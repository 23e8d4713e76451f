"""Rewrite recurrent nodes with the batch first: TensorRT's parser ignores ``layout=1``."""

from typing import TYPE_CHECKING

from fasttrt._graph.tensor_info import TensorInfo
from fasttrt._parser.node_rules import Replacement, apply_rules, attribute, copy_node

if TYPE_CHECKING:
    import onnx

    from fasttrt._graph.model import OnnxModel
    from fasttrt._parser.pipeline import Target

_INITIAL = (5, 6)
"""Inputs that are initial states; an LSTM has two."""
_SWAPPED = [1, 0, 2]


def put_time_first(model: "OnnxModel", target: "Target") -> "OnnxModel":
    """Add Transpose nodes around recurrent nodes that have the batch first."""
    change = "its layout=1 is rewritten as layout=0, all that {library} supports"
    rules = dict.fromkeys(("GRU", "LSTM", "RNN"), _time_first)
    return apply_rules(model, str(target.library), rules, change)


def _time_first(node: "onnx.NodeProto", facts: TensorInfo) -> Replacement:
    if not attribute(node, "layout", 0):
        return None
    from onnx import helper

    def swap(tensor: str, output: str, order: list[int]) -> "onnx.NodeProto":
        name = facts.unused(f"{output}/Transpose")
        return helper.make_node("Transpose", [tensor], [output], name, perm=order)

    inner = copy_node(node, layout=None)
    before, after = [], []
    for index in (0, *_INITIAL):
        if index < len(node.input) and node.input[index]:
            inner.input[index] = facts.unused(f"{node.input[index]}/time_first")
            before.append(swap(node.input[index], inner.input[index], _SWAPPED))
    for index, output in enumerate(node.output):
        if output:
            inner.output[index] = facts.unused(f"{output}/time_first")
            # Of all steps: [time, direction, batch, ...]; of the last one: [direction, batch, ...].
            order = _SWAPPED if index else [2, 0, 1, 3]
            after.append(swap(inner.output[index], output, order))
    return [*before, inner, *after]
