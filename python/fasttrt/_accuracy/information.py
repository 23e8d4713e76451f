"""Detect comparisons that prove nothing, whatever the errors are."""

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from fasttrt._accuracy.thresholds import FLOAT16_STEP, Limits
from fasttrt._common.array_errors import ErrorSums

if TYPE_CHECKING:
    from fasttrt._accuracy.metrics import Sample

_LOST = 0.5  # of the reference's rms: with such an error nothing is left of the values
_VANISHED = 2.0**-10  # of the reference's norm


def lost_values(limits: Limits, samples: "Sequence[Sample]") -> Iterator[str]:
    """Say why elements within the limits are still wrong: the limits exceed all values.

    An absolute limit (the step of float16 near 0, or one that the caller set) accepts zeros in
    place of anything smaller, as where float16 underflows.

    Args:
        limits: the output's limits.
        samples: the measurements of the output.
    """
    errors = sum((sample.errors for sample in samples), ErrorSums())
    expected = math.sqrt(errors.expected_squares)
    if expected == 0 or any(sample.discrete for sample in samples):
        return
    rms = expected / math.sqrt(errors.count)
    actual = math.sqrt(errors.actual_squares)
    error = math.sqrt(errors.error_squares)
    if actual < _VANISHED * expected:
        found = "0" if actual == 0 else f"{actual / math.sqrt(errors.count):.3g}"
        yield (
            f"the values have vanished: their root mean square is {found}, the reference's "
            f"{rms:.3g}, as when 16 bits underflow"
        )
    elif limits.integers_exact and limits.atol <= FLOAT16_STEP and error > _LOST * expected:
        yield (
            f"the error has a root mean square of {error / math.sqrt(errors.count):.3g}, the "
            f"reference one of {rms:.3g}: such values are lost in 16 bits"
        )


def nothing_to_compare(samples: "Sequence[Sample]") -> Iterator[str]:
    """Say why agreement proves nothing: an engine that is wrong would agree as well.

    Args:
        samples: the measurements of the output.
    """
    if any(sample.mismatch or sample.is_text for sample in samples):
        return
    conclusion = "so this proves nothing: use inputs that are meaningful to the model"
    if sum(sample.elements for sample in samples) == 0:
        yield f"it is empty in every sample, {conclusion}"
    elif any(sample.discrete for sample in samples):
        return  # equality of integers is exact, and 0 is a value like any other
    elif all(sample.errors.count == 0 for sample in samples):
        yield f"nothing in it is finite on both sides, {conclusion}"
    elif all(sample.errors.expected_squares == 0 for sample in samples):
        yield f"the reference is 0 everywhere, {conclusion}"
