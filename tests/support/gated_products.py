"""Gates whose factors are parts of one product with a bias: ``(x @ A + a) * f(x @ B + b)``."""

from __future__ import annotations

from dataclasses import dataclass
from math import erf

import numpy as np
import onnx
from onnx import numpy_helper
from onnx.parser import parse_model

from support.models import Array

ACTIVATIONS = {
    "gelu": "f = Gelu(b)",
    "erf": (
        "d = Div(b, root) e = Erf(d) g = Add(e, one) h = Mul(b, g) f = Mul(h, half)"  # before 20
    ),
    "silu": "s = Sigmoid(b) f = Mul(b, s)",
    "sigmoid": "f = Sigmoid(b)",
    "relu": "f = Relu(b)",
    "none": "f = Identity(b)",
}
PARTS = {
    "split": "a, b = Split<axis = -1>(u, sizes)",
    "halves": "a, b = Split<axis = 2, num_outputs = 2>(u)",
    "gate first": "b, a = Split<axis = 2>(u, sizes)",
    "slices": "a = Slice(u, zero, middle, last) b = Slice(u, middle, end, last)",
}


@dataclass(frozen=True)
class Gate:
    """y [batch, tokens, width] from x of the same shape."""

    activation: str = "gelu"
    parts: str = "split"
    width: int = 64
    wide: int = 128
    tokens: int = 256
    product: str = "MatMul"
    """Or Gemm, of tokens without a batch."""
    seed: int = 11
    """Of the weights."""

    def __str__(self) -> str:
        size = f"{self.tokens}x{self.width} to {self.wide}"
        return f"{self.activation} {self.parts} {size} {self.product}"

    def proto(self, batch: int | str) -> onnx.ModelProto:
        """Give the model; its batch is dynamic if it has a name."""
        shape = f"{batch},{self.tokens},{self.width}"
        body = f"p = MatMul(x, w) u = Add(p, v) {PARTS[self.parts]}"
        if self.product == "Gemm":
            shape = f"{batch},{self.width}"
            body = "u = Gemm<transB = 1>(x, wt, v) "
            body += PARTS[self.parts].replace("axis = 2", "axis = 1")
        model = parse_model(
            f'<ir_version: 9, opset_import: ["" : 20]> gate (float[{shape}] x) '
            f"=> (float[{shape}] y) {{ {body} {ACTIVATIONS[self.activation]} m = Mul(a, f) "
            "q = MatMul(m, w2) y = Add(q, v2) }"
        )
        wide = self.wide
        indices = {"sizes": [wide, wide], "zero": [0], "middle": [wide], "end": [2 * wide]}
        numbers = {"root": np.sqrt(2), "one": 1, "half": 0.5}
        weights = self.weights()
        tensors = {name: np.array(x, np.int64) for name, x in {**indices, "last": [-1]}.items()}
        tensors |= {name: np.float32(x) for name, x in numbers.items()}
        tensors |= {**weights, "wt": np.ascontiguousarray(weights["w"].T)}
        used = {name for node in model.graph.node for name in node.input}
        model.graph.initializer.extend(
            numpy_helper.from_array(np.asarray(x), name)
            for name, x in tensors.items()
            if name in used
        )
        return model

    def weights(self) -> dict[str, Array]:
        """Draw them, the same each time; biases as large as the products."""
        rng = np.random.default_rng(self.seed)
        shapes = {
            "w": (self.width, 2 * self.wide),
            "v": (2 * self.wide,),
            "w2": (self.wide, self.width),
            "v2": (self.width,),
        }
        return {
            name: (rng.standard_normal(shape) / (shape[0] ** 0.5 if len(shape) > 1 else 1)).astype(
                np.float32
            )
            for name, shape in shapes.items()
        }

    def feeds(self, batch: int, seed: int) -> dict[str, Array]:
        """Draw the inputs for a batch."""
        middle = () if self.product == "Gemm" else (self.tokens,)
        rng = np.random.default_rng(seed)
        return {"x": rng.standard_normal((batch, *middle, self.width)).astype(np.float32)}

    def expected(self, feeds: dict[str, Array]) -> Array:
        """Compute y in float64."""
        w = {name: x.astype(np.float64) for name, x in self.weights().items()}
        u = feeds["x"].astype(np.float64) @ w["w"] + w["v"]
        a, b = u[..., : self.wide], u[..., self.wide :]
        if self.parts == "gate first":
            a, b = b, a
        f = {
            "gelu": lambda x: 0.5 * x * (1 + np.vectorize(erf)(x / np.sqrt(2))),
            "silu": lambda x: x / (1 + np.exp(-x)),
            "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
            "relu": lambda x: np.maximum(x, 0),
            "none": lambda x: x,
        }
        f["erf"] = f["gelu"]
        found: Array = (a * f[self.activation](b)) @ w["w2"] + w["v2"]
        return found


GATES = (
    *(Gate(activation) for activation in ACTIVATIONS),
    *(Gate(parts=parts) for parts in list(PARTS)[1:]),
    Gate(width=320, wide=1280, tokens=64),
    Gate(tokens=1),
    Gate(product="Gemm"),
    Gate("silu", "slices", product="Gemm"),
)
