"""Measure how far an array is from the expected one, in one sample and over several."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fasttrt._accuracy.information import lost_values, nothing_to_compare
from fasttrt._accuracy.thresholds import Limits
from fasttrt._common.array_errors import ErrorSums, equal_maxima
from fasttrt._common.host_array import Array

_DIFFERENCE_ABOVE = 0.9  # cosines above it are computed from the vectors' difference


@dataclass(frozen=True)
class OutputComparison:
    """The comparison of one output (or intermediate tensor) over all samples.

    Errors are those of elements that are finite on both sides, in float64; None if there are none,
    and for strings.
    """

    name: str
    dtype: str
    """The engine's dtype."""
    reference_dtype: str
    shape: tuple[int, ...]
    """The engine's shape in the first sample that fails, or else in the first."""
    reference_shape: tuple[int, ...]
    max_abs_error: float | None
    """The maximum of ``|engine - reference|``."""
    max_rel_error: float | None
    """The maximum of ``|engine - reference| / |reference|`` where the reference is not 0."""
    mean_abs_error: float | None
    rms: float | None
    """The reference's root mean square over all samples, to relate errors to."""
    cosine: float | None
    """The minimum cosine similarity of all samples; None for integers and if one side is 0."""
    top1: float | None
    """The share of rows along the last axis whose largest element is in the same place; for floats
    of rank 2 or more with more than one column."""
    equal: float | None
    """The share of equal elements, for integers, booleans and strings."""
    nan: int
    """The number of NaNs of the engine."""
    reference_nan: int
    inf: int
    """The number of infinities of the engine, of both signs."""
    reference_inf: int
    nonfinite_mismatches: int
    """The number of elements that are NaN or infinite on one side only, or differ in sign."""
    out_of_tolerance: int
    """The number of finite elements beyond the limit."""
    elements: int
    limit: str
    """The limit, in words."""
    input_sensitive: bool | None
    """Whether the reference's outputs for different samples differ by more than the limit. If they
    do not, a wrong engine may pass. None if no two samples had the same shapes."""
    reasons: tuple[str, ...]
    """Why it fails."""

    @property
    def passed(self) -> bool:
        """Whether there is no reason for failure."""
        return not self.reasons


@dataclass(frozen=True, kw_only=True)
class Sample:
    """The measurements of one sample."""

    dtypes: tuple[str, str]
    shapes: tuple[tuple[int, ...], tuple[int, ...]]
    mismatch: str = ""
    """Why the two cannot be compared; empty if they can."""
    instability: str = ""
    """How runs with this same input differ by more than the limits; empty if they do not."""
    elements: int = 0
    errors: ErrorSums = field(default_factory=ErrorSums)
    is_text: bool = False
    cosine: float | None = None
    judged_cosine: float = 1.0
    """The cosine if it is meaningful, else 1."""
    rows: int = 0
    rows_equal: int = 0
    discrete: int = 0
    equal: int = 0
    nan: tuple[int, int] = (0, 0)
    inf: tuple[int, int] = (0, 0)
    nonfinite_mismatches: int = 0
    out_of_tolerance: int = 0

    def failed(self, limits: Limits) -> bool:
        """Return whether this sample alone fails."""
        return bool(combine("", limits, [self]).reasons)


def measure(actual: Array, expected: Array, limits: Limits) -> Sample:
    """Compare an array with the expected one."""
    dtypes, shapes = (actual.dtype.name, expected.dtype.name), (actual.shape, expected.shape)
    if mismatch := _mismatch(actual, expected):
        return Sample(dtypes=dtypes, shapes=shapes, mismatch=mismatch)
    with np.errstate(over="ignore", invalid="ignore"):  # for values near float64's maximum
        if is_float(actual.dtype):
            return _measure_floats(
                _wide(actual), _wide(expected), limits, dtypes=dtypes, shapes=shapes
            )
        return _measure_discrete(actual, expected, limits, dtypes=dtypes, shapes=shapes)


def _measure_floats(actual: Array, expected: Array, limits: Limits, **described: Any) -> Sample:
    finite = np.isfinite(actual) & np.isfinite(expected)
    same = finite | (actual == expected) | (np.isnan(actual) & np.isnan(expected))
    a, b = actual[finite], expected[finite]
    rms = _norm(b) / math.sqrt(b.size) if b.size else 0.0
    error = np.abs(a - b)
    allowed = limits.atol + limits.rms_fraction * rms + limits.rtol * np.abs(b)
    norms = _norm(a), _norm(b)
    cosine = None
    if min(norms) > 0 and b.size > 1:
        cosine = _cosine(a / norms[0], b / norms[1])
    rows, rows_equal = equal_maxima(actual, expected)
    return Sample(
        **described,
        elements=actual.size,
        errors=ErrorSums.of(a, b, error),
        cosine=cosine,
        judged_cosine=cosine if cosine is not None and rms > limits.min_rms else 1.0,
        rows=rows,
        rows_equal=rows_equal,
        nan=(int(np.isnan(actual).sum()), int(np.isnan(expected).sum())),
        inf=(int(np.isinf(actual).sum()), int(np.isinf(expected).sum())),
        nonfinite_mismatches=int((~same).sum()),
        out_of_tolerance=int((error > allowed).sum()),
    )


def _wide(array: Array) -> Array:
    """Convert to float64; complex numbers to pairs."""
    if array.dtype.kind == "c":
        return np.stack([array.real, array.imag], -1).astype(np.float64)
    return array.astype(np.float64)


def _cosine(a: Array, b: Array) -> float:
    """Return the cosine of unit vectors: exactly 1 for equal ones, in spite of rounding."""
    product = float(np.dot(a, b))
    if product > _DIFFERENCE_ABOVE:
        return 1 - float(np.square(a - b).sum()) / 2
    return max(product, -1.0)


def _measure_discrete(actual: Array, expected: Array, limits: Limits, **described: Any) -> Sample:
    equal = actual == expected
    described |= {"elements": actual.size, "discrete": actual.size, "equal": int(equal.sum())}
    differ = actual.size - int(equal.sum())
    if actual.dtype.kind in "OSU":
        return Sample(**described, out_of_tolerance=differ, is_text=True)
    wide = expected.astype(np.float64)
    error = _distances(actual, expected)
    out_of_tolerance = int((error > limits.atol + limits.rtol * np.abs(wide)).sum())
    return Sample(
        **described,
        errors=ErrorSums.of(actual.astype(np.float64), wide, error),
        out_of_tolerance=differ if limits.integers_exact else out_of_tolerance,
    )


def _distances(actual: Array, expected: Array) -> Array:
    """Return the distances of integers, exactly even where float64 could not represent them."""
    if actual.dtype.itemsize < 8 and expected.dtype.itemsize < 8:
        return np.abs(actual.astype(np.float64) - expected.astype(np.float64))
    a, b = actual.astype(object), expected.astype(object)  # Python's integers
    return np.asarray(np.abs(a - b), np.float64)


def _norm(values: Array) -> float:
    """Return the Euclidean norm, also of values whose squares overflow."""
    largest = float(np.abs(values).max(initial=0.0))
    return largest * math.sqrt(np.square(values / largest).sum()) if largest > 0 else 0.0


def combine(
    name: str,
    limits: Limits,
    samples: Sequence[Sample],
    input_sensitive: bool | None = None,
    *,
    must_hold: bool = False,
) -> OutputComparison:
    """Combine the samples of one output into its comparison and verdict.

    Args:
        name: the output's name.
        limits: the limits.
        samples: the measurements of at least one sample.
        input_sensitive: see `OutputComparison`.
        must_hold: whether it fails if there is nothing to compare, see `nothing_to_compare`.
    """
    shown = samples[0]
    if len(samples) > 1:
        shown = next((sample for sample in samples if sample.failed(limits)), shown)
    errors = sum((sample.errors for sample in samples), ErrorSums())
    finite = errors.count
    rows = sum(sample.rows for sample in samples)
    discrete = sum(sample.discrete for sample in samples)
    cosines = [sample.cosine for sample in samples if sample.cosine is not None]
    return OutputComparison(
        name=name,
        dtype=shown.dtypes[0],
        reference_dtype=shown.dtypes[1],
        shape=shown.shapes[0],
        reference_shape=shown.shapes[1],
        max_abs_error=errors.max_abs if finite else None,
        max_rel_error=errors.max_rel if finite else None,
        mean_abs_error=errors.sum_abs / finite if finite else None,
        rms=math.sqrt(errors.expected_squares / finite) if finite else None,
        cosine=min(cosines, default=None),
        top1=sum(sample.rows_equal for sample in samples) / rows if rows else None,
        equal=sum(sample.equal for sample in samples) / discrete if discrete else None,
        nan=sum(sample.nan[0] for sample in samples),
        reference_nan=sum(sample.nan[1] for sample in samples),
        inf=sum(sample.inf[0] for sample in samples),
        reference_inf=sum(sample.inf[1] for sample in samples),
        nonfinite_mismatches=sum(sample.nonfinite_mismatches for sample in samples),
        out_of_tolerance=sum(sample.out_of_tolerance for sample in samples),
        elements=sum(sample.elements for sample in samples),
        limit=_in_words(limits, discrete=discrete > 0),
        input_sensitive=input_sensitive,
        reasons=(
            *_judge(limits, samples),
            *(nothing_to_compare(samples) if must_hold else ()),
        ),
    )


def _judge(limits: Limits, samples: Sequence[Sample]) -> Iterator[str]:
    for index, sample in enumerate(samples):
        if sample.mismatch:
            yield f"sample {index}: {sample.mismatch}"
        if sample.instability:
            yield f"sample {index}: {sample.instability}"
    if nonfinite_mismatches := sum(sample.nonfinite_mismatches for sample in samples):
        yield f"{nonfinite_mismatches} elements are NaN or infinite on one side only"
    out_of_tolerance = sum(sample.out_of_tolerance for sample in samples)
    elements = sum(sample.elements for sample in samples)
    if discrete := sum(sample.discrete for sample in samples):
        if 1 - out_of_tolerance / discrete < limits.equal:
            what = "differ" if limits.integers_exact else "are beyond the limit"
            yield f"{out_of_tolerance} of {elements} elements {what}"
    elif out_of_tolerance:
        limit = _in_words(limits, discrete=False)
        yield f"{out_of_tolerance} of {elements} elements are off by more than {limit}"
    cosine = min(sample.judged_cosine for sample in samples)
    if limits.cosine is not None and cosine < limits.cosine:
        yield f"cosine {cosine:.10g} is below {limits.cosine:.10g}"
    rows = sum(sample.rows for sample in samples)
    top1 = sum(sample.rows_equal for sample in samples) / rows if rows else 1.0
    if limits.top1 is not None and top1 < limits.top1:
        yield f"top-1 agreement {top1:.4g} is below {limits.top1:g}"
    if not out_of_tolerance and not nonfinite_mismatches:
        yield from lost_values(limits, samples)


def is_float(dtype: np.dtype[Any]) -> bool:
    """Return whether a dtype is floating-point, ml_dtypes' ones included."""
    return dtype.kind not in "biuOSU" and not dtype.name.startswith(("int", "uint"))


def _mismatch(actual: Array, expected: Array) -> str:
    if actual.shape != expected.shape:
        return f"shape {actual.shape}, but the reference has {expected.shape}"
    kinds = [
        (is_float(x.dtype), x.dtype.kind in "OSU", x.dtype == bool) for x in (actual, expected)
    ]
    if kinds[0] != kinds[1]:
        return f"dtype {actual.dtype}, but the reference has {expected.dtype}"
    return ""


def _in_words(limits: Limits, *, discrete: bool) -> str:
    if discrete and limits.integers_exact:
        return "equal"
    parts = [f"{limits.atol:.3g}"] if limits.atol else []
    if limits.rms_fraction:
        parts.append(f"{limits.rms_fraction:.3g} rms")
    if limits.rtol:
        parts.append(f"{limits.rtol:.3g} |reference|")
    return " + ".join(parts) or "0"
