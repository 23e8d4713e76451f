"""Apply the caller's changes: constant inputs (``freeze``), fixed dimensions (``dims``)."""

from collections.abc import Iterator, Mapping
from numbers import Integral
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from fasttrt._common.checks import check_mapping
from fasttrt._common.dtypes import is_integer, is_lossless
from fasttrt._common.host_array import host_array
from fasttrt._graph.model import DeclaredTensor, OnnxModel, declared_inputs
from fasttrt._graph.traversal import subgraphs
from fasttrt._graph.weights import needs_constants_as_inputs
from fasttrt.errors import InputError

if TYPE_CHECKING:
    import onnx

Freeze: TypeAlias = Mapping[str, Any]
"""Values by input name: arrays, or anything that ``numpy.asarray`` accepts."""
Dims: TypeAlias = Mapping[str, int]
"""Sizes by dimension name, or by ``"input.axis"`` for a single axis."""

_SHOWN = 8
"""The maximum number of values of a frozen input that its line in the changes shows."""


def transformed(
    model: OnnxModel, freeze: Freeze | None = None, dims: Dims | None = None
) -> OnnxModel:
    """Make inputs constant and fix dimensions; return the model itself if nothing is requested.

    Each change is added to the result's ``changes``, and logged; its ``arguments`` allow another
    model to be changed in the same way.

    Raises:
        InputError: the model does not have a name, or a value, a dtype or a shape does not match.
    """
    check_mapping("freeze", freeze, "values by input name, as in {'axes': [1]}")
    check_mapping("dims", dims, "sizes by dimension, as in {'batch': 1}")
    if not freeze and not dims:
        return model
    proto = model.copy_skeleton()
    lines: list[str] = []
    if dims:
        lines += _fix_dims(proto, model, dims)
    if freeze:
        lines += _freeze_inputs(proto, declared_inputs(proto), freeze)
    changed = model.changed(proto, lines)
    constants = {tensor.name: tensor for tensor in proto.graph.initializer}
    changed.arguments = {
        "freeze": {name: _as_json(constants[name]) for name in freeze or ()},
        "dims": {name: _size(name, given) for name, given in (dims or {}).items()},
    }
    return changed


def retransformed(model: OnnxModel, arguments: Mapping[str, Mapping[str, Any]]) -> OnnxModel:
    """Change a model as another one was changed, by the ``arguments`` of that one.

    Raises:
        InputError: as `transformed`.
    """
    freeze = {name: _from_json(value) for name, value in arguments.get("freeze", {}).items()}
    return transformed(model, freeze, arguments.get("dims"))


def frozen_values(model: OnnxModel, freeze: Freeze) -> dict[str, np.ndarray[Any, Any]]:
    """Return the constants that replace a model's inputs with ``freeze``.

    Raises:
        InputError: as `transformed`.
    """
    return _declared_values(model.inputs, freeze)


def _as_json(tensor: "onnx.TensorProto") -> Any:
    """Convert values to Python numbers, which `_from_json` and `_as_declared` convert back.

    An empty array is represented by its dtype and shape, which lists cannot express.
    """
    from onnx import numpy_helper

    array = np.asarray(numpy_helper.to_array(tensor))
    if array.size == 0:
        return {"dtype": str(array.dtype), "shape": list(array.shape)}
    if array.dtype.kind not in "biuf":  # of ml_dtypes
        array = array.astype(np.int64 if is_integer(array.dtype) else np.float64)
    return array.tolist()


def _from_json(value: Any) -> Any:
    if not isinstance(value, Mapping):
        return value
    import ml_dtypes

    return np.empty(value["shape"], getattr(ml_dtypes, value["dtype"], value["dtype"]))


def _freeze_inputs(
    proto: "onnx.ModelProto", inputs: tuple[DeclaredTensor, ...], freeze: Freeze
) -> list[str]:
    import onnx

    lines = []
    for name, array in _declared_values(inputs, freeze).items():
        proto.graph.initializer.append(onnx.numpy_helper.from_array(array, name))
        if not needs_constants_as_inputs(proto):
            place = [declared.name for declared in proto.graph.input].index(name)
            del proto.graph.input[place]
        lines.append(f"{name}: the input is a constant, {described(array)}")
    return lines


def _declared_values(
    inputs: tuple[DeclaredTensor, ...], freeze: Freeze
) -> dict[str, np.ndarray[Any, Any]]:
    known = {tensor.name: tensor for tensor in inputs}
    for name in freeze:
        if name not in known:
            has = ", ".join(known) or "none left"
            raise InputError(f"freeze: the model has no input {name!r}; it has {has}")
    return {name: _as_declared(known[name], value) for name, value in freeze.items()}


def _as_declared(tensor: DeclaredTensor, value: Any) -> np.ndarray[Any, Any]:
    """Convert a value to an array of the input's dtype and shape.

    Arrays must have the dtype. Python numbers must be representable in it, except that floats are
    rounded, as everywhere in numpy.
    """
    if tensor.dtype.kind == "O":
        raise InputError(f"freeze: {tensor.name}: only tensors of numbers can be frozen")
    array = host_array(f"freeze: {tensor.name}", value)
    if array.dtype != tensor.dtype:
        if hasattr(value, "dtype") or not _fits(array, tensor.dtype):
            raise InputError(
                f"freeze: {tensor.name}: expected dtype {tensor.dtype}, got "
                f"{array.dtype if hasattr(value, 'dtype') else repr(value)}"
            )
        array = array.astype(tensor.dtype)
    fits = tensor.shape is None or (
        len(array.shape) == len(tensor.shape)
        and all(
            isinstance(expected, str) or expected == got
            for expected, got in zip(tensor.shape, array.shape, strict=True)
        )
    )
    if not fits:
        shape = ", ".join(str(size) or "?" for size in tensor.shape or ())
        raise InputError(
            f"freeze: {tensor.name}: expected shape ({shape}), got {tuple(array.shape)}"
        )
    return np.asarray(array, order="C")


def _fits(array: np.ndarray[Any, Any], dtype: np.dtype[Any]) -> bool:
    """Return whether Python numbers can be represented in a dtype."""
    if array.dtype.kind not in "biuf":
        return False
    if array.size == 0 or is_lossless(array.dtype, dtype):
        return True
    with np.errstate(over="ignore", invalid="ignore"):
        converted = array.astype(dtype)
        returned = converted.astype(array.dtype)
    if array.dtype.kind == "f":
        finite = np.array_equal(np.isfinite(converted), np.isfinite(array))
        return finite and dtype.kind != "b" and not is_integer(dtype)
    same_signs = np.array_equal(converted < 0, array < 0)  # 2**63 wraps to int64 and back
    return dtype.kind != "b" and same_signs and np.array_equal(returned, array)


def described(array: np.ndarray[Any, Any]) -> str:
    """Format an array as in ``int64[2] = [1, 2]``; a long one without its values."""
    kind = f"{array.dtype}[{', '.join(map(str, array.shape))}]"
    return f"{kind} = {array.tolist()}" if array.size <= _SHOWN else kind


def _fix_dims(proto: "onnx.ModelProto", model: OnnxModel, dims: Dims) -> list[str]:
    # The caller may name dimensions of inputs: those of outputs follow.
    axes = {
        f"{tensor.name}.{axis}": size
        for tensor in model.inputs
        for axis, size in enumerate(tensor.shape or ())
        if isinstance(size, str)
    }
    names = dict.fromkeys(filter(None, axes.values()))
    for name, given in dims.items():
        whole = axes.get(name)
        if whole and whole in dims and _size(whole, dims[whole]) != _size(name, given):
            raise InputError(
                f"dims: {name} is {whole!r}: expected one size for both, got {name}={given} and "
                f"{whole}={dims[whole]}"
            )
    lines = []
    for name, given in dims.items():
        size = _size(name, given)
        if name in names:
            for dim in _named(proto, name):
                dim.dim_value = size
        elif name in axes:
            tensor, _, axis = name.rpartition(".")
            declared = next(value for value in proto.graph.input if value.name == tensor)
            declared.type.tensor_type.shape.dim[int(axis)].dim_value = size
        else:
            has = ", ".join(map(repr, [*names, *axes])) or "none"
            raise InputError(f"dims: the model has no dimension {name!r} to fix; it has {has}")
        lines.append(f"{name}: the dimension is fixed to {size}")
    return lines


def _size(name: str, given: object) -> int:
    if isinstance(given, Integral) and not isinstance(given, bool) and 0 <= int(given) < 2**63:
        return int(given)
    raise InputError(f"dims: {name}: expected an integer >= 0, got {given!r}")


def _named(proto: "onnx.ModelProto", name: str) -> "Iterator[onnx.TensorShapeProto.Dimension]":
    for value in _declarations(proto):
        for shape in _shapes(value.type):
            yield from (dim for dim in shape.dim if dim.dim_param == name)


def _declarations(proto: "onnx.ModelProto") -> "Iterator[onnx.ValueInfoProto]":
    """Yield all declared values of a model, in subgraphs and functions too."""
    yield from _graph_declarations(proto.graph)
    for function in proto.functions:
        yield from getattr(function, "value_info", ())  # since onnx 1.16
        for node in function.node:
            yield from _node_declarations(node)


def _graph_declarations(graph: "onnx.GraphProto") -> "Iterator[onnx.ValueInfoProto]":
    yield from (*graph.input, *graph.output, *graph.value_info)
    for node in graph.node:
        yield from _node_declarations(node)


def _node_declarations(node: "onnx.NodeProto") -> "Iterator[onnx.ValueInfoProto]":
    for graph in subgraphs(node):
        yield from _graph_declarations(graph)


def _shapes(kind: "onnx.TypeProto") -> "Iterator[onnx.TensorShapeProto]":
    """Yield the shapes of a type: of a tensor, or of a sequence's or an optional's elements."""
    which = kind.WhichOneof("value")
    if which in ("tensor_type", "sparse_tensor_type"):
        yield getattr(kind, which).shape
    elif which in ("sequence_type", "optional_type"):
        yield from _shapes(getattr(kind, which).elem_type)


def changes_of(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of an engine that change its model."""
    return {name: options[name] for name in ("freeze", "dims") if name in options}
