"""Products of operands that are computed element by element."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import onnx
from onnx.parser import parse_model
from onnx.reference import ReferenceEvaluator

from support.models import Array


@dataclass(frozen=True)
class Product:
    """y from a [4, size] and b [size, 3] (or transposed), with the constants c = 3, d = 110."""

    name: str
    dtype: str
    size: int | None
    """Elements that each value of the product is a sum of; None: known in the run only."""
    body: str
    transposed: bool = False

    def proto(self) -> onnx.ModelProto:
        size = self.size or "k"
        a = f"{size},4" if self.transposed else f"4,{size}"
        return parse_model(
            f'<ir_version: 8, opset_import: ["" : 17]> g ({self.dtype}[{a}] a, {self.dtype}'
            f"[{size},3] b) => (float[4,3] y) <float c = {{3.0}}, float d = {{110.0}}> "
            f"{{ {self.body} }}"
        )

    def feeds(self, size: int) -> dict[str, Array]:
        """Draw positive inputs, as some bodies take logarithms."""
        rng = np.random.default_rng(size)
        shapes = {"a": (size, 4) if self.transposed else (4, size), "b": (size, 3)}
        if self.dtype == "uint8":
            return {n: rng.integers(0, 255, s).astype(np.uint8) for n, s in shapes.items()}
        dtype = np.float32 if self.dtype == "float" else np.float16
        return {n: rng.uniform(0.5, 2, s).astype(dtype) for n, s in shapes.items()}

    def expected(self, feeds: dict[str, Array]) -> Array:
        (found,) = cast("list[Array]", ReferenceEvaluator(self.proto()).run(None, feeds))
        return found

    def sizes(self) -> tuple[int, ...]:
        """Give the size, or those to run with."""
        return (1, 4, 5, 9) if self.size is None else (self.size,)

    def shapes(self) -> dict[str, Any] | None:
        """Give the profile of a size that is known in the run only."""
        if self.size is not None:
            return None
        return {"a": ((4, 1), (4, 5), (4, 9)), "b": ((1, 3), (5, 3), (9, 3))}


_SHIFTED = "a2 = Sub(a1, c) b2 = Sub(b1, d) y = MatMul(a2, b2)"
_PLAIN = "a1 = Identity(a) b1 = Identity(b) "
_CAST = "a1 = Cast<to=1>(a) b1 = Cast<to=1>(b) "

PRODUCTS = [
    *(Product(f"float over {k}", "float", k, _PLAIN + _SHIFTED) for k in (1, 3, 5, 17)),
    Product("uint8", "uint8", 7, _CAST + _SHIFTED),
    Product("float16", "float16", 5, _CAST + _SHIFTED),
    Product(
        "scaled", "float", 3,
        "a2 = Sub(a, c) a3 = Mul(a2, c) b2 = Sub(b, d) b3 = Div(b2, d) y = MatMul(a3, b3)",
    ),
    Product("a logarithm", "float", 5, "a2 = Log(a) y = MatMul(a2, b)"),
    Product("exponentials", "float", 5, "a2 = Exp(a) b2 = Exp(b) y = MatMul(a2, b2)"),
    Product(
        "Gemm", "float", 5, "a2 = Sub(a, c) b2 = Sub(b, d) y = Gemm<transA=1>(a2, b2)",
        transposed=True,
    ),
    Product(
        "Einsum", "float", 5,
        'a2 = Sub(a, c) b2 = Sub(b, d) y = Einsum<equation="ij,jk->ik">(a2, b2)',
    ),
    Product(
        "Einsum as it is understood", "float", 7,
        'a2 = Exp(a) b2 = Exp(b) y = Einsum<equation="ji, jk">(a2, b2)', transposed=True,
    ),
    Product("known in the run", "float", None, _PLAIN + _SHIFTED),
    Product(
        "an Einsum known in the run", "float", None,
        'a2 = Sub(a, c) b2 = Sub(b, d) y = Einsum<equation="ij,jk->ik">(a2, b2)',
    ),
]  # fmt: skip
