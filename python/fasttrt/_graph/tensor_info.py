"""Give a pass a view of a model's tensors: the graph's, and those that it adds itself."""

from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from fasttrt._graph.graph_tensors import Described, GraphTensors
from fasttrt._graph.model import OnnxModel
from fasttrt._graph.traversal import unused_name

if TYPE_CHECKING:
    import onnx


class TensorInfo:
    """Look up a model's tensors in a cache that all passes share, and those that a pass adds.

    For a name that several graphs use, such as the branches of an If, only what all have in common.
    """

    def __init__(self, model: OnnxModel, tensors: GraphTensors | None = None) -> None:
        """Create a view of a model.

        Args:
            model: the model, which is not changed.
            tensors: facts to use instead of the model's own.
        """
        self._tensors = model.tensors if tensors is None else tensors
        self._weights = model.weights
        self._declared: dict[str, Described] = {}

    @cached_property
    def names(self) -> set[str]:
        """All names in use, to which new ones are added."""
        return set(self._tensors.names)

    def constant(self, name: str) -> npt.NDArray[Any] | None:
        """Return the values of a small constant that is stored in the model file."""
        return self._tensors.constants.get(name)

    def is_true(self, name: str) -> bool:
        """Return whether a tensor is a small constant without a zero."""
        value = self.constant(name)
        return value is not None and bool(value.all())

    def weight(self, name: str) -> "onnx.TensorProto | None":
        """Return an initializer, maybe without its values; None if there is none, or several."""
        return None if name in self._tensors.ambiguous else self._tensors.weights.get(name)

    def weight_values(self, name: str) -> npt.NDArray[Any] | None:
        """Return the values of a weight of any size; None if it is none, or external data."""
        weight = self.weight(name)
        return None if weight is None else self.values(weight)

    def values(self, tensor: "onnx.TensorProto") -> npt.NDArray[Any] | None:
        """Return the values of any constant of the model; None if they are external data."""
        return self._weights.array_inside(tensor)

    @property
    def opset(self) -> int:
        """The model's opset version of the ONNX domain."""
        return self._tensors.opset

    def tensor(self, name: str) -> "onnx.TensorProto | None":
        """Return an initializer or a Constant node's tensor; None if it is neither, or several."""
        if name in self._tensors.ambiguous:
            return None
        return self._tensors.weights.get(name) or self._tensors.held.get(name)

    def shape(self, name: str) -> list[int | None] | None:
        """Return a tensor's shape, with None for unknown dimensions; None for an unknown rank."""
        if name in self._tensors.ambiguous:
            return None
        weight = self._tensors.weights.get(name)
        if weight is not None:
            return list(weight.dims)
        shape = self._inferred(name)[1]
        return None if shape is None else list(shape)

    def dtype(self, name: str) -> int:
        """Return a tensor's type, a value of ``TensorProto.DataType``; 0 (UNDEFINED) if unknown."""
        if name in self._tensors.ambiguous:
            return 0
        weight = self._tensors.weights.get(name)
        return weight.data_type if weight is not None else self._inferred(name)[0]

    def _inferred(self, name: str) -> Described:
        return self._declared.get(name) or self._tensors.inferred.get(name, (0, None))

    def declare(self, name: str, dtype: int, shape: list[int | None] | None) -> None:
        """Add a tensor that a rule is about to create."""
        self._declared[name] = dtype, shape

    def unused(self, name: str) -> str:
        """Create a unique name like this one."""
        return unused_name(name, self.names)
