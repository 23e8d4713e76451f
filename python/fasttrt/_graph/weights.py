"""Large weights kept apart from the graph, which then is small enough to be copied and inferred.

Passes copy a model's skeleton: the model with placeholders for its large weights. The weights are
shared by all models that passes make of one another, and are put back into what TensorRT reads.
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
"""Of a weight that stays in the skeleton: onnxscript's limit for constants that it folds."""
_MAX_INFERRED = 1024
"""Elements of a weight whose values ONNX's inference of shapes may want."""
_PLACEHOLDER = "fasttrt-weight:"
_FIRST_IR_VERSION_WITH_CONSTANTS = 4
# Protobuf's tags of ModelProto.graph, GraphProto.initializer and TensorProto.name.
_GRAPH, _INITIALIZER, _NAME = b"\x3a", b"\x2a", b"\x42"


class Weights:
    """The large weights of a model, read when asked for. It does not change."""

    def __init__(self, tensors: "Sequence[onnx.TensorProto]", folder: Path) -> None:
        """Take the tensors by the numbers of their placeholders, and the external data's folder."""
        self._tensors, self._folder = tensors, folder

    def array(self, tensor: "onnx.TensorProto") -> Array:
        """Give the values of any constant of the model, external or not."""
        from onnx import numpy_helper

        return numpy_helper.to_array(self.loaded(tensor))

    def array_inside(self, tensor: "onnx.TensorProto") -> Array | None:
        """Give the values of a constant of the model; None if they are external data."""
        from onnx import numpy_helper

        tensor = self.stored(tensor)
        return None if tensor.data_location == tensor.EXTERNAL else numpy_helper.to_array(tensor)

    def stored(self, tensor: "onnx.TensorProto") -> "onnx.TensorProto":
        """Give the tensor that a placeholder stands for, as the model had it; others as they are.

        Its name may be another.
        """
        index = _placeholder_index(tensor)
        return tensor if index is None else self._tensors[index]

    def loaded(self, tensor: "onnx.TensorProto") -> "onnx.TensorProto":
        """Give a tensor of the model with its values in it; it may be shared, do not change it."""
        tensor = self.stored(tensor)
        if tensor.data_location != tensor.EXTERNAL:
            return tensor
        copy = type(tensor)()
        copy.CopyFrom(tensor)
        load_external_data(copy, self._folder)
        return copy

    def load_external(self, proto: "onnx.ModelProto") -> None:
        """Read into a copy of the skeleton what its initializers have in other files."""
        for tensor in proto.graph.initializer:
            if self.stored(tensor).data_location == tensor.EXTERNAL:
                name = tensor.name
                tensor.CopyFrom(self.loaded(tensor))
                tensor.name = name

    def restored(self, skeleton: "onnx.ModelProto") -> "onnx.ModelProto":
        """Give a copy of a skeleton that has the weights in it."""
        copy = type(skeleton)()
        copy.CopyFrom(skeleton)
        for tensor in copy.graph.initializer:
            if _placeholder_index(tensor) is not None:
                name = tensor.name
                tensor.CopyFrom(self.stored(tensor))
                tensor.name = name
        return copy

    def byte_size(self, skeleton: "onnx.ModelProto") -> int:
        """Give the bytes that the restored model takes, or somewhat more."""
        kept = (self.stored(tensor) for tensor in skeleton.graph.initializer)
        return int(skeleton.ByteSize() + sum(tensor.ByteSize() + 16 for tensor in kept))

    def serialize(self, skeleton: "onnx.ModelProto") -> bytes:
        """Serialize the restored model, without making it.

        Raises:
            ValueError: the model has 2 GiB or more.
        """
        shell = type(skeleton)()
        copy_fields(skeleton, shell, but=("graph",))
        copy_fields(skeleton.graph, shell.graph, but=("initializer",))
        graph = [shell.graph.SerializeToString()]
        for tensor in skeleton.graph.initializer:
            stored = self.stored(tensor)
            content = _renamed_bytes(stored, tensor.name)
            graph += [_INITIALIZER, _varint(len(content)), content]
        shell.ClearField("graph")
        size = sum(map(len, graph))
        if size >= 2**31:
            raise ValueError(f"the model has {size} bytes, protobuf's limit is 2 GiB")
        return b"".join([shell.SerializeToString(), _GRAPH, _varint(size), *graph])

    def contents(self, skeleton: "onnx.ModelProto") -> "Iterator[onnx.TensorProto]":
        """Give the weights that a skeleton has placeholders for."""
        for tensor in skeleton.graph.initializer:
            if _placeholder_index(tensor) is not None:
                yield self.stored(tensor)

    def kept_aside(self, proto: "onnx.ModelProto") -> "tuple[onnx.ModelProto, Weights]":
        """Split a model into its skeleton and its weights, none of which is copied.

        The model itself is the skeleton if it has no large weights but placeholders of these.
        """
        if not any(_is_large(t) and not self._has(t) for t in proto.graph.initializer):
            return proto, self
        skeleton = type(proto)()
        copy_fields(proto, skeleton, but=("graph",))
        copy_fields(proto.graph, skeleton.graph, but=("initializer",))
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

    ONNX's own functions take a model as one message of at most 2 GiB, and look into no other file.
    They need the types and shapes of weights, and the values of small ones (axes, scales).
    """
    from onnx import helper

    copy = type(proto)()
    copy_fields(proto, copy, but=("graph",))
    copy_fields(proto.graph, copy.graph, but=("initializer",))
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
    """Tell whether `with_weight_inputs` makes an input of a weight."""
    return tensor.data_location == tensor.EXTERNAL or prod(tensor.dims) > _MAX_INFERRED


def allow_constants(proto: "onnx.ModelProto") -> None:
    """Raise a model's IR version to the one from which on initializers need not be inputs."""
    proto.ir_version = max(proto.ir_version, _FIRST_IR_VERSION_WITH_CONSTANTS)


def drop_weight_inputs(proto: "onnx.ModelProto") -> None:
    """Take weights off the inputs of a model's graph."""
    given = {tensor.name for tensor in proto.graph.initializer}
    replace_all(proto.graph.input, [v for v in proto.graph.input if v.name not in given])


def needs_constants_as_inputs(proto: "onnx.ModelProto") -> bool:
    """Tell whether a model's IR version wants every initializer among the inputs as well."""
    return bool(proto.ir_version < _FIRST_IR_VERSION_WITH_CONSTANTS)


def copy_fields(source: Any, target: Any, but: Sequence[str]) -> None:
    """Copy all fields of a protobuf message to an empty one, but those named."""
    for field, value in source.ListFields():
        if field.name in but:
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
    return content + _NAME + _varint(len(text)) + text  # the last one counts


def _varint(number: int) -> bytes:
    """Encode a length as protobuf does."""
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)
