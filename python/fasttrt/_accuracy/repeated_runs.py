"""Run an engine several times with the same inputs, and judge the worst run.

TensorRT-RTX 1.6.1 computes some networks right in the first run only.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from fasttrt._accuracy.metrics import Sample, is_float, measure
from fasttrt._accuracy.runners import Named, Runner
from fasttrt._accuracy.thresholds import Limits
from fasttrt._common.host_array import Array


def run_repeatedly(runner: Runner, feeds: Named) -> list[dict[str, Array]]:
    """Run a model three times on a GPU, once elsewhere; return the outputs of each run by name.

    A CUDA graph is recorded in the second run. Before the third one, the model runs with the values
    of float inputs reversed along the last axis, so that what it leaves in memory is wrong.
    """
    runs = [runner.run(feeds)]
    if runner.on_gpu:
        runs.append(runner.run(feeds))
        runner.run({name: _reversed(array) for name, array in feeds.items()})
        runs.append(runner.run(feeds))
    return runs


def _reversed(array: Array) -> Array:
    """Reverse the last axis; integers stay, as they may be indices or lengths."""
    if array.ndim == 0 or not is_float(array.dtype):
        return array
    return np.ascontiguousarray(np.flip(array, -1))


def measure_worst(runs: Sequence[Array], expected: Array, limits: Limits) -> Sample:
    """Compare the results of all runs with the expected one.

    Returns:
        The measurements of the run that is furthest off, one that fails before one that does not.
        If one run fails while another is right, or two of them differ by more than the limits,
        ``instability`` says so.
    """
    first = runs[0]
    differing = [(n, run) for n, run in enumerate(runs[1:], 2) if not _is_same(run, first)]
    measured = {1: measure(first, expected, limits)}
    measured |= {number: measure(run, expected, limits) for number, run in differing}
    if not differing:
        return measured[1]
    failed = [number for number, sample in measured.items() if sample.failed(limits)]
    worst = max(failed or measured, key=lambda number: _severity(measured[number]))
    right = next((number for number in measured if number not in failed), None)
    instability = ""
    if failed and right:
        fault = _fault(measured[worst], "the reference")
        instability = f"run {worst} of the same input {fault}, run {right} was right"
    elif failed:
        for number, run in differing:
            if (between := measure(run, first, limits)).failed(limits):
                instability = f"run {number} of the same input {_fault(between, 'run 1')}"
                break
    return replace(measured[worst], instability=instability)


def _is_same(run: Array, first: Array) -> bool:
    return run.shape == first.shape and run.tobytes() == first.tobytes()


def _severity(sample: Sample) -> tuple[bool, int, float]:
    return bool(sample.mismatch), sample.nonfinite_mismatches, sample.errors.max_abs


def _fault(sample: Sample, other: str) -> str:
    if sample.mismatch:
        return f"has {sample.mismatch.replace('the reference', other)}"
    if sample.nonfinite_mismatches:
        return f"has {sample.nonfinite_mismatches} NaN or infinite elements that {other} lacks"
    return f"is {sample.errors.max_abs:.3g} off {other}"
