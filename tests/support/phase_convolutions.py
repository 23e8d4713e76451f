"""Models of a ConvTranspose, for its form as a convolution in bfloat16."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from support.models import Array


@dataclass(frozen=True)
class Case:
    """y of x: a ConvTranspose, then an activation and a Conv, if any."""

    size: tuple[int, ...]
    """Of x, without batch and channels."""
    kernel: tuple[int, ...]
    attributes: dict[str, Any] = field(default_factory=dict)
    channels: tuple[int, int] = (8, 8)
    bias: str = "constant"
    """Or computed, or empty for none."""
    weights: str = "constant"
    """Or computed: multiplied by an input of the model."""
    dynamic: str = ""
    """Which axes are: batch, or all but that of the channels."""
    activation: str = ""
    convolution: bool = False
    keep: tuple[str, ...] = ()
    """``keep_fp32``."""

    def __str__(self) -> str:
        """Name the test."""
        words = [f"{len(self.size)}d", "x".join(map(str, self.kernel))]
        words += [f"{name}={value}".replace(" ", "") for name, value in self.attributes.items()]
        words += [f"{self.bias or 'no'} bias"] * (self.bias != "constant")
        words += ["computed weights"] * (self.weights != "constant")
        words += [f"dynamic {self.dynamic}"] * bool(self.dynamic)
        words += [self.activation] * bool(self.activation) + ["conv"] * self.convolution
        return " ".join([*words, *self.keep])

    def _drawn(self) -> dict[str, Array]:
        rng = np.random.default_rng(len(str(self)))
        inputs, outputs = self.channels
        groups = self.attributes.get("group", 1)
        kernel, second = (inputs, outputs // groups, *self.kernel), [3] * len(self.kernel)
        spread = np.sqrt(inputs / groups * np.prod(self.kernel))
        drawn = {
            "w": rng.standard_normal(kernel) / spread,
            "b": rng.standard_normal(outputs),
            "v": rng.standard_normal((4, outputs, *second)) / np.sqrt(outputs * np.prod(second)),
            "one": np.ones(()),
        }
        return {name: values.astype(np.float32) for name, values in drawn.items()}

    def proto(self) -> onnx.ModelProto:
        """Give the model, in float32."""
        axes, drawn = len(self.size), self._drawn()
        nodes, weights, bias = [], "w", "b" if self.bias else ""
        if self.weights != "constant":
            nodes.append(helper.make_node("Mul", ["w", "one"], ["computed_w"]))
            weights = "computed_w"
        if self.bias == "computed":
            nodes.append(helper.make_node("Mul", ["b", "one"], ["computed_b"]))
            bias = "computed_b"
        steps = [("ConvTranspose", [weights, bias][: 1 + bool(bias)], self.attributes)]
        if self.activation:
            steps.append((self.activation, [], {}))
        if self.convolution:
            steps.append(("Conv", ["v"], {"pads": [1] * (2 * axes)}))
        last = "x"
        for index, (operator, others, attributes) in enumerate(steps):
            output = "y" if index == len(steps) - 1 else f"t{index}"
            name = f"{operator}_{index}"
            nodes.append(helper.make_node(operator, [last, *others], [output], name, **attributes))
            last = output
        names = iter("nhwd")
        shape: list[Any] = [2, self.channels[0], *self.size]
        if self.dynamic:
            shape[0] = next(names)
        if self.dynamic == "all":
            shape[2:] = [next(names) for _ in self.size]
        inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)]
        used = {name for node in nodes for name in node.input}
        if "one" in used:
            inputs.append(helper.make_tensor_value_info("one", TensorProto.FLOAT, []))
        rank = [None] * (2 + axes)
        graph = helper.make_graph(
            nodes,
            "transposed",
            inputs,
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, rank)],
            [numpy_helper.from_array(drawn[n], n) for n in sorted(used & {"w", "b", "v"})],
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)], ir_version=10)

    def feeds(self, seed: int, grown: int = 0) -> dict[str, Array]:
        """Draw the inputs; those that are dynamic are larger by ``grown``."""
        rng = np.random.default_rng(seed)
        size = [n + grown * (self.dynamic == "all") for n in self.size]
        x = rng.standard_normal((2 + grown * bool(self.dynamic), self.channels[0], *size))
        feeds = {"x": x.astype(np.float32)}
        if "computed" in (self.bias, self.weights):
            feeds["one"] = np.ones((), np.float32)
        return feeds

    def transposed(self, x: Array) -> Array:
        """Compute the ConvTranspose alone, in float64, by its definition."""
        axes, groups = len(self.size), self.attributes.get("group", 1)
        drawn = {name: values.astype(np.float64) for name, values in self._drawn().items()}
        strides = np.array(self.attributes.get("strides", [1] * axes))
        dilations = np.array(self.attributes.get("dilations", [1] * axes))
        extra = np.array(self.attributes.get("output_padding", [0] * axes))
        before, after = np.split(np.array(self.attributes.get("pads", [0] * (2 * axes))), 2)
        reach = strides * (np.array(x.shape[2:]) - 1) + 1
        length = (np.array(self.kernel) - 1) * dilations + extra
        y = np.zeros((len(x), self.channels[1], *(reach + length)))
        split = x.astype(np.float64).reshape(len(x), groups, -1, *x.shape[2:])
        weights = drawn["w"].reshape(groups, -1, *drawn["w"].shape[1:])
        everything: list[Any] = [slice(None)] * 2
        for place in np.ndindex(*self.kernel):
            taps: Any = (slice(None), slice(None), slice(None), *place)
            added = np.einsum("bgc...,gcm->bgm...", split, weights[taps])
            first = np.array(place) * dilations
            hit = everything + [
                slice(*ends) for ends in zip(first, first + reach, strides, strict=True)
            ]
            y[tuple(hit)] += added.reshape(len(x), -1, *x.shape[2:])
        if self.bias:
            y += drawn["b"].reshape(-1, *[1] * axes)
        kept = everything + [
            slice(start, size - end)
            for start, size, end in zip(before, y.shape[2:], after, strict=True)
        ]
        cut: Array = y[tuple(kept)]
        return cut

    def shapes(self) -> dict[str, Any] | None:
        """Give the profile for feeds that are larger by up to 3."""
        if not self.dynamic:
            return None
        return {"x": tuple(self.feeds(0, grown)["x"].shape for grown in (-1, 0, 3))}


def vocoder(**options: Any) -> Case:
    """One of the stages of a vocoder."""
    attributes = {"strides": [8], "pads": [4, 4]}
    return Case((32,), (16,), attributes, **options)


GPU_CASES = [
    *(
        vocoder(activation=activation, convolution=convolution, dynamic=dynamic)
        for activation in ("LeakyRelu", "Tanh", "")
        for convolution in (True, False)
        for dynamic in ("", "all")
    ),
    vocoder(activation="LeakyRelu", convolution=True, keep=("ConvTranspose",)),
    vocoder(activation="Relu", convolution=True, keep=("Relu",)),
    vocoder(weights="computed", bias="computed", convolution=True),
    Case((20,), (5,), {"strides": [3], "pads": [2, 1], "output_padding": [2], "group": 2}),
    Case((20,), (3,), {"dilations": [2], "pads": [2, 2]}, activation="Relu", convolution=True),
    Case((20,), (3,), {"strides": [2], "dilations": [3]}, convolution=True),
    Case((24, 24), (2, 2), {"strides": [2, 2]}, (64, 32), activation="Relu", convolution=True),
    Case((12, 12), (2, 2), {"strides": [2, 2]}, (64, 32), dynamic="all", convolution=True),
    Case((12, 9), (4, 4), {"strides": [2, 2], "pads": [1] * 4}, dynamic="all", activation="Tanh"),
    Case((8, 9), (3, 3), {"strides": [2, 2], "pads": [1] * 4, "output_padding": [1, 1]},
         (16, 16), dynamic="batch", convolution=True),
    Case((8, 8), (4, 3), {"strides": [2, 1], "pads": [1] * 4, "group": 8}, activation="Relu"),
    Case((6, 7), (3, 2), {"strides": [2, 3], "group": 2}, bias="", weights="computed"),
    Case((4, 5, 6), (2, 2, 2), {"strides": [2, 2, 2]}, activation="Relu", convolution=True),
    Case((4, 5, 6), (3, 4, 3), {"strides": [2, 2, 1], "pads": [1] * 6}, dynamic="all"),
    Case((4, 4, 4), (4, 4, 4), {"strides": [2, 2, 2], "pads": [1] * 6, "group": 2},
         dynamic="all", convolution=True),
]  # fmt: skip
"""Forms, and what may follow them."""
