"""Inputs and outputs as clients see them, and their agreement with a model's configuration."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from fasttrt._common.tensor_spec import Shape, TensorSpec
from fasttrt._serving.datatypes import datatype_of
from fasttrt._serving.model_config import ModelConfig, TensorConfig
from fasttrt.errors import InputError


@dataclass(frozen=True)
class ServedTensorSpec:
    """An input or output of a model that is served.

    Attributes:
        name: The tensor's name.
        datatype: The protocol's datatype, as in ``"FP32"``.
        shape: The shape, -1 for any size; it begins with the batch's -1 where the model's
            configuration has a ``max_batch_size`` of at least 1.
        dtype: The dtype of the engine's arrays.
    """

    name: str
    datatype: str
    shape: Shape
    dtype: np.dtype[Any]


def is_batchable(inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> bool:
    """Return whether the first dimension of all tensors may have any size, so counts items."""
    tensors = (*inputs, *outputs)
    return bool(inputs) and all(
        spec.shape[:1] == (-1,) and not spec.is_shape for spec in tensors
    )  # fmt: skip


def most_rows(inputs: Sequence[TensorSpec]) -> int | None:
    """Return the first dimension's maximum over all profiles, if it has one."""
    return min((spec.max[0] for spec in inputs if spec.max), default=None)


def complete(
    config: ModelConfig, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec], where: str
) -> ModelConfig:
    """Check a configuration against an engine's tensors, and complete it.

    Args:
        config: what is given.
        inputs: the engine's.
        outputs: the engine's.
        where: where it is from, for messages, as in ``"config.pbtxt"``.

    Raises:
        InputError: they differ, or a tensor's type is none of the protocol's.
    """
    size = config.max_batch_size
    most = most_rows(inputs)
    if size is None:
        size = most or 0 if is_batchable(inputs, outputs) else 0
    elif size >= 1:
        _check_batch(size, most, inputs, outputs, where)
    return replace(
        config,
        max_batch_size=size,
        inputs=_complete("input", config.inputs, inputs, size, where),
        outputs=_complete("output", config.outputs, outputs, size, where),
    )


def served(
    tensors: Sequence[TensorConfig], specs: Sequence[TensorSpec], max_batch_size: int
) -> tuple[ServedTensorSpec, ...]:
    """Return the tensors of a complete configuration as clients see them."""
    batch = (-1,) if max_batch_size else ()
    return tuple(
        ServedTensorSpec(spec.name, tensor.datatype, (*batch, *tensor.dims), spec.dtype)
        for tensor, spec in zip(tensors, specs, strict=True)
    )


def _check_batch(
    size: int,
    most: int | None,
    inputs: Sequence[TensorSpec],
    outputs: Sequence[TensorSpec],
    where: str,
) -> None:
    for kind, specs in (("input", inputs), ("output", outputs)):
        for spec in specs:
            if not is_batchable([spec], []):
                shape = "a shape tensor" if spec.is_shape else f"the shape {list(spec.shape)}"
                raise InputError(
                    f"{where}: max_batch_size: expected 0, as {kind} {spec.name!r} of the model "
                    f"has no first dimension of any size but {shape}, got {size}"
                )
    if most is not None and size > most:
        raise InputError(
            f"{where}: max_batch_size: expected at most {most}, the maximum of the engine's "
            f"profiles, got {size}"
        )


def _complete(
    kind: str,
    given: Sequence[TensorConfig],
    specs: Sequence[TensorSpec],
    max_batch_size: int,
    where: str,
) -> tuple[TensorConfig, ...]:
    """Return a configuration of each of the engine's tensors, in their order."""
    by_name = {tensor.name: tensor for tensor in given}
    names = [spec.name for spec in specs]
    for name in by_name:
        if name not in names:
            raise InputError(
                f"{where}: {kind} {name!r}: expected {kind}s of the model, which has "
                f"{', '.join(map(repr, names)) or 'none'}"
            )
    found = []
    for spec in specs:
        datatype = datatype_of(spec.name, spec.dtype)
        dims = spec.shape[1:] if max_batch_size else spec.shape
        tensor = by_name.get(spec.name)
        if tensor is None:
            tensor = TensorConfig(spec.name, datatype, dims, is_shape_tensor=spec.is_shape)
        else:
            _check_tensor(f"{where}: {kind} {spec.name!r}", tensor, datatype, dims, spec.is_shape)
            tensor = replace(tensor, datatype=datatype, dims=tensor.dims or dims)
        found.append(tensor)
    return tuple(found)


def _check_tensor(
    where: str, tensor: TensorConfig, datatype: str, dims: Shape, is_shape: bool
) -> None:
    if tensor.datatype not in ("", datatype):
        raise InputError(f"{where}: data_type: expected {datatype}, got {tensor.datatype}")
    fits = len(tensor.dims) == len(dims) and all(
        own in (-1, given) for own, given in zip(dims, tensor.dims, strict=True)
    )
    if tensor.dims and not fits:
        raise InputError(f"{where}: dims: expected {list(dims)}, got {list(tensor.dims)}")
    if tensor.is_shape_tensor and not is_shape:
        raise InputError(f"{where}: is_shape_tensor: expected false, as the model's is none")
