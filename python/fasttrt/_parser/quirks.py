"""Work around or refuse what TensorRT's ONNX parser silently misinterprets.

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
    "its tensors are int8, for which TensorRT has no Clip: its parser may use bounds beyond int8, "
    "and the results are wrong; cast to int32 before the node and back after it"
)
_DOMAIN = (
    "its domain is {}, which TensorRT's parser ignores: it would be taken for ONNX's operator; "
    "write it in ONNX's operators, or rename it and pass a plugin (plugins=)"
)
_MICROSOFT = (
    "its domain is com.microsoft: it is an operator of ONNX Runtime, which no TensorRT has. ONNX "
    "Runtime's optimizations add it: export the model without them (without "
    "optimized_model_filepath, optimum's optimizer, or onnxruntime.transformers)"
)
_QUANTIZATIONS = ("QuantizeLinear", "DequantizeLinear")
_SAME = {("com.microsoft", name) for name in (*_QUANTIZATIONS, "Gelu")}
_ROI_ALIGN = "TensorRT-RTX has no plugin for it, and its parser may crash when it looks for one"


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
            reason = domain_reason(node.domain) if _is_mistaken_for_onnx(node) else ""
        elif node.op_type == "Clip" and not int8.isdisjoint((*node.input, *node.output)):
            reason = _CLIP
        elif node.op_type == "RoiAlign" and is_without_plugin:
            reason = _ROI_ALIGN
        if reason:
            reasons.append((node, reason))
    refuse(model, str(target.library), reasons)
    return model


def domain_reason(domain: str) -> str:
    """Return why an operator of another domain is refused whose name ONNX has as well."""
    return _MICROSOFT if domain == "com.microsoft" else _DOMAIN.format(domain)


def refuse(model: OnnxModel, library: str, reasons: "Sequence[tuple[onnx.NodeProto, str]]") -> None:
    """Raise a ParseError if there are nodes that the library must not parse.

    Args:
        model: the model. Its nodes are reported by their index in the original graph.
        library: the name of the library.
        reasons: the nodes, and why each is refused.
    """
    if not reasons:
        return
    issues = (
        ParseIssue(model.place_of(node), node.name, node.op_type, reason)
        for node, reason in reasons
    )
    raise ParseError(f"{library} cannot build this model", tuple(issues))


def write_default_attributes(model: OnnxModel, target: "Target | None" = None) -> OnnxModel:
    """Write out the default attributes for which the parser uses other values.

    A Trilu without ``upper`` keeps the upper triangle, but the parser keeps the lower one. Releases
    before TensorRT-RTX 1.6.1 use 0 as the axis of a quantization with several scales, and 1 as
    RoiAlign's sampling ratio, by their source (onnx-tensorrt, releases 8.6 and 10.1).
    """
    defaults = _Defaults(model.skeleton)
    if not any(defaults.missing(node) for node in all_nodes(model.skeleton)):
        return model
    from onnx import helper

    proto = model.copy_skeleton()
    lines = []
    for node in all_nodes(proto):
        if default := defaults.missing(node):
            name, value, used = default
            node.attribute.append(helper.make_attribute(name, value))
            lines.append(
                f"{node.name or node.output[0]}: ONNX's default {name}={value} is written out, "
                f"since TensorRT uses {used}"
            )
    return model.changed(proto, lines)


class _Defaults:
    """Find attributes that are omitted and must be written out."""

    def __init__(self, proto: "onnx.ModelProto") -> None:
        self._several = {
            tensor.name
            for graph in all_graphs(proto)
            for tensor in graph.initializer
            if len(tensor.dims) == 1 and tensor.dims[0] > 1
        }

    def missing(self, node: "onnx.NodeProto") -> tuple[str, int, int] | None:
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


def check_outputs(
    model: OnnxModel, library: str, computed: Iterable[tuple[str, str, Sequence[int]]]
) -> None:
    """Compare the outputs that TensorRT computes, by name, dtype and shape, with the model's own.

    One of the two is wrong. Many models declare wrong shapes, so these are logged.

    Raises:
        ParseError: an output is of floating point and declared as something else, or the reverse.
            Its values would be cut off.
    """
    declared = {tensor.name: tensor for tensor in model.outputs}
    issues = []
    for name, dtype, found in computed:
        expected = declared.get(name)
        if expected is None:
            continue
        kind = str(expected.dtype)  # object: not declared
        if kind != "object" and ("float" in kind) != ("float" in dtype):
            reason = f"output {name}: the model declares {kind}, and computes {dtype}"
            issues.append(ParseIssue(-1, "", "", reason))
        shape = expected.shape
        if shape is not None and not _may_be_the_same(shape, found):
            logger.warning(
                "output %s: the model declares shape %s, TensorRT computes %s; check its results "
                "with fasttrt compare",
                name, _shown(shape), _shown(found),
            )  # fmt: skip
    if issues:
        raise ParseError(f"{library} cannot build this model", tuple(issues))


def _may_be_the_same(declared: Sequence[int | str], found: Sequence[int]) -> bool:
    return len(declared) == len(found) and all(
        isinstance(a, str) or b < 0 or a == b for a, b in zip(declared, found, strict=True)
    )


def _shown(shape: Sequence[int | str]) -> str:
    sizes = ("?" if size in ("", -1) else str(size) for size in shape)
    return f"({', '.join(sizes)})"


def _is_mistaken_for_onnx(node: "onnx.NodeProto") -> bool:
    """Return whether ONNX may have an operator of that name with a different meaning."""
    import onnx

    if node.domain.startswith("trt") or (node.domain, node.op_type) in _SAME:
        return False
    return bool(onnx.defs.has(node.op_type, ""))


def _int8_tensors(proto: "onnx.ModelProto") -> set[str]:
    """Return the names of the tensors that the model states to be int8."""
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
