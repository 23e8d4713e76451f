"""Conv and ConvTranspose."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from operators.case import Case, Parameter
from operators.values import FLOATS, draw, dtype


def cases() -> Iterator[Case]:
    yield from _convolutions()
    yield from _transposed()


_SPATIAL = {1: (9,), 2: (7, 8), 3: (5, 6, 4)}


def _convolutions() -> Iterator[Case]:
    for rank, spatial in _SPATIAL.items():
        x = draw("float32", (2, 4, *spatial), "conv")
        variants: list[tuple[str, dict[str, Any], tuple[int, ...]]] = [
            ("plain", {}, (3, 4, *[3] * rank)),
            ("strides", {"strides": [2] * rank}, (3, 4, *[3] * rank)),
            ("pads", {"pads": [1] * rank * 2}, (3, 4, *[3] * rank)),
            ("uneven pads", {"pads": [*range(rank), *[2] * rank]}, (3, 4, *[3] * rank)),
            ("dilations", {"dilations": [2] * rank, "pads": [1] * rank * 2}, (3, 4, *[2] * rank)),
            ("groups", {"group": 2}, (6, 2, *[2] * rank)),
            ("depthwise", {"group": 4}, (4, 1, *[2] * rank)),
            ("depthwise twice", {"group": 4, "pads": [1] * rank * 2}, (8, 1, *[3] * rank)),
            ("pointwise", {}, (3, 4, *[1] * rank)),
            ("kernel_shape", {"kernel_shape": [2] * rank}, (3, 4, *[2] * rank)),
            *(
                (
                    f"{kind} {stride} {k}",
                    {"auto_pad": kind, "strides": [stride] * rank},
                    (3, 4, *[k] * rank),
                )
                for kind in ("SAME_UPPER", "SAME_LOWER", "VALID")
                for stride, k in ((1, 3), (2, 3), (2, 2), (3, 2))
            ),
            (
                "SAME_UPPER dilated",
                {"auto_pad": "SAME_UPPER", "dilations": [2] * rank},
                (3, 4, *[3] * rank),
            ),
            (
                "SAME_LOWER dilated",
                {"auto_pad": "SAME_LOWER", "dilations": [2] * rank, "strides": [2] * rank},
                (3, 4, *[2] * rank),
            ),
        ]
        for label, attributes, shape in variants:
            w = draw("float32", shape, "weights", 0.5)
            bias = draw("float32", shape[:1], "bias")
            yield Case("Conv", f"{rank}d {label}", (x, w), attributes, 11)
            yield Case(
                "Conv", f"{rank}d {label} fixed", (x, Parameter(w), Parameter(bias)), attributes, 22
            )
        for name in FLOATS[1:]:
            inputs = (
                x.astype(dtype(name)),
                draw(name, (3, 4, *[3] * rank), "w", 0.5),
                draw(name, (3,), "b"),
            )
            yield Case("Conv", f"{rank}d {name}", inputs, {"pads": [1] * rank * 2}, 22)


def _transposed() -> Iterator[Case]:
    for rank in (1, 2, 3):
        spatial = (4, 5, 3)[:rank]
        x = draw("float32", (2, 4, *spatial), "deconv")
        target = [2 * s + 1 for s in spatial]
        variants: list[tuple[str, dict[str, Any], tuple[int, ...]]] = [
            ("plain", {}, (4, 3, *[3] * rank)),
            ("strides", {"strides": [2] * rank}, (4, 3, *[3] * rank)),
            ("strides past kernel", {"strides": [3] * rank}, (4, 3, *[2] * rank)),
            ("pads", {"pads": [1] * rank * 2, "strides": [2] * rank}, (4, 3, *[3] * rank)),
            (
                "uneven pads",
                {"pads": [0] * rank + [1] * rank, "strides": [2] * rank},
                (4, 3, *[3] * rank),
            ),
            (
                "uneven pads before",
                {"pads": [1] * rank + [0] * rank, "strides": [2] * rank},
                (4, 3, *[3] * rank),
            ),
            (
                "output_padding",
                {"output_padding": [1] * rank, "strides": [2] * rank},
                (4, 3, *[3] * rank),
            ),
            (
                "output_padding pads",
                {"output_padding": [1] * rank, "strides": [2] * rank, "pads": [1] * rank * 2},
                (4, 3, *[3] * rank),
            ),
            ("dilations", {"dilations": [2] * rank}, (4, 3, *[2] * rank)),
            ("groups", {"group": 2, "strides": [2] * rank}, (4, 2, *[3] * rank)),
            ("depthwise", {"group": 4, "strides": [2] * rank}, (4, 1, *[2] * rank)),
            ("output_shape", {"output_shape": target, "strides": [2] * rank}, (4, 3, *[3] * rank)),
            (
                "output_shape even",
                {"output_shape": [2 * s for s in spatial], "strides": [2] * rank},
                (4, 3, *[3] * rank),
            ),
            (
                "output_shape lower",
                {
                    "output_shape": [2 * s for s in spatial],
                    "strides": [2] * rank,
                    "auto_pad": "SAME_LOWER",
                },
                (4, 3, *[3] * rank),
            ),
            (
                "output_shape upper",
                {
                    "output_shape": [2 * s for s in spatial],
                    "strides": [2] * rank,
                    "auto_pad": "SAME_UPPER",
                },
                (4, 3, *[3] * rank),
            ),
            (
                "output_shape beyond",
                {"output_shape": [2 * s + 2 for s in spatial], "strides": [2] * rank},
                (4, 3, *[3] * rank),
            ),
            *(
                (
                    f"{kind} {stride} {k}",
                    {"auto_pad": kind, "strides": [stride] * rank},
                    (4, 3, *[k] * rank),
                )
                for kind in ("SAME_UPPER", "SAME_LOWER", "VALID")
                for stride, k in ((1, 3), (2, 3), (2, 4))
            ),
        ]
        for label, attributes, shape in variants:
            w = draw("float32", shape, "weights", 0.5)
            bias = draw("float32", (shape[1] * attributes.get("group", 1),), "bias")
            yield Case("ConvTranspose", f"{rank}d {label}", (x, w), attributes, 11)
            fixed = (x, Parameter(w), Parameter(bias))
            yield Case("ConvTranspose", f"{rank}d {label} fixed", fixed, attributes, 22)
        for name in FLOATS[1:]:
            inputs = (x.astype(dtype(name)), Parameter(draw(name, (4, 3, *[3] * rank), "w", 0.5)))
            yield Case("ConvTranspose", f"{rank}d {name}", inputs, {"strides": [2] * rank}, 22)
