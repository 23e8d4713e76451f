"""Fingerprint a model's structure and weights, by which a refit checks the new model.

TensorRT matches the weights of a refit by name and size only: it would accept a model with another
activation, or a new value of a constant that the build has made part of the engine. So the plan of
a refittable engine contains digests of both.
"""

import hashlib
from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from fasttrt._graph.model import OnnxModel
from fasttrt._graph.weights import Weights
from fasttrt.errors import InputError

if TYPE_CHECKING:
    import onnx

ModelFingerprint: TypeAlias = dict[str, Any]
_MAX_LISTED = 10  # differences in a message
_DIGITS = 16  # of a SHA-256


def structure(model: OnnxModel) -> ModelFingerprint:
    """Compute the fingerprint of a model, as JSON values.

    ``interface`` is a digest of the inputs, outputs, opsets and functions; ``nodes`` has a digest
    for each node, of its operator, its attributes and the origins of its inputs, independent of the
    names of intermediate tensors; ``weights`` has the type, the shape and a digest of the values of
    each constant.

    Raises:
        InputError: external data cannot be read; the message names the tensor.
    """
    return _Reader(model).structure


def check_same(built: Mapping[str, Any], model: OnnxModel) -> ModelFingerprint:
    """Check that a model has another one's structure, apart from weights, and return its own.

    Raises:
        InputError: it differs; the message lists the differences.
    """
    reader = _Reader(model)
    new = reader.structure
    problems = []
    if new["interface"] != built["interface"]:
        problems.append("its inputs, outputs, opsets or functions differ")
    if len(new["nodes"]) != len(built["nodes"]):
        problems.append(f"it has {len(new['nodes'])} nodes, not {len(built['nodes'])}")
    for before, now, title in zip(built["nodes"], new["nodes"], reader.titles, strict=False):
        if now != before:
            problems.append(f"{title} differs, or its inputs do")
    for name, (dtype, shape, _) in built["weights"].items():
        if name not in new["weights"]:
            problems.append(f"it has no weight {name}")
        elif new["weights"][name][:2] != [dtype, shape]:
            there = new["weights"][name]
            problems.append(f"{name} is {there[0]}{there[1]}, not {dtype}{shape}")
    problems += [f"its weight {n} is new" for n in new["weights"] if n not in built["weights"]]
    if problems:
        raise InputError(
            "refit: the model is not the one that the engine was built from with other weights: "
            + _listed(problems, "; ")
        )
    return new


def check_changes(
    built: Mapping[str, Any], new: Mapping[str, Any], model: OnnxModel, refittable: Collection[str]
) -> None:
    """Check that TensorRT can replace all values that differ.

    Args:
        built: the fingerprint of the model that the engine was built from.
        new: that of the model with the new weights.
        model: the model with the new weights.
        refittable: the names of the weights that the engine can replace.

    Raises:
        InputError: the build has made some of them part of the engine; the message names them.
    """
    # The parser folds these into its own scale and shift, which it refits.
    folded = {
        name
        for node in model.skeleton.graph.node
        if node.op_type == "BatchNormalization"
        for name in node.input[1:5]
    }
    fixed = [
        name
        for name, values in new["weights"].items()
        if values != built["weights"][name] and name not in refittable and name not in folded
    ]
    if fixed:
        raise InputError(
            "refit: TensorRT cannot replace these values, which are part of the engine; rebuild "
            f"it: {_listed(fixed, ', ')}"
        )


class _Reader:
    """Traverses a graph and its subgraphs."""

    def __init__(self, model: OnnxModel) -> None:
        self._constants = model.weights
        self._nodes: list[str] = []
        self._weights: dict[str, list[Any]] = {}
        self.titles: list[str] = []
        """The name of each node in messages."""
        graph = model.skeleton.graph
        opsets = sorted((opset.domain, opset.version) for opset in model.skeleton.opset_import)
        types = [
            (value.name, _unnamed(value.type).SerializeToString(deterministic=True))
            for value in (*graph.input, *graph.output)
        ]
        functions = [f.SerializeToString(deterministic=True) for f in model.skeleton.functions]
        self._read(graph, {})
        self.structure: ModelFingerprint = {
            "interface": _short(repr((opsets, types, functions)).encode()),
            "nodes": self._nodes,
            "weights": self._weights,
        }

    def _read(self, graph: "onnx.GraphProto", outer: Mapping[str, str]) -> None:
        """Add a graph; `outer` has the origins of the values around it."""
        origins = dict(outer)
        origins |= {value.name: f"input {value.name}" for value in graph.input}
        for tensor in graph.initializer:
            self._weigh(tensor.name, tensor)
            origins[tensor.name] = f"weight {tensor.name}"
        for sparse in graph.sparse_initializer:
            content = _short(sparse.SerializeToString(deterministic=True))
            self._weights[sparse.values.name] = ["sparse", list(sparse.dims), content]
            origins[sparse.values.name] = f"weight {sparse.values.name}"
        for node in graph.node:
            self._node(node, origins)
        ends = [origins.get(value.name, value.name) for value in graph.output]
        self._add("the origin of the outputs", ends)

    def _add(self, title: str, parts: list[Any]) -> None:
        self.titles.append(title)
        self._nodes.append(_short(repr(parts).encode()))

    def _node(self, node: "onnx.NodeProto", origins: dict[str, str]) -> None:
        place = len(self._nodes)
        parts: list[Any] = [node.domain, node.op_type, len(node.output)]
        parts += [origins.get(name, name) for name in node.input]
        graphs = []
        for attribute in sorted(node.attribute, key=lambda a: a.name):
            parts.append(attribute.name)
            if node.op_type == "Constant" and attribute.name == "value":
                self._weigh(node.output[0], attribute.t)
                parts.append(node.output[0])  # its name in TensorRT
            elif attribute.HasField("g"):
                graphs.append(attribute.g)
            else:
                parts.append(attribute.SerializeToString(deterministic=True))
        for k, name in enumerate(node.output):
            origins[name] = f"node {place} {k}"
        self._add(f"node {place} '{node.name}' ({node.op_type})", parts)
        for graph in graphs:
            self._read(graph, origins)

    def _weigh(self, name: str, tensor: "onnx.TensorProto") -> None:
        import onnx

        digest = hashlib.sha256()
        for part in _content(tensor, self._constants):
            digest.update(part)
        if name in self._weights:  # in another branch
            digest.update(self._weights[name][2].encode())
        dtype = onnx.TensorProto.DataType.Name(tensor.data_type)
        self._weights[name] = [dtype, list(tensor.dims), digest.hexdigest()[:_DIGITS]]


def _content(tensor: "onnx.TensorProto", constants: Weights) -> Iterator[bytes]:
    """Yield a tensor's values in a form independent of the field that stores them."""
    import onnx

    try:
        tensor = constants.loaded(tensor)
    except OSError as error:
        raise InputError(f"{tensor.name}: its external data cannot be read: {error}") from None
    if tensor.HasField("raw_data"):
        yield tensor.raw_data
    elif tensor.data_type == onnx.TensorProto.STRING:
        yield from tensor.string_data
    else:
        yield onnx.numpy_helper.to_array(tensor).tobytes()


def _unnamed(kind: "onnx.TypeProto") -> "onnx.TypeProto":
    """Copy a type without the names of its dimensions, which the build may have changed."""
    import onnx

    copy = onnx.TypeProto()
    copy.CopyFrom(kind)
    for dim in copy.tensor_type.shape.dim if copy.HasField("tensor_type") else ():
        dim.ClearField("dim_param")
    return copy


def _short(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:_DIGITS]


def _listed(items: list[str], separator: str) -> str:
    more = len(items) - _MAX_LISTED
    return separator.join(items[:_MAX_LISTED]) + (f" and {more} more" if more > 0 else "")
