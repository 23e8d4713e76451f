"""Attention as exporters spell it, in heads of a size that TensorRT fuses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from onnx import NodeProto, TensorProto, helper

from support.models import Array, Model, make, value

BATCH, HEADS, LENGTH, SIZE = 2, 4, 40, 64
LOWEST = float(np.finfo(np.float32).min)


class _Writer:
    """Nodes, and the constants that they use."""

    def __init__(self) -> None:
        self.nodes: list[NodeProto] = []
        self.weights: dict[str, Array] = {}

    def __call__(self, operator: str, *inputs: Any, **attributes: Any) -> str:
        names = [i if isinstance(i, str) else self.constant(i) for i in inputs]
        output = f"{operator.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, names, [output], output, **attributes))
        return output

    def constant(self, content: Any) -> str:
        array = np.asarray(content)
        array = array.astype(np.float32) if array.dtype == np.float64 else array
        name = f"constant_{len(self.weights)}"
        self.weights[name] = array
        return name


Scores = Callable[[_Writer, str], str]
MASK = np.triu(np.ones((1, 1, LENGTH, LENGTH), bool), 1)
"""What comes later, true."""
SLOPES = np.array([0.5, 0.25, 0.125, 0.0625]).reshape(1, HEADS, 1, 1)
BIAS = np.random.default_rng(7).standard_normal((1, HEADS, LENGTH, LENGTH))

SPELLINGS: dict[str, tuple[Scores, Callable[[Array], Array]]] = {
    "no mask": (lambda w, s: s, lambda s: s),
    "lowest float32 added": (
        lambda w, s: w("Add", s, np.where(MASK, LOWEST, 0.0)),
        lambda s: np.where(MASK, -np.inf, s),
    ),
    "minus infinity added": (
        lambda w, s: w("Add", s, np.where(MASK, -np.inf, 0.0)),
        lambda s: np.where(MASK, -np.inf, s),
    ),
    "mask computed": (
        lambda w, s: w("Add", s, w("Where", ~MASK, 0.0, LOWEST)),
        lambda s: np.where(MASK, -np.inf, s),
    ),
    "scores chosen": (
        lambda w, s: w("Where", MASK, -np.inf, s),
        lambda s: np.where(MASK, -np.inf, s),
    ),
    "slopes": (
        lambda w, s: w("Add", s, np.where(MASK, LOWEST, -np.arange(LENGTH) * SLOPES)),
        lambda s: np.where(MASK, -np.inf, s - np.arange(LENGTH) * SLOPES),
    ),
    "relative bias": (lambda w, s: w("Add", s, BIAS), lambda s: s + BIAS),
    "capped": (
        lambda w, s: w(
            "Add",
            w("Mul", w("Tanh", w("Div", s, 5.0)), 5.0),
            np.where(MASK, LOWEST, 0.0),
        ),
        lambda s: np.where(MASK, -np.inf, 5 * np.tanh(s / 5)),
    ),
}
"""How scores become what Softmax gets, and the same in numpy."""


def attention(
    spelling: str = "lowest float32 added", *, guarded: bool = True, groups: int = 1
) -> Model:
    """Attention of q, k and v [batch, heads, length, size], as PyTorch's exporter writes it.

    Args:
        spelling: of the mask or bias, one of `SPELLINGS`.
        guarded: whether NaN among the probabilities is replaced by zero.
        groups: how many heads share keys and values.
    """
    write, (mask, mask_reference) = _Writer(), SPELLINGS[spelling]
    scale = SIZE**-0.25
    k, v = "k", "v"
    shared = HEADS // groups
    if groups > 1:
        k, v = (_repeated(write, name, shared, groups) for name in (k, v))
    q = write("Mul", "q", scale)
    k = write("Mul", write("Transpose", k, perm=[0, 1, 3, 2]), scale)
    p = write("Softmax", mask(write, write("MatMul", q, k)), axis=-1)
    if guarded:
        p = write("Where", write("IsNaN", p), 0.0, p)
    write("MatMul", p, v)
    nodes = write.nodes
    nodes[-1].output[0] = "y"
    shapes = {"q": HEADS, "k": shared, "v": shared}
    proto = make(
        nodes,
        [value(n, TensorProto.FLOAT, [BATCH, h, LENGTH, SIZE]) for n, h in shapes.items()],
        [value("y", TensorProto.FLOAT, [BATCH, HEADS, LENGTH, SIZE])],
        write.weights,
        opset=20,
    )

    def reference(*inputs: Array) -> Array:
        q, k, v = (x.astype(np.float64) for x in inputs)
        k, v = (x.repeat(groups, 1) for x in (k, v))
        s = mask_reference(q @ k.swapaxes(2, 3) / np.sqrt(SIZE))
        e = np.exp(s - s.max(-1, keepdims=True))
        y: Array = e / e.sum(-1, keepdims=True) @ v
        return y

    return Model(proto, reference)


def _repeated(write: _Writer, x: str, heads: int, groups: int) -> str:
    """Give each head of keys or values to a group of queries' heads."""
    wide: Sequence[int] = [BATCH, heads, groups, LENGTH, SIZE]
    x = write("Unsqueeze", x, np.array([2]))
    x = write("Expand", x, np.array(wide))
    return write("Reshape", x, np.array([BATCH, HEADS, LENGTH, SIZE]))
