"""Reading ONNX models: what a model declares, apart from what TensorRT makes of it."""

import os
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from fasttrt._log import logger
from fasttrt._model_hash import model_sha256
from fasttrt.errors import InputError, ParseError, ParseIssue
from fasttrt.external_data import check_external_data, external_tensors, has_no_external_data

if TYPE_CHECKING:
    import onnx

_Version: TypeAlias = tuple[int, int, int]


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
            FileNotFoundError: if there is no such file.
            ParseError: if it holds no ONNX model.
            InputError: if its external data leaves its folder, see `check_external_data`.
            TypeError: for anything else.
        """
        self.path: Path | None = None
        """Where it came from; external data is relative to it."""
        self.original = self
        """The model as it was read."""
        self.changes: tuple[str, ...] = ()
        """What is different from it, a line each."""
        self.arguments: dict[str, dict[str, Any]] = {}
        """The ``freeze`` and ``dims`` that it was changed with, as JSON has them."""
        self.callers: dict[str, int] = {}
        """By what a node of a local function gives, written out: where the call was in `original`,
        its index in the graph."""
        self._bytes: bytes | None = None
        self._version: _Version | None = None
        if isinstance(source, (str, os.PathLike)):
            self.path = Path(source)
            self._version = _version_of(self.path)
            if not (later and has_no_external_data(self.path)):
                _ = self.proto
        elif isinstance(source, bytes):
            self._bytes = source
            _ = self.proto
        else:
            import onnx

            if not isinstance(source, onnx.ModelProto):
                raise TypeError(f"expected a path, bytes or a ModelProto, got {type(source)}")
            self.proto = _checked(source, None)

    @cached_property
    def proto(self) -> "onnx.ModelProto":
        """The graph, its weights included unless they lie beside it.

        Raises:
            ParseError, InputError: as the constructor.
        """
        import onnx
        from google.protobuf.message import DecodeError  # the class that onnx raises

        try:
            if self.path is None:
                assert self._bytes is not None
                proto = onnx.load_model_from_string(self._bytes)
            else:
                proto = onnx.load(self.path, load_external_data=False)
        except DecodeError as error:
            where = str(self.path) if self.path else "these bytes"
            reason = f"{where} cannot be read as an ONNX model: {error}"
            raise ParseError("no ONNX model", (ParseIssue(-1, "", "", reason),)) from None
        return _checked(proto, self.path)

    @property
    def is_changed(self) -> bool:
        """Whether it differs from what was read."""
        return bool(self.changes)

    @property
    def is_as_read(self) -> bool:
        """Whether the file that it came from, if any, is still the one that was read."""
        try:
            return self.path is None or _version_of(self.path) == self._version
        except OSError:
            return False

    def place_of(self, node: "onnx.NodeProto") -> int:
        """Give a node's index in the graph as it was read; its call's if it is of a function.

        -1 if it is of another graph, or new.
        """
        called = (self.callers[name] for name in node.output if name in self.callers)
        return self.original._places.get(tuple(node.output), next(called, -1))

    @cached_property
    def _places(self) -> dict[tuple[str, ...], int]:
        return {tuple(node.output): index for index, node in enumerate(self.proto.graph.node)}

    def copy_proto(self) -> "onnx.ModelProto":
        """A copy to be changed. External data is not read."""
        import onnx

        proto = onnx.ModelProto()
        proto.CopyFrom(self.proto)
        return proto

    def changed(self, proto: "onnx.ModelProto", changes: Sequence[str]) -> "OnnxModel":
        """This model after ``changes``, which are logged. External data stays where it is."""
        for line in changes:
            logger.info("%s", line)
        model = copy(self)
        for cached in ("inputs", "outputs"):
            model.__dict__.pop(cached, None)
        model.proto, model._bytes = proto, None
        model.changes = (*self.changes, *changes)
        return model

    @cached_property
    def inputs(self) -> tuple[DeclaredTensor, ...]:
        """What the caller feeds: inputs that no initializer gives a value."""
        return declared_inputs(self.proto)

    @cached_property
    def outputs(self) -> tuple[DeclaredTensor, ...]:
        """What the model gives."""
        return tuple(_declared(value) for value in self.proto.graph.output)

    @property
    def is_quantized(self) -> bool:
        """Whether it says itself where values are quantized."""
        operators = {node.op_type for node in self.proto.graph.node}
        return not operators.isdisjoint({"QuantizeLinear", "DequantizeLinear"})

    def with_named_axes(self, places: Sequence[tuple[str, int]]) -> "OnnxModel":
        """A copy in which each given (input, axis) has a dimension name of its own."""
        proto = self.copy_proto()
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
            return self._bytes is not None or self.proto.ByteSize() < 2**31
        except EncodeError:  # some releases of protobuf do not even tell the size
            return False

    def sha256(self) -> str:
        """Of the model and of every file of external data that it names.

        The file's own SHA-256 where it names none and was not changed since it was read.
        """
        content = self.path if self.path and not self.is_changed else self._bytes or self.proto
        folder = self.path.parent if self.path else Path()  # where TensorRT looks
        # A file that is not parsed yet names none.
        tensors = external_tensors(self.proto) if "proto" in vars(self) else ()
        return model_sha256(content, (file for _, file in tensors), folder)


def _checked(proto: "onnx.ModelProto", path: Path | None) -> "onnx.ModelProto":
    if not proto.graph.node and not proto.graph.output:
        reason = f"{path or 'the model'} has an empty graph"
        raise ParseError("no ONNX model", (ParseIssue(-1, "", "", reason),))
    check_external_data(proto, path)
    return proto


def _version_of(path: Path) -> _Version:
    """What differs once a file was replaced or written."""
    info = path.stat()
    return info.st_ino, info.st_size, info.st_mtime_ns


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
