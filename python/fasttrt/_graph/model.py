"""Read ONNX models: their declarations, weights and changes."""

import os
import sys
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fasttrt._common.checks import shown
from fasttrt._common.input_file import Version, check_file, lfs_problem, read_file
from fasttrt._common.log import logger
from fasttrt._common.optional_packages import require
from fasttrt._graph.digest import model_sha256
from fasttrt._graph.external_data import (
    add_lengths,
    check_external_data,
    external_tensors,
    has_no_external_data,
    load_external_data,
    tensors,
)
from fasttrt._graph.tensor_data import check_values, needed_bytes
from fasttrt._graph.weights import Weights
from fasttrt.errors import FileError, InputError, OutOfMemoryError, ParseError, ParseIssue

if TYPE_CHECKING:
    import onnx

    from fasttrt._graph.graph_tensors import GraphTensors

_LIMIT = 2**31 - 1
"""The maximum size of a model without its external data, in bytes: protobuf's limit."""
_EXPECTED = "a path, the bytes of a file, or an onnx.ModelProto"
_SHOWN = 500
"""The maximum length of quoted errors."""


@dataclass(frozen=True)
class DeclaredTensor:
    """An input or output as the ONNX file declares it."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int | str, ...] | None
    """The dimensions; a name for a named dynamic one, ``""`` for an unnamed one; None if the shape
    is not declared."""


class OnnxModel:
    """An ONNX model in a file or in memory, read lazily; weights are left to TensorRT."""

    def __init__(
        self,
        source: "str | os.PathLike[str] | bytes | onnx.ModelProto",
        *,
        later: bool = False,
        name: str = "model",
    ) -> None:
        """Open a path, the bytes of a file, or an ``onnx.ModelProto``.

        Args:
            source: the model.
            later: whether to parse a file only when its graph is needed, which its hash does not;
                errors in its content are then raised later, too. A file that may have external data
                is parsed immediately.
            name: the argument that errors name if ``source`` is something else.

        Raises:
            MissingFileError: there is no such file.
            MissingPackageError: the model is read, and onnx is not installed.
            ParseError: it is not an ONNX model, or is a Git LFS pointer; or two of its inputs or
                initializers have the same name.
            InputError: it is not a regular file, its external data is missing, truncated or outside
                of its folder (see `check_external_data`), the number of a constant's values does
                not match its shape, or ``source`` is something else.
        """
        self.path: Path | None = None
        """The file; external data is relative to it."""
        self.original = self
        """The model as it was read."""
        self.changes: tuple[str, ...] = ()
        """The changes to it, one line each."""
        self.arguments: dict[str, dict[str, Any]] = {}
        """The ``freeze`` and ``dims`` that were applied, as JSON values."""
        self.rewritten: tuple[tuple[str, ...], ...] = ()
        """The nodes that were rewritten because the parser rejected them, by their first outputs;
        a tuple for each attempt to parse."""
        self.wide: frozenset[str] = frozenset()
        """The names of nodes that compute with integers in float32, needing more than 16 bits."""
        self.callers: dict[str, int] = {}
        """For the outputs of nodes inlined from a local function: the call's index in the graph of
        `original`."""
        self.has_added_lengths = False
        """Whether its file lacks lengths of external data, which were added to `proto`."""
        self._bytes: bytes | None = None
        self._versions: dict[Path, Version] = {}
        """The versions of the files when they were read."""
        self._first: Version | None = None
        """The version of the model's file when it was opened, which may be before it is read."""
        if isinstance(source, (str, os.PathLike)):
            self.path = Path(source)
            self._versions[self.path] = self._first = version = check_file(source)
            if problem := lfs_problem(self.path, version.size):
                raise _no_model(problem)
            if version.size > _LIMIT:
                raise _no_model(
                    f"{self.path}: expected at most 2 GiB, protobuf's limit, got {version.size} "
                    "bytes; weights beside the model do not count"
                )
            if not (later and has_no_external_data(self.path)):
                _ = self.proto
        elif isinstance(source, bytes):
            self._bytes = source
            _ = self.proto
        else:
            onnx = sys.modules.get("onnx")  # it made the model, if this is one
            if onnx is None or not isinstance(source, onnx.ModelProto):
                raise InputError(f"{name}: expected {_EXPECTED}, got {_kind_of(source)}")
            self.proto = self._checked(source)

    @cached_property
    def proto(self) -> "onnx.ModelProto":
        """The graph, with its weights unless they are external data.

        Raises:
            ParseError, InputError, MissingPackageError: see the constructor.
        """
        if self.is_changed:
            return self.copy_proto()
        where = str(self.path) if self.path else "these bytes"
        require(f"reading {where}", "onnx")
        import onnx

        if self.path is None:
            assert self._bytes is not None
            content = self._bytes
        else:
            self._versions[self.path] = check_file(self.path)
            content = read_file(self.path, _LIMIT, "a model")
        try:
            with warnings.catch_warnings():  # about experimental formats
                warnings.simplefilter("ignore")
                proto = onnx.load_model_from_string(content, _format_of(self.path))
        except MemoryError:
            raise OutOfMemoryError(f"{where}: not enough memory for {len(content)} bytes") from None
        except Exception as error:  # each format has its own classes
            kind = "" if self.is_binary else f" in the format of {self.path and self.path.suffix}"
            text = _brief(str(error) or repr(error))
            raise _no_model(f"{where} cannot be read as an ONNX model{kind}: {text}") from None
        return self._checked(proto)

    def _checked(self, proto: "onnx.ModelProto") -> "onnx.ModelProto":
        where = str(self.path or "the model")
        if not proto.graph.node and not proto.graph.output:
            raise _no_model(f"{where} has an empty graph")
        try:
            _check_texts(proto)
            _check_unique(proto, where)
            found = list(tensors(proto))
            for tensor in found:
                if tensor.data_location != tensor.EXTERNAL:
                    check_values(tensor)
            self._versions |= check_external_data(found, self.path)
            self.has_added_lengths = add_lengths(found)
        except UnicodeDecodeError as error:
            raise _no_model(f"the name {_brief(repr(error.object))} is not UTF-8") from None
        except RecursionError:
            raise _no_model(f"{where} has graphs that are nested too deeply") from None
        return proto

    @cached_property
    def _split(self) -> "tuple[onnx.ModelProto, Weights]":
        folder = self.path.parent if self.path else Path()
        return Weights((), folder).kept_aside(self.proto)

    @property
    def skeleton(self) -> "onnx.ModelProto":
        """The model with placeholders for its large weights, for passes."""
        return self._split[0]

    @property
    def weights(self) -> Weights:
        """The values of constants, including those of placeholders."""
        return self._split[1]

    @cached_property
    def tensors(self) -> "GraphTensors":
        """Facts about the model's tensors; passes use them through `TensorInfo`."""
        from fasttrt._graph.graph_tensors import (
            GraphTensors,  # here, since only builds need them
        )

        return GraphTensors(self.skeleton)

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that were read: the model's, and its external data."""
        if self.path is None:
            return ()
        names = dict.fromkeys(file for _, file in external_tensors(self.original.proto))
        return (self.path, *(self.path.parent / name for name in names))

    @property
    def versions(self) -> Mapping[Path, Version]:
        """The versions of its files, those of external data once it was parsed."""
        return self.original._versions  # noqa: SLF001

    @property
    def external_bytes(self) -> int:
        """The size of its external data."""
        return sum(file.size for path, file in self._versions.items() if path != self.path)

    @property
    def is_changed(self) -> bool:
        """Whether it differs from the original."""
        return bool(self.changes)

    @property
    def is_binary(self) -> bool:
        """Whether its file, if any, is in ONNX's binary format."""
        return _format_of(self.path) == "protobuf"

    @property
    def is_as_read(self) -> bool:
        """Whether its files, if any, are unchanged since they were read."""
        first = self._first is None or self._first == self._versions[self.path or Path()]
        return first and self._changed_file() is None

    def _changed_file(self, but: Path | None = None) -> Path | None:
        for file, version in self._versions.items():
            if file == but:
                continue
            try:
                if check_file(file) != version:
                    return file
            except (OSError, InputError):
                return file
        return None

    @property
    def is_in_file(self) -> bool:
        """Whether its file contains exactly this model, in the binary format."""
        return self.path is not None and not self.is_changed and self.is_binary

    @contextmanager
    def unchanged(self) -> Iterator[None]:
        """Check before and after the block, which reads the model's files, that they are unchanged.

        The model's own file counts only if it `is_in_file`, as it is not read otherwise.

        Raises:
            InputError: a file was replaced, written or truncated, so that its readers may have seen
                a different one.
        """
        self._refuse_changed()
        yield
        self._refuse_changed()

    def _refuse_changed(self) -> None:
        file = self._changed_file(None if self.is_in_file else self.path)
        if file is not None:
            raise FileError(f"{file} has changed since the model was read")

    def place_of(self, node: "onnx.NodeProto") -> int:
        """Return a node's index in the original graph; its call's if it is from a function.

        The index is -1 if the node is in a subgraph, or new.
        """
        called = (self.callers[name] for name in node.output if name in self.callers)
        return self.original._places.get(tuple(node.output), next(called, -1))  # noqa: SLF001

    @cached_property
    def _places(self) -> dict[tuple[str, ...], int]:
        return {tuple(node.output): index for index, node in enumerate(self.proto.graph.node)}

    def with_weights(self) -> "onnx.ModelProto":
        """Copy the model with its external data in it.

        Raises:
            InputError: it takes 2 GiB or more, protobuf's limit; or a file has changed.
        """
        proto = self.copy_proto()
        external = [t for t in tensors(proto) if t.data_location == t.EXTERNAL]
        size = proto.ByteSize() + sum(map(needed_bytes, external)) if self.fits_in_memory else None
        if size is None or size > _LIMIT:
            raise InputError("expected a model of less than 2 GiB with all weights in it")
        assert self.path is not None or not external
        with self.unchanged():
            for tensor in external:
                load_external_data(tensor, self.path.parent if self.path else Path())
        return proto

    def copy_proto(self) -> "onnx.ModelProto":
        """Copy the model, without reading external data."""
        if self.is_changed:
            return self.weights.restored(self.skeleton)
        return _copied(self.proto)

    def copy_skeleton(self) -> "onnx.ModelProto":
        """Copy the skeleton, to be modified and passed to `changed`; large weights are shared."""
        return _copied(self.skeleton)

    def changed(self, proto: "onnx.ModelProto", changes: Sequence[str]) -> "OnnxModel":
        """Return a model with a changed graph, and log the changes. External data is not moved.

        Args:
            proto: a modified copy of the skeleton, which may have new weights of any size; the new
                model takes it without copying.
            changes: the changes, one line each.
        """
        for line in changes:
            logger.info("%s", line)
        model = copy(self)
        for cached in ("inputs", "outputs", "proto", "tensors"):
            model.__dict__.pop(cached, None)
        model._split, model._bytes = self.weights.kept_aside(proto), None  # noqa: SLF001
        model.changes = (*self.changes, *changes)
        return model

    @cached_property
    def inputs(self) -> tuple[DeclaredTensor, ...]:
        """The inputs that the caller feeds: those without an initializer."""
        return declared_inputs(self._declarations)

    @cached_property
    def outputs(self) -> tuple[DeclaredTensor, ...]:
        """The outputs."""
        return tuple(_declared(value) for value in self._declarations.graph.output)

    @property
    def _declarations(self) -> "onnx.ModelProto":
        """The model, possibly without the values of weights, but without a copy."""
        return self.skeleton if self.is_changed else self.proto

    @property
    def is_quantized(self) -> bool:
        """Whether it has explicit quantization."""
        operators = {node.op_type for node in self._declarations.graph.node}
        return not operators.isdisjoint({"QuantizeLinear", "DequantizeLinear"})

    def with_named_axes(self, places: Sequence[tuple[str, int]]) -> "OnnxModel":
        """Return a model in which each of these (input, axis) has a unique dimension name."""
        proto = self.copy_skeleton()
        inputs = {value.name: value for value in proto.graph.input}
        for name, axis in places:
            inputs[name].type.tensor_type.shape.dim[axis].dim_param = f"{name}.{axis}"
        lines = [
            f"{name}: axis {axis} is renamed, as its name is ambiguous" for name, axis in places
        ]
        return self.changed(proto, lines)

    def to_bytes(self) -> bytes:
        """Serialize the model.

        Raises:
            InputError: it is larger than 2 GiB, protobuf's limit.
        """
        if self._bytes is not None:
            return self._bytes
        from google.protobuf.message import EncodeError

        try:
            if self.is_changed:
                return self.weights.serialize(self.skeleton)
            return bytes(self.proto.SerializeToString())
        except (EncodeError, ValueError) as error:  # the class depends on the release
            raise InputError(
                "expected a model of at most 2 GiB, protobuf's limit: save it with its weights "
                "beside it, onnx.save_model(..., save_as_external_data=True), and pass its path"
            ) from error

    def save(self, path: Path) -> None:
        """Write the model with its weights as external data, without the 2 GiB limit."""
        import onnx

        onnx.save_model(
            self.copy_proto(), path, save_as_external_data=True, location=path.name + ".data"
        )

    @property
    def fits_in_memory(self) -> bool:
        """Whether `to_bytes` can serialize it."""
        from google.protobuf.message import EncodeError

        try:
            if self.is_changed:
                return self.weights.byte_size(self.skeleton) < 2**31
            return self._bytes is not None or self.proto.ByteSize() < 2**31
        except EncodeError:  # some releases of protobuf cannot even compute the size
            return False

    def sha256(self) -> str:
        """Hash the model and its external data.

        Without external data and changes, this is the SHA-256 of the file.
        """
        folder = self.path.parent if self.path else Path()  # where TensorRT looks
        if self.is_changed:
            contents = (self.skeleton, *self.weights.contents(self.skeleton))
        else:
            contents = (self.path or self._bytes or self.proto,)
        # A file that is not parsed yet has no external data.
        original = self.original
        tensors = external_tensors(original.proto) if "proto" in vars(original) else ()
        return model_sha256(contents, (file for _, file in tensors), folder)


def _copied(proto: "onnx.ModelProto") -> "onnx.ModelProto":
    copy = type(proto)()
    copy.CopyFrom(proto)
    return copy


def _no_model(reason: str) -> ParseError:
    return ParseError("not an ONNX model", (ParseIssue(-1, "", "", reason),))


def _format_of(path: Path | None) -> str:
    """Return onnx's name for the format of a file, by its suffix."""
    from onnx.serialization import registry

    found = registry.get_format_from_file_extension(path.suffix) if path else None
    return found or "protobuf"


def _brief(text: str) -> str:
    """Shorten a text that may quote a whole file."""
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]} ..."


def _check_texts(message: Any) -> None:
    """Check that all names of a model are text, without checking values of constants.

    Raises:
        ParseError: one is not UTF-8. Protobuf allows any bytes, and returns such names as bytes (or
            raises UnicodeDecodeError, in other releases).
    """
    if message.DESCRIPTOR.name == "TensorProto":
        _check_text(message.name)
        for entry in message.external_data:
            _check_texts(entry)
        return
    for field, value in message.ListFields():
        if field.message_type is None:
            if field.type == field.TYPE_STRING:
                for text in [value] if isinstance(value, (str, bytes)) else value:
                    _check_text(text)
        elif hasattr(value, "ListFields"):
            _check_texts(value)
        else:
            for item in value:
                _check_texts(item)


def _check_text(text: str | bytes) -> None:
    if isinstance(text, bytes):
        raise _no_model(f"the name {_brief(repr(text))} is not UTF-8")


def _check_unique(proto: "onnx.ModelProto", where: str) -> None:
    """Check that no two inputs, and no two initializers, have the same name.

    Raises:
        ParseError: two do.
    """
    graph = proto.graph
    for kind, named in (("inputs", graph.input), ("initializers", graph.initializer)):
        for name, count in Counter(value.name for value in named).items():
            if count > 1:
                raise _no_model(f"{where} has {count} {kind} named {_brief(name)}")


def _kind_of(source: object) -> str:
    """Describe what was passed in place of a model, and what accepts it."""
    torch: Any = sys.modules.get("torch")
    if torch is not None and isinstance(source, torch.nn.Module):
        return f"the torch.nn.Module {type(source).__name__}; use fasttrt.from_torch() for modules"
    return f"{type(source).__name__}: {shown(source)}"


def declared_inputs(proto: "onnx.ModelProto") -> tuple[DeclaredTensor, ...]:
    """Return the inputs without an initializer."""
    given = {tensor.name for tensor in proto.graph.initializer}
    given |= {tensor.values.name for tensor in proto.graph.sparse_initializer}
    return tuple(_declared(v) for v in proto.graph.input if v.name not in given)


def _declared(value: "onnx.ValueInfoProto") -> DeclaredTensor:
    import onnx

    tensor = value.type.tensor_type
    try:
        dtype = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type))
    except KeyError:  # not a tensor (a sequence, an optional), or undefined
        dtype = np.dtype(object)
    if not tensor.HasField("shape"):
        return DeclaredTensor(value.name, dtype, None)
    shape = tuple(
        dim.dim_value if dim.HasField("dim_value") and dim.dim_value >= 0 else dim.dim_param
        for dim in tensor.shape.dim
    )
    return DeclaredTensor(value.name, dtype, shape)
