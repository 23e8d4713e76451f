"""Unroll LSTM, GRU and RNN over a small number of steps, if that is known.

TensorRT makes a loop of each direction. Unrolled, the input's product is one for all steps, and
both directions share the products of a step: on an H200, two bidirectional layers of 50 steps took
430 us instead of 690 us as LSTMs, 430 instead of 720 as GRUs (float16, batch 2).
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from fasttrt._graph.model import OnnxModel
from fasttrt._graph.tensor_info import TensorInfo
from fasttrt._parser.node_rules import Replacement, apply_rules, attribute, input_name

if TYPE_CHECKING:
    import onnx

    from fasttrt._parser.pipeline import Target

MAX_STEPS = 256
"""The most steps of all unrolled nodes of a model together: each makes the build longer."""
_GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
_ACTIVATIONS = {"LSTM": ["Sigmoid", "Tanh", "Tanh"], "GRU": ["Sigmoid", "Tanh"], "RNN": ["Tanh"]}


def unroll_recurrent(model: OnnxModel, target: "Target") -> OnnxModel:
    """Unroll LSTM, GRU and RNN whose number of steps is known, up to `MAX_STEPS` in total.

    Not for TensorRT 8.6, which times several kernels for each layer.
    """
    if target.library.generation == "v8":
        return model
    steps: dict[str, int] = {}

    def unroll(node: "onnx.NodeProto", facts: TensorInfo) -> Replacement:
        count = _steps(node, facts)
        key = next(filter(None, node.output))
        if not count or sum({**steps, key: count}.values()) > MAX_STEPS:
            return None
        steps[key] = count
        return _Unrolling(node, facts, count, attribute(node, "hidden_size", 0)).nodes()

    return apply_rules(
        model, str(target.library), dict.fromkeys(_GATES, unroll), "its {op_type} is unrolled"
    )


def _steps(node: "onnx.NodeProto", facts: TensorInfo) -> int:
    """Return the number of steps of a node that can be unrolled; 0 for others."""
    if facts.opset < 13:  # since which the axes of Squeeze and Unsqueeze are inputs
        return 0
    shape = facts.shape(node.input[0])
    if shape is None or len(shape) != 3 or not attribute(node, "hidden_size", 0):
        return 0
    return (shape[attribute(node, "layout", 0)] or 0) if _is_plain(node) else 0


def _is_plain(node: "onnx.NodeProto") -> bool:
    """Return whether a node has default activations and no lengths, peepholes or clipping."""
    directions = 2 if attribute(node, "direction", b"forward") == b"bidirectional" else 1
    names = [name.decode() for name in attribute(node, "activations", ())]
    usual = _ACTIVATIONS[node.op_type] * directions
    has_lengths, has_peepholes = input_name(node, 4), input_name(node, 7)
    return (
        names in ([], usual)
        and not has_lengths
        and not has_peepholes
        and attribute(node, "clip", None) is None
        and not attribute(node, "input_forget", 0)
    )


@dataclass
class _Unrolling:
    """Write the nodes that unroll one; tensors are [steps, directions, batch, features]."""

    node: "onnx.NodeProto"
    facts: TensorInfo
    steps: int
    hidden: int
    written: "list[onnx.NodeProto]" = field(default_factory=list)
    constants: dict[tuple[int, ...], str] = field(default_factory=dict)

    def nodes(self) -> "list[onnx.NodeProto]":
        kind = self.node.op_type
        direction = attribute(self.node, "direction", b"forward").decode()
        self.directions = {"forward": [False], "reverse": [True]}.get(direction, [False, True])
        layout = attribute(self.node, "layout", 0)
        x = self.node.input[0]
        if layout:
            x = self.new("Transpose", x, perm=[1, 0, 2])
        recurrence = self.transposed(self.node.input[2])  # [1, directions, hidden, gates * hidden]
        bias = self.bias()
        inputs = self.projected(x, bias[0])
        initial = [
            self.initial(input_name(self.node, index), layout)
            for index in (5, 6)[: 1 + (kind == "LSTM")]
        ]
        step = {"LSTM": self.lstm, "GRU": self.gru, "RNN": self.rnn}[kind]
        h, *cell = initial
        states = []
        for t in range(self.steps):
            h, cell = step(inputs[t], h, cell, recurrence, bias[1])
            states.append(h)
        self.outputs(states, cell, layout)
        return self.written

    def new(self, operator: str, *inputs: str, outputs: int = 1, **attributes: Any) -> str:
        """Add a node; return its first output."""
        return self.several(operator, *inputs, outputs=outputs, **attributes)[0]

    def several(
        self, operator: str, *inputs: str, outputs: int = 1, **attributes: Any
    ) -> "list[str]":
        """Add a node; return its outputs."""
        from onnx import helper

        base = self.node.name or self.node.output[0] or next(filter(None, self.node.output))
        names = [self.facts.unused(f"{base}_{len(self.written)}_{i}") for i in range(outputs)]
        self.written.append(helper.make_node(operator, inputs, names, names[0], **attributes))
        return names

    def integers(self, *values: int) -> str:
        """Return a constant, which is added once."""
        from onnx import numpy_helper

        if values not in self.constants:
            tensor = numpy_helper.from_array(np.array(values, np.int64))
            self.constants[values] = self.new("Constant", value=tensor)
        return self.constants[values]

    def part(self, x: str, axis: int, start: int, end: int, step: int = 1) -> str:
        """Add a Slice along an axis; return its output."""
        bounds = [self.integers(value) for value in (start, end, axis, step)]
        return self.new("Slice", x, *bounds)

    def reversed(self, x: str) -> str:
        """Reverse the first axis."""
        return self.part(x, 0, -1, -(self.steps + 1), -1) if self.steps > 1 else x

    def transposed(self, weights: str) -> str:
        """Return weights [directions, gates * hidden, n] as [1, directions, n, gates * hidden]."""
        return self.new(
            "Unsqueeze", self.new("Transpose", weights, perm=[0, 2, 1]), self.integers(0)
        )

    def bias(self) -> "tuple[str, str]":
        """Return the biases of the input and of the state, [directions, 1, gates * hidden] each.

        Empty if there is none. Those of other nodes than a GRU are added up.
        """
        name = input_name(self.node, 3)
        if not name:
            return "", ""
        size = _GATES[self.node.op_type] * self.hidden
        halves = [self.part(name, 1, 0, size), self.part(name, 1, size, 2 * size)]
        ahead, back = (self.new("Unsqueeze", half, self.integers(1)) for half in halves)
        if self.node.op_type == "GRU":
            return ahead, back
        return self.new("Add", ahead, back), ""

    def projected(self, x: str, bias: str) -> "list[str]":
        """Return the input's part of all gates for each step, each direction in its own order."""
        weights = self.transposed(self.node.input[1])
        x = self.new("Unsqueeze", x, self.integers(1))  # [steps, 1, batch, features]
        product = self.new("MatMul", x, weights)
        if bias:
            product = self.new("Add", product, bias)
        if self.directions == [True]:
            product = self.reversed(product)
        elif len(self.directions) == 2:
            ahead, back = self.part(product, 1, 0, 1), self.part(product, 1, 1, 2)
            product = self.new("Concat", ahead, self.reversed(back), axis=1)
        if self.steps == 1:
            return [product]
        return [self.part(product, 0, t, t + 1) for t in range(self.steps)]

    def initial(self, name: str, layout: int) -> str:
        """Return an initial state as [1, directions, batch, hidden]; empty if it is zero."""
        if not name:
            return ""
        if layout:
            name = self.new("Transpose", name, perm=[1, 0, 2])
        return self.new("Unsqueeze", name, self.integers(0))

    def gates(self, joined: str, count: int) -> "list[str]":
        """Split joined gates."""
        size = self.hidden
        return [self.part(joined, 3, i * size, (i + 1) * size) for i in range(count)]

    def lstm(
        self, x: str, h: str, cell: "list[str]", recurrence: str, bias: str
    ) -> "tuple[str, list[str]]":
        joined = self.new("Add", x, self.new("MatMul", h, recurrence)) if h else x
        size = self.hidden
        i, o, f = self.gates(self.new("Sigmoid", self.part(joined, 3, 0, 3 * size)), 3)
        c = self.new("Mul", i, self.new("Tanh", self.part(joined, 3, 3 * size, 4 * size)))
        if cell and cell[0]:
            c = self.new("Add", self.new("Mul", f, cell[0]), c)
        return self.new("Mul", o, self.new("Tanh", c)), [c]

    def gru(
        self, x: str, h: str, cell: "list[str]", recurrence: str, bias: str
    ) -> "tuple[str, list[str]]":
        """Add a step of a GRU; ``bias`` is that of the state."""
        size = self.hidden
        x_gates, x_new = self.part(x, 3, 0, 2 * size), self.part(x, 3, 2 * size, 3 * size)
        if not h:  # zeros, of unknown batch size
            h = self.new("Sub", x_new, x_new)
        if attribute(self.node, "linear_before_reset", 0):
            state = self.new("MatMul", h, recurrence)
            if bias:
                state = self.new("Add", state, bias)
            h_gates, h_new = (
                self.part(state, 3, 0, 2 * size),
                self.part(state, 3, 2 * size, 3 * size),
            )
            z, r = self.update_and_reset(x_gates, h_gates)
            last = self.new("Mul", r, h_new)
        else:
            h_gates = self.new("MatMul", h, self.part(recurrence, 3, 0, 2 * size))
            if bias:
                h_gates = self.new("Add", h_gates, self.part(bias, 2, 0, 2 * size))
            z, r = self.update_and_reset(x_gates, h_gates)
            weights = self.part(recurrence, 3, 2 * size, 3 * size)
            last = self.new("MatMul", self.new("Mul", r, h), weights)
            if bias:
                last = self.new("Add", last, self.part(bias, 2, 2 * size, 3 * size))
        new = self.new("Tanh", self.new("Add", x_new, last))
        # (1 - z) * new + z * h
        return self.new("Add", new, self.new("Mul", z, self.new("Sub", h, new))), []

    def update_and_reset(self, x: str, h: str) -> "list[str]":
        """Return a GRU's two gates."""
        return self.gates(self.new("Sigmoid", self.new("Add", x, h)), 2)

    def rnn(
        self, x: str, h: str, cell: "list[str]", recurrence: str, bias: str
    ) -> "tuple[str, list[str]]":
        joined = self.new("Add", x, self.new("MatMul", h, recurrence)) if h else x
        return self.new("Tanh", joined), []

    def outputs(self, states: "list[str]", cell: "list[str]", layout: int) -> None:
        """Write the node's outputs: all states, the last state, the last cell."""
        outputs = [*self.node.output, "", ""][:3]
        if outputs[0]:
            y = states[0] if self.steps == 1 else self.new("Concat", *states, axis=0)
            if self.directions == [True]:
                y = self.reversed(y)
            elif len(self.directions) == 2:
                ahead, back = self.part(y, 1, 0, 1), self.part(y, 1, 1, 2)
                y = self.new("Concat", ahead, self.reversed(back), axis=1)
            self.finish("Transpose", outputs[0], y, perm=[2, 0, 1, 3] if layout else [0, 1, 2, 3])
        for name, last in zip(outputs[1:], [states[-1], *cell], strict=False):
            if name:
                last = self.new("Squeeze", last, self.integers(0))
                self.finish("Transpose", name, last, perm=[1, 0, 2] if layout else [0, 1, 2])

    def finish(self, operator: str, output: str, x: str, **attributes: Any) -> None:
        """Add the node that computes one of the replaced node's outputs."""
        from onnx import helper

        self.written.append(helper.make_node(operator, [x], [output], output, **attributes))
