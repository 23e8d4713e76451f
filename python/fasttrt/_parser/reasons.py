"""Explain why TensorRT refuses a node or a model, and what to do about it."""

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from fasttrt import _core
from fasttrt._graph.traversal import ONNX_DOMAINS, all_graphs, all_nodes, graphs_of
from fasttrt._parser.node_rules import attribute
from fasttrt.errors import ParseIssue

if TYPE_CHECKING:
    import onnx

MAX_AXES = 8
_BY_DATA = (
    "the size of its output depends on the data, for which {library} has no kernel. End the model "
    "before this node and do the rest outside it{how}; TensorRT itself has the operator since 10"
)
_OUTSIDE = "{library} has no {operator}. Do it outside the model, or pass a plugin (plugins=)"
_UNKNOWN = "ONNX has no operator {operator}. If it is a plugin's, pass the plugin (plugins=)"
_SEQUENCE = "{library} supports neither sequences nor optional tensors. Export the model so that "\
    "each is a tensor of its own"  # fmt: skip
_STRINGS = "{library} does not support strings. Process them outside the model, before or after it"
_BITS = "{library} has no bitwise operators. Do it outside the model, or write it with Mul, Div "\
    "and Mod"  # fmt: skip
_SCATTER = (
    "{library} supports scatters without a reduction only. If indices do not repeat, gather, add "
    "and scatter instead; otherwise do it outside the model"
)
_KNOWN = {
    "NonZero": _BY_DATA.format(library="{library}", how=" (numpy.nonzero)"),
    "NonMaxSuppression": _BY_DATA.format(
        library="{library}", how=" (torchvision.ops.nms, cv2.dnn.NMSBoxes)"
    ),
    "Unique": _BY_DATA.format(library="{library}", how=" (numpy.unique)").partition(";")[0],
    "Compress": "its condition is not a constant, so the size of its output depends on the data, "
    "which {library} does not support. Fix it with freeze= if it is always the same; otherwise end "
    "the model before this node",
    "ScatterElements": _SCATTER,
    "ScatterND": _SCATTER,
    **dict.fromkeys(
        [
            "SequenceAt",
            "SequenceConstruct",
            "SequenceEmpty",
            "SequenceErase",
            "SequenceInsert",
            "SequenceLength",
            "SequenceMap",
            "SplitToSequence",
            "ConcatFromSequence",
            "Optional",
            "OptionalGetElement",
            "OptionalHasElement",
        ],
        _SEQUENCE,
    ),
    **dict.fromkeys(
        [
            "StringConcat",
            "StringNormalizer",
            "StringSplit",
            "RegexFullMatch",
            "TfIdfVectorizer",
            "LabelEncoder",
            "CategoryMapper",
        ],
        _STRINGS,
    ),
    **dict.fromkeys(["BitShift", "BitwiseAnd", "BitwiseNot", "BitwiseOr", "BitwiseXor"], _BITS),
}
_NO_OUTPUTS = "the graph has no outputs: name them in graph.output"
_DOMAINS = {
    "com.microsoft": "an operator of ONNX Runtime, which no TensorRT has. ONNX Runtime's "
    "optimizations or quantization add it: export the model without them",
    "ai.onnx.ml": "an operator for classical machine learning, which no TensorRT has: run it with "
    'device="cpu", or outside the model',
}
_NO_OPERATOR = re.compile(r"^false$|^Op type \w+ is not supported|No importer registered for op")
_NO_PLUGIN = re.compile(r"not found in plugin registry", re.IGNORECASE)
_TYPE = re.compile(r"Found unsupported input type of (\w+)")
_CLAIM = re.compile(r'^.* && "(?P<text>.+)"$', re.DOTALL)
_ASSERTION = re.compile(r"^Assertion failed: .+?: (?P<text>[A-Z].+)$", re.DOTALL)
_WEIGHT = re.compile(r"Failed to import initializer: (\S+)\s*$")
_NARROW_END = re.compile(
    r"Tensor (?P<name>\S+) has datatype (?P<type>\w+) but is not (consumed|produced)"
)
_PLACES = re.compile(r"\s*In \S+ at \S+:\d+")
_NO_DRIVER = re.compile(r"\n?\[[^\n]*cudaError 35: [^\n]*")


def explain(
    issue: ParseIssue, node: "onnx.NodeProto | None", model: "onnx.ModelProto", library: str
) -> list[ParseIssue]:
    """Explain why the parser refuses something, and what to do about it where that is known.

    Args:
        issue: reported by the parser, about the node if there is one.
        node: the node as it was parsed.
        model: the model that was parsed.
        library: the library's name.

    Returns:
        The issue, or several for one that TensorRT does not locate.
    """
    if node is not None:
        return [issue._replace(reason=_of_node(issue.reason, node, model, library))]
    reasons = list(_of_model(issue.reason, model, library)) or [plain(issue.reason)]
    return [ParseIssue(-1, "", "", reason) for reason in dict.fromkeys(reasons)]


def without_driver_errors(text: str) -> str:
    """Remove CUDA errors that only report a missing driver from TensorRT's message."""
    return _NO_DRIVER.sub("", text) if _core.driver_problem() else text


def plain(reason: str) -> str:
    """Remove places in TensorRT's source and `_NO_DRIVER` from its message."""
    reason = without_driver_errors(reason)
    lines = _PLACES.sub("", reason).strip().splitlines()
    if len(lines) > 1 and lines[0].startswith("Invalid Node - "):
        del lines[0]
    text = "\n".join(lines)
    for pattern in (_CLAIM, _ASSERTION):
        if match := pattern.match(text):
            text = match["text"]
    return text


def explain_build(reason: str, model: "onnx.ModelProto", library: str) -> str:
    """Explain why a network does not build, and what to do about it; empty if unknown.

    Args:
        reason: TensorRT's message.
        model: the model that was parsed.
        library: the library's name.
    """
    nodes = [node for node in all_nodes(model) if node.domain in ONNX_DOMAINS]
    if "has no runners that implement it" in reason or "getSupportedFormats" in reason:
        for node in nodes:
            if node.op_type in ("NonMaxSuppression", "NonZero"):
                name = node.name or node.output[0]
                return f"{name} ({node.op_type}): {_KNOWN[node.op_type].format(library=library)}"
    if match := _NARROW_END.search(reason):
        return (
            f"{match['name']} is {match['type'].lower()}, which {library} supports only where "
            "values are quantized or dequantized: declare it as a wider type, and cast it within "
            "the model"
        )
    return ""


def _of_node(reason: str, node: "onnx.NodeProto", model: "onnx.ModelProto", library: str) -> str:
    import onnx

    known = _KNOWN.get(node.op_type) if node.domain in ONNX_DOMAINS else None
    if match := _NO_OPERATOR.search(reason):
        if node.domain not in ONNX_DOMAINS:
            text = _DOMAINS.get(
                node.domain, f"of the domain {node.domain}, which {library} does not have"
            )
            return f"{node.op_type} is {text}. If it is a plugin's, pass the plugin (plugins=)"
        is_onnxs = onnx.defs.has(node.op_type, "")
        text = known or (_OUTSIDE if is_onnxs else _UNKNOWN)
        return text.format(library=library, operator=node.op_type)
    if known and (_NO_PLUGIN.search(reason) or "reduction" in reason):
        return known.format(library=library)
    if match := _TYPE.search(reason):
        return (
            f"{library} does not support it for {match[1].lower()}; cast its inputs to a "
            "floating-point type before the node"
        )
    if node.op_type in ("Cast", "CastLike") and "convertDtype" in reason:
        to = attribute(node, "to", 0)
        return f"it casts to {dtype_name(to)}, a type that {library} does not support"
    if "Node input was not registered" in reason:
        defined = {
            t.name for graph in all_graphs(model) for t in (*graph.initializer, *graph.input)
        }
        defined |= {name for other in all_nodes(model) for name in other.output}
        missing = [name for name in node.input if name and name not in defined]
        if missing:
            names = ", ".join(missing)
            return f"its input {names} is not a node's output, a graph input or an initializer"
    return plain(reason)


def _of_model(reason: str, model: "onnx.ModelProto", library: str) -> "Iterator[str]":
    if not model.graph.output:
        yield _NO_OUTPUTS
    if "convertOnnxDims" in reason:
        for value in model.graph.input:
            axes = len(value.type.tensor_type.shape.dim)
            if axes > MAX_AXES:
                yield f"input {value.name} has {axes} axes; {library} supports {MAX_AXES} at most"
    if "onnxDtype" in reason:
        yield from _unsupported_inputs(model, library)
    if (match := _WEIGHT.search(reason.split("\n")[0])) is not None:
        types = {t.name: t.data_type for graph in graphs_of(model.graph) for t in graph.initializer}
        if match[1] in types and not _is_supported(types[match[1]]):
            name = dtype_name(types[match[1]])
            yield f"the constant {match[1]} is {name}, a type that {library} does not support"


def _unsupported_inputs(model: "onnx.ModelProto", library: str) -> "Iterator[str]":
    """Name the inputs whose type no TensorRT supports, and what to declare instead."""
    from onnx import TensorProto

    wider = {
        TensorProto.INT16: "int32", TensorProto.UINT16: "int32", TensorProto.UINT32: "int64",
        TensorProto.UINT64: "int64 (if all values fit)",
        TensorProto.FLOAT8E5M2: "float16",
    }  # fmt: skip
    for value in model.graph.input:
        if not value.type.HasField("tensor_type"):
            yield f"input {value.name} is {_kind_of(value)}; {library} supports only tensors"
            continue
        dtype = value.type.tensor_type.elem_type
        if _is_supported(dtype):
            continue
        text = f"input {value.name} is {dtype_name(dtype)}, a type that {library} does not support"
        if dtype in wider:
            text += f"; declare it as {wider[dtype]} in the model, and pass that"
        elif dtype == TensorProto.STRING:
            text += "; process strings before the model"
        yield text


def _is_supported(dtype: int) -> bool:
    """Return whether every TensorRT supports a type for inputs and constants."""
    from onnx import TensorProto

    return dtype in {
        TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE,
        TensorProto.INT8, TensorProto.INT32, TensorProto.INT64, TensorProto.UINT8,
        TensorProto.BOOL,
    }  # fmt: skip


def _kind_of(value: "onnx.ValueInfoProto") -> str:
    kind = (value.type.WhichOneof("value") or "").removesuffix("_type")
    return {"": "of unknown type", "optional": "an optional"}.get(kind, f"a {kind}")


def interface_problems(model: "onnx.ModelProto") -> "Iterator[str]":
    """Tell why no engine has a model's inputs and outputs, on the CPU neither, if that is so."""
    if not model.graph.output:
        yield _NO_OUTPUTS
    for end, values in (("input", model.graph.input), ("output", model.graph.output)):
        for value in values:
            if value.type.WhichOneof("value") not in (None, "tensor_type"):
                yield f"{end} {value.name} is {_kind_of(value)}; fasttrt supports only tensors"


def dtype_name(dtype: int) -> str:
    """Return the name of a value of ``TensorProto.DataType``, such as ``"float16"``."""
    from onnx import TensorProto

    if dtype == TensorProto.FLOAT:
        return "float32"
    if dtype == TensorProto.DOUBLE:
        return "float64"
    try:
        return str(TensorProto.DataType.Name(dtype)).lower()
    except ValueError:
        return f"an unknown type ({dtype})"
