"""An inference request after everything about it was checked, whichever protocol it came by."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any, Literal

from fasttrt._serving.codec import BINARY_ONLY, Array
from fasttrt._serving.datatypes import BYTES
from fasttrt._serving.shared_memory import SharedPart
from fasttrt.errors import InputError

if TYPE_CHECKING:
    from fasttrt._serving.loaded_model import LoadedModel
    from fasttrt._serving.served_tensor import ServedTensorSpec

_NO_CLASSES = (BYTES, "BOOL", *BINARY_ONLY)


@dataclass(frozen=True)
class RequestedOutput:
    """An output that a client wants.

    Attributes:
        spec: the output's.
        binary: whether as bytes instead of JSON.
        classes: how many of its largest values to return as strings instead; 0 for the output.
        shared: where to write it instead of returning it.
    """

    spec: "ServedTensorSpec"
    binary: bool = False
    classes: int = 0
    shared: SharedPart | None = None


@dataclass(frozen=True)
class InferCall:
    """What to run, and what to return of it.

    Attributes:
        arrays: of all inputs, by name.
        rows: the size of the batch; 1 for models without.
        outputs: in the order in which they are returned.
        id: the client's own; empty for none.
        priority: see `Engine.submit`.
        timeout: in seconds; None for none.
    """

    arrays: Mapping[str, Array]
    rows: int
    outputs: tuple[RequestedOutput, ...]
    id: str = ""
    priority: Literal["normal", "high"] = "normal"
    timeout: float | None = None

    @property
    def options(self) -> dict[str, Any]:
        """The options for `Engine.submit`."""
        return {"priority": self.priority, "timeout": self.timeout}


def input_spec(model: "LoadedModel", name: str) -> "ServedTensorSpec":
    """Return the input of a name.

    Raises:
        InputError: the model has none.
    """
    for spec in model.inputs:
        if spec.name == name:
            return spec
    raise InputError(
        f"unexpected inference input '{name}' for model '{model.name}': expected "
        f"{names_of(model.inputs)}"
    )


def check_input(
    model: "LoadedModel", spec: "ServedTensorSpec", datatype: str, shape: Sequence[int]
) -> None:
    """Check what a request says of an input.

    Raises:
        InputError: the datatype or the shape is not the model's, or the batch too large.
    """
    what = f"inference input '{spec.name}' of model '{model.name}'"
    if datatype != spec.datatype:
        raise InputError(f"{what}: expected data-type {spec.datatype}, got {datatype}")
    batch = model.config.max_batch_size or 0
    fits = len(shape) == len(spec.shape) and all(
        expected in (-1, got) for expected, got in zip(spec.shape, shape, strict=True)
    )
    if not fits:
        hint = " (the first dimension is the batch, as max_batch_size is not 0)" if batch else ""
        raise InputError(
            f"unexpected shape for input '{spec.name}' for model '{model.name}': expected "
            f"{list(spec.shape)}, got {list(shape)}{hint}"
        )
    if batch and shape[0] > batch:
        raise InputError(
            f"inference request batch-size must be <= {batch} for '{model.name}', got {shape[0]}"
        )


def check_inputs(model: "LoadedModel", arrays: Mapping[str, Array]) -> int:
    """Check that all inputs are there, and return the size of the batch they share.

    Raises:
        InputError: an input is missing, or batches differ.
    """
    missing = [spec.name for spec in model.inputs if spec.name not in arrays]
    if missing:
        raise InputError(
            f"expected {len(model.inputs)} inputs but got {len(arrays)} inputs for model "
            f"'{model.name}': got {list(arrays)}, missing {missing}"
        )
    if not model.config.max_batch_size:
        return 1
    sizes = {name: array.shape[0] for name, array in arrays.items()}
    if len(set(sizes.values())) > 1:
        raise InputError(
            f"inference request for model '{model.name}': expected the same batch size for all "
            f"inputs, got {sizes}"
        )
    return int(next(iter(sizes.values()), 1))


def requested_output(
    model: "LoadedModel",
    name: str,
    *,
    binary: bool,
    classes: int = 0,
    shared: SharedPart | None = None,
) -> RequestedOutput:
    """Return a requested output.

    Raises:
        InputError: the model has no such output, or it cannot be returned in this way.
    """
    spec = next((spec for spec in model.outputs if spec.name == name), None)
    if spec is None:
        raise InputError(
            f"unexpected inference output '{name}' for model '{model.name}': expected "
            f"{names_of(model.outputs)}"
        )
    return check_output(RequestedOutput(spec, binary, classes, shared))


def check_output(output: RequestedOutput) -> RequestedOutput:
    """Return an output that can be returned as it is wanted.

    Raises:
        InputError: it cannot.
    """
    spec = output.spec
    if output.classes and spec.datatype in _NO_CLASSES:
        raise InputError(
            f"output '{spec.name}': expected a number's datatype for classification, "
            f"got {spec.datatype}"
        )
    if spec.datatype in BINARY_ONLY and not (output.binary or output.classes or output.shared):
        raise InputError(
            f"output '{spec.name}': sending {spec.datatype} data via JSON is not supported, "
            "request it as binary data"
        )
    return output


def raw_shape(model: "LoadedModel", size: int) -> tuple["ServedTensorSpec", tuple[int, ...]]:
    """Return the single input of a model, and its shape if its data has so many bytes.

    Raises:
        InputError: the model has several inputs, or the shape does not follow.
    """
    if len(model.inputs) != 1:
        raise InputError(
            f"a request without a JSON header needs a model with 1 input, '{model.name}' has "
            f"{len(model.inputs)}: {names_of(model.inputs)}"
        )
    spec = model.inputs[0]
    shape = [1, *spec.shape[1:]] if model.config.max_batch_size else list(spec.shape)
    if spec.datatype == BYTES:
        if any(extent not in (1, -1) for extent in shape):
            raise InputError(f"raw input '{spec.name}': expected shape [1] for BYTES, got {shape}")
        return spec, (1,) * len(shape)
    if shape.count(-1) > 1:
        raise InputError(
            f"raw input '{spec.name}': expected at most one variable dimension, has {shape}"
        )
    if -1 in shape:
        row = prod(extent for extent in shape if extent != -1) * spec.dtype.itemsize
        if row == 0 or size % row:
            raise InputError(
                f"raw input '{spec.name}': expected a multiple of {row} bytes for shape {shape}, "
                f"got {size}"
            )
        shape[shape.index(-1)] = size // row
    return spec, tuple(shape)


def names_of(specs: Sequence["ServedTensorSpec"]) -> str:
    """List the names of tensors."""
    return ", ".join(f"'{spec.name}'" for spec in specs)
