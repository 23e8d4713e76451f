"""Resize, Upsample, GridSample and AffineGrid."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np

from operators.case import Case, Parameter
from operators.values import FLOATS, draw


def cases() -> Iterator[Case]:
    yield from _resizes()
    yield from _samples()


def _resizes() -> Iterator[Case]:
    x = draw("float32", (1, 2, 4, 5), "resize")
    targets: tuple[tuple[str, tuple[Any, ...]], ...] = (
        ("up", (None, Parameter(np.array([1, 1, 2, 3], np.float32)))),
        ("down", (None, Parameter(np.array([1, 1, 0.6, 0.5], np.float32)))),
        ("odd up", (None, Parameter(np.array([1, 1, 1.7, 1.3], np.float32)))),
        ("sizes", (None, None, Parameter(np.array([1, 2, 7, 3], np.int64)))),
        ("sizes down", (None, None, Parameter(np.array([1, 2, 3, 2], np.int64)))),
        ("same", (None, None, Parameter(np.array([1, 2, 4, 5], np.int64)))),
        ("one", (None, None, Parameter(np.array([1, 2, 1, 1], np.int64)))),
    )
    transformations = (
        "half_pixel",
        "pytorch_half_pixel",
        "align_corners",
        "asymmetric",
        "half_pixel_symmetric",
    )
    for (label, more), how in product(targets, transformations):
        opset = 19 if how == "half_pixel_symmetric" else 18
        for mode in ("linear", "cubic"):
            attributes: dict[str, Any] = {"mode": mode, "coordinate_transformation_mode": how}
            yield Case("Resize", f"{label} {mode} {how}", (x, *more), attributes, opset)
        for nearest in ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil"):
            attributes = {
                "mode": "nearest",
                "coordinate_transformation_mode": how,
                "nearest_mode": nearest,
            }
            yield Case("Resize", f"{label} nearest {how} {nearest}", (x, *more), attributes, opset)
    for (label, more), extra in product(
        targets[:4],
        (
            {"cubic_coeff_a": -0.5},
            {"exclude_outside": 1},
            {"cubic_coeff_a": -0.5, "exclude_outside": 1},
            {"antialias": 1},
        ),
    ):
        yield Case("Resize", f"{label} cubic {extra}", (x, *more), {"mode": "cubic", **extra}, 18)
    yield Case(
        "Resize", "linear antialias", (x, *targets[1][1]), {"mode": "linear", "antialias": 1}, 18
    )
    roi = Parameter(np.array([0, 0, 0.1, 0.2, 1, 1, 0.8, 0.9], np.float32))
    for mode in ("linear", "nearest", "cubic"):
        attributes = {
            "mode": mode,
            "coordinate_transformation_mode": "tf_crop_and_resize",
            "extrapolation_value": 3.0,
        }
        sizes = Parameter(np.array([1, 2, 6, 7], np.int64))
        yield Case("Resize", f"crop {mode}", (x, roi, None, sizes), attributes, 18)
    for axes, policy in product(
        ([2, 3], [3, 2], [-1, -2], [2]), ("stretch", "not_larger", "not_smaller")
    ):
        sizes = Parameter(np.array([7, 6][: len(axes)], np.int64))
        attributes = {"axes": axes, "keep_aspect_ratio_policy": policy, "mode": "linear"}
        yield Case("Resize", f"axes {axes} {policy}", (x, None, None, sizes), attributes, 18)
        scales = Parameter(np.array([2, 1.5][: len(axes)], np.float32))
        if policy == "stretch":
            yield Case(
                "Resize",
                f"axes {axes} scales",
                (x, None, scales),
                {"axes": axes, "mode": "linear"},
                18,
            )
    for shape, factors in (
        ((2, 3, 4), [1, 1, 2]),
        ((4, 5), [2, 1.5]),
        ((1, 2, 3, 3, 3), [1, 1, 2, 2, 2]),
        ((2, 3, 4), [1, 2, 1]),
        ((5,), [2]),
    ):
        y = draw("float32", shape, "resize")
        for mode in ("nearest", "linear"):
            yield Case(
                "Resize",
                f"{shape} {factors} {mode}",
                (y, None, Parameter(np.array(factors, np.float32))),
                {"mode": mode},
                18,
            )
    for name in ("float16", "bfloat16", "int32", "uint8", "int8", "int64"):
        y = draw(name, (1, 2, 4, 5), "resize")
        for mode in ("nearest", "linear"):
            yield Case("Resize", f"{name} {mode}", (y, *targets[0][1]), {"mode": mode}, 19)
    empty = Parameter(np.zeros(0, np.float32))
    for mode, how in product(
        ("nearest", "linear", "cubic"),
        ("half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel", "tf_half_pixel_for_nn"),
    ):
        attributes = {"mode": mode, "coordinate_transformation_mode": how}
        for label, more in targets[:3]:
            yield Case("Resize", f"11 {label} {mode} {how}", (x, empty, *more[1:]), attributes, 11)
    for mode in ("nearest", "linear"):
        for label, more in targets[:3]:
            yield Case("Resize", f"10 {label} {mode}", (x, more[1]), {"mode": mode}, 10)
            yield Case("Upsample", f"9 {label} {mode}", (x, more[1]), {"mode": mode}, 9)
            scales = more[1].value.tolist()
            yield Case("Upsample", f"7 {label} {mode}", (x,), {"mode": mode, "scales": scales}, 7)


def _samples() -> Iterator[Case]:
    for rank in (2, 3):
        spatial = (5, 6, 4)[:rank]
        x = draw("float32", (2, 3, *spatial), "sample")
        grid = draw("float32", (2, *(4, 3, 2)[:rank], rank), "grid", 0.8)
        for mode, padding, corners in product(
            ("linear", "nearest", "cubic"), ("zeros", "border", "reflection"), (0, 1)
        ):
            attributes: dict[str, Any] = {
                "mode": mode,
                "padding_mode": padding,
                "align_corners": corners,
            }
            if rank == 2:
                older = {"linear": "bilinear", "cubic": "bicubic"}.get(mode, mode)
                yield Case(
                    "GridSample",
                    f"{rank}d {mode} {padding} {corners}",
                    (x, grid),
                    attributes | {"mode": older},
                    16,
                )
            elif mode == "cubic":
                continue
            yield Case(
                "GridSample", f"{rank}d {mode} {padding} {corners}", (x, grid), attributes, 20
            )
    for name in FLOATS[1:]:
        inputs = (draw(name, (1, 2, 4, 4), "s"), draw(name, (1, 3, 3, 2), "g", 0.5))
        yield Case("GridSample", name, inputs, {}, 20)
    for size, corners in product(([2, 3, 4, 5], [1, 2, 3, 4, 5]), (0, 1)):
        rank = len(size) - 2
        theta = draw("float32", (size[0], rank, rank + 1), "theta")
        sized = (theta, Parameter(np.array(size, np.int64)))
        yield Case("AffineGrid", f"{size} {corners}", sized, {"align_corners": corners}, 20)
