"""Reading of a `ModelConfig`: a ``config.pbtxt``, or the JSON of a load request."""

from pathlib import Path
from typing import Any, Literal

from fasttrt._common.input_file import read_file
from fasttrt._serving.datatypes import datatype_of_config
from fasttrt._serving.model_config import (
    DynamicBatching,
    InstanceGroup,
    ModelConfig,
    TensorConfig,
    Warmup,
    WarmupInput,
)
from fasttrt._serving.version_policy import VersionPolicy
from fasttrt.errors import InputError

_LIMIT = 16 << 20
"""The maximum size of a config.pbtxt, in bytes."""
_PLATFORMS = {"onnxruntime_onnx": "onnxruntime", "tensorrt_plan": "tensorrt"}
"""Triton's names of the kinds of files, and of the backends for them."""


def read_config(path: Path) -> ModelConfig:
    """Read a ``config.pbtxt``.

    Raises:
        InputError: it is malformed, or says what is not supported; the message names the file and
            the field.
        OSError: it cannot be read.
    """
    from fasttrt._serving.config_schema import parse_text

    content = read_file(path, _LIMIT, "a configuration")
    try:
        return _from_message(parse_text(content.decode()))
    except UnicodeDecodeError as error:
        raise InputError(f"{path.name}: expected text: {error}") from None
    except InputError as error:
        raise InputError(f"{path.name}: {error}") from None


def parse_config(text: str) -> ModelConfig:
    """Parse the JSON of a load request's ``config``; see `read_config`."""
    from fasttrt._serving.config_schema import parse_json

    try:
        return _from_message(parse_json(text))
    except InputError as error:
        raise InputError(f"config: {error}") from None


def _from_message(message: Any) -> ModelConfig:
    """Check a message's values, and convert it."""
    size = message.max_batch_size if message.HasField("max_batch_size") else None
    if size is not None and size < 0:
        raise InputError(f"max_batch_size: expected an integer >= 0, got {size}")
    _check_platform(message.platform, message.backend)
    filename = message.default_model_filename
    if filename:
        check_file_name("default_model_filename", filename)
    return ModelConfig(
        name=message.name,
        platform=message.platform,
        backend=message.backend,
        max_batch_size=size,
        inputs=_tensors("input", message.input),
        outputs=_tensors("output", message.output),
        version_policy=VersionPolicy.from_message(message.version_policy),
        dynamic_batching=_dynamic_batching(message, size),
        instance_group=_instance_group(message.instance_group),
        default_model_filename=filename,
        parameters={name: value.string_value for name, value in message.parameters.items()},
        warmup=tuple(_warmup(f"model_warmup[{i}]", w) for i, w in enumerate(message.model_warmup)),
    )


def check_file_name(field_: str, name: str) -> None:
    """Check that a name is that of a file in a folder, and cannot lead out of it.

    Raises:
        InputError: it is something else.
    """
    if name in ("", ".", "..") or "/" in name or "\0" in name:
        raise InputError(f"{field_}: expected the name of a file, got {name!r}")


def _check_platform(platform: str, backend: str) -> None:
    backends = (*_PLATFORMS.values(), "fasttrt")
    if platform and platform not in _PLATFORMS:
        expected = " or ".join(_PLATFORMS)
        raise InputError(f"platform: expected {expected}, got {platform!r}")
    if backend and backend not in backends:
        raise InputError(f"backend: expected one of {', '.join(backends)}, got {backend!r}")
    if platform and backend not in ("", "fasttrt", _PLATFORMS[platform]):
        raise InputError(f"backend: expected {_PLATFORMS[platform]} for {platform}, got {backend}")


def _tensors(place: str, messages: Any) -> tuple[TensorConfig, ...]:
    tensors: dict[str, TensorConfig] = {}
    for index, message in enumerate(messages):
        name = message.name
        if not name:
            raise InputError(f"{place}[{index}].name: expected a name, got none")
        if name in tensors:
            raise InputError(f"{place}[{index}].name: {name!r} is there twice")
        dims = tuple(message.dims)
        if not all(size == -1 or size >= 1 for size in dims):
            raise InputError(
                f"{place} {name!r}: dims: expected sizes >= 1, or -1 for any, got {list(dims)}"
            )
        labels = message.label_filename if place == "output" else ""
        if labels:
            check_file_name(f"{place} {name!r}: label_filename", labels)
        tensors[name] = TensorConfig(
            name=name,
            datatype=datatype_of_config(_enum_name(message, "data_type")),
            dims=dims,
            format=_enum_name(message, "format") if place == "input" else "FORMAT_NONE",
            label_filename=labels,
            is_shape_tensor=message.is_shape_tensor,
        )
    return tuple(tensors.values())


def _enum_name(message: Any, field_: str) -> str:
    """Return the name of an enumerator; proto3 keeps numbers without one, too."""
    values = message.DESCRIPTOR.fields_by_name[field_].enum_type.values_by_number
    number = getattr(message, field_)
    if number not in values:
        expected = ", ".join(value.name for value in values.values())
        raise InputError(f"{field_}: expected one of {expected}, got {number}")
    return str(values[number].name)


def _dynamic_batching(message: Any, max_batch_size: int | None) -> DynamicBatching | None:
    if not message.HasField("dynamic_batching"):
        return None
    given = message.dynamic_batching
    sizes = tuple(given.preferred_batch_size)
    if max_batch_size == 0:
        raise InputError("dynamic_batching: expected a max_batch_size >= 1 with it, got 0")
    most = 2**31 - 1 if max_batch_size is None else max_batch_size
    if not all(1 <= size <= most for size in sizes):
        limit = "" if max_batch_size is None else f" to max_batch_size, {max_batch_size}"
        raise InputError(
            f"dynamic_batching.preferred_batch_size: expected sizes from 1{limit}, "
            f"got {list(sizes)}"
        )
    delay = given.max_queue_delay_microseconds
    if delay >= 2**31:
        raise InputError(
            "dynamic_batching.max_queue_delay_microseconds: expected at most 2147483647, "
            f"got {delay}"
        )
    return DynamicBatching(sizes, delay, given.default_queue_policy.max_queue_size)


def _instance_group(groups: Any) -> InstanceGroup | None:
    if not groups:
        return None
    if len(groups) > 1:
        raise InputError(f"instance_group: expected one group, got {len(groups)}")
    given = groups[0]
    kind, count, gpus = _enum_name(given, "kind"), given.count or 1, tuple(given.gpus)
    if kind == "KIND_MODEL":
        raise InputError("instance_group[0].kind: expected KIND_AUTO, KIND_GPU or KIND_CPU")
    if not 1 <= count <= 1024:
        raise InputError(f"instance_group[0].count: expected 1 to 1024, got {count}")
    if kind == "KIND_CPU" and gpus:
        raise InputError(f"instance_group[0].gpus: expected none for KIND_CPU, got {list(gpus)}")
    if min(gpus, default=0) < 0 or len(set(gpus)) != len(gpus):
        raise InputError(f"instance_group[0].gpus: expected GPUs by number, got {list(gpus)}")
    return InstanceGroup(given.name, kind, count, gpus)


def _warmup(place: str, message: Any) -> Warmup:
    inputs = {}
    for name, given in message.inputs.items():
        where = f"{place}.inputs[{name!r}]"
        sources: list[Literal["zero_data", "random_data", "input_data_file"]] = [
            source
            for source in ("zero_data", "random_data", "input_data_file")
            if getattr(given, source)
        ]
        if len(sources) != 1:
            raise InputError(
                f"{where}: expected one of zero_data, random_data and input_data_file, "
                f"got {' and '.join(sources) or 'none'}"
            )
        if not all(size >= 1 for size in given.dims):
            raise InputError(f"{where}.dims: expected sizes >= 1, got {list(given.dims)}")
        if given.input_data_file:
            check_file_name(f"{where}.input_data_file", given.input_data_file)
        datatype = datatype_of_config(_enum_name(given, "data_type"))
        inputs[name] = WarmupInput(datatype, tuple(given.dims), sources[0], given.input_data_file)
    return Warmup(message.name, message.batch_size, message.count or 1, inputs)
