"""More of what TensorRT computes otherwise than ONNX means it, found by tests/operators."""

from __future__ import annotations

import itertools

import numpy as np

from support.exact_forms import DTYPES, Case

_VALUES = [-300.0, -4.5, -1.5, -0.25, 0.0, 0.5, 2.0, 70.0, 400.0, 3e4]


def _clips() -> dict[str, Case]:
    """With one bound, none, and bounds that cross."""
    found = {}
    bounds = {"least": "x, low", "most": "x, , high", "none": "x", "crossed": "x, high, low"}
    for dtype, (name, inputs) in itertools.product(DTYPES, bounds.items()):
        if name != "crossed" and dtype != "bfloat16":
            continue
        weights = {
            key: np.asarray(value).astype(DTYPES[dtype])
            for key, value in (("low", -1), ("high", 2))
            if key in inputs
        }
        graph = f"g ({dtype}[10] x) => ({dtype}[10] y) {{ y = Clip ({inputs}) }}"
        feeds = {} if dtype.startswith("int") else {"x": _VALUES}
        found[f"Clip of {dtype}, {name}"] = Case(graph, feeds, weights)
    found["Clip with bounds at run time"] = Case(
        "g (float[10] x, float low, float high) => (float[10] y) { y = Clip (x, low, high) }",
        {"x": _VALUES, "low": 3, "high": -2},
    )
    return found


def _group_normalizations() -> dict[str, Case]:
    found = {}
    for dtype, (shape, opset) in itertools.product(
        ("float", "float16", "bfloat16"),
        (("2,4,3", 21), ("2,4,3,5", 21), ("1,4,3,2,2", 21), ("2,4,3,5", 18)),
    ):
        count = 4 if opset == 21 else 1
        graph = (
            f"g ({dtype}[{shape}] x, {dtype}[{count}] s, {dtype}[{count}] b) => ({dtype}[{shape}] "
            "y) { a = Neg (x) n = GroupNormalization <num_groups=1, epsilon=0.01> (a, s, b) "
            "y = Neg (n) }"
        )
        found[f"GroupNormalization of one group, {dtype} [{shape}], opset {opset}"] = Case(
            graph, opset=opset
        )
    return found


SWEPT = {**_clips(), **_group_normalizations()}
