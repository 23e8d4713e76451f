"""The end of a transformer's block: products, residual additions, a product that is transposed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx
from onnx import numpy_helper
from onnx.parser import parse_model

from support.models import Array


@dataclass(frozen=True)
class Block:
    """y [batch, wide, tokens] from a, c [batch, tokens, width] and an attention's p and v."""

    tokens: int = 64
    width: int = 160
    heads: int = 5
    keys: int = 16
    wide: int = 640
    norm: bool = True
    """Whether a LayerNormalization precedes the last product."""
    bias: bool = True

    def __str__(self) -> str:
        left_out = ["no norm"] * (not self.norm) + ["no bias"] * (not self.bias)
        return " ".join([f"{self.tokens}x{self.width} to {self.wide}", *left_out])

    def proto(self, batch: int | str) -> onnx.ModelProto:
        """Give the model; its batch is dynamic if it has a name."""
        n, c, h, m, f = self.tokens, self.width, self.heads, self.keys, self.wide
        last = "n1" if self.norm else "r1"
        model = parse_model(
            f'<ir_version: 8, opset_import: ["" : 17]> block (float[{batch},{n},{c}] a, '
            f"float[{batch},{n},{c}] c, float[{batch},{h},{n},{m}] p, "
            f"float[{batch},{h},{m},{c // h}] v) "
            f"=> (float[{batch},{f},{n}] y, float[{batch},{n},{c}] z) "
            f"<int64[3] shape = {{0, {n}, {c}}}> {{"
            "  r0 = Add(a, c) z = LayerNormalization<axis = -1>(r0, g0)"
            "  pv = MatMul(p, v) pt = Transpose<perm = [0, 2, 1, 3]>(pv) t = Reshape(pt, shape)"
            "  tw = MatMul(t, w1) u = Add(tw, b1) r1 = Add(u, r0)"
            "  n1 = LayerNormalization<axis = -1>(r1, g1)"
            f" fw = MatMul({last}, w2) f = {'Add(fw, b2)' if self.bias else 'Identity(fw)'}"
            "  y = Transpose<perm = [0, 2, 1]>(f) }"
        )
        tensors = [numpy_helper.from_array(x, name) for name, x in self.weights().items()]
        model.graph.initializer.extend(tensors)
        return model

    def weights(self) -> dict[str, Array]:
        """Draw them, the same each time."""
        c, f = self.width, self.wide
        rng = np.random.default_rng(3)
        drawn = {
            "g0": rng.uniform(0.5, 1.5, c),
            "g1": rng.uniform(0.5, 1.5, c),
            "w1": rng.standard_normal((c, c)) / np.sqrt(c),
            "w2": rng.standard_normal((c, f)) / np.sqrt(c),
            "b1": rng.standard_normal(c),
            "b2": rng.standard_normal(f),
        }
        return {name: x.astype(np.float32) for name, x in drawn.items()}

    def feeds(self, batch: int) -> dict[str, Array]:
        """Draw the inputs."""
        n, c, h, m = self.tokens, self.width, self.heads, self.keys
        rng = np.random.default_rng(batch)
        probabilities = rng.uniform(0, 1, (batch, h, n, m))
        drawn = {
            "a": rng.standard_normal((batch, n, c)),
            "c": rng.standard_normal((batch, n, c)),
            "p": probabilities / probabilities.sum(-1, keepdims=True),
            "v": rng.standard_normal((batch, h, m, c // h)) * 3,
        }
        return {name: x.astype(np.float32) for name, x in drawn.items()}

    def expected(self, feeds: dict[str, Array]) -> dict[str, Array]:
        """Compute the outputs in float64."""
        w = {name: x.astype(np.float64) for name, x in self.weights().items()}
        a, c, p, v = (feeds[name].astype(np.float64) for name in "acpv")
        r0 = a + c
        t = (p @ v).transpose(0, 2, 1, 3).reshape(a.shape)
        r1 = t @ w["w1"] + w["b1"] + r0
        f = (_normalized(r1, w["g1"]) if self.norm else r1) @ w["w2"]
        f = f + w["b2"] if self.bias else f
        return {"y": f.transpose(0, 2, 1), "z": _normalized(r0, w["g0"])}


def _normalized(x: Array, scale: Array) -> Array:
    centered = x - x.mean(-1, keepdims=True)
    normalized: Array = centered / np.sqrt(np.square(centered).mean(-1, keepdims=True) + 1e-5)
    return normalized * scale


BLOCKS = [
    Block(),
    Block(norm=False),
    Block(bias=False),
    Block(norm=False, bias=False),
    Block(tokens=49),
    Block(tokens=256, width=64, heads=2, wide=256),
]
