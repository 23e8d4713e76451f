"""Refuse bidirectional LSTMs with ``clip``, which TensorRT-RTX 1.6.1 gets wrong.

Those of a single direction are right, and so are bidirectional GRUs.
"""

from typing import TYPE_CHECKING

from fasttrt._graph.tensor_info import TensorInfo
from fasttrt._parser.node_rules import Replacement, Rule, attribute

if TYPE_CHECKING:
    import onnx


def _lstm(node: "onnx.NodeProto", facts: TensorInfo) -> Replacement:
    is_both = attribute(node, "direction", b"forward") == b"bidirectional"
    if not is_both or not attribute(node, "clip", 0.0):
        return None
    return (
        'TensorRT gets clip with direction="bidirectional" wrong; write an LSTM for each direction'
    )


RULES: dict[str, Rule] = {"LSTM": _lstm}
