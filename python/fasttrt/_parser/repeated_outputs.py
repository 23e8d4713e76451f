"""An output that a model lists twice: TensorRT would give it once."""

from typing import TYPE_CHECKING

from fasttrt.model import OnnxModel

if TYPE_CHECKING:
    from fasttrt._parser.pipeline import Target


def write_repeated_outputs(model: OnnxModel, target: "Target") -> OnnxModel:
    """Give each further listing of an output a tensor and a name of its own.

    The model itself if each is listed once.
    """
    from onnx import helper

    names = [output.name for output in model.proto.graph.output]
    if len(set(names)) == len(names):
        return model
    proto = model.copy_proto()
    taken = {name for node in proto.graph.node for name in (*node.input, *node.output)}
    taken.update(names, (tensor.name for tensor in proto.graph.initializer))
    seen: set[str] = set()
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
        lines.append(f"{name}: is listed as an output again, which is named {output.name}")
    return model.changed(proto, lines)
