"""RNN, GRU and LSTM."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from operators.case import Array, Case, Parameter
from operators.values import FLOATS, draw

_GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
_SEQUENCE, _BATCH, _INPUT, _HIDDEN = 4, 3, 5, 6


def cases() -> Iterator[Case]:
    for operator in _GATES:
        yield from _recurrent(operator)


def _recurrent(operator: str) -> Iterator[Case]:
    gates = _GATES[operator]
    states = 2 if operator == "LSTM" else 1

    def inputs(directions: int, name: str, **given: Array | None) -> tuple[Any, ...]:
        def random(label: str, *shape: int) -> Array:
            return draw(name, shape, f"{operator}{label}", 0.4)

        rows = gates * _HIDDEN
        values: list[Any] = [
            random("x", _SEQUENCE, _BATCH, _INPUT),
            Parameter(random("w", directions, rows, _INPUT)),
            Parameter(random("r", directions, rows, _HIDDEN)),
        ]
        if given.get("bias") is not None or "bias" not in given:
            values.append(Parameter(random("b", directions, 2 * rows)))
        else:
            values.append(None)
        values.append(given.get("lengths"))
        if "initial" in given:
            values += [random(f"s{i}", directions, _BATCH, _HIDDEN) for i in range(states)]
        if "peepholes" in given:
            values += [None] * (7 - len(values))
            values.append(Parameter(random("p", directions, 3 * _HIDDEN)))
        while values[-1] is None:
            values.pop()
        return tuple(values)

    every = (True,) * (1 + states)
    lengths = np.array([4, 2, 3], np.int32)
    for opset in (7, 14, 22):
        for direction, count in (("forward", 1), ("reverse", 1), ("bidirectional", 2)):
            base: dict[str, Any] = {"hidden_size": _HIDDEN, "direction": direction}
            label = direction
            yield Case(operator, label, inputs(count, "float32"), base, opset, every)
            yield Case(
                operator,
                f"{label} initial",
                inputs(count, "float32", initial=lengths),
                base,
                opset,
                every,
            )
            yield Case(
                operator,
                f"{label} lengths",
                inputs(count, "float32", lengths=lengths),
                base,
                opset,
                every,
            )
            yield Case(
                operator,
                f"{label} no bias",
                inputs(count, "float32", bias=None),
                base,
                opset,
                every,
            )
            yield Case(
                operator,
                f"{label} both",
                inputs(count, "float32", lengths=lengths, initial=lengths),
                base,
                opset,
                every,
            )
            if opset != 22:
                continue
            yield Case(
                operator,
                f"{label} clip",
                inputs(count, "float32"),
                base | {"clip": 0.1},
                opset,
                every,
            )
            for there in (
                (True,),
                (False, True),
                *(((False, False, True),) if states == 2 else ()),
            ):
                yield Case(
                    operator, f"{label} {there}", inputs(count, "float32"), base, opset, there
                )
            for name in FLOATS[1:]:
                yield Case(operator, f"{label} {name}", inputs(count, name), base, opset, every)
            if operator == "GRU":
                yield Case(
                    operator,
                    f"{label} linear",
                    inputs(count, "float32"),
                    base | {"linear_before_reset": 1},
                    opset,
                    every,
                )
            if operator == "LSTM":
                yield Case(
                    operator,
                    f"{label} peepholes",
                    inputs(count, "float32", peepholes=lengths),
                    base,
                    opset,
                    every,
                )
                yield Case(
                    operator,
                    f"{label} input_forget",
                    inputs(count, "float32"),
                    base | {"input_forget": 1},
                    opset,
                    every,
                )
            functions = {
                "RNN": ["Relu"],
                "GRU": ["HardSigmoid", "Relu"],
                "LSTM": ["Sigmoid", "Softsign", "Relu"],
            }[operator]
            yield Case(
                operator,
                f"{label} activations",
                inputs(count, "float32"),
                base | {"activations": functions * count},
                opset,
                every,
            )
            functions = {
                "RNN": ["LeakyRelu"],
                "GRU": ["HardSigmoid", "LeakyRelu"],
                "LSTM": ["HardSigmoid", "ScaledTanh", "Elu"],
            }[operator]
            values: dict[str, Any] = {
                "activation_alpha": [0.3, 0.6, 0.5][: len(functions)] * count,
            }
            if operator != "RNN":
                values["activation_beta"] = [0.4, 0.7][: len(functions) - 1] * count
            yield Case(
                operator,
                f"{label} alpha",
                inputs(count, "float32"),
                base | {"activations": functions * count} | values,
                opset,
                every,
            )
