"""Ranges of tensors, against numpy."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from fasttrt import InputError
from fasttrt._quantization.calibration import _coarsen, calibrate
from support import models
from support.quantized import normal
from support.randomness import new_rng

pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")


def ranges(data: list[models.Array], method: Any, percentile: float = 99.9) -> dict[str, float]:
    """The greatest absolute value of the range of each tensor."""
    made = models.mlp((16, 8), 64)
    found = calibrate(made.proto, ({"x": x} for x in data), ["Gemm"], method, percentile)
    result = {}
    for name, value in found.items():
        low, high = np.asarray(value.range_value, np.float64).ravel()
        result[name] = max(-low, high)
    return result


def test_minmax_is_the_greatest_value() -> None:
    data = [normal(64, 16) * (i + 1) for i in range(4)]
    assert ranges(data, "minmax")["x"] == pytest.approx(np.abs(np.stack(data)).max(), rel=1e-6)


def test_percentile_is_that_of_all_values() -> None:
    data = [normal(64, 16) for _ in range(8)]
    expected = np.percentile(np.abs(np.stack(data)), 99.0)
    assert ranges(data, "percentile", 99.0)["x"] == pytest.approx(expected, rel=0.01)


def test_what_comes_late_counts() -> None:
    """The range grows by a factor of a hundred with the last sample, and only there."""
    data = [normal(64, 16) for _ in range(6)]
    data[-1] = data[-1] * np.float32(100)
    for method in ("minmax", "percentile", "entropy"):
        assert ranges(data, method)["x"] > 100


def test_entropy_cuts_off_a_single_value() -> None:
    data = [normal(64, 16) for _ in range(6)]
    data[3][5, 7] = 60
    assert 1 < ranges(data, "entropy")["x"] < 20


def test_each_sample_is_taken_up_before_the_next_is_read() -> None:
    made = models.mlp((16, 8), 64)
    alive: list[Any] = []

    class Sample(dict[str, Any]):
        def __del__(self) -> None:
            alive.remove(id(self))

    def samples() -> Iterator[Sample]:
        for _ in range(5):
            assert len(alive) <= 1
            sample = Sample(x=normal(64, 16))
            alive.append(id(sample))
            yield sample
            del sample

    calibrate(made.proto, samples(), ["Gemm"], "percentile", 99.9)


def test_a_model_that_gives_no_numbers_is_refused() -> None:
    made = models.mlp((16, 8), 4)
    big = np.full((4, 16), 3e38, np.float32) * np.sign(normal(4, 16))
    with pytest.raises(
        InputError, match="y: the float model computes NaN or Inf there on this data"
    ):
        calibrate(made.proto, [{"x": big}], ["Gemm"], "minmax", 99.9)


@pytest.mark.parametrize("bins", [2048, 2050, 4096, 5002, 20480])
def test_histograms_are_merged(bins: int) -> None:
    counts = new_rng().integers(0, 9, bins)
    threshold = np.float32(3.0)
    edges = np.linspace(-3, 3, bins + 1).astype(np.float32)
    histograms = {"x": (counts, edges, -2.5, 2.9, threshold)}
    _coarsen(histograms)
    merged, bounds, least, most, limit = histograms["x"]
    assert len(merged) <= 2048
    assert len(merged) % 2 == 0
    assert len(bounds) == len(merged) + 1
    assert merged.sum() == counts.sum()
    assert (least, most) == (-2.5, 2.9)
    assert bounds[-1] == pytest.approx(limit)
    # Each old bin lies in the new one that holds its middle.
    middles = (edges[:-1].astype(float) + edges[1:]) / 2
    expected, _ = np.histogram(middles, bounds.astype(float), weights=counts)
    np.testing.assert_array_equal(merged, expected)
