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


def _branches() -> dict[str, Case]:
    """Branches that only look at an input in another way, with the result as an output."""
    views = {
        "reshaped to its own shape": ("y1 = Reshape (x, whole)", "y2 = Reshape (x, whole)"),
        "reshaped against computed": ("y1 = Reshape (x, whole)", "y2 = {other}"),
        "squeezed again": (
            "u = Unsqueeze (x, first) y1 = Squeeze (u, first)",
            "v = Unsqueeze (x, first) y2 = Squeeze (v, first)",
        ),
    }
    others = {
        "float": "Neg (x)",
        "int64": "Add (x, x)",
        "int32": "Add (x, x)",
    }
    found = {}
    for (name, (one, two)), (dtype, other), value in itertools.product(
        views.items(), others.items(), (True, False)
    ):
        shape = f"{dtype}[2,3,4]"
        graph = (
            f"g ({shape} x, bool c) => ({shape} y) {{ y = If (c) <then_branch = t () => ({shape} "
            f"y1) {{ {one} }}, else_branch = e () => ({shape} y2) {{ {two.format(other=other)} }}> "
            "}"
        )
        weights = {"whole": np.array([2, 3, 4]), "first": np.array([0])}
        found[f"If of {dtype}, {name}, {value}"] = Case(graph, {"c": value}, weights)
    return found


def _narrow_kernels() -> dict[str, Case]:
    """ConvTranspose whose kernel is computed and narrower than the stride."""
    found = {}
    forms = "", ", pads={pads}", ", output_padding={extra}"
    for rank, more in itertools.product((1, 2, 3), forms):
        x, y = (",".join(sizes[:rank]) for sizes in (("4", "5", "3"), ("a", "b", "c")))
        pads, extra = [0] * rank + [1] * rank, [2] * rank
        attributes = f"strides={[3] * rank}" + more.format(pads=pads, extra=extra)
        name = f"ConvTranspose of a narrow kernel, rank {rank}{more.format(pads=pads, extra=extra)}"
        found[name] = Case(
            f"g (float[2,4,{x}] x, float[4,3,{','.join('2' * rank)}] w, float one) => "
            f"(float[2,3,{y}] y) {{ v = Mul (w, one) z = ConvTranspose <{attributes}> (x, v) "
            "y = Mul (z, one) }",
            {"one": 1},
        )
    return found


def _nearest() -> dict[str, Case]:
    """Resize to the next element, whose coordinates are whole numbers or just so."""
    found = {}
    for coordinates, scales in itertools.product(
        ("half_pixel", "pytorch_half_pixel"), ((2, 3), (5, 7), (1.5, 2.5), (3, 0.5))
    ):
        graph = (
            'g (float[1,2,4,6] x) => (float[1,2,a,b] y) { y = Resize <mode="nearest", '
            f'nearest_mode="ceil", coordinate_transformation_mode="{coordinates}"> (x, , s) }}'
        )
        weights = {"s": np.array([1, 1, *scales], np.float32)}
        found[f"Resize, ceil, {coordinates}, {scales}"] = Case(graph, weights=weights, opset=18)
    return found


def _rare() -> dict[str, Case]:
    """Sums of float16 beyond it, a scalar, a slope of 0."""
    heavy = np.random.default_rng(7).standard_normal((2, 3000)) + 100
    pooled = "g (float16[2,1,50,60] x) => (float16[2,1,1,1] y) { y = GlobalLpPool "
    return {
        "ReduceLogSum of float16": Case(
            "g (float16[2,3000] x) => (float16[2,1] y) { y = ReduceLogSum <axes=[1]> (x) }",
            {"x": heavy},
        ),
        "GlobalLpPool of float16": Case(pooled + "(x) }", {"x": heavy.reshape(2, 1, 50, 60)}),
        "GlobalLpPool of float": Case(
            "g (float[2,3,5,6] x) => (float[2,3,1,1] y) { y = GlobalLpPool <p=1> (x) }"
        ),
        "Shrink of int64": Case(
            "g (int64[6] x) => (int64[6] y) { y = Shrink <bias=3.0, lambd=2.5> (x) }",
            {"x": [-5, -3, -2, 2, 3, 5]},
        ),
        "Swish of a scalar": Case(
            "g (float[1] x, float s) => (float y, float[1] z) "
            "{ y = Swish <alpha=0.5> (s) z = Neg (x) }",
            opset=24,
        ),
        "LeakyRelu without a slope": Case(
            "g (float[4] x) => (float[4] y) { y = LeakyRelu <alpha=0.0> (x) }",
            {"x": [np.inf, -2, 0, np.nan]},
        ),
    }


SWEPT = {
    **_clips(),
    **_group_normalizations(),
    **_branches(),
    **_narrow_kernels(),
    **_nearest(),
    **_rare(),
}
