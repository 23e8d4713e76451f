"""Chains of grouped convolutions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper
from onnx.parser import parse_model

from support.models import Array


@dataclass(frozen=True)
class Chain:
    """Convolutions one after the other: y from x [batch, groups * width, size, size]."""

    groups: int
    width: int
    """Channels in each group."""
    size: int
    kernels: tuple[int, ...]
    stride: int = 1
    """Of the first one."""

    def __str__(self) -> str:
        kernels = " ".join(map(str, self.kernels))
        stride = f" stride {self.stride}" if self.stride > 1 else ""
        return f"{self.groups}x{self.width} at {self.size}: {kernels}{stride}"

    @property
    def names(self) -> list[str]:
        """Of the nodes."""
        return [f"conv{i}" for i in range(len(self.kernels))]

    def proto(self, batch: int | str = "batch", dtype: int = onnx.TensorProto.FLOAT) -> Any:
        """Give the model; its batch is dynamic if it has a name."""
        channels, size, last = self.groups * self.width, self.size, len(self.kernels) - 1
        rng = np.random.default_rng(11)
        nodes, weights = [], []
        for i, kernel in enumerate(self.kernels):
            shape = channels, self.width, kernel, kernel
            values = rng.standard_normal(shape) / (kernel * np.sqrt(self.width))
            array = values.astype(helper.tensor_dtype_to_np_dtype(dtype))
            weights.append(numpy_helper.from_array(array, f"w{i}"))
            node = helper.make_node(
                "Conv", [f"t{i}" if i else "x", f"w{i}"], ["y" if i == last else f"t{i + 1}"],
                f"conv{i}", group=self.groups, pads=[kernel // 2] * 4,
                strides=[1 if i else self.stride] * 2,
            )  # fmt: skip
            nodes.append(node)
        end = -(-size // self.stride)
        graph = helper.make_graph(
            nodes, "chain",
            [helper.make_tensor_value_info("x", dtype, [batch, channels, size, size])],
            [helper.make_tensor_value_info("y", dtype, [batch, channels, end, end])],
            weights,
        )  # fmt: skip
        opsets = [helper.make_opsetid("", 17)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=8)

    def shapes(self, *batches: int) -> dict[str, Any]:
        """Give the profile of the least, the usual and the largest batch."""
        channels = self.groups * self.width
        return {"x": tuple((batch, channels, self.size, self.size) for batch in batches)}

    def draw(self, batch: int) -> Array:
        """Draw an input."""
        shape = batch, self.groups * self.width, self.size, self.size
        return np.random.default_rng(batch).standard_normal(shape).astype(np.float32)


def in_branch(chain: Chain) -> onnx.ModelProto:
    """Put a chain's convolutions into a branch of an If."""
    inner = chain.proto().graph
    channels, size = chain.groups * chain.width, chain.size
    shape = f"batch,{channels},{size},{size}"
    model = parse_model(
        f'<ir_version: 8, opset_import: ["" : 17]> g (float[{shape}] x, bool c) '
        f"=> (float[{shape}] z) {{ z = If(c) <then_branch = t () => (float[{shape}] y) {{}}, "
        f"else_branch = e () => (float[{shape}] n) {{ n = Neg(x) }}> }}"
    )
    (then, *_) = model.graph.node[0].attribute
    then.g.node.extend(inner.node)
    then.g.initializer.extend(inner.initializer)
    return model


PAIRS = [
    Chain(32, 1, 28, (3, 5)),
    Chain(32, 1, 28, (5, 3)),
    Chain(48, 1, 14, (3, 7)),
    Chain(48, 1, 28, (3, 3, 5), stride=2),
    Chain(16, 4, 14, (3, 5)),
]
"""Of several kernel sizes."""
SINGLE = [
    Chain(26, 8, 14, (3,)),
    Chain(6, 8, 28, (3,)),
    Chain(55, 8, 14, (3,)),
    Chain(6, 16, 28, (3,), stride=2),
    Chain(16, 6, 28, (3,), stride=2),
    Chain(16, 2, 14, (3,)),
    Chain(4, 32, 14, (3,)),
]
"""With more than one channel a group."""
SAFE = [Chain(32, 1, 28, (3, 3)), Chain(96, 1, 14, (5,)), Chain(1, 16, 14, (3, 5))]
"""Depthwise of one kernel size, as in MobileNetV2; and none with groups."""
