"""What TensorRT 8.6's ONNX parser takes otherwise than ONNX means it, without a word.

It knows opsets up to 17, and of some operators not even that. It reads newer models all the same,
and leaves out the attributes and inputs that it does not know (its source: onnx-tensorrt,
release/8.6-EA, builtin_op_importers.cpp and ConditionalHelpers.cpp). What has an older form is
written so; the rest is refused. The later parsers get nearly all of this right or refuse it; by the
source of 10.1 not a Loop without a trip count, a ConvTranspose with an odd padding, and a
GlobalLpPool with an odd p.
"""

from fasttrt import _core
from fasttrt._log import logger
from fasttrt._misread import refuse
from fasttrt._nodes import ONNX_DOMAINS, graphs_of, with_inner
from fasttrt.model import OnnxModel

_LATEST = 17


def warn_of_opset(model: OnnxModel, library: str) -> None:
    """Log that a model is newer than TensorRT 8.6's parser."""
    opsets = [o.version for o in model.proto.opset_import if o.domain in ONNX_DOMAINS]
    if max(opsets, default=0) > _LATEST:
        logger.warning(
            "the model is of ONNX's opset %d, and %s knows up to %d. What it is known to misread "
            "is written otherwise or refused; fasttrt compare tells whether its answers are right",
            max(opsets), library, _LATEST,
        )  # fmt: skip


def written_for(model: OnnxModel, library: _core.Library) -> OnnxModel:
    """The model as the library's parser reads it rightly; itself if it does so anyway.

    Args:
        model: to be parsed: its constants folded, and converted.
        library: only TensorRT 8.6 is in need of it.

    Raises:
        ParseError: names the nodes of which there is no older form.
    """
    return written_for_v8(model, str(library)) if library.generation == "v8" else model


def written_for_v8(model: OnnxModel, library: str) -> OnnxModel:
    """The same for TensorRT 8.6, whose name for messages is given."""
    # Here, as the others need none of it.
    from fasttrt._older_forms import OPERATORS, replacement
    from fasttrt._tensor_facts import TensorFacts

    # Of local functions its parser knows nothing, so they are refused.
    nodes = list(with_inner(model.proto.graph.node))
    if not any(node.op_type in OPERATORS for node in nodes):
        return model
    facts = TensorFacts(model.proto)
    found = [(node, replacement(node, facts)) for node in nodes]
    refuse(model, library, [(node, reason) for node, reason in found if isinstance(reason, str)])
    if all(steps is None for _, steps in found):
        return model
    proto = model.copy_proto()
    lines = []
    for graph in graphs_of(proto.graph):
        for index in reversed(range(len(graph.node))):
            steps = replacement(graph.node[index], facts)
            if not isinstance(steps, list):
                continue
            node = graph.node.pop(index)
            for step in reversed(steps):
                graph.node.insert(index, step)
            name = node.name or node.output[0]
            lines.append(f"{name}: written as an older {node.op_type}, as {library} knows no other")
    return model.changed(proto, lines)
