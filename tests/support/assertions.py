"""What tests of numbers hold results to."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

Array = npt.NDArray[Any]


def close_to(expected: Any) -> Any:
    """Return what equals float32 results of a few operations, in any framework's numbers."""
    return pytest.approx(np.asarray(expected), rel=1e-4, abs=1e-5)


def assert_close(actual: Any, expected: Array, tolerance: float) -> None:
    """The same shape, and no difference above ``tolerance`` of the largest expected value."""
    assert isinstance(actual, np.ndarray)
    assert actual.shape == expected.shape
    if expected.size == 0:
        return
    wide = expected.astype(np.float64)
    limit = tolerance * np.abs(wide).max()
    error = np.abs(actual.astype(np.float64) - wide).max()
    assert error <= limit, f"off by {error:.3g}, {error / limit:.3g} times what is allowed"
