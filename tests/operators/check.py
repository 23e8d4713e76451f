"""Whether results are right: types and shapes exactly, values as far as rounding allows."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import numpy as np

from operators.case import Array

_ml_dtypes: Any = import_module("ml_dtypes")  # untyped
NAN_LOST = "NaN lost"
RTOL = {"float32": 2e-4, "float64": 2e-4, "float16": 4e-3, "bfloat16": 3e-2}
_STEPS = 64
"""Of the largest value, in units of the type's rounding: what is left of terms that cancel."""


def problems(results: Mapping[str, Any], expected: Mapping[str, Array]) -> str:
    """What is wrong with results; empty if nothing is."""
    found = {name: difference(results[name], array) for name, array in expected.items()}
    wrong = {name: problem for name, problem in found.items() if problem}
    if wrong and set(wrong.values()) == {NAN_LOST}:
        return NAN_LOST
    return "; ".join(f"{name}: {problem}" for name, problem in wrong.items())


def difference(actual: Any, expected: Array) -> str:
    """What is wrong with one output; empty if it is right."""
    actual = np.asarray(actual)
    if actual.dtype != expected.dtype or actual.shape != expected.shape:
        got = f"{actual.dtype}{list(actual.shape)}"
        return f"expected {expected.dtype}{list(expected.shape)}, got {got}"
    if expected.size == 0:
        return ""
    is_right = _is_close(actual, expected)
    if is_right.all():
        return ""
    kinds = []
    wide, right = (a.astype(np.float64) for a in (actual, expected))
    is_lost = np.isnan(right) & ~np.isnan(wide)
    if (is_lost | is_right).all():
        return NAN_LOST
    if is_lost.any():
        kinds.append(NAN_LOST)
    if (np.isnan(wide) & ~np.isnan(right)).any():
        kinds.append("NaN made")
    with np.errstate(invalid="ignore"):
        distance = np.where(is_right, 0, np.abs(wide - right))
    distance = np.where(np.isnan(distance), np.inf, distance)
    worst = int(np.argmax(distance))
    kinds.append(
        f"{np.count_nonzero(~is_right)} of {expected.size} wrong, at worst "
        f"{actual.ravel()[worst]} for {expected.ravel()[worst]}"
    )
    return ", ".join(kinds)


def _is_close(actual: Array, expected: Array) -> Array:
    if expected.dtype.name not in RTOL:
        return np.asarray(actual == expected)
    wide, right = actual.astype(np.float64), expected.astype(np.float64)
    finite = np.abs(right[np.isfinite(right)])
    eps = float(_ml_dtypes.finfo(expected.dtype).eps)
    # A few huge values among others (edge values) must not excuse the others.
    typical = float(np.median(finite)) if finite.size else 0.0
    tiny = float(_ml_dtypes.finfo(expected.dtype).smallest_normal)
    atol = min(_STEPS, 4 if eps > 1e-4 else _STEPS) * eps * typical + 8 * eps * 0.1 + tiny
    with np.errstate(invalid="ignore"):
        return np.asarray(np.isclose(wide, right, RTOL[expected.dtype.name], atol, equal_nan=True))
