"""A model that computes in float16 or bfloat16, from one that computes in float32."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Literal

import ml_dtypes
import numpy as np

from fasttrt._common.log import logger
from fasttrt._graph.model import OnnxModel
from fasttrt._graph.opset import onnx_version
from fasttrt._graph.traversal import with_inner
from fasttrt._graph.weights import Weights, becomes_input, with_weight_inputs
from fasttrt._precision import DTYPES
from fasttrt._precision.placements import DEFAULT, REASON, float32_nodes
from fasttrt._precision.rewriter import Rewriter
from fasttrt._precision.rules import Kind
from fasttrt._precision.scales import Scales, faint
from fasttrt._precision.scopes import Changes
from fasttrt.errors import BuildError, InputError

if TYPE_CHECKING:
    import onnx

REFUSED = "TensorRT does not parse it in 16 bits"
"""Why a node is kept that is among those ``refused``."""

# From these on ONNX has all operators that compute in bfloat16; and scales of float16.
_BF16_OPSET, _QUANTIZED_OPSET = 22, 19


def converted(
    model: OnnxModel,
    precision: Literal["fp16", "bf16"],
    *,
    keep_fp32: Sequence[str] = (),
    convert_io: bool = False,
    refused: Collection[str] = (),
    placement: str = DEFAULT,
) -> tuple[OnnxModel, Changes]:
    """The same model, computing in 16 bits wherever that is safe by `fasttrt._precision.rules`.

    Pairs of QuantizeLinear and DequantizeLinear stay, their scales are rounded like other
    constants. What is of float16, bfloat16 or float64 in the model stays so.

    Args:
        model: the model, its local functions written out; it stays as it is.
        precision: of what to compute in.
        keep_fp32: nodes that stay in float32: names of operators (``"Softmax"``), of nodes, or of
            the tensors that nodes give.
        convert_io: whether float32 inputs and outputs get that type too.
        refused: names of nodes that TensorRT has refused to do in that type.
        placement: where the casts go, one of `fasttrt._precision.placements`.

    Returns:
        The model, checked by ONNX if the given one passes that, and what was done.

    Raises:
        InputError: ``keep_fp32`` names what is not there.
        BuildError: nothing can compute in that type, or ONNX cannot convert or check the model.
    """
    dtype = np.dtype(getattr(ml_dtypes, DTYPES[precision], DTYPES[precision]))
    weights = model.weights
    opset = _least_opset(model, precision)
    proto = _prepared(with_weight_inputs(model.skeleton), opset, precision)
    _name_nodes(proto.graph)
    placed = float32_nodes(proto.graph, placement)
    keep = _Keep(keep_fp32, refused, model.wide, placed)
    large = [tensor for tensor in model.skeleton.graph.initializer if becomes_input(tensor)]
    small = _faint(proto.graph, large, weights) if precision == "fp16" else {}
    was_reduced = _computes_in(proto.graph, precision)
    rewriter = Rewriter(proto, dtype, keep, weights.array)
    rewriter.rewrite(proto.graph, large, convert_io)
    keep.check()
    changes = rewriter.changes
    changes.placement = placement
    changes.faint = {name: size for name, size in small.items() if name in rewriter.reduced}
    if changes.faint:
        logger.warning("%s", _faint_line(changes.faint))
    if not changes.converted and not was_reduced:
        why = "".join(f"\n  {name} ({reason})" for name, reason in changes.kept.items())
        raise BuildError(
            f'precision="{precision}": nothing in the model can compute in {dtype}{why}'
        )
    problem = _problem(with_weight_inputs(proto))
    # What ONNX cannot check as it was given (operators of plugins, outputs without a shape) is for
    # TensorRT's parser to judge.
    if problem and not _problem(_prepared(with_weight_inputs(model.skeleton), opset, precision)):
        raise BuildError(f'precision="{precision}": the converted model is not valid: {problem}')
    weights.load_external(proto)
    return model.changed(proto, _lines(changes, f'precision="{precision}"')), changes


def _lines(changes: Changes, option: str) -> list[str]:
    """What was done, for the log and the plan; the plan has the nodes besides."""
    reasons = Counter(changes.kept.values())
    kept = "".join(f"; in float32 stay {n} x {why}" for why, n in reasons.most_common())
    lines = [f"{option}: {changes.converted} operators converted, in opset {changes.opset}{kept}"]
    if changes.placement != DEFAULT:
        lines.append(f"{option}: casts are placed {changes.placement}: {REASON}")
    if changes.zeroed:
        elements = sum(changes.zeroed.values())
        lines.append(
            f"{option}: {elements} elements of {len(changes.zeroed)} constants became zero, each "
            "next to much larger ones"
        )
    return lines


def _faint(
    graph: "onnx.GraphProto", large: "Sequence[onnx.TensorProto]", weights: Weights
) -> dict[str, float]:
    """Tensors of which float16 is expected to keep next to nothing."""
    tensors = (*graph.initializer, *large)
    return faint(graph.node, Scales(graph, weights.array).expected(graph.node, tensors))


def _faint_line(sizes: Mapping[str, float]) -> str:
    """What the log says of them."""
    first, smallest = next(iter(sizes)), min(sizes, key=lambda name: sizes[name])
    return (
        f"float16 has few bits or none left of {len(sizes)} tensors, from {first} on: by the "
        f"model's weights their values are about {sizes[first]:.1g} there and "
        f"{sizes[smallest]:.1g} at {smallest}, while float16 makes zero of what is below 6e-8. "
        'Results may not depend on the inputs any more; bfloat16 (precision="bf16") has the range'
    )


def _least_opset(model: OnnxModel, precision: str) -> int:
    if precision == "bf16":
        return _BF16_OPSET
    return _QUANTIZED_OPSET if model.is_quantized else 0


def _prepared(proto: "onnx.ModelProto", opset: int, precision: str) -> "onnx.ModelProto":
    """Of that opset at least, and with the types of all tensors."""
    import onnx

    try:
        if 0 < onnx_version(proto.opset_import) < opset:
            proto = onnx.version_converter.convert_version(proto, opset)
        return onnx.shape_inference.infer_shapes(proto)
    except Exception as error:  # of several classes, RuntimeError among them
        raise BuildError(
            f'precision="{precision}": ONNX cannot make the model ready (opset {opset}): {error}'
        ) from error


def _problem(proto: "onnx.ModelProto") -> str:
    """What ONNX's checker and its inference of types, which sees where two meet, have against it.

    Empty if nothing.
    """
    import onnx

    try:
        onnx.checker.check_model(proto)
        onnx.shape_inference.infer_shapes(proto, check_type=True, strict_mode=True)
    except Exception as error:  # of several classes
        return str(error) or type(error).__name__
    return ""


def _computes_in(graph: "onnx.GraphProto", precision: str) -> bool:
    """Whether the model itself had such tensors."""
    from onnx import TensorProto

    wanted = TensorProto.FLOAT16 if precision == "fp16" else TensorProto.BFLOAT16
    values = (*graph.input, *graph.value_info, *graph.output)
    return any(value.type.tensor_type.elem_type == wanted for value in values)


class _Keep:
    """Says of a node why it shall stay in float32, and remembers what of the user's list it saw."""

    def __init__(
        self,
        wanted: Sequence[str],
        refused: Collection[str],
        wide: Collection[str],
        placed: Collection[str],
    ) -> None:
        self._wanted, self._refused = set(wanted), refused
        self._wide, self._placed = wide, placed
        self._left = set(wanted)

    def __call__(self, node: "onnx.NodeProto") -> tuple[str, Kind] | None:
        """The reason, and what that tells of the result; None if the node may be converted."""
        hits = self._wanted & {node.name, node.op_type, *node.output}
        self._left -= hits
        if node.name in self._wide:
            return "it computes with integers", Kind.PLAIN
        if node.name in self._refused:
            return REFUSED, Kind.PLAIN
        if hits:
            return "keep_fp32 names it", Kind.DELICATE
        return (REASON, Kind.PLAIN) if node.name in self._placed else None

    def check(self) -> None:
        """Raise InputError for what no node is called."""
        if self._left:
            raise InputError(
                "keep_fp32: expected names of operators, of nodes or of what nodes give, got "
                f"{', '.join(sorted(self._left))}, which the model has not"
            )


def _name_nodes(graph: "onnx.GraphProto") -> None:
    """Names for all nodes, by what they give, so that they can be told apart."""
    for node in with_inner(graph.node):
        if not node.name:
            node.name = next(filter(None, node.output), "")
