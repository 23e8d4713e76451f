"""What the tests of quantization share."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper

from support import models
from support.randomness import new_rng


def normal(*shape: int) -> models.Array:
    """New float32 values of a normal distribution."""
    return new_rng().standard_normal(shape).astype(np.float32)


def residual_block(channels: int = 8) -> onnx.ModelProto:
    """y = relu(conv2(relu(conv1(x))) + down(x)), then z = relu(conv3(y) + y), both outputs."""
    w = {
        f"w{i}": normal(channels, channels, 3, 3) / np.float32(3 * channels**0.5) for i in range(4)
    }
    pads = [1, 1, 1, 1]
    nodes = [
        helper.make_node("Conv", ["x", "w0"], ["a"], "conv1", pads=pads),
        helper.make_node("Relu", ["a"], ["b"], "relu1"),
        helper.make_node("Conv", ["x", "w1"], ["d"], "down", pads=pads),
        helper.make_node("Conv", ["b", "w2"], ["c"], "conv2", pads=pads),
        helper.make_node("Add", ["c", "d"], ["e"], "add1"),
        helper.make_node("Relu", ["e"], ["y"], "relu2"),
        helper.make_node("Conv", ["y", "w3"], ["f"], "conv3", pads=pads),
        helper.make_node("Add", ["y", "f"], ["g"], "add2"),
        helper.make_node("Relu", ["g"], ["z"], "relu3"),
    ]
    shape = [2, channels, 12, 12]
    x, y, z = (models.value(name, TensorProto.FLOAT, shape) for name in "xyz")
    return models.make(nodes, [x], [y, z], w)
