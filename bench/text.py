"""A text encoder with the layers of BERT base, random weights and any number of tokens."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from models import Array, Arrays, Network
from onnx import TensorProto, helper, numpy_helper
from sessions import CPU, open_session

WIDTH, LAYERS, HEADS, WORDS = 768, 12, 12, 8192
BUCKETS = (32, 64, 128, 256, 512)  # tokens


@dataclass(frozen=True)
class TextNetwork(Network):
    """One text of so many tokens: the size that varies is the second dimension."""

    def shapes(self, opt: int = 128, largest: int = BUCKETS[-1]) -> dict[str, Any]:
        """What `fasttrt.build` takes as ``shapes``, for texts from the shortest on."""
        return dict.fromkeys(self.names, ((1, BUCKETS[0]), (1, opt), (1, largest)))


@functools.cache
def text_encoder() -> TextNetwork:
    """Encode ids and mask, (1, tokens) int64, into the mean state, (1, WIDTH) float16.

    The reference is ONNX Runtime's on the CPU, in float32, with the same rounded weights.
    """
    rng = np.random.default_rng()
    weights = _weights(rng)
    session = open_session(_model(weights, np.float32), CPU)

    def draw(tokens: int) -> Arrays:
        mask = np.ones((1, tokens), np.int64)
        mask[0, tokens - int(rng.integers(0, tokens // 4)) :] = 0
        return rng.integers(0, WORDS, (1, tokens)), mask

    def reference(ids: Array, mask: Array) -> Array:
        (y,) = session.run(None, {"ids": ids, "mask": mask})
        return np.asarray(y)

    return TextNetwork(
        "text encoder fp16", _model(weights, np.float16), draw, reference, tolerance=2e-2,
        names=("ids", "mask"), batches=(BUCKETS[0], BUCKETS[-1]), sizes=BUCKETS, unit="tokens",
        dimension="tokens",
    )  # fmt: skip


def _weights(rng: np.random.Generator) -> dict[str, npt.NDArray[np.float16]]:
    """As training begins, but larger where texts would come out alike."""
    shapes: dict[str, tuple[int, ...]] = {"words": (WORDS, WIDTH), "places": (BUCKETS[-1], WIDTH)}
    for i in range(LAYERS):
        shapes |= {f"{name}{i}": (WIDTH, WIDTH) for name in ("query", "key", "value", "out")}
        shapes |= {f"up{i}": (WIDTH, 4 * WIDTH), f"down{i}": (4 * WIDTH, WIDTH)}
    weights = {}
    for name, shape in shapes.items():
        scale = 1.0 if name == "words" else shape[0] ** -0.5
        weights[name] = (scale * rng.standard_normal(shape, np.float32)).astype(np.float16)
    return weights


def _model(weights: dict[str, npt.NDArray[np.float16]], dtype: Any) -> Any:
    """The encoder, computing in this dtype, norms and softmax included."""
    nodes: list[Any] = []
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    constants: dict[str, Array] = {k: w.astype(dtype) for k, w in weights.items()}
    constants |= {
        "ones": np.ones(WIDTH, dtype), "zeros": np.zeros(WIDTH, dtype), "one": np.array(1, dtype),
        "hidden": np.array(-1e4, dtype), "scale": np.array((WIDTH // HEADS) ** -0.5, dtype),
        "half": np.array(0.5, dtype), "root": np.array(2**-0.5, dtype),
        "split": np.array([0, 0, HEADS, WIDTH // HEADS], np.int64),
        "merge": np.array([0, 0, WIDTH], np.int64), "axes": np.array([1, 2], np.int64),
        "last": np.array([2], np.int64), "middle": np.array([1], np.int64),
        "zero": np.array(0, np.int64), "first": np.array(1, np.int64),
        "step": np.array(1, np.int64),
    }  # fmt: skip

    def add(operator: str, *inputs: str, **attributes: Any) -> str:
        name = f"t{len(nodes)}"
        nodes.append(helper.make_node(operator, list(inputs), [name], **attributes))
        return name

    value_info = helper.make_tensor_value_info
    mask = add("Cast", "mask", to=kind)
    bias = add("Mul", add("Unsqueeze", add("Sub", "one", mask), "axes"), "hidden")
    tokens = add("Gather", add("Shape", "ids"), "first")
    places = add("Gather", "places", add("Range", "zero", tokens, "step"))
    x = _norm(add, add("Add", add("Gather", "words", "ids"), places))
    for i in range(LAYERS):
        x = _norm(add, add("Add", x, _attention(add, x, bias, i)))
        x = _norm(add, add("Add", x, _feed_forward(add, x, i)))
    kept = add("ReduceSum", add("Mul", x, add("Unsqueeze", mask, "last")), "middle", keepdims=0)
    total = add("ReduceSum", mask, "middle", keepdims=1)
    nodes.append(helper.make_node("Div", [kept, total], ["y"]))
    graph = helper.make_graph(
        nodes, "text_encoder",
        [value_info(name, TensorProto.INT64, [1, "tokens"]) for name in ("ids", "mask")],
        [value_info("y", kind, [1, WIDTH])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


Add = Callable[..., str]


def _norm(add: Add, x: str) -> str:
    return add("LayerNormalization", x, "ones", "zeros", axis=-1)


def _attention(add: Add, x: str, bias: str, layer: int) -> str:
    def heads(name: str, perm: tuple[int, ...]) -> str:
        return add(
            "Transpose", add("Reshape", add("MatMul", x, f"{name}{layer}"), "split"), perm=perm
        )

    query, key = heads("query", (0, 2, 1, 3)), heads("key", (0, 2, 3, 1))
    scores = add("Add", add("Mul", add("MatMul", query, key), "scale"), bias)
    mixed = add("MatMul", add("Softmax", scores, axis=-1), heads("value", (0, 2, 1, 3)))
    merged = add("Reshape", add("Transpose", mixed, perm=(0, 2, 1, 3)), "merge")
    return add("MatMul", merged, f"out{layer}")


def _feed_forward(add: Add, x: str, layer: int) -> str:
    up = add("MatMul", x, f"up{layer}")
    gelu = add("Mul", add("Mul", up, "half"), add("Add", add("Erf", add("Mul", up, "root")), "one"))
    return add("MatMul", gelu, f"down{layer}")
