"""Rules: which operators may compute in 16 bits, and which constants can be rounded to 16 bits.

float16 has a maximum of 65504 and 11 bits of precision from 6.1e-5 upwards; bfloat16 has float32's
range and 8 bits. So operators that may exceed the range, or need more precision, stay in float32,
and so do the operators that use their results, until these are back in range.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import cache
from typing import Any

import ml_dtypes
import numpy as np

from fasttrt._common.host_array import Array
from fasttrt._graph.traversal import ONNX_DOMAINS


class Sensitivity(IntEnum):
    """What makes it unsafe to round a float32 value to 16 bits."""

    NONE = 0
    RANGE = 1
    """Computed by one of `RANGE_SENSITIVE_OPS`, or from a constant that 16 bits cannot represent:
    it may be out of range until it is divided, multiplied or its logarithm is taken."""
    INTEGER = 2
    """Computed from integers, such as positions: may need more bits, or exceed the range."""
    OVERFLOW = 3
    """Computed from a constant beyond the range, such as a mask's -1e9."""


def _operators(*lines: str) -> frozenset[str]:
    return frozenset(" ".join(lines).split())


RANGE_SENSITIVE_OPS = _operators(
    # Powers, sums of many terms, and functions that grow fast.
    "CumSum Det Exp GlobalLpPool Log LogSumExp LpNormalization LpPool LRN",
    "MeanVarianceNormalization Mod Pow ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMean",
    "ReduceProd ReduceSum ReduceSumSquare Reciprocal Softplus Cosh Sinh Tan",
    # Arguments that need full precision: angles, coordinates, time.
    "AffineGrid Cos DFT GridSample MaxRoiPool MelWeightMatrix Range RoiAlign Sin STFT",
)
"""Operators that stay in float32."""

UNSUPPORTED_OPS = {"bfloat16": _operators("HardSwish")}
"""Operators that TensorRT does not support in a type (measured with TensorRT-RTX 1.6.1)."""

_PROPAGATE_RANGE = RANGE_SENSITIVE_OPS | _operators(
    "Abs Add Clip Div Max Mean Min Mul Neg Relu Sqrt Sub Sum"
)
_END_RANGE = _operators("Div Log Mul")

_END_ALL = _operators(
    # Their results are in range whatever the inputs are, or are sums of unknown size.
    "Atan Attention BatchNormalization Conv ConvTranspose Cos Einsum Erf Gemm GroupNormalization",
    "GRU Hardmax HardSigmoid InstanceNormalization LayerNormalization LogSoftmax LpNormalization",
    "LSTM MatMul QuantizeLinear RMSNormalization RNN Sigmoid Sign Sin Softmax Softsign Tanh",
)

BOUNDED_OPS = _operators("Atan Cos Erf Hardmax HardSigmoid Sigmoid Sign Sin Softmax Softsign Tanh")
"""Operators whose results lie within a few units of zero, so that 16 bits always hold them."""

TYPE_PRESERVING_OPS = _operators(
    # They move, select or compare values, and so keep the type of their inputs.
    "Cast CastLike Compress Concat DepthToSpace Equal Expand Flatten Gather GatherElements",
    "GatherND Greater GreaterOrEqual Identity IsInf IsNaN Less LessOrEqual NonZero Pad Reshape",
    "ReverseSequence Slice SpaceToDepth Split Squeeze TensorScatter Tile Transpose Trilu",
    "Unsqueeze Where",
)

FP32_SUBGRAPH_OPS = _operators("Scan")
"""Operators whose subgraphs stay in float32: TensorRT-RTX 1.6.1 cannot build Casts in them."""

TYPE_FROM_FIRST_INPUT_OPS = _operators("TensorScatter")
"""Operators with the type of their first input, where TensorRT requires the network's own."""

_ELEMENTWISE = TYPE_PRESERVING_OPS | _operators("Abs Add Div Max Min Mul Neg Sub Sum")


def exact_inputs(operator: str, inputs: Sequence[str], passes_on: bool) -> Sequence[str]:
    """Return the inputs that need full precision: angles, coordinates, and what they come from.

    Args:
        operator: the node's operator.
        inputs: the node's inputs.
        passes_on: whether one of its outputs is such an input of another node.
    """
    if operator in ("Sin", "Cos", "Tan", "NonMaxSuppression"):
        return inputs
    if operator in ("GridSample", "RoiAlign"):
        return inputs[1:]
    return inputs if passes_on and operator in _ELEMENTWISE else ()


_EACH_COUNTS = {
    "Div": (1,), "Pow": (0, 1), "Log": (0,), "Reciprocal": (0,), "Sqrt": (0,),
    "QuantizeLinear": (1,), "DequantizeLinear": (1,),
}  # fmt: skip
"""Inputs of operators of which no small element may become zero: divisors, scales."""

_SUMS = _operators("Add Sub Sum")


def guarded_inputs(operator: str, inputs: Sequence[str], passes_on: bool) -> Sequence[str]:
    """Return the inputs whose small elements matter: divisors, scales, and what they come from.

    Args:
        operator: the node's operator.
        inputs: the node's inputs.
        passes_on: whether one of its outputs is such an input of another node.
    """
    if passes_on and operator not in _END_ALL:
        return inputs
    return [inputs[i] for i in _EACH_COUNTS.get(operator, ()) if i < len(inputs)]


def propagate(operator: str, worst: Sensitivity) -> Sensitivity:
    """Return the sensitivity of the result of a node that its inputs keep in float32."""
    if operator in _END_ALL:
        return Sensitivity.NONE
    if worst == Sensitivity.RANGE and operator in _END_RANGE:
        return Sensitivity.NONE
    return worst


def propagates_range(operator: str) -> bool:
    """Return whether a node with an input of `Sensitivity.RANGE` stays in float32."""
    return operator in _PROPAGATE_RANGE


_OWN_TYPES = _operators(
    # Their result type depends on the input's bits, or on an attribute that may be absent.
    "Bernoulli BitCast EyeLike Optional OptionalGetElement RandomNormalLike RandomUniformLike",
)


@dataclass(frozen=True)
class Loss:
    """Why a constant cannot be rounded to 16 bits."""

    kind: Sensitivity
    why: str


def loss(
    values: Array, dtype: np.dtype[Any], operator: str, index: int, is_guarded: bool = True
) -> Loss | None:
    """Return what a node would lose if its constant input ``index`` were rounded; None if nothing.

    Elements that become zero beside much larger ones are no loss where products are summed, as each
    is below half a unit in the last place of the largest. Nor are small addends, as the sum is
    rounded as coarsely, unless the result ``is_guarded`` (see `guarded_inputs`): an epsilon that
    prevents a division by zero.
    """
    limits: Any = ml_dtypes.finfo(dtype)  # type: ignore[no-untyped-call]
    largest, tiny = float(limits.max), float(limits.smallest_normal)
    sizes = np.abs(values)
    max_ = sizes.max(initial=0)
    if not np.isfinite(max_):
        sizes = sizes[np.isfinite(sizes)]
        max_ = sizes.max(initial=0)
    if max_ == 0:
        return None
    with np.errstate(over="ignore"):
        is_infinite = np.isinf(max_.astype(dtype))
    if is_infinite and not _is_open_bound(values, operator, index):
        return Loss(
            Sensitivity.OVERFLOW,
            f"a constant of {max_:.3g} is beyond {dtype}, whose maximum is {largest:.5g}",
        )
    each = index in _EACH_COUNTS.get(operator, ())
    min_ = float(sizes[sizes > 0].min() if each else max_)
    if min_ < tiny and (is_guarded or operator not in _SUMS):
        return Loss(Sensitivity.RANGE, f"a constant of {min_:.3g} is too small for {dtype}")
    return None


def _is_open_bound(values: Array, operator: str, index: int) -> bool:
    """Return whether a constant is a bound of Clip beyond all 16-bit numbers, like infinity."""
    return operator == "Clip" and bool(np.all(values < 0) if index == 1 else np.all(values > 0))


@dataclass(frozen=True)
class Slots:
    """The inputs and outputs of an operator that may have the 16-bit type, by its definition."""

    inputs: tuple[bool, ...]
    outputs: tuple[bool, ...]

    def takes(self, index: int) -> bool:
        """Return whether an input may have it; the definition's last input may be variadic."""
        return self.inputs[min(index, len(self.inputs) - 1)] if self.inputs else False

    def gives(self, index: int) -> bool:
        """Return whether an output then has it."""
        return self.outputs[min(index, len(self.outputs) - 1)] if self.outputs else False


@cache
def slots(operator: str, domain: str, version: int, dtype: str) -> Slots | None:
    """Look up ONNX's definition; None for other domains' operators and those with own rules."""
    import onnx

    if domain not in ONNX_DOMAINS or operator in _OWN_TYPES:
        return None
    try:
        schema = onnx.defs.get_schema(operator, version)
    except onnx.defs.SchemaError:
        return None
    both = {f"tensor({dtype})", "tensor(float)"}
    free = {c.type_param_str for c in schema.type_constraints if both <= set(c.allowed_type_strs)}
    inputs = tuple(formal.type_str in free for formal in schema.inputs)
    # A type that no input has is chosen by an attribute, which is not changed.
    given = {formal.type_str for formal in schema.inputs}
    if operator == "DequantizeLinear":  # the scale's type, or see Rewriter
        given |= {formal.type_str for formal in schema.outputs}
    outputs = tuple(f.type_str in free and f.type_str in given for f in schema.outputs)
    return Slots(inputs, outputs)
