"""Which operators of an ONNX graph may compute in 16 bits, and which constants survive there.

float16 ends at 65504 and is exact to 11 bits from 6.1e-5 upwards; bfloat16 has float32's range and
8 bits. So what may leave the range, or needs more bits than the 16-bit type has, stays in float32,
and so does what goes on with its result until that is back in range.
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


class Kind(IntEnum):
    """What is known of a float32 value that matters to whoever would round it to 16 bits."""

    PLAIN = 0
    DELICATE = 1
    """The result of an operator of `DELICATE`, or of a constant that 16 bits lose: it may be too
    large or too small for them until it has been divided, multiplied or taken the logarithm of."""
    INTEGER = 2
    """Comes from integers, such as positions: may need more bits, or exceed the range."""
    HUGE = 3
    """Comes from a constant beyond the range, such as a mask's -1e9."""


def _operators(*lines: str) -> frozenset[str]:
    return frozenset(" ".join(lines).split())


DELICATE = _operators(
    # Powers, sums of many terms, and functions that grow fast.
    "CumSum Det Exp GlobalLpPool Log LogSumExp LpNormalization LpPool LRN",
    "MeanVarianceNormalization Mod Pow ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMean",
    "ReduceProd ReduceSum ReduceSumSquare Reciprocal Softplus Cosh Sinh Tan",
    # Arguments that need all their bits: angles, coordinates, time.
    "AffineGrid Cos DFT GridSample MaxRoiPool MelWeightMatrix Range RoiAlign Sin STFT",
)
"""Operators that stay in float32."""

LACKING = {"bfloat16": _operators("ConvTranspose HardSwish")}
"""Operators for which TensorRT lacks a type (measured with TensorRT-RTX 1.6.1)."""

_CARRY_DELICATE = DELICATE | _operators("Abs Add Clip Div Max Mean Min Mul Neg Relu Sqrt Sub Sum")
_END_DELICATE = _operators("Div Log Mul")

_END_ALL = _operators(
    # Their results are in range whatever comes in, or are sums that nothing is known of.
    "Atan Attention BatchNormalization Conv ConvTranspose Cos Einsum Erf Gemm GroupNormalization",
    "GRU Hardmax HardSigmoid InstanceNormalization LayerNormalization LogSoftmax LpNormalization",
    "LSTM MatMul QuantizeLinear RMSNormalization RNN Sigmoid Sign Sin Softmax Softsign Tanh",
)

BOUNDED = _operators("Atan Cos Erf Hardmax HardSigmoid Sigmoid Sign Sin Softmax Softsign Tanh")
"""Operators whose results lie within a few units of zero, so that 16 bits always hold them."""

FOLLOWS = _operators(
    # They move, choose or compare values, so they take them in the type they have.
    "Cast CastLike Compress Concat DepthToSpace Equal Expand Flatten Gather GatherElements",
    "GatherND Greater GreaterOrEqual Identity IsInf IsNaN Less LessOrEqual NonZero Pad Reshape",
    "ReverseSequence Slice SpaceToDepth Split Squeeze TensorScatter Tile Transpose Trilu",
    "Unsqueeze Where",
)

WIDE_WITHIN = _operators("Scan")
"""Operators whose inner graphs stay in float32: TensorRT-RTX 1.6.1 cannot build Casts in them."""

FOLLOWS_FIRST = _operators("TensorScatter")
"""Operators that follow their first input alone: TensorRT wants the network's own there."""

_ELEMENTWISE = FOLLOWS | _operators("Abs Add Div Max Min Mul Neg Sub Sum")


def exact_inputs(operator: str, inputs: Sequence[str], passes_on: bool) -> Sequence[str]:
    """Which inputs keep all their bits: angles and coordinates, and what these are computed from.

    Args:
        operator: of the node.
        inputs: of the node.
        passes_on: whether one of its results is such an input.
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
"""Operators, and which of their inputs must not lose a single small element: divisors, scales."""

_SUMS = _operators("Add Sub Sum")


def guarded_inputs(operator: str, inputs: Sequence[str], passes_on: bool) -> Sequence[str]:
    """Give the inputs whose small elements matter: divisors and the like, and what makes them.

    Args:
        operator: of the node.
        inputs: of the node.
        passes_on: whether one of its results is such an input.
    """
    if passes_on and operator not in _END_ALL:
        return inputs
    return [inputs[i] for i in _EACH_COUNTS.get(operator, ()) if i < len(inputs)]


def next_kind(operator: str, worst: Kind) -> Kind:
    """What is known of the result of a node that is kept in float32 for its inputs' sake."""
    if operator in _END_ALL:
        return Kind.PLAIN
    if worst == Kind.DELICATE and operator in _END_DELICATE:
        return Kind.PLAIN
    return worst


def carries_delicate(operator: str) -> bool:
    """Whether a node goes on in float32 with an input that is `Kind.DELICATE`."""
    return operator in _CARRY_DELICATE


_OWN_TYPES = _operators(
    # What their results are depends on the input's bits, or on an attribute that may be left out.
    "Bernoulli BitCast EyeLike Optional OptionalGetElement RandomNormalLike RandomUniformLike",
)


@dataclass(frozen=True)
class Loss:
    """What rounding does to a constant."""

    kind: Kind
    why: str


def loss(
    values: Array, dtype: np.dtype[Any], operator: str, index: int, is_guarded: bool = True
) -> Loss | None:
    """What a node would lose if its constant input ``index`` were rounded; None if nothing matters.

    Elements that vanish next to much larger ones are no loss where products are summed, as each
    then is below half a unit in the last place of the largest. Nor are small addends, as the sum is
    rounded as coarsely, unless the result ``is_guarded`` (see `guarded_inputs`): an epsilon that
    keeps a divisor from zero.
    """
    limits: Any = ml_dtypes.finfo(dtype)  # type: ignore[no-untyped-call]
    largest, tiny = float(limits.max), float(limits.smallest_normal)
    sizes = np.abs(values)
    most = sizes.max(initial=0)
    if not np.isfinite(most):
        sizes = sizes[np.isfinite(sizes)]
        most = sizes.max(initial=0)
    if most == 0:
        return None
    with np.errstate(over="ignore"):
        is_infinite = np.isinf(most.astype(dtype))
    if is_infinite and not _is_open_bound(values, operator, index):
        return Loss(
            Kind.HUGE, f"a constant of {most:.3g} is beyond {dtype}, which ends at {largest:.5g}"
        )
    each = index in _EACH_COUNTS.get(operator, ())
    least = float(sizes[sizes > 0].min() if each else most)
    if least < tiny and (is_guarded or operator not in _SUMS):
        return Loss(Kind.DELICATE, f"a constant of {least:.3g} is too small for {dtype}")
    return None


def _is_open_bound(values: Array, operator: str, index: int) -> bool:
    """A bound of Clip that no 16-bit number reaches: infinity does the same."""
    return operator == "Clip" and bool(np.all(values < 0) if index == 1 else np.all(values > 0))


@dataclass(frozen=True)
class Slots:
    """Which inputs and outputs of an operator may be of the 16-bit type, by its definition."""

    inputs: tuple[bool, ...]
    outputs: tuple[bool, ...]

    def takes(self, index: int) -> bool:
        """Whether that input may; the last one of the definition may be variadic."""
        return self.inputs[min(index, len(self.inputs) - 1)] if self.inputs else False

    def gives(self, index: int) -> bool:
        """Whether that output then is."""
        return self.outputs[min(index, len(self.outputs) - 1)] if self.outputs else False


@cache
def slots(operator: str, domain: str, version: int, dtype: str) -> Slots | None:
    """By ONNX's own definition; None for an operator of others, or with rules of its own."""
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
    # A type that no input has is an attribute's choice, which stays.
    given = {formal.type_str for formal in schema.inputs}
    if operator == "DequantizeLinear":  # the scale's type, or see Rewriter
        given |= {formal.type_str for formal in schema.outputs}
    outputs = tuple(f.type_str in free and f.type_str in given for f in schema.outputs)
    return Slots(inputs, outputs)
