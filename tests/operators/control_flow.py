"""Loop, Scan and If."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from operators.case import Case
from operators.values import (
    draw,
)


def cases() -> Iterator[Case]:
    yield from _loops()
    yield from _scans()
    yield from _ifs()


_value = helper.make_tensor_value_info


def _loops() -> Iterator[Case]:
    def loop(trips: int | None, condition: bool | None, limit: float, is_collecting: bool) -> Any:
        def nodes() -> list[Any]:
            body_nodes = [
                helper.make_node("Add", ["total", "i0"], ["next"]),
                helper.make_node("ReduceMax", ["next"], ["largest"], keepdims=0),
                helper.make_node("Less", ["largest", "limit"], ["on"]),
                helper.make_node("Identity", ["next"], ["each"]),
            ]
            outputs = [_value("on", TensorProto.BOOL, []), _value("next", TensorProto.FLOAT, [3])]
            outputs += [_value("each", TensorProto.FLOAT, [3])] if is_collecting else []
            body = helper.make_graph(
                body_nodes,
                "body",
                [
                    _value("turn", TensorProto.INT64, []),
                    _value("go", TensorProto.BOOL, []),
                    _value("total", TensorProto.FLOAT, [3]),
                ],
                outputs,
                [numpy_helper.from_array(np.array(limit, np.float32), "limit")],
            )
            names = [
                "trips" if trips is not None else "",
                "start" if condition is not None else "",
                "i0",
            ]
            found = [
                helper.make_node(
                    "Loop", names, ["o0", "o1"] if is_collecting else ["o0"], body=body
                )
            ]
            for name, value in (
                ("trips", np.array(trips or 0, np.int64)),
                ("start", np.array(bool(condition))),
            ):
                if name in names:
                    found.insert(
                        0,
                        helper.make_node(
                            "Constant", [], [name], value=numpy_helper.from_array(value)
                        ),
                    )
            return found

        return nodes

    x = np.array([0.5, 1.0, -0.25], np.float32)
    for trips, condition, limit in (
        (3, None, 100.0),
        (3, True, 100.0),
        (5, True, 2.5),
        (None, True, 3.5),
        (0, True, 9.0),
        (4, False, 9.0),
    ):
        for is_collecting in (False, True):
            label = f"{trips} {condition} {limit} {is_collecting}"
            yield Case(
                "Loop",
                label,
                (x,),
                {},
                16,
                (True, is_collecting),
                loop(trips, condition, limit, is_collecting),
                is_exact=True,
            )


def _scans() -> Iterator[Case]:
    x = draw("float32", (4, 3), "scan")
    start = np.zeros(3, np.float32)
    for opset, reverse_in, reverse_out, axis in (
        (9, 0, 0, 0),
        (11, 1, 0, 0),
        (16, 0, 1, 0),
        (16, 1, 1, 0),
        (16, 0, 0, 1),
        (16, 0, 1, -1),
    ):

        def nodes(
            reverse_in: int = reverse_in, reverse_out: int = reverse_out, axis: int = axis
        ) -> list[Any]:
            width = 3 if axis == 0 else 4
            body = helper.make_graph(
                [
                    helper.make_node("Add", ["state", "row"], ["next"]),
                    helper.make_node("Mul", ["next", "row"], ["each"]),
                ],
                "body",
                [
                    _value("state", TensorProto.FLOAT, [width]),
                    _value("row", TensorProto.FLOAT, [width]),
                ],
                [
                    _value("next", TensorProto.FLOAT, [width]),
                    _value("each", TensorProto.FLOAT, [width]),
                ],
            )
            return [
                helper.make_node(
                    "Scan",
                    ["i0", "i1"],
                    ["o0", "o1"],
                    body=body,
                    num_scan_inputs=1,
                    scan_input_axes=[axis],
                    scan_output_axes=[axis],
                    scan_input_directions=[reverse_in],
                    scan_output_directions=[reverse_out],
                )
            ]

        begin = start if axis == 0 else np.zeros(4, np.float32)
        yield Case(
            "Scan",
            f"{reverse_in} {reverse_out} {axis}",
            (begin, x),
            {},
            opset,
            (True, True),
            nodes,
            is_exact=True,
        )


def _ifs() -> Iterator[Case]:
    for name, condition, same in (
        (n, c, s)
        for n in ("float32", "int64", "bool", "float16", "int32")
        for c in (True, False)
        for s in (True, False)
    ):
        x = draw(name, (2, 3), "if")
        kind = int(helper.np_dtype_to_tensor_dtype(x.dtype))

        def nodes(kind: int = kind, same: bool = same) -> list[Any]:
            branches = {}
            for branch, axis in (("then_branch", 0), ("else_branch", 0 if same else 1)):
                inputs = (
                    ["i1", "i1"]
                    if branch == "then_branch"
                    else (["i1", "i2"] if same else ["i1", "i2", "i1"])
                )
                body = [helper.make_node("Concat", inputs, [f"{branch}_y"], axis=axis)]
                branches[branch] = helper.make_graph(
                    body, branch, [], [_value(f"{branch}_y", kind, None)]
                )
            return [helper.make_node("If", ["i0"], ["o0"], **branches)]

        y = draw(name, (2, 3), "if other")
        label = f"{name} {condition} {same}"
        yield Case("If", label, (np.array(condition), x, y), {}, 16, nodes=nodes, is_exact=True)
