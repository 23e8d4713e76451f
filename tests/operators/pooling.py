"""Pools of windows and of whole images."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np

from operators.case import Case
from operators.values import FLOATS, SMALL_INTS, draw, dtype


def cases() -> Iterator[Case]:
    yield from _pools()


_SPATIAL = {1: (9,), 2: (7, 8), 3: (5, 6, 4)}


def _pools() -> Iterator[Case]:
    for operator, rank in product(("MaxPool", "AveragePool", "LpPool"), (1, 2, 3)):
        spatial = _SPATIAL[rank]
        x = draw("float32", (2, 3, *spatial), "pool")
        variants: list[tuple[str, dict[str, Any]]] = [
            ("plain", {"kernel_shape": [2] * rank}),
            ("strides", {"kernel_shape": [3] * rank, "strides": [2] * rank}),
            ("pads", {"kernel_shape": [3] * rank, "pads": [1] * rank * 2, "strides": [2] * rank}),
            (
                "uneven pads",
                {
                    "kernel_shape": [3] * rank,
                    "pads": [0] * rank + [1] * rank,
                    "strides": [2] * rank,
                },
            ),
            ("stride past kernel", {"kernel_shape": [1] * rank, "strides": [3] * rank}),
            ("dilations", {"kernel_shape": [2] * rank, "dilations": [2] * rank}),
            *(
                (
                    f"{kind} {k} {stride}",
                    {"kernel_shape": [k] * rank, "strides": [stride] * rank, "auto_pad": kind},
                )
                for kind in ("SAME_UPPER", "SAME_LOWER", "VALID")
                for k, stride in ((3, 2), (2, 2), (3, 1))
            ),
        ]
        for k, stride, pad in product((1, 2, 3), (2, 3), (0, 1)):
            if pad < k:
                attributes = {
                    "kernel_shape": [k] * rank,
                    "strides": [stride] * rank,
                    "pads": [pad] * rank * 2,
                    "ceil_mode": 1,
                }
                variants.append((f"ceil {k} {stride} {pad}", attributes))
        for label, attributes in variants:
            if operator == "AveragePool":
                for count in (0, 1):
                    yield Case(
                        operator,
                        f"{rank}d {label} {count}",
                        (x,),
                        attributes | {"count_include_pad": count},
                        19,
                    )
            elif operator == "LpPool":
                for p in (1, 2, 3):
                    yield Case(operator, f"{rank}d {label} {p}", (x,), attributes | {"p": p}, 18)
            else:
                yield Case(operator, f"{rank}d {label}", (x,), attributes, 12)
        for name in (*FLOATS, *SMALL_INTS) if operator == "MaxPool" else FLOATS:
            y = draw(name, (2, 3, *spatial), "pool")
            yield Case(
                operator,
                f"{rank}d {name}",
                (y,),
                {"kernel_shape": [3] * rank, "pads": [1] * rank * 2},
                22,
            )
        for opset in (7, 10, 11):
            yield Case(
                operator,
                f"{rank}d older",
                (x,),
                {"kernel_shape": [3] * rank, "pads": [1] * rank * 2},
                opset,
            )
    x = draw("float32", (1, 2, 6, 6), "pool")
    yield Case("MaxPool", "indices", (x,), {"kernel_shape": [2, 2]}, 12, (True, True))
    edge = np.array([np.nan, 1, 2, -np.inf, np.inf, 0, -1, -2, -3], np.float32).reshape(1, 1, 3, 3)
    low = np.full((1, 1, 4, 4), -1e30, np.float32)
    for label, y in (("nan", edge), ("low", low)):
        yield Case("MaxPool", label, (y,), {"kernel_shape": [2, 2], "pads": [1, 1, 1, 1]}, 12)
        yield Case("AveragePool", label, (y,), {"kernel_shape": [2, 2]}, 19)
    for operator in ("GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool"):
        for name in FLOATS:
            for shape in ((2, 3, 4), (2, 3, 4, 5), (1, 2, 3, 4, 2)):
                yield Case(operator, f"{name} {shape}", (draw(name, shape, "pool"),), {}, 22)
        yield Case(operator, "nan", (edge,), {}, 22)
        for name in FLOATS[1:]:
            heavy = (draw(name, (1, 2, 50, 60), "pool", 1.0) + 100).astype(dtype(name))
            yield Case(operator, f"{name} heavy", (heavy,), {}, 22)
    for p in (1, 3):
        yield Case("GlobalLpPool", f"p={p}", (x,), {"p": p}, 22)
