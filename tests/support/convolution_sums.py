"""Sums of convolutions and other tensors that are computed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx
from onnx import numpy_helper
from onnx.parser import parse_graph, parse_model

from fasttrt._graph.traversal import with_inner
from support.models import Array

SIZES = ((1, 64, 56), (1, 256, 14), (2, 512, 7))
"""Batch, channels, and height and width of inputs with which bottleneck blocks were wrong."""


@dataclass(frozen=True)
class Form:
    """y of x [batch, channels, size, size]; the sums have four times as many channels."""

    name: str
    body: str
    sums: tuple[str, ...] = ("s",)
    """The outputs of the sums that are rewritten where there are no CUDA graphs."""

    def __str__(self) -> str:
        return self.name

    def proto(
        self, batch: int | str = 1, channels: int = 8, size: int = 6, *, captured: bool = True
    ) -> onnx.ModelProto:
        """Give the model; its batch is dynamic if it has a name.

        Not captured: with an If and a second output, so that it cannot be.
        """
        shape = f"{batch},{channels},{size},{size}"
        model = parse_model(
            f'<ir_version: 8, opset_import: ["" : 17]> g (float[{shape}] x) '
            f"=> (float[n,a,b,c] y) {{ {self.body} }}"
        )
        used = {name for node in with_inner(model.graph.node) for name in node.input}
        for name, values in _weights(channels).items():
            if name in used:
                model.graph.initializer.append(numpy_helper.from_array(values, name))
        if not captured:
            model.graph.node.extend(_choice().node)
            model.graph.output.append(_choice().output[0])
        return model

    def feeds(
        self, batch: int = 1, channels: int = 8, size: int = 6, *, seed: int = 0
    ) -> dict[str, Array]:
        """Draw x."""
        x = np.random.default_rng(seed).standard_normal((batch, channels, size, size))
        return {"x": x.astype(np.float32)}


def _choice() -> onnx.GraphProto:
    """Give the sign of y for positive means of x, else that of -y."""
    return parse_graph(
        "g (float[n,a,b,c] x, float[n,d,e,f] y) => (float[n,d,e,f] sign) { "
        "mean = ReduceMean<keepdims = 0>(x) zero = Constant<value = float {0}>() "
        "positive = Greater(mean, zero) sign = If (positive) "
        "<then_branch = t () => (float[n,d,e,f] plus) { plus = Sign(y) }, "
        "else_branch = o () => (float[n,d,e,f] minus) { n = Neg(y) minus = Sign(n) }> }"
    )


def _weights(c: int) -> dict[str, Array]:
    rng = np.random.default_rng(3)

    def drawn(*shape: int, inputs: int) -> Array:
        values: Array = (rng.standard_normal(shape) / np.sqrt(inputs)).astype(np.float32)
        return values

    return {
        "w1": drawn(c, c, 1, 1, inputs=c), "w2": drawn(c, c, 3, 3, inputs=9 * c),
        "w3": drawn(4 * c, c, 1, 1, inputs=c), "w4": drawn(4 * c, c, 1, 1, inputs=c),
        "w5": drawn(4 * c, c, 1, 1, inputs=c), "w6": drawn(4 * c, 4 * c, 1, 1, inputs=4 * c),
        "u3": drawn(c, 4 * c, 1, 1, inputs=c),
        "b3": drawn(4 * c, inputs=1), "b4": drawn(4 * c, inputs=1),
        "v3": np.abs(drawn(4 * c, inputs=1)) + np.float32(0.5),
        "bias": drawn(4 * c, 1, 1, inputs=1),
    }  # fmt: skip


_BRANCH = (
    "c1 = Conv(x, w1) r1 = Relu(c1) c2 = Conv<pads = [1, 1, 1, 1]>(r1, w2) r2 = Relu(c2) "
    "p = Conv(r2, w3, b3) "
)
_SKIP = "q = Conv(x, w4, b4) "
_END = "y = Relu(s)"

FORMS = [
    Form("bottleneck", f"{_BRANCH}{_SKIP} s = Add(p, q) {_END}"),
    Form("skip first", f"{_BRANCH}{_SKIP} s = Add(q, p) {_END}"),
    Form("no activation", f"{_BRANCH}{_SKIP} s = Add(p, q) y = Identity(s)"),
    Form("Sum", f"{_BRANCH}{_SKIP} s = Sum(p, q) {_END}"),
    Form("an activation first", f"{_BRANCH}{_SKIP} r = Relu(p) s = Add(r, q) {_END}"),
    Form("an activation second", f"{_BRANCH}{_SKIP} r = Relu(q) s = Add(p, r) {_END}"),
    Form(
        "normalized",
        f"{_BRANCH}{_SKIP} pn = BatchNormalization(p, v3, b3, b4, v3) "
        f"qn = BatchNormalization(q, v3, b4, b3, v3) s = Add(pn, qn) {_END}",
    ),
    Form("a bias apart", f"{_BRANCH}{_SKIP} pb = Add(p, bias) s = Add(pb, q) {_END}"),
    Form("scaled", f"{_BRANCH}{_SKIP} pb = Mul(bias, p) s = Add(pb, q) {_END}"),
    Form("removed between", f"{_BRANCH}{_SKIP} i = Identity(p) s = Add(i, q) {_END}"),
    Form(
        "three",
        f"{_BRANCH}{_SKIP} g = Sigmoid(x) o = Conv(g, w5) s0 = Add(p, q) s = Add(s0, o) {_END}",
        ("s0", "s"),
    ),
    Form(
        "a Sum of three", f"{_BRANCH}{_SKIP} g = Sigmoid(x) o = Conv(g, w5) s = Sum(p, q, o) {_END}"
    ),
    Form("two activations", f"a = Relu(x) b = Sigmoid(x) p = Conv(a, w3) q = Conv(b, w4) "
         f"s = Add(p, q) {_END}"),
    Form("a skip as it is after another", f"{_BRANCH}{_SKIP} s = Add(p, q) t = Relu(s) "
         "c = Conv(t, w6, b3) u = Add(c, t) y = Relu(u)", ("s", "u")),
    Form("the same input", f"p = Conv(x, w3) q = Conv(x, w4) s = Add(p, q) {_END}"),
    Form("the input itself", f"p = Conv(x, w1) s = Add(p, x) {_END}"),
    Form("the input itself, first", f"p = Conv(x, w1) s = Add(x, p) {_END}"),
    Form("a small one", f"{_BRANCH} a = ReduceMean<axes = [2, 3]>(p) g = Sigmoid(a) s = Add(p, g) "
         f"{_END}"),
    Form("transposed convolution", f"{_BRANCH} q = ConvTranspose(x, u3) s = Add(p, q) {_END}"),
]  # fmt: skip
