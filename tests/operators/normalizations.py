"""Normalizations over batches, channels and layers."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import numpy as np

from operators.case import Case, Input, Parameter
from operators.values import FLOATS, draw, dtype


def cases() -> Iterator[Case]:
    yield from _normalizations()


def _normalizations() -> Iterator[Case]:
    for name, rank in product(FLOATS, (2, 3, 4, 5)):
        x = draw(name, (2, 4, *(3, 5, 2)[: rank - 2]), "norm")
        c = [draw(name, (4,), f"norm{i}") for i in range(3)]
        variance = np.abs(draw(name, (4,), "variance")) + np.asarray(0.1).astype(dtype(name))
        for opset in (7, 9, 14, 15) if name == "float32" else (15,):
            inputs = (x, c[0], c[1], c[2], variance)
            yield Case("BatchNormalization", f"{name} {rank}", inputs, {"epsilon": 1e-3}, opset)
            fixed: tuple[Input, ...] = (x, *[Parameter(v) for v in (*c, variance)])
            yield Case("BatchNormalization", f"{name} {rank} fixed", fixed, {}, opset)
        if rank > 2:
            for opset in (7, 22):
                yield Case(
                    "InstanceNormalization",
                    f"{name} {rank}",
                    (x, c[0], c[1]),
                    {"epsilon": 1e-2},
                    opset,
                )
                yield Case(
                    "InstanceNormalization",
                    f"{name} {rank} fixed",
                    (x, Parameter(c[0]), Parameter(c[1])),
                    {},
                    opset,
                )
            for groups in (1, 2, 4):
                yield Case(
                    "GroupNormalization",
                    f"{name} {rank} {groups}",
                    (x, c[0], c[1]),
                    {"num_groups": groups},
                    21,
                )
                g = [Parameter(v[:groups]) for v in c[:2]]
                yield Case(
                    "GroupNormalization",
                    f"{name} {rank} {groups}",
                    (x, *g),
                    {"num_groups": groups, "epsilon": 1e-2},
                    18,
                )
            for size in (1, 3, 4):
                attributes = {"size": size, "alpha": 0.5, "beta": 0.6, "bias": 1.5}
                yield Case("LRN", f"{name} {rank} {size}", (x,), attributes, 13)
                yield Case("LRN", f"{name} {rank} {size} default", (x,), {"size": size}, 13)
    for name, axis in product(FLOATS, (-1, 1, 0, -2, 2)):
        x = draw(name, (2, 3, 4), "layer")
        shape = x.shape[axis:]
        scale, bias = draw(name, shape, "scale"), draw(name, shape, "bias")
        for there in ((True,), (True, True), (True, True, True), (True, False, True)):
            label = f"{name} {axis} {there}"
            yield Case("LayerNormalization", label, (x, scale, bias), {"axis": axis}, 17, there)
        yield Case(
            "LayerNormalization",
            f"{name} {axis} no bias",
            (x, Parameter(scale)),
            {"axis": axis, "epsilon": 0.1},
            17,
        )
        yield Case("RMSNormalization", f"{name} {axis}", (x, scale), {"axis": axis}, 23)
        yield Case(
            "RMSNormalization",
            f"{name} {axis} epsilon",
            (x, Parameter(scale)),
            {"axis": axis, "epsilon": 0.1},
            23,
        )
    one = np.array([2.0], np.float32)
    x = draw("float32", (2, 3, 4), "layer")
    yield Case("LayerNormalization", "scale of one", (x, one), {"axis": 1}, 17)
    yield Case(
        "LayerNormalization", "scale of last", (x, draw("float32", (4,), "s")), {"axis": 1}, 17
    )
    huge = np.array([[6e4, -6e4, 1, 2], [1e-4, 2e-4, 0, 0]])
    for name in FLOATS:
        y = huge.astype(dtype(name))
        unit = np.ones(4).astype(dtype(name))
        yield Case("LayerNormalization", f"{name} large", (y, unit), {}, 17)
        yield Case("RMSNormalization", f"{name} large", (y, unit), {}, 23)
