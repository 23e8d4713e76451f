"""Reading ONNX models: what a model declares, apart from what TensorRT makes of it."""

import os
import sys
import warnings
from collections.abc import Iterator, Sequence
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
from fasttrt._graph.digest import model_sha256
from fasttrt._graph.external_data import (
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
"""Bytes of a model without its external data, at most: protobuf's limit."""
_EXPECTED = "a path, the bytes of a file, or an onnx.ModelProto"
_SHOWN = 500
"""Characters of another's error that are quoted."""


@dataclass(frozen=True)
class DeclaredTensor:
    """An input or output as the ONNX file declares it."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int | str, ...] | None
    """Extents, a name for one that has a name, ``""`` for one that has none; None if the file does
    not say."""


class OnnxModel:
    """An ONNX model in a file or in memory, read as far as needed: its weights are TensorRT's."""

    def __init__(
        self, source: "str | os.PathLike[str] | bytes | onnx.ModelProto", *, later: bool = False
    ) -> None:
        """Take a path, the bytes of a file, or an ``onnx.ModelProto``.

        Args:
            source: the model.
            later: parse a file only when its graph is asked for, which its hash needs not; what is
                raised for its content is raised then. A file that may have external data is parsed
                at once.

        Raises:
            MissingFileError: if there is no such file.
            ParseError: if it holds no ONNX model, or is a Git LFS pointer.
            InputError: if it is no ordinary file, its external data is missing, cut short or
                outside of its folder, see `check_external_data`, or a constant has not the values
                that its shape says.
            InputError: for anything else, too.
        """
        self.path: Path | None = None
        """Where it came from; external data is relative to it."""
        self.original = self
        """The model as it was read."""
        self.changes: tuple[str, ...] = ()
        """What is different from it, a line each."""
        self.arguments: dict[str, dict[str, Any]] = {}
        """The ``freeze`` and ``dims`` that it was changed with, as JSON has them."""
        self.rewritten: tuple[tuple[str, ...], ...] = ()
        """The nodes that were written in another form since the parser had refused them, by their
        first outputs; a tuple for each time that it was asked."""
        self.wide: frozenset[str] = frozenset()
        """Names of nodes that compute with integers in float32, which 16 bits do not hold."""
        self.callers: dict[str, int] = {}
        """By what a node of a local function gives, written out: where the call was in `original`,
        its index in the graph."""
        self._bytes: bytes | None = None
        self._versions: dict[Path, Version] = {}
        """The files, as they were when they were read."""
        self._first: Version | None = None
        """The model's own, as it was before; it may be read later."""
        if isinstance(source, (str, os.PathLike)):
            self.path = Path(source)
            self._versions[self.path] = self._first = version = check_file(self.path)
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
            import onnx

            if not isinstance(source, onnx.ModelProto):
                raise InputError(f"model: expected {_EXPECTED}, got {_kind_of(source)}")
            self.proto = self._checked(source)

    @cached_property
    def proto(self) -> "onnx.ModelProto":
        """The graph, its weights included unless they lie beside it.

        Raises:
            ParseError, InputError: as the constructor.
        """
        if self.is_changed:
            return self.weights.restored(self.skeleton)
        import onnx

        where = str(self.path) if self.path else "these bytes"
        if self.path is None:
            assert self._bytes is not None
            content = self._bytes
        else:
            self._versions[self.path] = check_file(self.path)
            content = read_file(self.path, _LIMIT, "a model")
        try:
            with warnings.catch_warnings():  # that a format is experimental
                warnings.simplefilter("ignore")
                proto = onnx.load_model_from_string(content, _format_of(self.path))
        except MemoryError:
            raise OutOfMemoryError(
                f"{where}: there is no memory for {len(content)} bytes"
            ) from None
        except Exception as error:  # of each format's own classes
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
            found = list(tensors(proto))
            for tensor in found:
                if tensor.data_location != tensor.EXTERNAL:
                    check_values(tensor)
            self._versions |= check_external_data(found, self.path)
        except UnicodeDecodeError as error:
            raise _no_model(f"the name {_brief(repr(error.object))} is no UTF-8") from None
        except RecursionError:
            raise _no_model(f"{where} has graphs that are nested too deep") from None
        return proto

    @cached_property
    def _split(self) -> "tuple[onnx.ModelProto, Weights]":
        folder = self.path.parent if self.path else Path()
        return Weights((), folder).kept_aside(self.proto)

    @property
    def skeleton(self) -> "onnx.ModelProto":
        """The model with placeholders for its large weights: for passes to look at."""
        return self._split[0]

    @property
    def weights(self) -> Weights:
        """Gives the values of constants, those of placeholders included."""
        return self._split[1]

    @cached_property
    def tensors(self) -> "GraphTensors":
        """What the model says of its tensors; see `TensorInfo`, which passes look at it by."""
        from fasttrt._graph.graph_tensors import (
            GraphTensors,  # here, as who builds nothing needs none
        )

        return GraphTensors(self.skeleton)

    @property
    def files(self) -> tuple[Path, ...]:
        """All that was read of it: the file that it came from, and its external data."""
        if self.path is None:
            return ()
        names = dict.fromkeys(file for _, file in external_tensors(self.original.proto))
        return (self.path, *(self.path.parent / name for name in names))

    @property
    def is_changed(self) -> bool:
        """Whether it differs from what was read."""
        return bool(self.changes)

    @property
    def is_binary(self) -> bool:
        """Whether the file that it came from, if any, is in ONNX's binary format."""
        return _format_of(self.path) == "protobuf"

    @property
    def is_as_read(self) -> bool:
        """Whether the files that it came from, if any, are still those that were read."""
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
        """Whether the file that it came from is the model, for readers of the binary format."""
        return self.path is not None and not self.is_changed and self.is_binary

    @contextmanager
    def unchanged(self) -> Iterator[None]:
        """While others read the model's files: these are still what was checked, at the end too.

        The model's own file counts if it `is_in_file`; it is not read otherwise.

        Raises:
            InputError: a file was replaced, written or cut short, so that nobody knows what was
                read.
        """
        self._refuse_changed()
        yield
        self._refuse_changed()

    def _refuse_changed(self) -> None:
        file = self._changed_file(None if self.is_in_file else self.path)
        if file is not None:
            raise FileError(f"{file} has changed since the model was read")

    def place_of(self, node: "onnx.NodeProto") -> int:
        """Give a node's index in the graph as it was read; its call's if it is of a function.

        -1 if it is of another graph, or new.
        """
        called = (self.callers[name] for name in node.output if name in self.callers)
        return self.original._places.get(tuple(node.output), next(called, -1))  # noqa: SLF001

    @cached_property
    def _places(self) -> dict[tuple[str, ...], int]:
        return {tuple(node.output): index for index, node in enumerate(self.proto.graph.node)}

    def with_weights(self) -> "onnx.ModelProto":
        """A copy that has its external data in it.

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
        """A copy to be changed. External data is not read."""
        if self.is_changed:
            return self.weights.restored(self.skeleton)
        return _copied(self.proto)

    def copy_skeleton(self) -> "onnx.ModelProto":
        """Copy the skeleton, to be changed and given to `changed`; no large weight is copied."""
        return _copied(self.skeleton)

    def changed(self, proto: "onnx.ModelProto", changes: Sequence[str]) -> "OnnxModel":
        """Give this model after changes, which are logged. External data stays where it is.

        Args:
            proto: a changed copy of the skeleton, which may have new weights of any size; the new
                model keeps it, and copies none of them.
            changes: a line each.
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
        """What the caller feeds: inputs that no initializer gives a value."""
        return declared_inputs(self._declarations)

    @cached_property
    def outputs(self) -> tuple[DeclaredTensor, ...]:
        """What the model gives."""
        return tuple(_declared(value) for value in self._declarations.graph.output)

    @property
    def _declarations(self) -> "onnx.ModelProto":
        """All but the values of weights, by the way that needs no copy."""
        return self.skeleton if self.is_changed else self.proto

    @property
    def is_quantized(self) -> bool:
        """Whether it says itself where values are quantized."""
        operators = {node.op_type for node in self._declarations.graph.node}
        return not operators.isdisjoint({"QuantizeLinear", "DequantizeLinear"})

    def with_named_axes(self, places: Sequence[tuple[str, int]]) -> "OnnxModel":
        """A copy in which each given (input, axis) has a dimension name of its own."""
        proto = self.copy_skeleton()
        inputs = {value.name: value for value in proto.graph.input}
        for name, axis in places:
            inputs[name].type.tensor_type.shape.dim[axis].dim_param = f"{name}.{axis}"
        lines = [
            f"{name}: axis {axis} is told apart from others of its name" for name, axis in places
        ]
        return self.changed(proto, lines)

    def to_bytes(self) -> bytes:
        """The serialized model.

        Raises:
            InputError: if it is larger than 2 GiB, protobuf's limit.
        """
        if self._bytes is not None:
            return self._bytes
        from google.protobuf.message import EncodeError

        try:
            if self.is_changed:
                return self.weights.serialize(self.skeleton)
            return bytes(self.proto.SerializeToString())
        except (EncodeError, ValueError) as error:  # of which class depends on the release
            raise InputError(
                "expected a model of at most 2 GiB, protobuf's limit: save it with its weights "
                "beside it, onnx.save_model(..., save_as_external_data=True), and give its path"
            ) from error

    def save(self, path: Path) -> None:
        """Write the model with its weights beside it, which has no limit of 2 GiB."""
        import onnx

        onnx.save_model(
            self.copy_proto(), path, save_as_external_data=True, location=path.name + ".data"
        )

    @property
    def fits_in_memory(self) -> bool:
        """Whether `to_bytes` works."""
        from google.protobuf.message import EncodeError

        try:
            if self.is_changed:
                return self.weights.byte_size(self.skeleton) < 2**31
            return self._bytes is not None or self.proto.ByteSize() < 2**31
        except EncodeError:  # some releases of protobuf do not even tell the size
            return False

    def sha256(self) -> str:
        """Of the model and of every file of external data that it names.

        The file's own SHA-256 where it names none and was not changed since it was read.
        """
        folder = self.path.parent if self.path else Path()  # where TensorRT looks
        if self.is_changed:
            contents = (self.skeleton, *self.weights.contents(self.skeleton))
        else:
            contents = (self.path or self._bytes or self.proto,)
        # A file that is not parsed yet names none.
        original = self.original
        tensors = external_tensors(original.proto) if "proto" in vars(original) else ()
        return model_sha256(contents, (file for _, file in tensors), folder)


def _copied(proto: "onnx.ModelProto") -> "onnx.ModelProto":
    copy = type(proto)()
    copy.CopyFrom(proto)
    return copy


def _no_model(reason: str) -> ParseError:
    return ParseError("no ONNX model", (ParseIssue(-1, "", "", reason),))


def _format_of(path: Path | None) -> str:
    """The name that onnx has for the format of a file, which it knows by its suffix."""
    from onnx.serialization import registry

    found = registry.get_format_from_file_extension(path.suffix) if path else None
    return found or "protobuf"


def _brief(text: str) -> str:
    """Of a text that may quote all of a file, the begin."""
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]} ..."


def _check_texts(message: Any) -> None:
    """See that all names of a model are text; values of constants are not looked at.

    Raises:
        ParseError: protobuf lets names be anything, and gives those that are no UTF-8 as bytes (or
            raises UnicodeDecodeError, in other releases of it).
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
        raise _no_model(f"the name {_brief(repr(text))} is no UTF-8")


def _kind_of(source: object) -> str:
    """What was given in place of a model, and what would take it."""
    torch: Any = sys.modules.get("torch")
    if torch is not None and isinstance(source, torch.nn.Module):
        return f"the torch.nn.Module {type(source).__name__}; fasttrt.from_torch() takes modules"
    return f"{type(source).__name__}: {shown(source)}"


def declared_inputs(proto: "onnx.ModelProto") -> tuple[DeclaredTensor, ...]:
    """The inputs that no initializer gives a value."""
    given = {tensor.name for tensor in proto.graph.initializer}
    given |= {tensor.values.name for tensor in proto.graph.sparse_initializer}
    return tuple(_declared(v) for v in proto.graph.input if v.name not in given)


def _declared(value: "onnx.ValueInfoProto") -> DeclaredTensor:
    import onnx

    tensor = value.type.tensor_type
    try:
        dtype = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type))
    except KeyError:  # no tensor (a sequence, an optional), or undefined
        dtype = np.dtype(object)
    if not tensor.HasField("shape"):
        return DeclaredTensor(value.name, dtype, None)
    shape = tuple(
        dim.dim_value if dim.HasField("dim_value") and dim.dim_value >= 0 else dim.dim_param
        for dim in tensor.shape.dim
    )
    return DeclaredTensor(value.name, dtype, shape)
