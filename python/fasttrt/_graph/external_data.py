"""Check that a model's external data is in the model's folder, and complete; and load it.

A model names these files itself. A model from an untrusted source could have any file of this
machine read, so names that lead out of the folder are rejected before anything reads them:
TensorRT's parser, ONNX Runtime and the hash included. Also, TensorRT's parser does not check the
size of files: for a truncated one, it reads beyond its memory, or crashes.
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
"""The prefix of names that ONNX Runtime uses for addresses in its own memory, not for files."""


def external_tensors(proto: "onnx.ModelProto") -> Iterator[tuple[str, str]]:
    """Yield (tensor, file) for all external data, in subgraphs and functions too.

    A tensor that names several files is yielded with each, as readers differ in which one they use.
    """
    for tensor in tensors(proto):
        if tensor.data_location == tensor.EXTERNAL:
            entries = [entry.value for entry in tensor.external_data if entry.key == _KEY.decode()]
            for location in entries or [""]:
                yield tensor.name, location


def has_no_external_data(path: Path) -> bool:
    """Return whether a model file certainly has no external data, found without parsing it.

    Protobuf stores strings verbatim, so a model with external data contains the entry's key. The
    result is False for ONNX's text formats, which may encode it differently, and if the word occurs
    for another reason.
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
    """Check that all external data is in the model's folder, and that the files are complete.

    The folder is that of ``path`` and, if ``path`` is a link (as in caches that store files by
    hash), that of its target. Only the sizes of files are checked.

    Args:
        tensors: the model's tensors; those without external data are skipped.
        path: the model's path; None for a model without a folder.

    Returns:
        The files, with their current versions.

    Raises:
        FileError: a file is outside the folder (by an absolute path, ``..`` or a link), is missing,
            is not a regular file, is a Git LFS pointer, is too short for the tensor, or belongs to
            a model without a folder. The message names the tensor and the file.
    """
    files: dict[str, Version] = {}
    for tensor in tensors:
        if tensor.data_location == tensor.EXTERNAL:
            try:
                _check(tensor, path, files)
            except InputError as error:
                raise FileError(f"external data of {tensor.name!r}: {error}") from None
    return {} if path is None else {path.parent / name: version for name, version in files.items()}


def add_lengths(tensors: "Iterable[onnx.TensorProto]") -> bool:
    """Add the length to external data that lacks it, after `check_external_data`.

    ONNX does not require it, but TensorRT's parser then takes all the rest of the file.

    Returns:
        Whether any did.
    """
    found = [
        tensor
        for tensor in tensors
        if tensor.data_location == tensor.EXTERNAL
        and all(entry.key != "length" for entry in tensor.external_data)
    ]
    for tensor in found:
        tensor.external_data.add(key="length", value=str(needed_bytes(tensor)))
    return bool(found)


def load_external_data(tensor: "onnx.TensorProto", folder: Path) -> None:
    """Load a tensor's external data into it, after `check_external_data`.

    Raises:
        FileError: the file has become shorter.
        OSError: it cannot be read.
    """
    location, offset = _place(tensor)
    needed = needed_bytes(tensor)
    with reading(folder / location) as stream:
        stream.seek(offset)
        data = stream.read(needed)
    if len(data) != needed:
        raise FileError(
            f"external data of {tensor.name!r}: {location} has been truncated meanwhile"
        )
    tensor.raw_data = data
    tensor.data_location = tensor.DEFAULT
    del tensor.external_data[:]


def _check(tensor: "onnx.TensorProto", path: Path | None, files: dict[str, Version]) -> None:
    """Check a tensor's external data; ``files`` contains those checked before."""
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
    """Return the name of a tensor's file, and the offset in it.

    Raises:
        FileError: an entry occurs twice, is not a number, or does not match the tensor.
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
        raise FileError("expected values in the file only, got values in the model, too")
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
        version = check_file(file)
        problem = lfs_problem(file, version.size)
    except OSError as error:
        raise FileError(f"expected the file {file}: {error.strerror}") from None
    if problem:
        raise FileError(problem)
    return version


def _problem(location: str, path: Path | None) -> str:
    """Say why a file is rejected; empty if it is not."""
    if path is None:
        return (
            "expected the weights in the model, as it has no folder, got a file "
            f"{location!r}; pass the model's path instead"
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
        return f"{expected}, got {location!r}, which is not a regular file"
    return ""


def tensors(proto: "onnx.ModelProto") -> "Iterator[onnx.TensorProto]":
    """Yield all constants of a model, in subgraphs and functions too."""
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
