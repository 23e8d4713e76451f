"""From a case to a model: the node alone, in a network, in a branch, with dynamic dimensions."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, defs, helper
from onnx.shape_inference import infer_shapes

from operators.case import Array, Case, elem_type, tensor

_SCALABLE = {
    TensorProto.FLOAT,
    TensorProto.FLOAT16,
    TensorProto.BFLOAT16,
    TensorProto.DOUBLE,
    TensorProto.INT32,
    TensorProto.INT64,
}
_IR = 10


def model(case: Case) -> onnx.ModelProto:
    """The model of a case, its outputs named as the case's."""
    nodes = case.own_nodes()
    feeds = case.feeds
    names = [name for node in nodes for name in node.output if name.startswith("o")]
    inputs = [_value(name, array, case.placement == "dynamic") for name, array in feeds.items()]
    weights = [tensor(name, array) for name, array in case.constants.items()]
    types = output_types(case, nodes)
    if case.placement == "inside":
        nodes, more = _surrounded(nodes, feeds, types)
        inputs += more
    elif case.placement == "branch":
        nodes = _branched(nodes, types)
        inputs.append(helper.make_tensor_value_info("condition", TensorProto.BOOL, []))
    outputs = [_output(name, *types[name]) for name in names]
    graph = helper.make_graph(nodes, "case", inputs, outputs, weights)
    opsets = [helper.make_opsetid("", case.opset)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=_IR)


def extra_feeds(case: Case) -> dict[str, Array]:
    """What the surroundings of a case read, by name."""
    if case.placement == "branch":
        return {"condition": np.array(True)}
    if case.placement != "inside":
        return {}
    types = output_types(case, case.own_nodes())
    used = {elem_type(a) for a in case.feeds.values()} | {kind for kind, _ in types.values()}
    return _units(used)


def _units(kinds: set[int]) -> dict[str, Array]:
    units: dict[str, Array] = {}
    for kind in sorted(kinds):
        dtype = helper.tensor_dtype_to_np_dtype(kind)
        if kind in _SCALABLE:
            units[f"one{kind}"] = np.ones((), dtype)
        elif kind == TensorProto.BOOL:
            units[f"one{kind}"] = np.array(False)
    return units


def _value(name: str, array: Array, is_dynamic: bool) -> onnx.ValueInfoProto:
    dims = [f"d{d}" if is_dynamic and d > 0 else d for d in array.shape]
    return helper.make_tensor_value_info(name, elem_type(array), dims)


def _output(name: str, kind: int, rank: int | None) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, None if rank is None else [None] * rank)


def output_types(case: Case, nodes: list[onnx.NodeProto]) -> dict[str, tuple[int, int | None]]:
    """Type and rank of each output, as ONNX infers them."""
    wanted = [name for node in nodes for name in node.output if name.startswith("o")]
    arrays = case.arrays
    constants = case.constants
    graph = helper.make_graph(
        nodes,
        "typed",
        [_value(name, array, False) for name, array in arrays.items() if name not in constants],
        [onnx.ValueInfoProto(name=name) for name in wanted],
        [tensor(name, array) for name, array in constants.items()],
    )
    opsets = [helper.make_opsetid("", case.opset)]
    typed = infer_shapes(helper.make_model(graph, opset_imports=opsets, ir_version=_IR))
    found = {}
    for value in typed.graph.output:
        kind = value.type.tensor_type
        rank = len(kind.shape.dim) if kind.HasField("shape") else None
        found[value.name] = kind.elem_type or _stated_type(case, value.name), rank
    return found


def _stated_type(case: Case, output: str) -> int:
    """The type of an output where ONNX's inference gives none: that of an input, by the schema."""
    schema = defs.get_schema(case.operator, case.opset, "")
    wanted = schema.outputs[int(output[1:])].type_str
    arrays = case.arrays
    for index, formal in enumerate(schema.inputs):
        if formal.type_str == wanted and f"i{index}" in arrays:
            return elem_type(arrays[f"i{index}"])
    return 0


def _surrounded(
    nodes: list[onnx.NodeProto], feeds: dict[str, Array], types: dict[str, tuple[int, int | None]]
) -> tuple[list[onnx.NodeProto], list[onnx.ValueInfoProto]]:
    """Each input and output times a 1 that is known at run time only."""
    names = {name: f"{name}_inner" for name in (*feeds, *types)}
    inner = [_renamed(node, names) for node in nodes]
    kinds = {name: elem_type(array) for name, array in feeds.items()}
    before = [_unit_node(kind, name, names[name]) for name, kind in kinds.items()]
    after = [_unit_node(kind, names[name], name) for name, (kind, _) in types.items()]
    units = _units({*kinds.values(), *(kind for kind, _ in types.values())})
    return [*before, *inner, *after], [_value(n, array, False) for n, array in units.items()]


def _unit_node(kind: int, source: str, target: str) -> onnx.NodeProto:
    if kind in _SCALABLE:
        return helper.make_node("Mul", [source, f"one{kind}"], [target])
    if kind == TensorProto.BOOL:
        return helper.make_node("Xor", [source, f"one{kind}"], [target])
    return helper.make_node("Identity", [source], [target])


def _branched(
    nodes: list[onnx.NodeProto], types: dict[str, tuple[int, int | None]]
) -> list[onnx.NodeProto]:
    branches = {}
    for branch in ("then", "else"):
        names = {output: f"{output}_{branch}" for node in nodes for output in node.output}
        inner = [_renamed(node, names) for node in nodes]
        outputs = [_output(names[name], *types[name]) for name in types]
        branches[f"{branch}_branch"] = helper.make_graph(inner, branch, [], outputs)
    return [helper.make_node("If", ["condition"], list(types), **branches)]


def _renamed(node: onnx.NodeProto, names: dict[str, str]) -> onnx.NodeProto:
    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    for field in (copy.input, copy.output):
        field[:] = [names.get(name, name) for name in field]
    return copy
