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

Source: TypeAlias = "str | os.PathLike[str]"


def onnx_model(model: Source, options: Mapping[str, Any]) -> OnnxModel | None:
    """The model as an engine with these options has it, or None for a plan.

    Raises:
        InputError: they do not fit the model.
    """
    if is_plan_file(model):
        return None
    return transformed(OnnxModel(model), options.get("freeze"), options.get("dims"))


def network_inputs(model: OnnxModel) -> list[NetworkInput]:
    """The inputs as the model declares them; none is taken for a shape tensor."""
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
    """Ranges from the least to the greatest batch, tuned for the greatest.

    None where no input's first extent is free.

    Raises:
        InputError: another extent is free, and its name does not say what it counts.
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
    least, most = min(batches), max(batches)
    for tensor in free:
        inner = ranges.get(tensor.name, (tensor.shape,) * 3)
        a, b, c = (extents[1:] for extents in inner)
        ranges[tensor.name] = ((least, *a), (most, *b), (most, *c))
    return ranges


def draw(
    engine: Engine, model: OnnxModel | None, batch: int | None, seed: int, count: int = 4
) -> list[Arrays]:
    """Random inputs in the order of the engine's, see `fasttrt.compare` for their values.

    Raises:
        InputError: the batch is not one of the engine's.
    """
    if batch is not None:
        for spec in engine.inputs:
            if spec.is_shape or not spec.shape:
                continue
            first = spec.shape[0]
            ranges = [(p[0][0], p[2][0]) for p in spec.profiles] or [(0, batch)]
            if first >= 0:
                ranges = [(first, first)]
            if not any(least <= batch <= most for least, most in ranges):
                known = " or ".join(f"{least} to {most}" for least, most in ranges)
                raise InputError(f"batch: {spec.name} expected {known}, got {batch}")
    generator = InputGenerator(engine.inputs, model, None, seed)
    samples = [generator.sample(batch) for _ in range(count)]
    return [
        tuple(np.ascontiguousarray(sample[spec.name]) for spec in engine.inputs)
        for sample in samples
    ]
