"""Decide how far two correct results may be apart.

By default, the limits follow from the rounding of the engine's precision. Each of the ``L``
products, normalizations and softmaxes on the longest path to an output rounds its operands
with a relative error of at most ``u``, the unit roundoff. Such errors are independent enough to add
up as a random walk (Higham and Mary, "A New Approach to Probabilistic Rounding Error Analysis",
SIAM J. Sci. Comput. 41, 2019), so an output is off by about ``u * sqrt(L)`` of its own root mean
square: ``rms``, times the model's own amplification of small changes. So

* an element may be off by ``32 * u * sqrt(L) * (rms + |element|)``,
* the cosine similarity is at least ``1 - (10 * u * sqrt(L))**2 / 2``, which is an error of
  ``10 * u * sqrt(L)`` in the Euclidean norm.

The two factors are measured. In ten trained models, on meaningful inputs, the operands of every
product were rounded to float16 (in seven of them to bfloat16 too) in ONNX Runtime:
no element was off by more than 22.4 in these terms (a text detector, a recurrent state), and no
output by more than 6.4 in the norm.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from numbers import Real
from typing import TYPE_CHECKING, Any, TypeAlias

from fasttrt._accuracy.dataflow import Graph
from fasttrt._common.checks import is_one_of
from fasttrt._graph.model import OnnxModel
from fasttrt._graph.traversal import with_inner
from fasttrt.errors import InputError

if TYPE_CHECKING:
    import onnx

ROUNDOFF = {
    "fp32": 2.0**-17,
    "tf32": 2.0**-11,
    "fp16": 2.0**-11,
    "bf16": 2.0**-8,
    "int8": 2.0**-8,
    "fp8": 2.0**-7,
}
"""Unit roundoffs. Float32's (2**-24) is times 2**7: a sum of 1024 products in another order differs
by sqrt(1024) = 2**5 roundings, and GPUs compute exponentials, divisions and square roots to 2**-22
only. (With 2**-19 one value of a trained model, magika, was 2.6 times beyond on TensorRT-RTX 1.6.1
and an H100; TF32's limit is 64 times as high.) For quantized models, both sides quantize alike, but
what is computed with an error of 2**-11 falls on the other side of a step now and then: of ``s`` in
a share of ``2**-11 / s`` of the elements, which is an error of ``sqrt(2**-11 * s)``. A step of int8
is about 2**-5 of the root mean square (127 of them for a range of 4), one of fp8 2**-3 of the
value."""
FLOAT16_STEP = 2.0**-24
"""The distance between values of float16 near 0."""
_ELEMENT, _NORM = 32, 10
_MAX_TOLERANCE = 0.5  # of rms: beyond it, passing would prove nothing
_SATURATING = frozenset({"Sigmoid", "Softmax", "HardSigmoid"})


@dataclass(frozen=True, kw_only=True)
class Thresholds:
    """The limits within which an output passes. None: it follows from the precision.

    If ``atol`` or ``rtol`` is set, the other one defaults to 0, and the cosine is checked only if
    it is set too.

    Examples:
        >>> limits = fasttrt.Thresholds(atol=1e-3, cosine=0.999)
        >>> fasttrt.compare("m.onnx", x, device="cpu", thresholds=limits).passed
        True
    """

    atol: float | None = None
    """Absolute tolerance: an element may differ by ``atol + rtol * |reference|``."""
    rtol: float | None = None
    """Relative tolerance, see ``atol``. Both apply to integers too, if set."""
    cosine: float | None = None
    """The minimum cosine similarity of any sample."""
    top1: float | None = None
    """The minimum share of rows along the last axis whose largest element is in the same place.
    None: it is reported but not checked, as near ties are common on random inputs."""
    equal: float = 1.0
    """The minimum share of equal elements, for integers, booleans and strings."""
    allow_trivial: bool = False
    """Whether an output passes if there is nothing to compare: no element, no element that is
    finite on both sides, or only zeros in the reference. (Outputs that depend on no input always
    may.)"""
    precision: str | None = None
    """The precision that the limits allow for: ``"fp32"``, ``"tf32"``, ``"fp16"``, ``"bf16"``,
    ``"int8"`` or ``"fp8"``. None: the engine's."""

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            InputError: a value is out of range.
        """
        for name, min_, max_ in (
            ("atol", 0, math.inf), ("rtol", 0, math.inf), ("cosine", -1, 1), ("top1", 0, 1),
            ("equal", 0, 1),
        ):  # fmt: skip
            value = getattr(self, name)
            is_number = isinstance(value, Real) and min_ <= float(value) <= max_
            if value is not None and not is_number:
                raise InputError(
                    f"thresholds: {name}: expected a number from {min_} to {max_}, got {value!r}"
                )
        if not isinstance(self.allow_trivial, bool):
            raise InputError(
                f"thresholds: allow_trivial: expected True or False, got {self.allow_trivial!r}"
            )
        if not is_one_of(self.precision, (None, *ROUNDOFF)):
            raise InputError(
                f"thresholds: precision: expected one of {', '.join(ROUNDOFF)}, "
                f"got {self.precision!r}"
            )


ThresholdsLike: TypeAlias = Thresholds | Mapping[str, Any]
"""`Thresholds`, their fields as a mapping, or a mapping from names of outputs to either."""


@dataclass(frozen=True)
class Limits:
    """The limits of one tensor."""

    atol: float
    rtol: float
    rms_fraction: float
    """An additional absolute tolerance, as a fraction of the reference's root mean square."""
    min_rms: float
    """The root mean square below which the cosine is meaningless."""
    cosine: float | None
    top1: float | None
    equal: float
    integers_exact: bool
    """Whether integers must be equal, as no limit was set for them."""


def parse_thresholds(
    given: ThresholdsLike | None, outputs: Sequence[str]
) -> tuple[Thresholds, dict[str, Thresholds]]:
    """Return the thresholds of all tensors, and those of some outputs by name.

    Raises:
        InputError: a field or an output is unknown, or a value is out of range.
    """
    if given is None:
        return Thresholds(), {}
    if isinstance(given, Mapping) and any(
        isinstance(v, Thresholds | Mapping) for v in given.values()
    ):
        if unknown := given.keys() - set(outputs):
            raise InputError(
                f"thresholds: the model has no output {', '.join(map(str, sorted(unknown)))}; "
                f"it has {', '.join(outputs)}"
            )
        return Thresholds(), {name: _parse_one(value) for name, value in given.items()}
    return _parse_one(given), {}


def _parse_one(given: Any) -> Thresholds:
    if isinstance(given, Thresholds):
        return given
    known = [field.name for field in fields(Thresholds)]
    if not isinstance(given, Mapping) or not given.keys() <= set(known):
        raise InputError(
            f"thresholds: expected fasttrt.Thresholds, or a mapping with any of {', '.join(known)} "
            f"(or such a mapping for each output), got {given!r}"
        )
    return Thresholds(**given)


def limits_for(thresholds: Thresholds, precision: str, graph: Graph, tensor: str) -> Limits:
    """Return the limits of a tensor of a graph that was computed in a precision."""
    given = thresholds.atol is not None or thresholds.rtol is not None
    precision = thresholds.precision or precision
    error = ROUNDOFF[precision] * math.sqrt(graph.roundings_to(tensor))
    tolerance = 0.0 if given else min(_ELEMENT * error, _MAX_TOLERANCE)
    node = graph.producer.get(tensor)
    min_rms = FLOAT16_STEP if precision == "fp16" else 0.0
    if node is not None and node.operator in _SATURATING:
        min_rms = ROUNDOFF[precision]  # values that are almost 0 in a range up to 1
    cosine = thresholds.cosine
    if cosine is None and not given:
        cosine = 1 - min(_NORM * error, _MAX_TOLERANCE) ** 2 / 2
    return Limits(
        atol=(thresholds.atol or 0.0) if given else min_rms,
        rtol=(thresholds.rtol or 0.0) if given else tolerance,
        rms_fraction=tolerance,
        min_rms=min_rms,
        cosine=cosine,
        top1=thresholds.top1,
        equal=thresholds.equal,
        integers_exact=not given,
    )


class Judge:
    """The limits of each tensor of a model."""

    def __init__(self, model: OnnxModel, asked: str, thresholds: ThresholdsLike | None) -> None:
        """Analyze the model; errors are those of `parse_thresholds`.

        Args:
            model: the engine's model.
            asked: the precision that the engine was built for.
            thresholds: see `fasttrt.compare`.
        """
        self.graph = Graph(model.proto)
        self.precision = precision_of(model.proto, asked)
        names = [tensor.name for tensor in model.outputs]
        self._all, self._by_name = parse_thresholds(thresholds, names)

    def must_hold(self, output: str, shape: Sequence[int]) -> bool:
        """Return whether an output of that shape fails if there is nothing to compare."""
        thresholds = self._by_name.get(output, self._all)
        return (
            not thresholds.allow_trivial and 0 not in shape and self.graph.depends_on_inputs(output)
        )

    def limits(self, tensor: str) -> Limits:
        """Return the limits of an output or an intermediate tensor."""
        thresholds = self._by_name.get(tensor, self._all)
        return limits_for(thresholds, self.precision, self.graph, tensor)


def precision_of(proto: "onnx.ModelProto", asked: str) -> str:
    """Return the lowest of the requested precision and those of the model's own types."""
    import onnx

    kinds = {
        onnx.TensorProto.FLOAT16: "fp16",
        onnx.TensorProto.BFLOAT16: "bf16",
        onnx.TensorProto.FLOAT8E4M3FN: "fp8",
        onnx.TensorProto.FLOAT8E5M2: "fp8",
        onnx.TensorProto.FLOAT4E2M1: "fp8",
    }
    graph = proto.graph
    types = {tensor.data_type for tensor in graph.initializer}
    types |= {value.type.tensor_type.elem_type for value in (*graph.input, *graph.value_info)}
    found = {asked}
    for node in with_inner(graph.node):
        if node.op_type == "Cast":
            types |= {attribute.i for attribute in node.attribute if attribute.name == "to"}
        elif node.op_type in {"QuantizeLinear", "DynamicQuantizeLinear"}:
            found.add("int8")
    found |= {kinds[kind] for kind in types if kind in kinds}
    return max(sorted(found), key=ROUNDOFF.__getitem__)
