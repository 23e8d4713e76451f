"""Refuse an If whose branches return different shapes: TensorRT-RTX cannot run it."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeAlias

from fasttrt._common.log import logger
from fasttrt._graph.model import OnnxModel
from fasttrt._graph.traversal import ONNX_DOMAINS, subgraphs, with_inner
from fasttrt._graph.weights import with_weight_inputs
from fasttrt._parser.quirks import refuse

if TYPE_CHECKING:
    import onnx

    from fasttrt._parser.pipeline import Target

_Shape: TypeAlias = "list[int | str]"
"""Sizes, symbolic names, and an empty string for an unknown dimension."""


def reject_branch_shapes(model: OnnxModel, target: "Target") -> OnnxModel:
    """Check that the branches of each If return the same shapes; return the model itself.

    Raises:
        ParseError: on TensorRT-RTX, branches differ. Names each such If.
    """
    if target.library.family != "rtx" or not _conditionals(model.skeleton):
        return model
    branches = _Branches(model.skeleton)
    reasons = [(node, branches.problem(node)) for node in _conditionals(model.skeleton)]
    refuse(model, str(target.library), [(node, why) for node, why in reasons if why])
    return model


def _conditionals(proto: "onnx.ModelProto") -> "list[onnx.NodeProto]":
    return [
        node
        for node in with_inner(proto.graph.node)
        if node.op_type == "If" and node.domain in ONNX_DOMAINS
    ]


class _Branches:
    """Infer the shapes of branch outputs as far as ONNX can.

    The nodes of branches are moved to the main graph first, where ONNX's shape inference makes use
    of the constants around them.
    """

    def __init__(self, proto: "onnx.ModelProto") -> None:
        from onnx.shape_inference import infer_shapes

        flat = with_weight_inputs(proto)
        nodes = list(flat.graph.node)
        del flat.graph.node[:], flat.graph.value_info[:]
        self._results: dict[str, list[tuple[str, str]]] = {}
        self._conditions: dict[str, str] = {}
        self._weights: list[onnx.TensorProto] = []
        flat.graph.node.extend(self._flattened(nodes, "", {}))
        flat.graph.initializer.extend(self._weights)
        for output in flat.graph.output:
            if output.type.HasField("tensor_type"):
                output.type.tensor_type.ClearField("shape")
        self._makers = {name: node for node in flat.graph.node for name in node.output}
        self._inputs = {value.name for value in flat.graph.input}
        self._inputs -= {tensor.name for tensor in flat.graph.initializer}
        try:
            flat = infer_shapes(flat, data_prop=True)
        except Exception as error:  # of several classes; the shapes then stay unknown
            logger.debug("no shapes of branches were inferred: %s", error)
        self._shapes = {
            value.name: _sizes(value.type.tensor_type)
            for value in (*flat.graph.input, *flat.graph.value_info, *flat.graph.output)
            if value.type.tensor_type.HasField("shape")
        }
        self._shapes |= {tensor.name: list(tensor.dims) for tensor in flat.graph.initializer}

    def problem(self, node: "onnx.NodeProto") -> str:
        """Return what is wrong with an If; an empty string if nothing is known to be.

        Nothing is if the condition follows from constants and shapes: TensorRT then decides it.
        """
        key = node.output[0]
        if not self._depends_on_data(self._conditions.get(key, "")):
            return ""
        for names in self._results.get(key, []):
            one, other = (self._shapes.get(name) for name in names)
            if one is None or other is None:
                continue
            pairs = zip(one, other, strict=False)
            if len(one) != len(other) or any(
                isinstance(a, int) and isinstance(b, int) and a != b for a, b in pairs
            ):
                return (
                    f"its branches return different shapes, {_shown(one)} and {_shown(other)}, "
                    "which TensorRT-RTX cannot run; fix its condition (freeze=), or make both "
                    "return the same shape"
                )
        return ""

    def _depends_on_data(self, name: str) -> bool:
        """Return whether a tensor depends on the values of an input."""
        seen, waiting = set[str](), [name]
        while waiting:
            name = waiting.pop()
            if name in self._inputs:
                return True
            maker = self._makers.get(name)
            if name in seen or maker is None or maker.op_type in ("Shape", "Size"):
                continue
            seen.add(name)
            waiting += [each for each in maker.input if each]
            waiting += [each for graph in subgraphs(maker) for each in _outer_names(graph)]
        return False

    def _flattened(
        self, nodes: "list[onnx.NodeProto]", prefix: str, scope: Mapping[str, str]
    ) -> "list[onnx.NodeProto]":
        """Move the nodes of branches before each If, which becomes Identities of its first one."""
        from onnx import helper

        names, flat = dict(scope), []
        for node in nodes:
            for index, name in enumerate(node.input):
                node.input[index] = names.get(name, name)
            key = node.output[0] if node.output else ""
            names.update({name: prefix + name for name in node.output if name})
            node.output[:] = [prefix + name if name else "" for name in node.output]
            if node.op_type != "If" or node.domain not in ONNX_DOMAINS:
                flat.append(node)
                continue
            results = []
            self._conditions[key] = node.input[0]
            for index, graph in enumerate(subgraphs(node)):
                inner = f"{prefix}{key}/{index}/"
                known = names | {tensor.name: inner + tensor.name for tensor in graph.initializer}
                for tensor in graph.initializer:
                    self._weights.append(tensor)
                    self._weights[-1].name = inner + tensor.name
                inside = list(graph.node)
                made = {name: inner + name for each in inside for name in each.output if name}
                flat += self._flattened(inside, inner, known)
                known |= made
                results.append([known.get(output.name, output.name) for output in graph.output])
            self._results[key] = list(zip(*results, strict=False))
            flat += [
                helper.make_node("Identity", [pair[0]], [output])
                for output, pair in zip(node.output, self._results[key], strict=False)
            ]
        return flat


def _outer_names(graph: "onnx.GraphProto") -> "list[str]":
    return [name for node in with_inner(graph.node) for name in node.input if name]


def _sizes(tensor: "onnx.TypeProto.Tensor") -> _Shape:
    return [
        dim.dim_value if dim.HasField("dim_value") else dim.dim_param for dim in tensor.shape.dim
    ]


def _shown(shape: _Shape) -> str:
    return f"({', '.join(str(size) or '?' for size in shape)})"
