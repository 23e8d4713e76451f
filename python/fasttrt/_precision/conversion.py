"""Convert a float32 model to one that computes in float16 or bfloat16."""

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
from fasttrt._precision.rules import Sensitivity
from fasttrt._precision.scales import Scales, faint
from fasttrt._precision.scopes import Changes
from fasttrt.errors import BuildError, InputError

if TYPE_CHECKING:
    import onnx

REFUSED = "TensorRT does not parse it in 16 bits"
"""The reason for keeping a node that is among ``refused``."""

# The first opsets in which ONNX has all operators in bfloat16, and scales of float16.
_BF16_OPSET, _QUANTIZED_OPSET = 22, 19


def convert_model(
    model: OnnxModel,
    precision: Literal["fp16", "bf16"],
    *,
    keep_fp32: Sequence[str] = (),
    convert_io: bool = False,
    refused: Collection[str] = (),
    placement: str = DEFAULT,
) -> tuple[OnnxModel, Changes]:
    """Convert a model to 16 bits wherever that is safe according to `fasttrt._precision.rules`.

    Pairs of QuantizeLinear and DequantizeLinear stay; their scales are rounded like other
    constants. Tensors of float16, bfloat16 or float64 keep their type.

    Args:
        model: the model, without local functions; it is not changed.
        precision: the precision to convert to.
        keep_fp32: what to keep in float32: names of operators (``"Softmax"``), of nodes, or of the
            nodes' outputs.
        convert_io: whether to convert float32 inputs and outputs too.
        refused: names of nodes that TensorRT cannot parse in that type.
        placement: where the casts go, one of `fasttrt._precision.placements`.

    Returns:
        The model, checked by ONNX if the original passes its check, and what was changed.

    Raises:
        InputError: ``keep_fp32`` contains an unknown name.
        BuildError: nothing can compute in that type, or ONNX cannot convert or check the model.
    """
    dtype = np.dtype(getattr(ml_dtypes, DTYPES[precision], DTYPES[precision]))
    weights = model.weights
    opset = _min_opset(model, precision)
    proto = _prepare(with_weight_inputs(model.skeleton), opset, precision)
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
        logger.warning("%s", _faint_warning(changes.faint))
    if not changes.converted and not was_reduced:
        why = "".join(f"\n  {name} ({reason})" for name, reason in changes.kept.items())
        raise BuildError(
            f'precision="{precision}": nothing in the model can compute in {dtype}{why}'
        )
    problem = _problem(with_weight_inputs(proto))
    # If ONNX cannot check the original either (plugins' operators, outputs without a shape), that
    # is left to TensorRT's parser.
    if problem and not _problem(_prepare(with_weight_inputs(model.skeleton), opset, precision)):
        raise BuildError(f'precision="{precision}": the converted model is not valid: {problem}')
    weights.load_external(proto)
    return model.changed(proto, _lines(changes, f'precision="{precision}"')), changes


def _lines(changes: Changes, option: str) -> list[str]:
    """Summarize the changes for the log and the plan, which also lists the nodes."""
    reasons = Counter(changes.kept.values())
    kept = "".join(f"; kept in float32: {n} x {why}" for why, n in reasons.most_common())
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
    """Find the tensors whose values are expected to be lost in float16."""
    tensors = (*graph.initializer, *large)
    return faint(graph.node, Scales(graph, weights.array).expected(graph.node, tensors))


def _faint_warning(sizes: Mapping[str, float]) -> str:
    """Return the warning about tensors whose values are expected to be lost."""
    first, smallest = next(iter(sizes)), min(sizes, key=lambda name: sizes[name])
    return (
        f"float16 keeps few bits or none of {len(sizes)} tensors, from {first} on: judging by the "
        f"model's weights, their values are about {sizes[first]:.1g} there and "
        f"{sizes[smallest]:.1g} at {smallest}, while float16 rounds values below 6e-8 to zero. "
        'Results may no longer depend on the inputs; bfloat16 (precision="bf16") has the range'
    )


def _min_opset(model: OnnxModel, precision: str) -> int:
    if precision == "bf16":
        return _BF16_OPSET
    return _QUANTIZED_OPSET if model.is_quantized else 0


def _prepare(proto: "onnx.ModelProto", opset: int, precision: str) -> "onnx.ModelProto":
    """Convert a model to at least that opset, and infer the types of all tensors."""
    import onnx

    try:
        if 0 < onnx_version(proto.opset_import) < opset:
            proto = onnx.version_converter.convert_version(proto, opset)
        return onnx.shape_inference.infer_shapes(proto)
    except Exception as error:  # of several classes, RuntimeError among them
        raise BuildError(
            f'precision="{precision}": ONNX cannot prepare the model (opset {opset}): {error}'
        ) from error


def _problem(proto: "onnx.ModelProto") -> str:
    """Return what ONNX's checker and its type inference report; empty if nothing."""
    import onnx

    try:
        onnx.checker.check_model(proto)
        onnx.shape_inference.infer_shapes(proto, check_type=True, strict_mode=True)
    except Exception as error:  # of several classes
        return str(error) or type(error).__name__
    return ""


def _computes_in(graph: "onnx.GraphProto", precision: str) -> bool:
    """Return whether the original model has tensors of that type."""
    from onnx import TensorProto

    element_type = TensorProto.FLOAT16 if precision == "fp16" else TensorProto.BFLOAT16
    values = (*graph.input, *graph.value_info, *graph.output)
    return any(value.type.tensor_type.elem_type == element_type for value in values)


class _Keep:
    """Decides which nodes are kept in float32, and records which names of the user matched."""

    def __init__(
        self,
        names: Sequence[str],
        refused: Collection[str],
        wide: Collection[str],
        placed: Collection[str],
    ) -> None:
        self._names, self._refused = set(names), refused
        self._wide, self._placed = wide, placed
        self._unmatched = set(names)

    def __call__(self, node: "onnx.NodeProto") -> tuple[str, Sensitivity] | None:
        """Return why a node is kept, and its result's sensitivity; None if it may be converted."""
        hits = self._names & {node.name, node.op_type, *node.output}
        self._unmatched -= hits
        if node.name in self._wide:
            return "it computes with integers", Sensitivity.NONE
        if node.name in self._refused:
            return REFUSED, Sensitivity.NONE
        if hits:
            return "keep_fp32 names it", Sensitivity.RANGE
        return (REASON, Sensitivity.NONE) if node.name in self._placed else None

    def check(self) -> None:
        """Raise an InputError if a name of the user matches nothing."""
        if self._unmatched:
            raise InputError(
                "keep_fp32: the model has no operator, node or tensor named "
                f"{', '.join(sorted(self._unmatched))}"
            )


def _name_nodes(graph: "onnx.GraphProto") -> None:
    """Name all unnamed nodes after their first output."""
    for node in with_inner(graph.node):
        if not node.name:
            node.name = next(filter(None, node.output), "")
