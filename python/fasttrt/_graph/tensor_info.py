"""What a model says of its tensors: small constants, shapes, and the names that are taken."""

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from fasttrt._common.log import logger
from fasttrt._graph.traversal import ONNX_DOMAINS, all_names, graphs_of
from fasttrt._graph.weights import without_weights

if TYPE_CHECKING:
    from collections.abc import Iterator

    import onnx

_MAX_ELEMENTS = 64
"""Of a constant that is read here: axes, say."""


class TensorFacts:
    """What a model says of its tensors.

    Of a name that several graphs use, such as the branches of an If, only what is the same in all.
    """

    def __init__(self, proto: "onnx.ModelProto") -> None:
        self._proto = proto
        graphs = graphs_of(proto.graph)
        uses = Counter[str]()
        for graph in graphs:
            uses.update({tensor.name for tensor in (*graph.initializer, *graph.input)})
            uses.update(output for node in graph.node for output in node.output if output)
        self.names = set(all_names(proto.graph))
        """All that a new name must differ from."""
        self._ambiguous = {name for name, count in uses.items() if count > 1}
        self._weights = {tensor.name: tensor for graph in graphs for tensor in graph.initializer}
        self._held = {
            node.output[0]: a.t
            for graph in graphs
            for node in graph.node
            if node.op_type == "Constant" and node.domain in ONNX_DOMAINS
            for a in node.attribute
            if a.name == "value"
        }
        found: dict[str, list[npt.NDArray[Any]]] = {}
        for name, value in _constants(graphs):
            found.setdefault(name, []).append(value)
        self._constants = {
            name: values[0]
            for name, values in found.items()
            if len(values) == uses[name] and all(np.array_equal(v, values[0]) for v in values)
        }
        self._declared: dict[str, tuple[int, list[int | None] | None]] | None = None

    def constant(self, name: str) -> npt.NDArray[Any] | None:
        """A small one, from the file itself."""
        return self._constants.get(name)

    def is_true(self, name: str) -> bool:
        value = self.constant(name)
        return value is not None and bool(value.all())

    def weight(self, name: str) -> "onnx.TensorProto | None":
        return None if name in self._ambiguous else self._weights.get(name)

    def weight_values(self, name: str) -> npt.NDArray[Any] | None:
        """Give a weight of any size; None for what is none, or is kept outside the file."""
        from onnx import TensorProto
        from onnx.numpy_helper import to_array

        weight = self.weight(name)
        if weight is None or weight.data_location == TensorProto.EXTERNAL:
            return None
        return to_array(weight)

    @property
    def opset(self) -> int:
        """The version of ONNX's own operators that the model is written in."""
        imports = self._proto.opset_import
        return max((each.version for each in imports if each.domain in ONNX_DOMAINS), default=1)

    def tensor(self, name: str) -> "onnx.TensorProto | None":
        """Give an initializer or what a Constant node holds; None if it is neither, or several."""
        if name in self._ambiguous:
            return None
        return self._weights.get(name) or self._held.get(name)

    def shape(self, name: str) -> list[int | None] | None:
        """Give a tensor's dimensions as far as they are known; None without even a rank."""
        if name in self._ambiguous:
            return None
        weight = self._weights.get(name)
        return list(weight.dims) if weight is not None else self._inferred(name)[1]

    def dtype(self, name: str) -> int:
        """Give a tensor's type, a value of ``TensorProto.DataType``; 0 (UNDEFINED) if unknown."""
        if name in self._ambiguous:
            return 0
        weight = self._weights.get(name)
        return weight.data_type if weight is not None else self._inferred(name)[0]

    def _inferred(self, name: str) -> tuple[int, list[int | None] | None]:
        if self._declared is None:
            self._declared = _inferred(self._proto)
        return self._declared.get(name, (0, None))

    def declare(self, name: str, dtype: int, shape: list[int | None] | None) -> None:
        """Add a tensor that a rule is about to write."""
        if self._declared is None:
            self._declared = _inferred(self._proto)
        self._declared[name] = dtype, shape

    def unused(self, name: str) -> str:
        """A name like this one."""
        while name in self.names:
            name += "_"
        self.names.add(name)
        return name


def _constants(graphs: "list[onnx.GraphProto]") -> "Iterator[tuple[str, npt.NDArray[Any]]]":
    """Small ones. External data is not read."""
    from onnx import TensorProto
    from onnx.numpy_helper import to_array

    def is_readable(tensor: "onnx.TensorProto") -> bool:
        small = np.prod(tensor.dims, dtype=np.int64) <= _MAX_ELEMENTS
        is_inside = tensor.data_location != TensorProto.EXTERNAL
        return bool(small) and is_inside and tensor.data_type != TensorProto.UNDEFINED

    for graph in graphs:
        for tensor in filter(is_readable, graph.initializer):
            yield tensor.name, to_array(tensor)
        for node in graph.node:
            if node.op_type != "Constant" or node.domain not in ONNX_DOMAINS:
                continue
            for attribute in node.attribute:
                if attribute.name == "value" and is_readable(attribute.t):
                    yield node.output[0], to_array(attribute.t)
                elif attribute.name == "value_int":
                    yield node.output[0], np.array(attribute.i)
                elif attribute.name == "value_ints":
                    yield node.output[0], np.array(attribute.ints, np.int64)
                elif attribute.name == "value_float":
                    yield node.output[0], np.array(attribute.f, np.float32)
                elif attribute.name == "value_floats":
                    yield node.output[0], np.array(attribute.floats, np.float32)


def _inferred(proto: "onnx.ModelProto") -> dict[str, tuple[int, list[int | None] | None]]:
    """Types and shapes as far as ONNX infers them; shapes that files state may be wrong."""
    from onnx.shape_inference import infer_shapes

    copy = without_weights(proto)
    for graph in graphs_of(copy.graph):
        del graph.value_info[:]
        for output in graph.output:
            if output.type.HasField("tensor_type"):
                output.type.tensor_type.ClearField("shape")
    try:
        copy = infer_shapes(copy)
    except Exception as error:  # of several classes; a node that needs them is refused then
        logger.debug("no shapes were inferred: %s", error)
    return {
        value.name: (value.type.tensor_type.elem_type, _shape(value.type.tensor_type))
        for graph in graphs_of(copy.graph)
        for value in (*graph.input, *graph.value_info, *graph.output)
        if value.type.HasField("tensor_type")
    }


def _shape(tensor: "onnx.TypeProto.Tensor") -> list[int | None] | None:
    if not tensor.HasField("shape"):
        return None
    return [dim.dim_value if dim.HasField("dim_value") else None for dim in tensor.shape.dim]
