"""Operators of which onnx.reference has no version, or a wrong one, written in numpy.

Each gives the outputs of a case by name, or None where onnx.reference is right.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from operators.case import Array, Case

Results = dict[str, Array] | None


def _softmax(case: Case) -> Results:
    """Before opset 13: over all axes from one on."""
    if case.opset >= 13:
        return None
    x = case.arrays["i0"]
    axis = case.attributes.get("axis", 1)
    rows = int(np.prod(x.shape[: axis % x.ndim if axis < 0 else axis]))
    flat = x.reshape(rows, -1)
    shifted = flat - flat.max(1, keepdims=True)
    if case.operator == "Hardmax":
        found = (np.arange(flat.shape[1]) == flat.argmax(1)[:, None]).astype(x.dtype)
    elif case.operator == "Softmax":
        found = np.exp(shifted) / np.exp(shifted).sum(1, keepdims=True)
    else:
        found = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
    return {"o0": found.reshape(x.shape)}


def _lrn(case: Case) -> Results:
    x = case.arrays["i0"]
    size = case.attributes["size"]
    alpha, beta, bias = (
        case.attributes.get(name, default)
        for name, default in (("alpha", 1e-4), ("beta", 0.75), ("bias", 1.0))
    )
    squares = np.zeros_like(x)
    for channel in range(x.shape[1]):
        begin = max(0, channel - (size - 1) // 2)
        end = min(x.shape[1] - 1, channel + size // 2) + 1
        squares[:, channel] = (x[:, begin:end] ** 2).sum(1)
    return {"o0": x / (bias + alpha / size * squares) ** beta}


def _global_lp_pool(case: Case) -> Results:
    x = case.arrays["i0"]
    p = case.attributes.get("p", 2)
    axes = tuple(range(2, x.ndim))
    return {"o0": (np.abs(x) ** p).sum(axes, keepdims=True) ** (1 / p)}


def _mean(case: Case) -> Results:
    arrays = list(case.arrays.values())
    return {"o0": np.asarray(sum(arrays[1:], arrays[0]) / len(arrays))}


def _sum(case: Case) -> Results:
    arrays = list(case.arrays.values())
    return {"o0": np.asarray(sum(arrays[1:], arrays[0]))}


def _lp_normalization(case: Case) -> Results:
    x = case.arrays["i0"]
    p, axis = case.attributes.get("p", 2), case.attributes.get("axis", -1)
    norm = (np.abs(x) ** p).sum(axis, keepdims=True) ** (1 / p)
    return {"o0": x / np.where(norm == 0, 1, norm)}


def _global_max_pool(case: Case) -> Results:
    x = case.arrays["i0"]
    return {"o0": x.max(tuple(range(2, x.ndim)), keepdims=True)}


CORRECTIONS: dict[str, Callable[[Case], Results]] = {
    "Softmax": _softmax,
    "LogSoftmax": _softmax,
    "Hardmax": _softmax,
    "LRN": _lrn,
    "GlobalLpPool": _global_lp_pool,
    "GlobalMaxPool": _global_max_pool,
    "Mean": _mean,
    "Sum": _sum,
    "LpNormalization": _lp_normalization,
}
