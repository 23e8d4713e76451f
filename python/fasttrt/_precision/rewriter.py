"""Rewrite an ONNX graph to compute in 16 bits where that is safe.

Node by node, in order: inputs and outputs of a node are in float32 or in the 16-bit type. If a
value is needed in the other type, a single Cast is inserted after its producer, so that subgraphs
(of If, Loop, Scan) can use it too. Subgraphs keep the types of their inputs and outputs.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fasttrt._common.host_array import Array
from fasttrt._graph.opset import onnx_version
from fasttrt._graph.traversal import all_names, declared_types, has_graph, replace_all
from fasttrt._precision import rules as rules
from fasttrt._precision.rules import Sensitivity
from fasttrt._precision.scopes import (
    FLOAT,
    Changes,
    Scope,
    Value,
    exact_tensors,
    float_constant,
    guarded_tensors,
    returned_tensors,
)

if TYPE_CHECKING:
    import onnx

_WIDE_INTEGERS = frozenset((4, 5, 6, 7, 12, 13))  # those of 16, 32 and 64 bits


class Rewriter:
    """Rewrites the graph of one model in place."""

    def __init__(
        self,
        model: "onnx.ModelProto",
        dtype: "np.dtype[Any]",
        keep: "Callable[[onnx.NodeProto], tuple[str, Sensitivity] | None]",
        read: "Callable[[onnx.TensorProto], Array]",
    ) -> None:
        """Prepare for a model without local functions, whose tensor types were inferred.

        Args:
            model: the model.
            dtype: float16 or bfloat16.
            keep: returns why a node stays in float32 whatever the rules say, and its result's
                sensitivity; None if the rules apply.
            read: returns an initializer's values.
        """
        from onnx import helper

        self._dtype, self._keep, self._read = dtype, keep, read
        self._low = int(helper.np_dtype_to_tensor_dtype(dtype))
        self._opset = onnx_version(model.opset_import)
        self._taken = set(all_names(model.graph))
        self.changes = Changes(self._opset)
        self.reduced: set[str] = set()
        """The tensors that nodes output in the 16-bit type."""

    def rewrite(
        self,
        graph: "onnx.GraphProto",
        weights: "Sequence[onnx.TensorProto]" = (),
        convert_io: bool = False,
        parent: Scope | None = None,
        is_wide: bool = False,
    ) -> Sensitivity:
        """Rewrite a graph and its subgraphs.

        Args:
            graph: the graph.
            weights: initializers that are inputs of the graph so far; they become initializers
                again, with their values if they were converted.
            convert_io: whether float32 inputs and outputs are converted to the 16-bit type.
            parent: the graph around it.
            is_wide: whether all of it stays in float32.

        Returns:
            The sensitivity of its outputs.
        """
        io_type = self._low if convert_io else FLOAT
        results = {value.name: value.type.tensor_type.elem_type for value in graph.output}
        results = {name: io_type if type_ == FLOAT else type_ for name, type_ in results.items()}
        types = dict(declared_types(graph))
        exact, returned, guarded = (
            find(graph) for find in (exact_tensors, returned_tensors, guarded_tensors)
        )
        scope = Scope(parent, types, results, exact, returned, guarded, is_wide)
        for tensor in (*graph.initializer, *weights):
            self._define(scope, tensor.name, tensor.data_type, tensor.data_type, constant=tensor)
        for value in [value for value in graph.input if value.name in scope.values]:
            graph.input.remove(value)
        for value in graph.input:
            type_ = value.type.tensor_type.elem_type
            self._define(scope, value.name, type_, io_type if type_ == FLOAT else type_)
            if type_ == FLOAT:
                value.type.tensor_type.elem_type = io_type
        for node in graph.node:
            self._add(node, scope)
        worst = Sensitivity.NONE
        for output in graph.output:
            found = scope.find(output.name)
            if found is not None and found.type == FLOAT:
                worst = max(worst, found.kind)
                self._use(found, results[output.name] or FLOAT)
                output.type.tensor_type.elem_type = results[output.name] or FLOAT
        replace_all(graph.node, scope.nodes)
        replace_all(graph.initializer, list(self._initializers(scope)))
        del graph.value_info[:]  # the types of the original tensors
        return worst

    def _define(self, scope: Scope, name: str, type_: int, made: int, **known: Any) -> Value:
        """Define a value; under its original name, unless a graph output needs that."""
        original = scope.results.get(name, 0) if type_ == FLOAT else type_
        value = Value(scope, name, type_, made, original or made, **known)
        scope.values[name] = value
        if value.constant is None:
            value.names[made] = name if made == value.original else self._new_name(name, made)
        return value

    def _use(self, value: Value, type_: int) -> str:
        """Return the name of a float32 value in a type, inserting a Cast if necessary."""
        from onnx import helper

        if type_ not in value.names:
            new = value.name if type_ == value.original else self._new_name(value.name, type_)
            value.names[type_] = new
            if value.constant is None:
                made, label = value.names[value.made], self._new_name(f"cast_{value.name}", type_)
                cast = helper.make_node("Cast", [made], [new], label, to=type_)
                value.scope.nodes.append(cast)
            elif value.is_node:
                tensor = self._tensor(value, type_)
                value.scope.nodes.append(helper.make_node("Constant", [], [new], new, value=tensor))
        return value.names[type_]

    def _add(self, node: "onnx.NodeProto", scope: Scope) -> None:
        """Add a node to the new graph."""
        constant = float_constant(node)
        if constant is not None:
            self._define(scope, node.output[0], FLOAT, FLOAT, constant=constant, is_node=True)
            return
        inputs = [scope.find(name) for name in node.input]
        types = [scope.types.get(name, 0) for name in node.output if name]
        slots = rules.slots(node.op_type, node.domain, self._opset, str(self._dtype))
        is_known = all(types) and all(
            value is not None and value.type
            for value, name in zip(inputs, node.input, strict=True)
            if name
        )
        low, kind = False, Sensitivity.NONE
        keep = self._keep(node)
        if scope.is_wide:
            keep = keep or ("it is in a Scan", Sensitivity.NONE)
        if node.op_type in rules.UNSUPPORTED_OPS.get(str(self._dtype), ()):
            keep = keep or (f"TensorRT does not support it in {self._dtype}", Sensitivity.NONE)
        if FLOAT in (*types, *(value.type for value in inputs if value is not None)):
            low, kind = self._choose_precision(
                node, scope, inputs, slots if is_known else None, keep
            )
        new = type(node)()
        new.CopyFrom(node)
        for i, value in enumerate(inputs):
            if value is not None and value.type == FLOAT:
                is_low = low and slots is not None and slots.takes(i)
                type_ = self._low if is_low else FLOAT
                if node.op_type == "Cast" and value.constant is None:
                    type_ = value.made
                new.input[i] = self._use(value, type_)
        for attribute in new.attribute:
            for graph in (attribute.g, *attribute.graphs):
                if graph.node or graph.output:
                    is_wide = scope.is_wide or node.op_type in rules.FP32_SUBGRAPH_OPS
                    kind = max(kind, self.rewrite(graph, parent=scope, is_wide=is_wide))
            if low and attribute.name == "output_dtype" and attribute.i == FLOAT:
                attribute.i = self._low
        scope.nodes.append(new)
        for i, name in enumerate(node.output):
            if name:
                type_ = scope.types.get(name, 0)
                is_low = type_ == FLOAT and low and slots is not None and slots.gives(i)
                value = self._define(scope, name, type_, self._low if is_low else type_, kind=kind)
                new.output[i] = value.names[value.made]
                if is_low:
                    self.reduced.add(name)
                value.is_bounded = (
                    node.op_type in rules.BOUNDED_OPS
                    and kind == Sensitivity.NONE
                    and name not in scope.exact | scope.returned
                )

    def _choose_precision(
        self,
        node: "onnx.NodeProto",
        scope: Scope,
        inputs: Sequence[Value | None],
        slots: rules.Slots | None,
        keep: tuple[str, Sensitivity] | None,
    ) -> tuple[bool, Sensitivity]:
        """Decide whether a node computes in 16 bits, and return its result's sensitivity."""
        operator = node.op_type
        given = [(i, v) for i, v in enumerate(inputs) if v is not None and v.type == FLOAT]
        running = [value for _, value in given if value.constant is None]
        if has_graph(node):  # its subgraphs are rewritten separately
            return False, Sensitivity.NONE
        if slots is None or not (any(slots.takes(i) for i, _ in given) or any(slots.outputs)):
            if given or slots is None:
                self._note(
                    node, f"its types are unknown, or ONNX does not support it in {self._dtype}"
                )
            return False, self._source_kind(node, inputs)
        worst = max((value.kind for value in running), default=Sensitivity.NONE)
        if worst == Sensitivity.INTEGER and any(
            value.kind == Sensitivity.NONE for value in running
        ):
            worst = Sensitivity.NONE  # combined with 16-bit values, more bits are useless
        if operator == "Div" and inputs[0] is not None and inputs[0].constant is not None:
            operator = "Reciprocal"
        for i, value in given:
            if value.constant is not None and slots.takes(i):
                is_guarded = not scope.guarded.isdisjoint(node.output)
                values = self._read(value.constant)
                loss = rules.loss(values, self._dtype, node.op_type, i, is_guarded)
                if loss is not None:
                    self._note(node, loss.why)
                    return False, rules.propagate(operator, max(worst, loss.kind))
        if keep:
            self._note(node, keep[0])
            if operator in rules.BOUNDED_OPS:
                return False, Sensitivity.NONE
            return False, max(keep[1], rules.propagate(operator, worst))
        if worst >= Sensitivity.INTEGER or (worst and rules.propagates_range(operator)):
            self._note(node, f"an input may need float32 ({worst.name.lower()})")
            return False, rules.propagate(operator, worst)
        if not scope.exact.isdisjoint(node.output) and operator not in rules.TYPE_PRESERVING_OPS:
            self._note(node, "its result is an argument that needs full precision")
            return False, worst
        if operator in rules.RANGE_SENSITIVE_OPS:
            self._note(node, "the operator needs float32's range or precision")
            return False, rules.propagate(operator, Sensitivity.RANGE)
        source = self._source_kind(node, inputs)
        if operator in rules.TYPE_PRESERVING_OPS and running:
            leading = running[:1] if operator in rules.TYPE_FROM_FIRST_INPUT_OPS else running
            low = any(value.made == self._low or value.is_bounded for value in leading)
            return low, Sensitivity.NONE if low else max(worst, source)
        if source:
            return False, source
        self.changes.converted += operator not in rules.TYPE_PRESERVING_OPS
        return True, Sensitivity.NONE

    def _source_kind(self, node: "onnx.NodeProto", inputs: Sequence[Value | None]) -> Sensitivity:
        """Return the sensitivity of a float32 value that is not computed from others."""
        if node.op_type in ("Cast", "CastLike") and inputs[0] is not None:
            return Sensitivity.INTEGER if inputs[0].type in _WIDE_INTEGERS else Sensitivity.NONE
        if node.op_type == "ConstantOfShape":
            for attribute in node.attribute:
                loss = rules.loss(self._read(attribute.t), self._dtype, node.op_type, 0)
                return loss.kind if loss else Sensitivity.NONE
        return Sensitivity.NONE

    def _note(self, node: "onnx.NodeProto", why: str) -> None:
        if node.op_type not in rules.TYPE_PRESERVING_OPS or self._keep(node):
            self.changes.kept[node.name] = f"{node.op_type}: {why}"

    def _initializers(self, scope: Scope) -> "Iterator[onnx.TensorProto]":
        for value in scope.values.values():
            if value.constant is None or value.is_node:
                continue
            if value.type != FLOAT:
                yield value.constant
            for type_ in value.names:
                yield self._tensor(value, type_)

    def _tensor(self, value: Value, type_: int) -> "onnx.TensorProto":
        """Return a constant in one of its types; unchanged, if that is float32."""
        from onnx import helper

        assert value.constant is not None
        name = value.names[type_]
        if type_ == FLOAT:
            copy = type(value.constant)()
            copy.CopyFrom(value.constant)
            copy.name = name
            return copy
        values = self._read(value.constant)
        with np.errstate(over="ignore"):  # infinite bounds of Clip, see rules.loss
            rounded = values.astype(self._dtype)
        is_left = rounded.view(np.uint16) & 0x7FFF  # all but the sign: numpy counts integers faster
        zeroed = int(np.count_nonzero(values) - np.count_nonzero(is_left))
        if zeroed:
            self.changes.zeroed[value.name] = zeroed
        return helper.make_tensor(name, type_, rounded.shape, rounded.tobytes(), raw=True)

    def _new_name(self, name: str, type_: int) -> str:
        suffix = str(self._dtype) if type_ == self._low else "float32"
        new, count = f"{name}_{suffix}", 1
        while new in self._taken:
            count += 1
            new = f"{name}_{suffix}_{count}"
        self._taken.add(new)
        return new
