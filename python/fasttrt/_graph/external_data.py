"""Weights in files beside a model: that they lie within the model's folder, and are all there.

A model names these files itself. One that comes from elsewhere could have any file of this machine
read, so fasttrt refuses names that lead out of the folder before anything reads them: TensorRT's
parser, ONNX Runtime and the hash included. And TensorRT's parser looks at no file's size: of one
that is cut short it takes what follows in memory, or dies.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from fasttrt._common.input_file import Version, check_file, lfs_problem, reading
from fasttrt._graph.tensor_data import VALUE_FIELDS, described, needed_bytes
from fasttrt.errors import FileError, InputError

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
    for tensor in tensors(proto):
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
    with reading(path) as stream:
        while block := stream.read(_BLOCK):
            if _KEY in block or _KEY in end + block[: len(_KEY)]:
                return False
            end = block[-len(_KEY) :]
    return True


def check_external_data(
    tensors: "Iterable[onnx.TensorProto]", path: Path | None
) -> dict[Path, Version]:
    """See that all external data lies within the model's folder, and that the files have it all.

    The folder is that of ``path``, and, where ``path`` is a link (as in caches that keep files by
    their hash), that of the file that it leads to. Only the files' sizes are looked at.

    Args:
        tensors: of the model; others than external ones are passed over.
        path: of the model; None for one without a folder.

    Returns:
        The files, as they are now.

    Raises:
        FileError: naming the tensor and its file, which leaves the folder (by an absolute path,
            by ``..`` or by a link), is missing, is no regular file or a Git LFS pointer, is shorter
            than the tensor needs, or belongs to a model without a folder.
    """
    files: dict[str, Version] = {}
    for tensor in tensors:
        if tensor.data_location == tensor.EXTERNAL:
            try:
                _check(tensor, path, files)
            except InputError as error:
                raise FileError(f"external data of {tensor.name!r}: {error}") from None
    return {} if path is None else {path.parent / name: found for name, found in files.items()}


def load_external_data(tensor: "onnx.TensorProto", folder: Path) -> None:
    """Read into a tensor what it has in a file, as `check_external_data` has found it.

    Raises:
        FileError: the file does not have it any more.
        OSError: it cannot be read.
    """
    location, offset = _place(tensor)
    needed = needed_bytes(tensor)
    with reading(folder / location) as stream:
        stream.seek(offset)
        data = stream.read(needed)
    if len(data) != needed:
        raise FileError(f"external data of {tensor.name!r}: {location} was cut short meanwhile")
    tensor.raw_data = data
    tensor.data_location = tensor.DEFAULT
    del tensor.external_data[:]


def _check(tensor: "onnx.TensorProto", path: Path | None, files: dict[str, Version]) -> None:
    """See that a tensor's data is there; files that were looked at before are in ``files``."""
    for entry in tensor.external_data:
        if entry.key == _KEY.decode() and entry.value not in files:
            if problem := _problem(entry.value, path):
                raise FileError(problem)
            assert path is not None
            files[entry.value] = _version(path.parent / entry.value)
    location, offset = _place(tensor)
    if location not in files:  # it names none
        raise FileError(_problem(location, path))
    size, needed = files[location].size, needed_bytes(tensor)
    if size < offset + needed:
        raise FileError(
            f"{described(tensor)} needs {needed} bytes from byte {offset} of {location!r} on, "
            f"which has {max(0, size - offset)} there ({size} in all)"
        )


def _place(tensor: "onnx.TensorProto") -> tuple[str, int]:
    """The name of the file, and the offset in it.

    Raises:
        FileError: an entry is there twice, is no number, or does not fit the tensor.
    """
    entries: dict[str, str] = {}
    for entry in tensor.external_data:
        if entries.setdefault(entry.key, entry.value) != entry.value:
            raise FileError(
                f"expected one {entry.key}, got {entries[entry.key]!r} and {entry.value!r}"
            )
    offset = _number(entries, "offset", 0)
    length = _number(entries, "length", needed := needed_bytes(tensor))
    if length != needed:
        raise FileError(
            f"expected a length of {needed} bytes, which {described(tensor)} needs, got {length}"
        )
    if any(len(getattr(tensor, name)) for name in ("raw_data", *VALUE_FIELDS)):
        raise FileError("expected it in the file alone, got values in the model, too")
    return entries.get(_KEY.decode(), ""), offset


def _number(entries: dict[str, str], key: str, default: int) -> int:
    text = entries.get(key)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise FileError(f"{key}: expected a number of bytes, got {text[:40]!r}")
    return int(text)


def _version(file: Path) -> Version:
    try:
        found = check_file(file)
        problem = lfs_problem(file, found.size)
    except OSError as error:
        raise FileError(f"expected the file {file}: {error.strerror}") from None
    if problem:
        raise FileError(problem)
    return found


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
    try:
        file = (path.parent / name).resolve()
        folders = (path.parent.resolve(), path.resolve().parent)
        is_odd = file.exists() and not file.is_file()
    except (OSError, RuntimeError, ValueError) as error:  # a loop of links, a name too long
        return f"{expected}, got {location[:300]!r}: {error}"
    if not any(file.is_relative_to(folder) for folder in folders):
        return f"{expected}, got {location!r}, which leads to {file}"
    if is_odd:
        return f"{expected}, got {location!r}, which is no regular file"
    return ""


def tensors(proto: "onnx.ModelProto") -> "Iterator[onnx.TensorProto]":
    """All constants of a model, also within subgraphs and functions."""
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
    if attribute.HasField("sparse_tensor"):
        yield from (attribute.sparse_tensor.values, attribute.sparse_tensor.indices)
    for sparse in attribute.sparse_tensors:
        yield from (sparse.values, sparse.indices)
    if attribute.HasField("g"):
        yield from _graph_tensors(attribute.g)
    for graph in attribute.graphs:
        yield from _graph_tensors(graph)
