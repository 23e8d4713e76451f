"""What TensorRT's ONNX parser takes otherwise than ONNX means it, without a word.

Found by ONNX's node tests with TensorRT-RTX 1.6.1, see tests/conformance/README.md.
"""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from fasttrt import _core
from fasttrt._log import logger
from fasttrt._nodes import all_nodes, subgraphs
from fasttrt.errors import ParseError, ParseIssue
from fasttrt.model import OnnxModel

if TYPE_CHECKING:
    import onnx

_RECURRENT = ("GRU", "LSTM", "RNN")
_LAYOUT = (
    "layout=1 (the batch first) is ignored by TensorRT's parser; transpose around the node instead"
)
_CLIP = (
    "of int8, for which TensorRT has no Clip: its parser may give it bounds beyond int8, and the "
    "answers are wrong; cast to int32 before the node and back after it"
)
_ROI_ALIGN = "TensorRT-RTX has no plugin for it, and its parser may end the process at the search"


def refuse_misread(model: OnnxModel, library: _core.Library, has_plugins: bool) -> None:
    """See that the parser would not take the model for another one, or crash.

    Raises:
        ParseError: names the nodes.
    """
    outer = {tuple(node.output): index for index, node in enumerate(model.proto.graph.node)}
    int8 = _int8_tensors(model.proto)
    issues = []
    for node in all_nodes(model.proto):
        reason = ""
        if node.op_type in _RECURRENT and _is_batch_first(node):
            reason = _LAYOUT
        elif node.op_type == "Clip" and not int8.isdisjoint((*node.input, *node.output)):
            reason = _CLIP
        elif node.op_type == "RoiAlign" and library.family == "rtx" and not has_plugins:
            reason = _ROI_ALIGN
        if reason:
            index = outer.get(tuple(node.output), -1)
            issues.append(ParseIssue(index, node.name, node.op_type, reason))
    if issues:
        raise ParseError(f"{library} cannot be given the model", tuple(issues))


def spelled_out(model: OnnxModel) -> OnnxModel:
    """The model with what the parser gets wrong by default written out; itself if there is nothing.

    A Trilu without ``upper`` keeps the upper part; the parser takes it for the lower one.
    """
    if not any(map(_lacks_upper, all_nodes(model.proto))):
        return model
    from onnx import helper

    proto = model.copy_proto()
    lines = []
    for node in filter(_lacks_upper, all_nodes(proto)):
        node.attribute.append(helper.make_attribute("upper", 1))
        name = node.name or node.output[0]
        lines.append(f"{name}: its upper=1, ONNX's default, is written out, as TensorRT takes 0")
    return model.changed(proto, lines)


def warn_of_other_shapes(model: OnnxModel, computed: Iterable[tuple[str, Sequence[int]]]) -> None:
    """Log outputs whose shapes, by name, the parser found to be others than the model declares.

    One of both is wrong: many files declare shapes that are; and with ``ceil_mode=1`` the parser
    counts a last window that begins in the padding, which ONNX leaves out.
    """
    declared = {tensor.name: tensor.shape for tensor in model.outputs}
    for name, found in computed:
        expected = declared.get(name)
        if expected is not None and not _may_be_the_same(expected, found):
            logger.warning(
                "output %s: the model declares shape %s, TensorRT computes %s; fasttrt compare "
                "tells whether its answers are right",
                name, _shown(expected), _shown(found),
            )  # fmt: skip


def _may_be_the_same(declared: Sequence[int | str], found: Sequence[int]) -> bool:
    return len(declared) == len(found) and all(
        isinstance(a, str) or b < 0 or a == b for a, b in zip(declared, found, strict=True)
    )


def _shown(shape: Sequence[int | str]) -> str:
    extents = ("?" if extent in ("", -1) else str(extent) for extent in shape)
    return f"({', '.join(extents)})"


def _is_batch_first(node: "onnx.NodeProto") -> bool:
    return any(a.name == "layout" and a.i != 0 for a in node.attribute)


def _lacks_upper(node: "onnx.NodeProto") -> bool:
    return (
        node.op_type == "Trilu"
        and node.domain in ("", "ai.onnx")
        and all(a.name != "upper" for a in node.attribute)
    )


def _int8_tensors(proto: "onnx.ModelProto") -> set[str]:
    """Those of which the model states that type."""
    from onnx import TensorProto

    graphs = [proto.graph, *(graph for node in all_nodes(proto) for graph in subgraphs(node))]
    names = {
        value.name
        for graph in graphs
        for value in (*graph.input, *graph.output, *graph.value_info)
        if value.type.tensor_type.elem_type == TensorProto.INT8
    }
    names |= {
        tensor.name
        for graph in graphs
        for tensor in graph.initializer
        if tensor.data_type == TensorProto.INT8
    }
    return names | {
        node.output[0]
        for node in all_nodes(proto)
        for attribute in node.attribute
        if node.op_type == "Constant" and attribute.t.data_type == TensorProto.INT8
    }
