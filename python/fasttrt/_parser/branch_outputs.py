"""Outputs of branches that are only another view of a tensor: an Identity is added.

Where a Reshape that changes nothing takes an input of the model to its output through a branch of
an If, TensorRT-RTX 1.6.1 copies nothing: the output keeps whatever its memory held, and the other
branch may read such memory. With an Identity behind it the values are right.
"""

from typing import TYPE_CHECKING

from fasttrt._nodes import all_nodes, subgraphs
from fasttrt.model import OnnxModel
from fasttrt.precision.graphs import all_names

if TYPE_CHECKING:
    import onnx

    from fasttrt._parser.pipeline import Target

_VIEWS = {
    "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Expand", "Tile", "Slice", "Pad",
    "Concat", "Split", "Cast", "CastLike", "Dropout", "Resize", "Trilu", "DepthToSpace",
    "SpaceToDepth",
}  # fmt: skip
"""Operators that may leave their input as it is, or only its shape another."""


def write_branch_outputs(model: OnnxModel, target: "Target") -> OnnxModel:
    """Give the model with an Identity behind such outputs; itself if it has none."""
    if not any(_views(branch) for node in all_nodes(model.proto) for branch in _branches(node)):
        return model
    from onnx import helper

    proto = model.copy_proto()
    taken = set(all_names(proto.graph))
    lines = []
    for node in list(all_nodes(proto)):
        for branch in _branches(node):
            for index in _views(branch):
                output = branch.output[index]
                view = output.name
                while output.name in taken:
                    output.name += "_"
                taken.add(output.name)
                copy = helper.make_node("Identity", [view], [output.name], output.name)
                branch.node.append(copy)
                lines.append(
                    f"{node.name or node.output[0]}: {view}, the output of a branch, is copied, "
                    f"as {target.library} may leave it out otherwise"
                )
    return model.changed(proto, lines)


def _branches(node: "onnx.NodeProto") -> "list[onnx.GraphProto]":
    return list(subgraphs(node)) if node.op_type == "If" else []


def _views(branch: "onnx.GraphProto") -> list[int]:
    """The places of such outputs in a branch's own."""
    makers = {output: node for node in branch.node for output in node.output}
    return [
        index
        for index, output in enumerate(branch.output)
        if output.name in makers and makers[output.name].op_type in _VIEWS
    ]
