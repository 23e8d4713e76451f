"""Comparisons that prove nothing: what an output must hold for its agreement to mean something."""

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from fasttrt._accuracy.thresholds import FLOAT16_STEP, Limits
from fasttrt._common.array_errors import ErrorSums

if TYPE_CHECKING:
    from fasttrt._accuracy.metrics import Sample

_LOST = 0.5  # of the reference's rms: an error as large as this leaves nothing of the values
_VANISHED = 2.0**-10  # of the reference's norm


def lost_values(limits: Limits, samples: "Sequence[Sample]") -> Iterator[str]:
    """Why elements within the limits are wrong all the same: the limits are above all values.

    An absolute limit (the steps of float16 near 0, or one that was given) takes zeros for whatever
    is smaller than it, as where float16 underflows.

    Args:
        limits: of the output.
        samples: what was measured, of the same output.
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
            f"{rms:.3g}, as where 16 bits underflow"
        )
    elif limits.integers_exact and limits.atol <= FLOAT16_STEP and error > _LOST * expected:
        yield (
            f"the error has a root mean square of {error / math.sqrt(errors.count):.3g}, the "
            f"reference one of {rms:.3g}: such values are lost in 16 bits"
        )


def nothing_to_compare(samples: "Sequence[Sample]") -> Iterator[str]:
    """Why agreement proves nothing: any other engine with this fault would agree as well.

    Args:
        samples: what was measured, of the same output.
    """
    if any(sample.mismatch or sample.is_text for sample in samples):
        return
    cure = "so this proves nothing: give inputs that mean something to the model"
    if sum(sample.elements for sample in samples) == 0:
        yield f"it is empty in every sample, {cure}"
    elif any(sample.discrete for sample in samples):
        return  # equality of integers is exact, and 0 is a value like others
    elif all(sample.errors.count == 0 for sample in samples):
        yield f"nothing in it is finite on both sides, {cure}"
    elif all(sample.errors.expected_squares == 0 for sample in samples):
        yield f"the reference is 0 everywhere, {cure}"
