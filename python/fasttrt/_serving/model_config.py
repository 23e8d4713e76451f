"""`ModelConfig`: what Triton's ``config.pbtxt`` says of a model, as far as fasttrt supports it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from fasttrt._serving.datatypes import config_type
from fasttrt._serving.version_policy import VersionPolicy


@dataclass(frozen=True)
class TensorConfig:
    """An input or output; ``dims`` lack the batch dimension where ``max_batch_size`` >= 1."""

    name: str
    datatype: str
    """The protocol's, as in ``"FP32"``; empty if it is not given."""
    dims: tuple[int, ...]
    format: str = "FORMAT_NONE"
    label_filename: str = ""
    is_shape_tensor: bool = False


@dataclass(frozen=True)
class DynamicBatching:
    """How requests are gathered; see `fasttrt.Batching`."""

    preferred_batch_size: tuple[int, ...] = ()
    max_queue_delay_us: int = 0
    max_queue_size: int = 0
    """How many requests may wait; 0: any number."""


@dataclass(frozen=True)
class InstanceGroup:
    """Where a model runs, and how often at once."""

    name: str = ""
    kind: str = "KIND_AUTO"
    count: int = 1
    gpus: tuple[int, ...] = ()


@dataclass(frozen=True)
class WarmupInput:
    """What a warm-up request has for an input."""

    datatype: str
    dims: tuple[int, ...]
    source: Literal["zero_data", "random_data", "input_data_file"]
    file: str = ""
    """The name of a file in the model's folder ``warmup``."""


@dataclass(frozen=True)
class Warmup:
    """Requests that run before a model is ready."""

    name: str
    batch_size: int
    count: int
    inputs: Mapping[str, WarmupInput]


@dataclass(frozen=True)
class ModelConfig:
    """A model's configuration; what it does not give is completed from the loaded engine.

    Attributes:
        name: The model's name; that of its folder.
        platform: Triton's name of the kind of file; empty if it is not given, as for all strings.
        backend: Triton's name of what runs it.
        max_batch_size: The maximum of the first dimension of all inputs, which ``dims`` then do not
            have; 0 for models without a batch dimension; None if it is not given.
        inputs: The inputs that are given.
        outputs: The outputs that are given.
        version_policy: Which of the versions are served.
        dynamic_batching: How requests are gathered, or None.
        instance_group: Where the model runs, or None.
        default_model_filename: The file's name in each version's folder.
        parameters: Options of `Engine`, by name; those of shapes as ``shapes.INPUT``.
        warmup: Requests that run before the model is ready.
    """

    name: str = ""
    platform: str = ""
    backend: str = ""
    max_batch_size: int | None = None
    inputs: tuple[TensorConfig, ...] = ()
    outputs: tuple[TensorConfig, ...] = ()
    version_policy: VersionPolicy = field(default_factory=VersionPolicy)
    dynamic_batching: DynamicBatching | None = None
    instance_group: InstanceGroup | None = None
    default_model_filename: str = ""
    parameters: Mapping[str, str] = field(default_factory=dict)
    warmup: tuple[Warmup, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return it as Triton's clients expect it, with the fields that they index unasked."""
        group = self.instance_group
        groups = [] if group is None else [_group_json(group)]
        content: dict[str, Any] = {
            "name": self.name,
            "platform": self.platform,
            "backend": self.backend,
            "version_policy": self.version_policy.to_json(),
            "max_batch_size": self.max_batch_size or 0,
            "input": [_input_json(tensor) for tensor in self.inputs],
            "output": [_output_json(tensor) for tensor in self.outputs],
            "instance_group": groups,
            "default_model_filename": self.default_model_filename,
            "parameters": {
                name: {"string_value": value} for name, value in self.parameters.items()
            },
            "model_warmup": [_warmup_json(warmup) for warmup in self.warmup],
        }
        if self.dynamic_batching is not None:
            content["dynamic_batching"] = {
                "preferred_batch_size": list(self.dynamic_batching.preferred_batch_size),
                "max_queue_delay_microseconds": self.dynamic_batching.max_queue_delay_us,
                "preserve_ordering": False,
                "default_queue_policy": {"max_queue_size": self.dynamic_batching.max_queue_size},
            }
        return content


def _input_json(tensor: TensorConfig) -> dict[str, Any]:
    return {
        "name": tensor.name,
        "data_type": config_type(tensor.datatype or "INVALID"),
        "format": tensor.format,
        "dims": list(tensor.dims),
        "is_shape_tensor": tensor.is_shape_tensor,
        "allow_ragged_batch": False,
        "optional": False,
    }


def _output_json(tensor: TensorConfig) -> dict[str, Any]:
    return {
        "name": tensor.name,
        "data_type": config_type(tensor.datatype or "INVALID"),
        "dims": list(tensor.dims),
        "label_filename": tensor.label_filename,
        "is_shape_tensor": False,
    }


def _group_json(group: InstanceGroup) -> dict[str, Any]:
    return {
        "name": group.name, "kind": group.kind, "count": group.count, "gpus": list(group.gpus),
    }  # fmt: skip


def _warmup_json(warmup: Warmup) -> dict[str, Any]:
    def input_json(given: WarmupInput) -> dict[str, Any]:
        value: Any = given.file if given.source == "input_data_file" else True
        return {
            "data_type": config_type(given.datatype or "INVALID"),
            "dims": list(given.dims),
            given.source: value,
        }

    inputs = {name: input_json(given) for name, given in warmup.inputs.items()}
    return {
        "name": warmup.name, "batch_size": warmup.batch_size, "count": warmup.count,
        "inputs": inputs,
    }  # fmt: skip
