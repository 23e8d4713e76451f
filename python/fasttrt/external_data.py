"""Weights in files beside a model: which there are, and that they lie within the model's folder.

A model names these files itself. One that comes from elsewhere could have any file of this machine
read, so fasttrt refuses names that lead out of the folder before anything reads them: TensorRT's
parser, ONNX Runtime and the hash included.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from fasttrt.errors import InputError

if TYPE_CHECKING:
    import onnx

_KEY = b"location"
_BLOCK = 1 << 20
_IN_MEMORY = "*/_ORT_"
"""With such names ONNX Runtime means the address of its own memory that follows, not a file."""


def external_tensors(proto: "onnx.ModelProto") -> Iterator[tuple[str, str]]:
    """(tensor, file) of every tensor that lies in a file, also within subgraphs and functions.

    A tensor that names several files is given with each, as readers differ in which one they take.
    """
    for tensor in _tensors(proto):
        if tensor.data_location == tensor.EXTERNAL:
            entries = [entry.value for entry in tensor.external_data if entry.key == _KEY.decode()]
            for location in entries or [""]:
                yield tensor.name, location


def has_no_external_data(path: Path) -> bool:
    """Whether a file surely names no other, which its bytes tell sooner than its graph.

    Protobuf writes strings as they are, so a model that names a file has the entry's key in it.
    False for ONNX's text formats, which can write it otherwise, and where the word has other
    reasons.
    """
    if path.suffix != ".onnx":
        return False
    end = b""
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK):
            if _KEY in block or _KEY in end + block[: len(_KEY)]:
                return False
            end = block[-len(_KEY) :]
    return True


def check_external_data(proto: "onnx.ModelProto", path: Path | None) -> None:
    """See that all external data lies within the model's folder.

    The folder is that of ``path``, and, where ``path`` is a link (as in caches that keep files by
    their hash), that of the file that it leads to.

    Raises:
        InputError: naming the tensor and its file, which leaves the folder (by an absolute path,
            by ``..`` or by a link), is no regular file, or belongs to a model without a folder.
    """
    checked: set[str] = set()
    for tensor, location in external_tensors(proto):
        if location not in checked:
            checked.add(location)
            if problem := _problem(location, path):
                raise InputError(f"external data of {tensor!r}: {problem}")


def _problem(location: str, path: Path | None) -> str:
    """Why a file is refused; empty if it is not."""
    if path is None:
        return (
            "expected the weights in the model, as it comes without a folder, got a file "
            f"{location!r}; give the model's path instead"
        )
    expected = f"expected a file within the model's folder {path.parent}"
    if not location or "\0" in location or location.startswith(_IN_MEMORY):
        return f"{expected}, got {location!r}"
    name = PurePath(location)
    if name.is_absolute() or ".." in name.parts:
        return f"{expected}, got {location!r}"
    file = (path.parent / name).resolve()
    folders = (path.parent.resolve(), path.resolve().parent)
    if not any(file.is_relative_to(folder) for folder in folders):
        return f"{expected}, got {location!r}, which leads to {file}"
    if file.exists() and not file.is_file():
        return f"{expected}, got {location!r}, which is no regular file"
    return ""


def _tensors(proto: "onnx.ModelProto") -> "Iterator[onnx.TensorProto]":
    yield from _graph_tensors(proto.graph)
    for function in proto.functions:
        yield from _node_tensors(function.node)
        for attribute in function.attribute_proto:
            yield from _attribute_tensors(attribute)
    for training in proto.training_info:
        yield from _graph_tensors(training.initialization)
        yield from _graph_tensors(training.algorithm)


def _graph_tensors(graph: "onnx.GraphProto") -> "Iterator[onnx.TensorProto]":
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    yield from _node_tensors(graph.node)


def _node_tensors(nodes: "Iterable[onnx.NodeProto]") -> "Iterator[onnx.TensorProto]":
    for node in nodes:
        for attribute in node.attribute:
            yield from _attribute_tensors(attribute)


def _attribute_tensors(attribute: "onnx.AttributeProto") -> "Iterator[onnx.TensorProto]":
    if attribute.HasField("t"):
        yield attribute.t
    yield from attribute.tensors
    for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
        yield from (sparse.values, sparse.indices)
    if attribute.HasField("g"):
        yield from _graph_tensors(attribute.g)
    for graph in attribute.graphs:
        yield from _graph_tensors(graph)
