"""Activated products that are multiplied, as in ``(x @ v + c) * f(x @ w + b)``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper
from onnx.parser import parse_model

from support.models import Array

ACTIVATIONS = {
    "relu": "{f} = Relu({u})",
    "gelu": "{f} = Gelu({u})",
    "gelu by tanh": '{f} = Gelu<approximate = "tanh">({u})',
    "erf": (  # as PyTorch wrote it before opset 20
        "d{f} = Div({u}, root) e{f} = Erf(d{f}) g{f} = Add(e{f}, one) h{f} = Mul({u}, g{f}) "
        "{f} = Mul(h{f}, half)"
    ),
    "erf, the half first": (
        "d{f} = Div({u}, root) e{f} = Erf(d{f}) g{f} = Add(one, e{f}) h{f} = Mul(half, {u}) "
        "{f} = Mul(g{f}, h{f})"
    ),
    "tanh": (
        "p{f} = Pow({u}, three) q{f} = Mul(p{f}, cubic) r{f} = Add({u}, q{f}) "
        "s{f} = Mul(r{f}, slope) t{f} = Tanh(s{f}) g{f} = Add(t{f}, one) h{f} = Mul({u}, g{f}) "
        "{f} = Mul(h{f}, half)"
    ),
}
LINEAR = {
    "MatMul": "{u}m = MatMul({x}, {w}) {u} = Add({u}m, {b})",
    "bias first": "{u}m = MatMul({x}, {w}) {u} = Add({b}, {u}m)",
    "Sub": "{u}m = MatMul({x}, {w}) {u} = Sub({u}m, {b})",
    "Einsum": '{u}m = Einsum<equation = "bnw,wc->bnc">({x}, {w}) {u} = Add({u}m, {b})',
    "Gemm": "{u} = Gemm({x}, {w}, {b})",
}
_SPLIT = "[x W2 B2 u] a, b = Split<axis = -1>(u, sizes) [b f]"
_TWO = "[x W B a] [x V C b] [b f]"
_ONE = "[x W B b] [b f]"
FORMS = {
    "split": f"{_SPLIT} m = Mul(a, f)",
    "the gate first": f"{_SPLIT} m = Mul(f, a)",
    "slices": (
        "[x W2 B2 u] a = Slice(u, zero, wide, last) b = Slice(u, wide, all, last) [b f] "
        "m = Mul(a, f)"
    ),
    "both activated": f"{_SPLIT} [a i] m = Mul(i, f)",
    "with a sigmoid": f"{_SPLIT} i = Sigmoid(a) m = Mul(i, f)",
    "two products": f"{_TWO} m = Mul(a, f)",
    "an input": f"{_ONE} m = Mul(r, f)",
    "itself": f"{_ONE} m = Mul(b, f)",
    "squared": f"{_ONE} m = Mul(f, f)",
    "a scale": f"{_ONE} m = Mul(f, C)",
    "scale and shift": f"{_ONE} i = Mul(f, C) m = Add(i, B)",
    "a number besides": f"{_TWO} i = Mul(f, slope) m = Mul(a, i)",
    "a mask": f"{_ONE} k = Greater(r, nought) i = Cast<to = 1>(k) m = Mul(i, f)",
    "their sum": f"{_ONE} i = ReduceSum<keepdims = 1>(f, last) m = Mul(f, i)",
    "used twice": f"{_TWO} i = Mul(a, f) k = Tanh(a) l = Mul(k, f) m = Add(i, l)",
    "used besides": f"{_TWO} i = Mul(a, f) m = Add(i, f)",
    "the next product": f"{_ONE} [f Q C a] m = Mul(a, f)",
}
"""Bodies in ONNX's text: ``[x W B u]`` stands for a product, ``[u f]`` for the activation."""
WRITTEN = {form: 2 if form in ("both activated", "used twice") else 1 for form in FORMS}
"""The LeakyRelus that such a form gets; both activations of one multiplication count."""


@dataclass(frozen=True)
class Form:
    """y [batch, tokens, width] from x of the same shape and r [batch, tokens, wide]."""

    form: str = "split"
    activation: str = "gelu"
    linear: str = "MatMul"
    """How the products are written; of a Gemm, tokens are the batch."""
    width: int = 64
    wide: int = 128
    tokens: int = 256

    def __str__(self) -> str:
        size = "" if self.tokens == 256 else f", {self.tokens}x{self.width} to {self.wide}"
        return f"{self.form}, {self.activation}, {self.linear}{size}"

    def proto(self, batch: int | str) -> onnx.ModelProto:
        """Give the model; its batch is dynamic if it has a name."""
        body = " ".join(self._written(part) for part in FORMS[self.form].split("["))
        inputs = [f"float[{','.join(map(str, s))}] {name}" for name, s in self._shapes(batch)]
        if "(r," not in body:
            del inputs[1]
        model = parse_model(
            f'<ir_version: 9, opset_import: ["" : 20]> g ({", ".join(inputs)}) '
            f"=> (float[k,l,o] y) {{ {body} n = MatMul(m, O) y = Add(n, P) }}"
        )
        if self.linear == "Gemm":
            del model.graph.output[0].type.tensor_type.shape.dim[0]
        used = {name for node in model.graph.node for name in node.input}
        model.graph.initializer.extend(
            numpy_helper.from_array(np.asarray(x), name)
            for name, x in self._constants().items()
            if name in used
        )
        return model

    def feeds(self, batch: int, seed: int) -> dict[str, Array]:
        """Draw the inputs for a batch."""
        rng = np.random.default_rng(seed)
        drawn = {
            name: rng.standard_normal(shape).astype(np.float32)
            for name, shape in self._shapes(batch)
        }
        if "r" not in {given.name for given in self.proto(batch).graph.input}:
            del drawn["r"]
        return drawn

    def _shapes(self, batch: Any) -> list[tuple[str, tuple[Any, ...]]]:
        rows = (batch,) if self.linear == "Gemm" else (batch, self.tokens)
        return [("x", (*rows, self.width)), ("r", (*rows, self.wide))]

    def _written(self, part: str) -> str:
        """Write a part of a form from its bracket on."""
        if "]" not in part:
            return part
        names, rest = part.split("]")
        if len(given := names.split()) == 2:
            return ACTIVATIONS[self.activation].format(u=given[0], f=given[1]) + rest
        linear = LINEAR[self.linear]
        return linear.format(**dict(zip(("x", "w", "b", "u"), given, strict=True))) + rest

    def _constants(self) -> dict[str, Array]:
        """Draw the weights, the same each time: biases are as large as the products."""
        rng = np.random.default_rng(11)
        width, wide = self.width, self.wide
        shapes = {
            "W": (width, wide), "V": (width, wide), "W2": (width, 2 * wide), "Q": (wide, wide),
            "O": (wide, width), "B": (wide,), "C": (wide,), "B2": (2 * wide,), "P": (width,),
        }  # fmt: skip
        numbers = {
            "root": np.sqrt(2), "one": 1, "half": 0.5, "three": 3, "cubic": 0.044715,
            "slope": np.sqrt(2 / np.pi), "nought": 0,
        }  # fmt: skip
        indices = {
            "sizes": [wide, wide], "zero": [0], "wide": [wide], "all": [2 * wide], "last": [-1]
        }  # fmt: skip
        tensors = {
            name: (rng.standard_normal(shape) / (shape[0] ** 0.5 if len(shape) > 1 else 1)).astype(
                np.float32
            )
            for name, shape in shapes.items()
        }
        tensors |= {name: np.float32(x) for name, x in numbers.items()}
        return tensors | {name: np.array(x, np.int64) for name, x in indices.items()}


CASES = (
    *(Form(form) for form in FORMS),
    *(Form(activation=activation) for activation in ACTIVATIONS if activation != "gelu"),
    *(Form("two products", activation) for activation in ("relu", "erf")),
    *(Form("two products", linear=linear) for linear in LINEAR if linear != "MatMul"),
    Form("squared", "relu"),
    Form("squared", "relu", "Gemm"),
    Form(width=320, wide=1280, tokens=64),
    Form("split", tokens=1),
)
