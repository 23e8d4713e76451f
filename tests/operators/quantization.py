"""QuantizeLinear and DequantizeLinear."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np

from operators.case import Case, Parameter
from operators.values import FLOATS, draw, dtype

_VALUES = np.array(
    [
        0,
        -0.0,
        0.5,
        1.5,
        2.5,
        -0.5,
        -1.5,
        -2.5,
        127,
        127.5,
        128,
        -128,
        -128.5,
        -129,
        255,
        255.5,
        300,
        1e9,
        -1e9,
        0.49999997,
        np.inf,
        -np.inf,
    ],
    np.float32,
)


def cases() -> Iterator[Case]:
    for opset, name, kind in product((10, 13, 19, 21), FLOATS, ("int8", "uint8")):
        if name != "float32" and opset < 19:
            continue
        x = draw(name, (3, 4), "quantize", 20.0)
        # Of 16 bits one by which the division is exact, as ONNX leaves open in what it is done.
        scale = Parameter(np.array(0.37 if name == "float32" else 0.25).astype(dtype(name)))
        one = Parameter(np.array(1).astype(dtype(name)))
        for zero in (0, 3, None):
            point = None if zero is None else Parameter(np.array(zero).astype(kind))
            more = (scale,) if point is None else (scale, point)
            yield Case(
                "QuantizeLinear", f"{name} {kind} {zero}", (x, *more), {}, opset, is_exact=True
            )
            with np.errstate(over="ignore"):
                values = _VALUES.astype(dtype(name))
            more = (one,) if point is None else (one, point)
            yield Case(
                "QuantizeLinear",
                f"{name} {kind} {zero} edges",
                (values, *more),
                {},
                opset,
                is_exact=True,
            )
            q = (
                np.arange(-128, 128).astype("int8")
                if kind == "int8"
                else np.arange(256).astype("uint8")
            )
            more = (scale,) if point is None else (scale, point)
            yield Case(
                "DequantizeLinear", f"{name} {kind} {zero}", (q, *more), {}, opset, is_exact=True
            )
        if opset < 13:
            continue
        for axis in (None, 0, 1, -1, -2):
            attributes = {} if axis is None else {"axis": axis}
            count = x.shape[1 if axis is None else axis]
            steps = np.arange(1, count + 1) * 0.11 if name == "float32" else 0.5 ** np.arange(count)
            scales = Parameter(np.asarray(steps).astype(dtype(name)))
            for zero in (True, False, None):
                values_of = np.arange(count) if zero else np.zeros(count)
                more = (scales,) if zero is None else (scales, Parameter(values_of.astype(kind)))
                label = f"{name} {kind} axis {axis} {zero}"
                yield Case("QuantizeLinear", label, (x, *more), attributes, opset, is_exact=True)
                q = draw(kind, (3, 4), "dequantize")
                yield Case("DequantizeLinear", label, (q, *more), attributes, opset, is_exact=True)
    for kind in ("int8", "uint8"):
        x = draw("float32", (3, 4), "quantize", 20.0)
        at_run_time = (x, np.array(0.5, np.float32), np.array(0, kind))
        yield Case("QuantizeLinear", f"{kind} at run time", at_run_time, {}, 13, is_exact=True)
    q = draw("int32", (3, 4), "dequantize")
    yield Case(
        "DequantizeLinear",
        "int32",
        (q, Parameter(np.array(0.5, np.float32))),
        {},
        13,
        is_exact=True,
    )
    x = draw("float32", (4, 8), "blocked", 20.0)
    scales = Parameter(np.abs(draw("float32", (4, 2), "scales", 0.3)) + np.float32(0.1))
    for kind in ("int8", "uint8"):
        zeros = Parameter(np.zeros((4, 2), kind))
        blocks: dict[str, Any] = {"axis": 1, "block_size": 4}
        yield Case(
            "QuantizeLinear", f"{kind} blocks", (x, scales, zeros), blocks, 21, is_exact=True
        )
        q = draw(kind, (4, 8), "blocked")
        yield Case(
            "DequantizeLinear", f"{kind} blocks", (q, scales, zeros), blocks, 21, is_exact=True
        )
    yield Case(
        "QuantizeLinear",
        "output_dtype",
        (x, Parameter(np.array(0.5, np.float32))),
        {"output_dtype": 3},
        21,
        is_exact=True,
    )
