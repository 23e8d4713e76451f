"""Runs with the same inputs are judged by the worst of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

import fasttrt
from fasttrt._accuracy.evaluate import compare_runners
from fasttrt._accuracy.metrics import combine
from fasttrt._accuracy.repeated_runs import measure_worst
from fasttrt._accuracy.runners import OnnxReference, Runner
from fasttrt._accuracy.thresholds import Limits
from fasttrt._graph.model import OnnxModel
from fasttrt._runtime.reference_backend import ReferenceBackend
from support import models
from support.models import Array
from support.randomness import new_rng

LIMITS = Limits(
    atol=0.01, rtol=0, rms_fraction=0, min_rms=0, cosine=None, top1=None, equal=1.0,
    integers_exact=True,
)  # fmt: skip


def _reasons(runs: Sequence[Array], expected: Array) -> tuple[str, ...]:
    return combine("y", LIMITS, [measure_worst(runs, expected, LIMITS)]).reasons


def test_a_later_run_that_is_wrong_fails_and_is_named() -> None:
    y = new_rng().standard_normal((3, 5))
    runs = [y, y + 0.25, y + 0.5]
    assert _reasons(runs, y)[0] == (
        "sample 0: run 3 of the same input is 0.5 off the reference, run 1 was right"
    )
    assert _reasons(runs[::-1], y)[0] == (
        "sample 0: run 1 of the same input is 0.5 off the reference, run 3 was right"
    )
    assert measure_worst(runs, y, LIMITS).errors.max_abs == pytest.approx(0.5)


def test_runs_that_are_all_wrong_in_ways_of_their_own_say_so() -> None:
    y = new_rng().standard_normal((3, 5))
    assert _reasons([y + 1, y + 1, y + 3], y)[0] == (
        "sample 0: run 3 of the same input is 2 off run 1"
    )


def test_runs_that_are_wrong_alike_are_not_unstable() -> None:
    y = new_rng().standard_normal((3, 5))
    assert not measure_worst([y + 1] * 3, y, LIMITS).instability


def test_the_worst_counts_even_if_all_are_right() -> None:
    y = new_rng().standard_normal((3, 5))
    worst = measure_worst([y, y + 0.005, y], y, LIMITS)
    assert worst.errors.max_abs == pytest.approx(0.005)
    assert not worst.instability


def test_other_faults_are_named() -> None:
    y = new_rng().standard_normal((3, 5))
    broken = y.copy()
    broken[1, 2] = np.nan
    assert "run 2 of the same input has 1 NaN or infinite elements" in _reasons([y, broken], y)[0]
    assert any(
        "run 2 of the same input has shape (3, 4), but the reference has (3, 5)" in reason
        for reason in _reasons([y, y[:, :4]], y)
    )


class _Unstable(ReferenceBackend):
    """ONNX Runtime, off by one in every run that follows another with the same inputs."""

    def __init__(self, model: OnnxModel) -> None:
        super().__init__(model, None)
        self.runs = 0
        self._last: list[bytes] = []

    def _offset(self, given: list[bytes]) -> bool:
        return given == self._last

    def run(self, arrays: Sequence[Any], out: Any, stream: Any = None) -> list[Array]:
        self.runs += 1
        given = [array.tobytes() for array in arrays]
        offset, self._last = self._offset(given), given
        return [y + offset for y in super().run(arrays, out, stream)]


class _Stale(_Unstable):
    """ONNX Runtime, off by one in every run after the first that follows one with other inputs."""

    def _offset(self, given: list[bytes]) -> bool:
        return self._last not in ([], given)


def _compared(
    on_gpu: bool, kind: type[_Unstable] = _Unstable, samples: int = 2
) -> tuple[fasttrt.Comparison, int]:
    model = OnnxModel(models.mlp().proto)
    backend = kind(model)
    runner = Runner("", backend, on_gpu)
    found = compare_runners(runner, OnnxReference(model), model, samples=samples)
    return found, backend.runs


def test_a_comparison_runs_each_sample_of_a_gpu_three_times_and_once_another() -> None:
    found, runs = _compared(on_gpu=True)
    assert runs == 2 * (3 + 1)
    assert not found.passed
    assert "run 2 of the same input is 1 off the reference, run 1 was right" in str(found)


def test_what_an_earlier_run_left_is_found_with_a_single_sample() -> None:
    found, _ = _compared(on_gpu=True, kind=_Stale, samples=1)
    assert not found.passed
    assert "run 3 of the same input is 1 off the reference, run 1 was right" in str(found)


def test_those_of_the_cpu_run_once() -> None:
    found, runs = _compared(on_gpu=False)
    assert runs == 2
    assert found.passed
