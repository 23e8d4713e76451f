"""What TensorRT's ONNX parser takes otherwise than ONNX means it, without a word.

Found by ONNX's node tests with TensorRT-RTX 1.6.1, see tests/conformance/README.md.
"""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from fasttrt._common.log import logger
from fasttrt._graph.model import OnnxModel
from fasttrt._graph.traversal import ONNX_DOMAINS, all_graphs, all_nodes
from fasttrt.errors import ParseError, ParseIssue

if TYPE_CHECKING:
    import onnx

    from fasttrt._parser.pipeline import Target

_CLIP = (
    "of int8, for which TensorRT has no Clip: its parser may give it bounds beyond int8, and the "
    "answers are wrong; cast to int32 before the node and back after it"
)
_DOMAIN = (
    "of the domain {}, which TensorRT's parser does not look at: it would be taken for ONNX's "
    "operator; write it in ONNX's operators, or rename it and give a plugin (plugins=)"
)
_MICROSOFT = (
    "of the domain com.microsoft, an operator of ONNX Runtime's own, which no TensorRT has. It is "
    "made by ONNX Runtime's optimizations: export the model without them (without "
    "optimized_model_filepath, optimum's optimizer, or onnxruntime.transformers)"
)
_QUANTIZATIONS = ("QuantizeLinear", "DequantizeLinear")
_SAME = {("com.microsoft", name) for name in (*_QUANTIZATIONS, "Gelu")}
_ROI_ALIGN = "TensorRT-RTX has no plugin for it, and its parser may end the process at the search"


def reject_unsupported(model: OnnxModel, target: "Target") -> OnnxModel:
    """Check for nodes that the parser misinterprets or crashes on, and return the model itself.

    Raises:
        ParseError: names the nodes.
    """
    int8 = _int8_tensors(model.skeleton)
    is_without_plugin = target.library.family == "rtx" and not target.has_plugins
    reasons = []
    for node in all_nodes(model.skeleton):
        reason = ""
        if node.domain not in ONNX_DOMAINS:
            reason = domain_reason(node.domain) if _is_taken_for_onnxs(node) else ""
        elif node.op_type == "Clip" and not int8.isdisjoint((*node.input, *node.output)):
            reason = _CLIP
        elif node.op_type == "RoiAlign" and is_without_plugin:
            reason = _ROI_ALIGN
        if reason:
            reasons.append((node, reason))
    refuse(model, str(target.library), reasons)
    return model


def domain_reason(domain: str) -> str:
    """Say why an operator of another domain is refused that has the name of one of ONNX's."""
    return _MICROSOFT if domain == "com.microsoft" else _DOMAIN.format(domain)


def refuse(model: OnnxModel, library: str, reasons: "Sequence[tuple[onnx.NodeProto, str]]") -> None:
    """Raise a ParseError if the model has nodes that the library must not parse.

    Args:
        model: the model; its nodes are reported by their index in the original model.
        library: its name.
        reasons: why not, node by node.
    """
    if not reasons:
        return
    issues = (
        ParseIssue(model.place_of(node), node.name, node.op_type, reason)
        for node, reason in reasons
    )
    raise ParseError(f"{library} cannot be given the model", tuple(issues))


def write_default_attributes(model: OnnxModel, target: "Target | None" = None) -> OnnxModel:
    """Write out the default attributes for which the parser takes other values.

    A Trilu without ``upper`` keeps the upper part; the parser takes it for the lower one. Releases
    before TensorRT-RTX 1.6.1 take 0 for the axis of a quantization with several scales, and 1 for
    RoiAlign's sampling ratio, by their source (onnx-tensorrt, releases 8.6 and 10.1).
    """
    missing = _Defaults(model.skeleton)
    if not any(missing.of(node) for node in all_nodes(model.skeleton)):
        return model
    from onnx import helper

    proto = model.copy_skeleton()
    lines = []
    for node in all_nodes(proto):
        if default := missing.of(node):
            name, value, taken = default
            node.attribute.append(helper.make_attribute(name, value))
            lines.append(
                f"{node.name or node.output[0]}: its {name}={value}, ONNX's default, is written "
                f"out, as TensorRT takes {taken}"
            )
    return model.changed(proto, lines)


class _Defaults:
    """Attributes that are not there and should be."""

    def __init__(self, proto: "onnx.ModelProto") -> None:
        self._several = {
            tensor.name
            for graph in all_graphs(proto)
            for tensor in graph.initializer
            if len(tensor.dims) == 1 and tensor.dims[0] > 1
        }

    def of(self, node: "onnx.NodeProto") -> tuple[str, int, int] | None:
        """Return an attribute's name, its default, and the value that the parser uses instead."""
        if node.domain not in ONNX_DOMAINS:
            return None
        found: tuple[str, int, int] | None = None
        if node.op_type == "Trilu":
            found = "upper", 1, 0
        elif node.op_type == "RoiAlign":
            found = "sampling_ratio", 0, 1
        elif node.op_type in _QUANTIZATIONS and not self._several.isdisjoint(node.input[1:2]):
            found = "axis", 1, 0
        if found is None or any(a.name == found[0] for a in node.attribute):
            return None
        return found


def warn_of_other_shapes(model: OnnxModel, computed: Iterable[tuple[str, Sequence[int]]]) -> None:
    """Log outputs whose shapes, by name, the parser found to be others than the model declares.

    One of both is wrong; many files declare shapes that are.
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
    sizes = ("?" if size in ("", -1) else str(size) for size in shape)
    return f"({', '.join(sizes)})"


def _is_taken_for_onnxs(node: "onnx.NodeProto") -> bool:
    """Whether ONNX may have an operator of that name with a different meaning."""
    import onnx

    if node.domain.startswith("trt") or (node.domain, node.op_type) in _SAME:
        return False
    return bool(onnx.defs.has(node.op_type, ""))


def _int8_tensors(proto: "onnx.ModelProto") -> set[str]:
    """Those of which the model states that type."""
    from onnx import TensorProto

    graphs = all_graphs(proto)
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
