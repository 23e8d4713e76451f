"""Operators on each element, of one input and of several."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from operators.case import Array, Case
from operators.values import (
    FLOATS,
    SHAPES,
    draw,
    dtypes,
    edges,
    nonzero,
    opsets,
    over_versions,
)

_UNARY: dict[str, list[dict[str, Any]]] = {
    **{
        name: [{}]
        for name in (
            "Abs",
            "Acos",
            "Acosh",
            "Asin",
            "Asinh",
            "Atan",
            "Atanh",
            "Ceil",
            "Cos",
            "Cosh",
            "Erf",
            "Exp",
            "Floor",
            "HardSwish",
            "Identity",
            "IsNaN",
            "Log",
            "Mish",
            "Neg",
            "Not",
            "Reciprocal",
            "Relu",
            "Round",
            "Sigmoid",
            "Sign",
            "Sin",
            "Sinh",
            "Softplus",
            "Softsign",
            "Sqrt",
            "Tan",
            "Tanh",
        )
    },
    "Celu": [{}, {"alpha": 0.5}, {"alpha": 3.0}],
    "Elu": [{}, {"alpha": 0.0}, {"alpha": -0.7}, {"alpha": 2.5}],
    "Gelu": [{}, {"approximate": "tanh"}],
    "HardSigmoid": [{}, {"alpha": 0.5, "beta": 0.1}, {"alpha": -0.3, "beta": 0.6}],
    "IsInf": [
        {},
        {"detect_negative": 0},
        {"detect_positive": 0},
        {"detect_negative": 0, "detect_positive": 0},
    ],
    "LeakyRelu": [{}, {"alpha": 0.0}, {"alpha": -0.5}, {"alpha": 2.0}],
    "Selu": [{}, {"alpha": 1.0, "gamma": 3.0}, {"alpha": -2.0, "gamma": 0.5}],
    "Shrink": [{}, {"bias": 0.5, "lambd": 1.0}, {"bias": -1.0, "lambd": 0.2}],
    "Swish": [{}, {"alpha": 0.5}, {"alpha": -1.7}],
    "ThresholdedRelu": [{}, {"alpha": 0.0}, {"alpha": -1.0}, {"alpha": 2.5}],
}
_BINARY = ("Add", "Sub", "Mul", "Div", "Mod", "Pow", "PRelu")
_LOGICAL = (
    "And",
    "Or",
    "Xor",
    "Equal",
    "Greater",
    "GreaterOrEqual",
    "Less",
    "LessOrEqual",
    "BitwiseAnd",
    "BitwiseOr",
    "BitwiseXor",
)
_VARIADIC = ("Max", "Min", "Sum", "Mean")
_BROADCASTS: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...] = (
    ((3, 4), (3, 4)),
    ((3, 4), (4,)),
    ((4,), (3, 4)),
    ((3, 1), (1, 4)),
    ((), (3, 4)),
    ((3, 4), ()),
    ((), ()),
    ((2, 3, 4), (3, 1)),
    ((1,), (2, 3, 4, 5, 2)),
    ((2, 1, 1, 3), (4, 1)),
    ((0, 3), (1, 3)),
    ((2, 0, 3), (3,)),
)


def cases() -> Iterator[Case]:
    yield from _unary()
    for operator in (*_BINARY, *_LOGICAL):
        yield from _binary(operator)
    for operator in _VARIADIC:
        yield from _variadic(operator)


def _unary() -> Iterator[Case]:
    for operator, variants in _UNARY.items():
        for opset, name in over_versions(operator):
            yield Case(operator, f"{name} edges", (edges(name),), opset=opset)
            yield Case(operator, f"{name}", (draw(name, (3, 4), operator),), opset=opset)
        newest = opsets(operator)[0]
        first = dtypes(operator, newest)[0]
        for shape in (*SHAPES, (2, 0, 3), (1, 2, 1, 2, 1, 2)):
            yield Case(operator, f"{shape}", (draw(first, shape, operator),), opset=newest)
        for index, attributes in enumerate(variants[1:]):
            for name in dtypes(operator, newest)[:3]:
                label = f"{name} variant {index}"
                x = np.concatenate([draw(name, (12,), label), edges(name)])
                yield Case(operator, label, (x,), attributes, newest)


def _second(operator: str, name: str, shape: tuple[int, ...], label: str) -> Array:
    if operator in ("Div", "Mod"):
        return nonzero(name, shape, label)
    if operator == "Pow":
        return np.abs(draw(name, shape, label, 0.5))
    return draw(name, shape, f"{label} second")


def _attributes(operator: str, name: str) -> dict[str, Any]:
    return {"fmod": 1} if operator == "Mod" and name in FLOATS else {}


def _binary(operator: str) -> Iterator[Case]:
    for opset, name in over_versions(operator):
        a = draw(name, (3, 4), operator)
        if operator == "Pow":
            a = np.abs(a)
        b = _second(operator, name, (3, 4), operator)
        attributes = _attributes(operator, name)
        yield Case(operator, name, (a, b), attributes, opset)
        yield Case(operator, f"{name} row", (a, b[0]), attributes, opset)
        if operator not in ("Div", "Mod", "Pow"):
            x = edges(name)
            yield Case(operator, f"{name} edges", (x[:, None], x[None]), attributes, opset)
    newest = opsets(operator)[0]
    for name in dtypes(operator, newest)[:1] + dtypes(operator, newest)[3:4]:
        for first, second in _BROADCASTS:
            if operator == "PRelu" and np.broadcast_shapes(first, second) != first:
                continue
            a = draw(name, first, operator)
            a = np.abs(a) if operator == "Pow" else a
            b = _second(operator, name, second, operator)
            label = f"{name} {first} {second}"
            yield Case(operator, label, (a, b), _attributes(operator, name), newest)


def _variadic(operator: str) -> Iterator[Case]:
    for opset, name in over_versions(operator):
        arrays = [draw(name, (3, 4), f"{operator}{i}") for i in range(4)]
        for count in range(1, 5):
            yield Case(operator, f"{name} of {count}", tuple(arrays[:count]), opset=opset)
        x = edges(name)
        if operator == "Mean" and name in FLOATS:
            x = x[~(np.abs(x.astype(np.float64)) > 1e4)]  # of which the sum is within the type
        yield Case(operator, f"{name} edges", (x[:, None], x[None]), opset=opset)
        label = f"{name} broadcast"
        yield Case(operator, label, (arrays[0], arrays[1][:1], arrays[2][:, :1]), opset=opset)
        yield Case(operator, f"{name} scalar", (arrays[0], arrays[1][0, 0]), opset=opset)
