"""Rename outputs that are listed twice or are inputs: TensorRT would rename or omit one."""

from typing import TYPE_CHECKING

from fasttrt._graph.model import OnnxModel
from fasttrt._graph.traversal import all_names

if TYPE_CHECKING:
    from fasttrt._parser.pipeline import Target


def write_repeated_outputs(model: OnnxModel, target: "Target | None" = None) -> OnnxModel:
    """Rename outputs that have the name of an input or an earlier output, as copies of those.

    Return the model itself if all names differ. The names do not depend on the target.
    """
    from onnx import helper

    graph = model.skeleton.graph
    weights = {tensor.name for tensor in graph.initializer}
    names = [tensor.name for tensor in graph.input if tensor.name not in weights]
    names += [tensor.name for tensor in graph.output]
    if len(set(names)) == len(names):
        return model
    proto = model.copy_skeleton()
    taken = set(all_names(proto.graph))
    seen = set(names[: len(names) - len(graph.output)])
    inputs = set(seen)
    lines = []
    for output in proto.graph.output:
        name = output.name
        if name not in seen:
            seen.add(name)
            continue
        number = 2
        while f"{name}_{number}" in taken:
            number += 1
        output.name = f"{name}_{number}"
        taken.add(output.name)
        proto.graph.node.append(helper.make_node("Identity", [name], [output.name], output.name))
        why = "is an input, too" if name in inputs else "is listed as an output twice"
        lines.append(f"{name}: {why}; as an output it is named {output.name}")
    return model.changed(proto, lines)
