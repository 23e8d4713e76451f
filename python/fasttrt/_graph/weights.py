"""Separate large weights from the graph, which is then small enough to copy and infer.

Passes copy a model's skeleton: the model with placeholders for its large weights. The weights are
shared by all models that passes derive from each other, and restored in what TensorRT reads.
"""

from collections.abc import Iterator, Sequence
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fasttrt._common.host_array import Array
from fasttrt._graph.external_data import load_external_data
from fasttrt._graph.traversal import replace_all

if TYPE_CHECKING:
    import onnx

MAX_ELEMENTS = 8192
"""The maximum size of weights in the skeleton: onnxscript's limit for folded constants."""
_MAX_INFERRED = 1024
"""The maximum size of weights whose values ONNX's shape inference may need."""
_PLACEHOLDER = "fasttrt-weight:"
_FIRST_IR_VERSION_WITH_CONSTANTS = 4
# Protobuf's tags of ModelProto.graph, GraphProto.initializer and TensorProto.name.
_GRAPH, _INITIALIZER, _NAME = b"\x3a", b"\x2a", b"\x42"


class Weights:
    """The large weights of a model, read on demand. It is immutable."""

    def __init__(self, tensors: "Sequence[onnx.TensorProto]", folder: Path) -> None:
        """Store the tensors, by placeholder number, and the folder of external data."""
        self._tensors, self._folder = tensors, folder

    def array(self, tensor: "onnx.TensorProto") -> Array:
        """Return the values of any constant of the model, external or not."""
        from onnx import numpy_helper

        return numpy_helper.to_array(self.loaded(tensor))

    def array_inside(self, tensor: "onnx.TensorProto") -> Array | None:
        """Return the values of a constant of the model; None if they are external data."""
        from onnx import numpy_helper

        tensor = self.stored(tensor)
        return None if tensor.data_location == tensor.EXTERNAL else numpy_helper.to_array(tensor)

    def stored(self, tensor: "onnx.TensorProto") -> "onnx.TensorProto":
        """Return the tensor that a placeholder represents; any other tensor is returned as is.

        Its name may differ.
        """
        index = _placeholder_index(tensor)
        return tensor if index is None else self._tensors[index]

    def loaded(self, tensor: "onnx.TensorProto") -> "onnx.TensorProto":
        """Return a tensor of the model with its values; it may be shared, so do not change it."""
        tensor = self.stored(tensor)
        if tensor.data_location != tensor.EXTERNAL:
            return tensor
        copy = type(tensor)()
        copy.CopyFrom(tensor)
        load_external_data(copy, self._folder)
        return copy

    def load_external(self, proto: "onnx.ModelProto") -> None:
        """Load external data into the initializers of a copy of the skeleton."""
        for tensor in proto.graph.initializer:
            if self.stored(tensor).data_location == tensor.EXTERNAL:
                name = tensor.name
                tensor.CopyFrom(self.loaded(tensor))
                tensor.name = name

    def restored(self, skeleton: "onnx.ModelProto") -> "onnx.ModelProto":
        """Copy a skeleton with the weights restored."""
        copy = type(skeleton)()
        copy.CopyFrom(skeleton)
        for tensor in copy.graph.initializer:
            if _placeholder_index(tensor) is not None:
                name = tensor.name
                tensor.CopyFrom(self.stored(tensor))
                tensor.name = name
        return copy

    def byte_size(self, skeleton: "onnx.ModelProto") -> int:
        """Return an upper estimate of the restored model's size, in bytes."""
        kept = (self.stored(tensor) for tensor in skeleton.graph.initializer)
        return int(skeleton.ByteSize() + sum(tensor.ByteSize() + 16 for tensor in kept))

    def serialize(self, skeleton: "onnx.ModelProto") -> bytes:
        """Serialize the restored model without creating it.

        Raises:
            ValueError: the model has 2 GiB or more.
        """
        shell = _without_initializers(skeleton)
        graph = [shell.graph.SerializeToString()]
        for tensor in skeleton.graph.initializer:
            stored = self.stored(tensor)
            content = _renamed_bytes(stored, tensor.name)
            graph += [_INITIALIZER, _varint(len(content)), content]
        shell.ClearField("graph")
        size = sum(map(len, graph))
        if size >= 2**31:
            raise ValueError(f"the model has {size} bytes, but protobuf's limit is 2 GiB")
        return b"".join([shell.SerializeToString(), _GRAPH, _varint(size), *graph])

    def contents(self, skeleton: "onnx.ModelProto") -> "Iterator[onnx.TensorProto]":
        """Yield the weights that a skeleton has placeholders for."""
        for tensor in skeleton.graph.initializer:
            if _placeholder_index(tensor) is not None:
                yield self.stored(tensor)

    def kept_aside(self, proto: "onnx.ModelProto") -> "tuple[onnx.ModelProto, Weights]":
        """Split a model into its skeleton and its weights, without copying weights.

        The model itself is the skeleton if all its large weights are placeholders already.
        """
        if not any(_is_large(t) and not self._has(t) for t in proto.graph.initializer):
            return proto, self
        skeleton = _without_initializers(proto)
        tensors = list(self._tensors)
        for tensor in proto.graph.initializer:
            kept = skeleton.graph.initializer.add()
            if self._has(tensor) or not _is_large(tensor):
                kept.CopyFrom(tensor)
                continue
            kept.name, kept.data_type = tensor.name, tensor.data_type
            kept.dims.extend(tensor.dims)
            kept.data_location = tensor.EXTERNAL
            kept.external_data.add(key="location", value=f"{_PLACEHOLDER}{len(tensors)}")
            tensors.append(tensor)
        return skeleton, Weights(tensors, self._folder)

    def _has(self, tensor: "onnx.TensorProto") -> bool:
        index = _placeholder_index(tensor)
        return index is not None and index < len(self._tensors)


def with_weight_inputs(proto: "onnx.ModelProto") -> "onnx.ModelProto":
    """Copy a model without its large weights, which become its last inputs.

    ONNX's own functions accept a single message of at most 2 GiB and read no external data. They
    need the types and shapes of weights, and the values of small ones (axes, scales).
    """
    from onnx import helper

    copy = _without_initializers(proto)
    given = {value.name for value in copy.graph.input}
    for tensor in proto.graph.initializer:
        if not becomes_input(tensor):
            copy.graph.initializer.append(tensor)
        elif tensor.name not in given:
            declared = helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
            copy.graph.input.append(declared)
    allow_constants(copy)
    return copy


def becomes_input(tensor: "onnx.TensorProto") -> bool:
    """Return whether `with_weight_inputs` makes an input of a weight."""
    return tensor.data_location == tensor.EXTERNAL or prod(tensor.dims) > _MAX_INFERRED


def allow_constants(proto: "onnx.ModelProto") -> None:
    """Raise a model's IR version to the first in which initializers need not be inputs."""
    proto.ir_version = max(proto.ir_version, _FIRST_IR_VERSION_WITH_CONSTANTS)


def drop_weight_inputs(proto: "onnx.ModelProto") -> None:
    """Take weights off the inputs of a model's graph."""
    given = {tensor.name for tensor in proto.graph.initializer}
    replace_all(proto.graph.input, [v for v in proto.graph.input if v.name not in given])


def needs_constants_as_inputs(proto: "onnx.ModelProto") -> bool:
    """Return whether a model's IR version requires every initializer to be an input."""
    return bool(proto.ir_version < _FIRST_IR_VERSION_WITH_CONSTANTS)


def _without_initializers(proto: "onnx.ModelProto") -> "onnx.ModelProto":
    """Copy a model except for the initializers of its graph."""
    copy = type(proto)()
    _copy_fields(proto, copy, but="graph")
    _copy_fields(proto.graph, copy.graph, but="initializer")
    return copy


def _copy_fields(source: Any, target: Any, but: str) -> None:
    """Copy the fields of a protobuf message to an empty one, except for ``but``."""
    for field, value in source.ListFields():
        if field.name == but:
            continue
        if field.is_repeated if hasattr(field, "is_repeated") else field.label == 3:
            getattr(target, field.name).extend(value)
        elif field.message_type is not None:
            getattr(target, field.name).CopyFrom(value)
        else:
            setattr(target, field.name, value)


def _is_large(tensor: "onnx.TensorProto") -> bool:
    return prod(tensor.dims) > MAX_ELEMENTS or _placeholder_index(tensor) is not None


def _placeholder_index(tensor: "onnx.TensorProto") -> int | None:
    if tensor.data_location == tensor.EXTERNAL:
        for entry in tensor.external_data:
            if entry.key == "location" and entry.value.startswith(_PLACEHOLDER):
                return int(entry.value.removeprefix(_PLACEHOLDER))
    return None


def _renamed_bytes(tensor: "onnx.TensorProto", name: str) -> bytes:
    content = bytes(tensor.SerializeToString())
    if tensor.name == name:
        return content
    text = name.encode()
    return content + _NAME + _varint(len(text)) + text  # the last occurrence counts


def _varint(number: int) -> bytes:
    """Encode a length as protobuf does."""
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)
