"""Products of matrices, attention."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np

from operators.case import Array, Case, Input, Parameter
from operators.values import FLOATS, draw, dtype, dtypes, over_versions


def cases() -> Iterator[Case]:
    yield from _products()
    yield from _gemms()
    yield from _sums()
    yield from _attentions()
    yield from _rotations()


def _products() -> Iterator[Case]:
    shapes: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...] = (
        ((3, 4), (4, 5)),
        ((4,), (4, 5)),
        ((3, 4), (4,)),
        ((4,), (4,)),
        ((2, 3, 4), (4, 5)),
        ((2, 3, 4), (2, 4, 5)),
        ((3, 4), (2, 4, 5)),
        ((2, 1, 3, 4), (3, 4, 5)),
        ((4,), (2, 4, 5)),
        ((2, 3, 4), (4,)),
        ((2, 3, 2, 3, 4), (1, 4, 5)),
        ((1, 4), (4, 1)),
        ((3, 0), (0, 4)),
        ((0, 4), (4, 3)),
        ((1, 1), (1, 1)),
        ((2, 3, 4), (1, 4, 2)),
    )
    for (a, b), name in product(shapes, dtypes("MatMul", 13)):
        if name in ("int32", "int64") and (a, b) != shapes[0]:
            continue
        inputs = (draw(name, a, "matmul a"), draw(name, b, "matmul b"))
        yield Case("MatMul", f"{name} {a} {b}", inputs, {}, 13)
    edges = np.array([[np.inf, 1], [np.nan, 0], [1e30, 1e30]], np.float32)
    yield Case("MatMul", "edges", (edges, np.eye(2, dtype=np.float32)), {}, 13)


def _gemms() -> Iterator[Case]:
    for opset, name in over_versions("Gemm"):
        for ta, tb, third in product(
            (0, 1), (0, 1), ((3, 5), (5,), (3, 1), (1, 5), (1,), (), None)
        ):
            if third is None and opset < 11:
                continue
            a, b = draw(name, (3, 4), "a"), draw(name, (4, 5), "b")
            inputs = [
                np.ascontiguousarray(a.T) if ta else a,
                np.ascontiguousarray(b.T) if tb else b,
            ]
            if third is not None:
                inputs.append(draw(name, third, "c"))
            if name != "float32" and (ta, tb) != (0, 1):
                continue
            attributes = {"transA": ta, "transB": tb}
            yield Case("Gemm", f"{name} {ta}{tb} {third}", tuple(inputs), attributes, opset)
            if opset >= 13:
                scaled: dict[str, Any] = attributes | {"alpha": 0.5, "beta": 0.25}
                yield Case("Gemm", f"{name} {ta}{tb} {third} scaled", tuple(inputs), scaled, opset)
                fixed: tuple[Input, ...] = (inputs[0], *[Parameter(v) for v in inputs[1:]])
                yield Case(
                    "Gemm",
                    f"{name} {ta}{tb} {third} zero beta",
                    fixed,
                    attributes | {"beta": 0.0},
                    opset,
                )


def _sums() -> Iterator[Case]:
    for equation, *shapes in (
        ("ij,jk->ik", (3, 4), (4, 5)),
        ("ij->ji", (3, 4)),
        ("ij->", (3, 4)),
        ("ij->i", (3, 4)),
        ("ij", (3, 4)),
        ("ji", (3, 4)),
        ("bij,bjk->bik", (2, 3, 4), (2, 4, 5)),
        ("...ij,...jk->...ik", (2, 3, 4), (2, 4, 5)),
        ("i,i->", (4,), (4,)),
        ("i,j->ij", (3,), (4,)),
        ("ij,ij->ij", (3, 4), (3, 4)),
        ("ii->i", (3, 3)),
        ("ii->", (3, 3)),
        ("ij,jk", (3, 4), (4, 5)),
        ("bhqd,bhkd->bhqk", (2, 2, 3, 4), (2, 2, 5, 4)),
        ("ij,kj->ik", (3, 4), (5, 4)),
        ("ij,jk,kl->il", (2, 3), (3, 4), (4, 5)),
        ("IJ,JK->IK", (3, 4), (4, 5)),
        ("aB->Ba", (3, 4)),
        ("...i->...", (2, 3, 4)),
        ("b...,b...->b...", (2, 3), (2, 3)),
        (" i j , j k -> i k ", (3, 4), (4, 5)),
        ("ijk,ilm->jklm", (2, 3, 2), (2, 2, 3)),
        ("ab,cd->abcd", (2, 3), (4, 2)),
        ("...ij,...jk->...ik", (3, 4), (2, 4, 5)),
        ("bij,jk->bik", (2, 3, 4), (4, 5)),
        ("ij,jk->ki", (3, 4), (4, 5)),
        ("iij->ij", (3, 3, 4)),
        ("i->ii", (3,)),
        ("ij,i->j", (3, 4), (3,)),
    ):
        for name in ("float32", "float16"):
            inputs = tuple(draw(name, s, f"einsum{i}") for i, s in enumerate(shapes))
            yield Case("Einsum", f"{name} {equation} {shapes}", inputs, {"equation": equation}, 12)


def _attentions() -> Iterator[Case]:
    def heads(name: str, *shape: int) -> Array:
        return draw(name, shape, f"attention{shape}", 1.0)

    for name in FLOATS:
        q, k, v = heads(name, 2, 4, 5, 8), heads(name, 2, 4, 6, 8), heads(name, 2, 4, 6, 8)
        square = heads(name, 2, 4, 6, 8)
        mask = draw(name, (5, 6), "mask", 1.0)
        kept = draw("bool", (5, 6), "mask") | (np.arange(6) == 0)
        variants: list[tuple[str, tuple[Input, ...], dict[str, Any]]] = [
            ("plain", (q, k, v), {}),
            ("scale", (q, k, v), {"scale": 0.2}),
            ("mask", (q, k, v, mask), {}),
            ("bool mask", (q, k, v, kept), {}),
            ("causal", (square, k, v), {"is_causal": 1}),
            ("causal wide", (q, k, v), {"is_causal": 1}),
            ("softcap", (q, k, v), {"softcap": 2.0}),
            ("grouped", (q, k[:, :2].copy(), v[:, :2].copy()), {}),
            ("mask of heads", (q, k, v, draw(name, (2, 4, 5, 6), "mask", 1.0)), {}),
            ("other values", (q, k, heads(name, 2, 4, 6, 10)), {}),
        ]
        for label, inputs, attributes in variants:
            yield Case("Attention", f"{name} {label}", inputs, attributes, 23)
        a, b = heads(name, 2, 5, 32), heads(name, 2, 6, 32)
        attributes = {"q_num_heads": 4, "kv_num_heads": 4}
        yield Case("Attention", f"{name} rank 3", (a, b, b + b), attributes, 23)
        past = heads(name, 2, 4, 3, 8)
        inputs = (q, k, v, None, past, past + past)
        yield Case("Attention", f"{name} past", inputs, {}, 23, (True, True, True))


def _rotations() -> Iterator[Case]:
    for name, interleaved, size in product(FLOATS, (0, 1), (0, 4)):
        x = draw(name, (2, 3, 4, 8), "rotary")
        angles = draw(name, (2, 4, (size or 8) // 2), "angles", 1.0)
        cos, sin = np.cos(angles.astype(np.float32)), np.sin(angles.astype(np.float32))
        attributes = {"interleaved": interleaved, "rotary_embedding_dim": size}
        if size:
            attributes["num_heads"] = 3
        inputs = (x, cos.astype(dtype(name)), sin.astype(dtype(name)))
        yield Case("RotaryEmbedding", f"{name} {interleaved} {size}", inputs, attributes, 23)
        table = draw(name, (10, (size or 8) // 2), "table", 1.0)
        ids = np.array([[0, 3, 2, 9], [1, 1, 5, 4]])
        yield Case(
            "RotaryEmbedding",
            f"{name} {interleaved} {size} table",
            (x, table, table + table, ids),
            attributes,
            23,
        )
