"""The inputs of a benchmark, and the shapes to build for."""

import os
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from fasttrt._accuracy.random_inputs import InputGenerator
from fasttrt._bench.measurement import Arrays
from fasttrt._common.tensor_spec import Range
from fasttrt._engine.engine import Engine
from fasttrt._graph.model import OnnxModel
from fasttrt._graph.transforms import transformed
from fasttrt._plan.plan_file import is_plan_file
from fasttrt._plan.profiles import NetworkInput, resolve
from fasttrt.errors import InputError

ModelPath: TypeAlias = "str | os.PathLike[str]"


def onnx_model(model: ModelPath, options: Mapping[str, Any]) -> OnnxModel | None:
    """Load a model with an engine's options applied; None for a plan.

    Raises:
        InputError: the options do not match the model.
    """
    if is_plan_file(model):
        return None
    return transformed(OnnxModel(model), options.get("freeze"), options.get("dims"))


def network_inputs(model: OnnxModel) -> list[NetworkInput]:
    """Return the inputs as the model declares them, none of them as a shape tensor."""
    return [
        NetworkInput(
            tensor.name,
            str(tensor.dtype),
            tuple(e if isinstance(e, int) else -1 for e in tensor.shape or ()),
            tuple(e if isinstance(e, str) else "" for e in tensor.shape or ()),
            False,
        )
        for tensor in model.inputs
    ]


def shapes_for(model: OnnxModel, batches: Sequence[int]) -> dict[str, Range] | None:
    """Return ranges from the smallest to the largest batch, optimized for the largest.

    None if no input has a dynamic first dimension.

    Raises:
        InputError: another dimension is dynamic, and its name does not say what it counts.
    """
    inputs = network_inputs(model)
    free = [tensor for tensor in inputs if tensor.shape[:1] == (-1,)]
    if not free or not batches:
        return None
    fixed = [
        NetworkInput(t.name, t.dtype, (batches[0], *t.shape[1:]), ("", *t.dimensions[1:]), False)
        if t in free
        else t
        for t in inputs
    ]
    others = resolve(fixed, None, use="measuring with")
    ranges = others[0] if others else {}
    min_batch, max_batch = min(batches), max(batches)
    for tensor in free:
        inner = ranges.get(tensor.name, (tensor.shape,) * 3)
        a, b, c = (shape[1:] for shape in inner)
        ranges[tensor.name] = ((min_batch, *a), (max_batch, *b), (max_batch, *c))
    return ranges


def draw(
    engine: Engine, model: OnnxModel | None, batch: int | None, seed: int, count: int = 4
) -> list[Arrays]:
    """Generate random inputs in the engine's order, with values as in `fasttrt.compare`.

    Raises:
        InputError: the engine does not support the batch size.
    """
    if batch is not None:
        for spec in engine.inputs:
            if spec.is_shape or not spec.shape:
                continue
            first = spec.shape[0]
            ranges = [(p[0][0], p[2][0]) for p in spec.profiles] or [(0, batch)]
            if first >= 0:
                ranges = [(first, first)]
            if not any(low <= batch <= high for low, high in ranges):
                known = " or ".join(f"{low} to {high}" for low, high in ranges)
                raise InputError(f"batch: {spec.name} expected {known}, got {batch}")
    generator = InputGenerator(engine.inputs, model, None, seed)
    samples = [generator.sample(batch) for _ in range(count)]
    return [
        tuple(np.ascontiguousarray(sample[spec.name]) for spec in engine.inputs)
        for sample in samples
    ]
