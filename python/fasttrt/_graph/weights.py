"""Large weights apart from the graph, which then is small enough for ONNX's own functions.

Those take a model as one message, of at most 2 GiB. They need the types and shapes of weights,
and the values of small ones (axes, scales); so large ones become inputs meanwhile.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from fasttrt._graph.external_data import load_external_data
from fasttrt._graph.model import OnnxModel

if TYPE_CHECKING:
    import onnx

Array: TypeAlias = np.ndarray[Any, Any]
_MAX_SMALL = 1024  # elements of a weight that stays


class Weights:
    """The large weights of a model, read when asked for."""

    def __init__(self, model: OnnxModel) -> None:
        self._folder = model.path.parent if model.path else Path()
        self.tensors = [t for t in model.proto.graph.initializer if _is_large(t)]
        """As the model has them, maybe with their values in another file."""

    def array(self, tensor: "onnx.TensorProto") -> Array:
        """The values of any constant of the model."""
        from onnx import numpy_helper

        return numpy_helper.to_array(self._loaded(tensor))

    def load(self, proto: "onnx.ModelProto") -> None:
        """Read into a model what its initializers still have in other files."""
        for tensor in proto.graph.initializer:
            if tensor.data_location == tensor.EXTERNAL:
                tensor.CopyFrom(self._loaded(tensor))

    def _loaded(self, tensor: "onnx.TensorProto") -> "onnx.TensorProto":
        if tensor.data_location != tensor.EXTERNAL:
            return tensor
        copy = type(tensor)()
        copy.CopyFrom(tensor)
        load_external_data(copy, self._folder)
        return copy


def without_weights(source: "onnx.ModelProto") -> "onnx.ModelProto":
    """A copy of a model in which large weights are inputs, the last ones."""
    from onnx import helper

    copy = type(source)()
    _copy_fields(source, copy, "graph")
    _copy_fields(source.graph, copy.graph, "initializer")
    given = {value.name for value in copy.graph.input}
    for tensor in source.graph.initializer:
        if not _is_large(tensor):
            copy.graph.initializer.append(tensor)
        elif tensor.name not in given:
            declared = helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
            copy.graph.input.append(declared)
    copy.ir_version = max(copy.ir_version, 4)  # from which on weights need not be inputs
    return copy


def _is_large(tensor: "onnx.TensorProto") -> bool:
    is_external = tensor.data_location == tensor.EXTERNAL
    return is_external or int(np.prod(tensor.dims, dtype=np.int64)) > _MAX_SMALL


def _copy_fields(source: Any, target: Any, leave: str) -> None:
    """All of a message but one field."""
    for field, value in source.ListFields():
        if field.name == leave:
            continue
        if field.is_repeated if hasattr(field, "is_repeated") else field.label == 3:
            getattr(target, field.name).extend(value)
        elif field.message_type is not None:
            getattr(target, field.name).CopyFrom(value)
        else:
            setattr(target, field.name, value)
