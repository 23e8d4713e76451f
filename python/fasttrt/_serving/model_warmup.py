"""``model_warmup``: requests of a configuration that run before the model is ready."""

from typing import TYPE_CHECKING, Any

import numpy as np

from fasttrt._common.input_file import read_file
from fasttrt._serving.datatypes import BYTES
from fasttrt._serving.model_config import Warmup, WarmupInput
from fasttrt.errors import InputError

if TYPE_CHECKING:
    from fasttrt._serving.loaded_model import LoadedModel, ModelFiles
    from fasttrt._serving.served_tensor import ServedTensorSpec

_LIMIT = 1 << 30
"""The maximum size of a file with an input, in bytes."""


def warm_up(model: "LoadedModel", files: "ModelFiles") -> None:
    """Run the warm-up requests of a model's configuration.

    Raises:
        InputError: a request does not fit the model, or its file is missing.
        Error: a run fails.
    """
    for index, warmup in enumerate(model.config.warmup):
        where = f"{model.name}: model_warmup[{index}]"
        known = {spec.name: spec for spec in model.inputs}
        if warmup.inputs.keys() != known.keys():
            expected, got = ", ".join(known), ", ".join(warmup.inputs) or "none"
            raise InputError(f"{where}: inputs: expected {expected}, got {got}")
        arrays = {
            name: _array(f"{where}: input {name!r}", warmup, given, known[name], files)
            for name, given in warmup.inputs.items()
        }
        for _ in range(warmup.count):
            model.engine.infer(arrays)


def _array(
    where: str, warmup: Warmup, given: WarmupInput, spec: "ServedTensorSpec", files: "ModelFiles"
) -> np.ndarray[Any, Any]:
    if given.datatype != spec.datatype:
        raise InputError(f"{where}: data_type: expected {spec.datatype}, got {given.datatype}")
    if len(given.dims) != len(spec.shape) - bool(warmup.batch_size):
        raise InputError(
            f"{where}: dims: expected {len(spec.shape)} with the batch_size, if there is one, "
            f"got {list(given.dims)} and batch_size {warmup.batch_size}"
        )
    item = given.dims
    batch = (warmup.batch_size,) if warmup.batch_size else ()
    if given.datatype == BYTES:
        if given.source != "zero_data":
            raise InputError(f"{where}: expected zero_data for strings, got {given.source}")
        return np.full((*batch, *item), "", dtype=spec.dtype)
    if given.source == "zero_data":
        return np.zeros((*batch, *item), spec.dtype)
    if given.source == "random_data":
        return _random((*batch, *item), spec.dtype)
    content = read_file(files.inside(f"warmup/{given.file}"), _LIMIT, "an input")
    size = int(np.prod(item, dtype=np.int64)) * spec.dtype.itemsize
    if len(content) != size:
        raise InputError(f"{where}: {given.file}: expected {size} bytes, got {len(content)}")
    one = np.frombuffer(content, spec.dtype).reshape(item)
    return np.array(np.broadcast_to(one, (*batch, *item)))


def _random(shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
    """Return values that any model takes: 0 or 1 of integers, which may be indices."""
    rng = np.random.default_rng()
    is_integer = dtype.kind in "biu"
    values: Any = rng.integers(0, 2, shape) if is_integer else rng.standard_normal(shape)
    typed: np.ndarray[Any, Any] = values.astype(dtype)
    return typed
