"""How far arrays are from what they should be, as comparisons and quantization report it."""

from dataclasses import dataclass

import numpy as np

from fasttrt._common.host_array import Array


@dataclass(frozen=True)
class ErrorSums:
    """Errors of elements that are finite on both sides, in float64; add those of several arrays."""

    count: int = 0
    max_abs: float = 0.0
    max_rel: float = 0.0
    """The largest error relative to its expected element, of those that are not 0."""
    max_expected: float = 0.0
    sum_abs: float = 0.0
    error_squares: float = 0.0
    expected_squares: float = 0.0
    actual_squares: float = 0.0

    @classmethod
    def of(cls, actual: Array, expected: Array, error: Array | None = None) -> "ErrorSums":
        """Sum up the errors of one array.

        Args:
            actual: finite values, float64.
            expected: what they should be, float64 of the same shape.
            error: ``abs(actual - expected)``, where float64 cannot tell the two apart.
        """
        error = np.abs(actual - expected) if error is None else error
        size = np.abs(expected)
        nonzero = size > 0
        return cls(
            count=error.size,
            max_abs=float(error.max(initial=0.0)),
            max_rel=float((error[nonzero] / size[nonzero]).max(initial=0.0)),
            max_expected=float(size.max(initial=0.0)),
            sum_abs=float(error.sum()),
            error_squares=float(np.square(error).sum()),
            expected_squares=float(np.square(size).sum()),
            actual_squares=float(np.square(actual).sum()),
        )

    def __add__(self, other: "ErrorSums") -> "ErrorSums":
        """Combine the sums of two arrays."""
        return ErrorSums(
            self.count + other.count,
            max(self.max_abs, other.max_abs),
            max(self.max_rel, other.max_rel),
            max(self.max_expected, other.max_expected),
            self.sum_abs + other.sum_abs,
            self.error_squares + other.error_squares,
            self.expected_squares + other.expected_squares,
            self.actual_squares + other.actual_squares,
        )


def equal_maxima(actual: Array, expected: Array) -> tuple[int, int]:
    """Count the rows along the last axis, and those whose largest element is at the same place.

    Rows with a NaN do not count, and arrays below rank 2 or with one column have none.
    """
    if actual.ndim < 2 or actual.shape[-1] < 2 or actual.size == 0:
        return 0, 0
    known = ~(np.isnan(actual) | np.isnan(expected)).any(-1)
    equal = (actual.argmax(-1) == expected.argmax(-1))[known]
    return equal.size, int(equal.sum())
