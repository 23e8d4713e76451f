"""Triton's ModelConfig as protobuf messages, with the fields that fasttrt knows.

The classes are made from the table below when the first configuration is read. A field that is not
in it cannot be parsed, so it is refused by its name.
"""

import re
from collections.abc import Iterator
from typing import Any

from fasttrt._common.optional_packages import require
from fasttrt._serving.protobuf_schema import Schema
from fasttrt.errors import InputError

CONFIG_ENUMS = {
    "DataType": (
        "TYPE_INVALID TYPE_BOOL TYPE_UINT8 TYPE_UINT16 TYPE_UINT32 TYPE_UINT64 TYPE_INT8 "
        "TYPE_INT16 TYPE_INT32 TYPE_INT64 TYPE_FP16 TYPE_FP32 TYPE_FP64 TYPE_STRING TYPE_BF16"
    ),
    "Format": "FORMAT_NONE FORMAT_NHWC FORMAT_NCHW",
    "Kind": "KIND_AUTO KIND_GPU KIND_CPU KIND_MODEL",
}
CONFIG_MESSAGES = """
ModelConfig
  name 1 string
  platform 2 string
  version_policy 3 VersionPolicy
  max_batch_size 4 int32?
  input 5 ModelInput*
  output 6 ModelOutput*
  instance_group 7 InstanceGroup*
  default_model_filename 8 string
  dynamic_batching 11 DynamicBatching
  parameters 14 Parameter^
  model_warmup 16 Warmup*
  backend 17 string
  model_transaction_policy 19 TransactionPolicy
  response_cache 24 ResponseCache
VersionPolicy
  latest 1 Latest
  all 2 All
  specific 3 Specific
Latest
  num_versions 1 uint32
All
Specific
  versions 1 int64*
ModelInput
  name 1 string
  data_type 2 DataType
  format 3 Format
  dims 4 int64*
  is_shape_tensor 6 bool
  allow_ragged_batch 7 bool!
  optional 8 bool!
  is_non_linear_format_io 9 bool!
ModelOutput
  name 1 string
  data_type 2 DataType
  dims 3 int64*
  label_filename 4 string
  is_shape_tensor 6 bool!
  is_non_linear_format_io 7 bool!
InstanceGroup
  name 1 string
  count 2 int32
  gpus 3 int32*
  kind 4 Kind
  profile 5 string*!
  passive 7 bool!
  host_policy 9 string!
DynamicBatching
  preferred_batch_size 1 int32*
  max_queue_delay_microseconds 2 uint64
  preserve_ordering 3 bool!
  priority_levels 4 uint64!
  default_priority_level 5 uint64!
  default_queue_policy 6 QueuePolicy
QueuePolicy
  default_timeout_microseconds 2 uint64!
  allow_timeout_override 3 bool!
  max_queue_size 4 uint32
Parameter
  string_value 1 string
Warmup
  name 1 string
  batch_size 2 uint32
  inputs 3 WarmupInput^
  count 4 uint32
WarmupInput
  data_type 1 DataType
  dims 2 int64*
  zero_data 3 bool
  random_data 4 bool
  input_data_file 5 string
TransactionPolicy
  decoupled 1 bool!
ResponseCache
  enable 1 bool!
"""
_SCHEMA = Schema("inference", CONFIG_ENUMS, CONFIG_MESSAGES)
_UNKNOWN_FIELD = re.compile(
    r'Message type "(?:\w+\.)*(?P<message>\w+)" has no field named "(?P<field>[^"]*)"'
)


def parse_text(text: str) -> Any:
    """Parse a configuration in protobuf's text format, and return the message.

    Raises:
        InputError: it is malformed, or sets a field that is not supported; the message says which,
            or in which line.
        MissingPackageError: protobuf is not installed.
    """
    require("reading a model's configuration", "google.protobuf")
    from google.protobuf import text_format

    message = _SCHEMA.message("ModelConfig")
    try:
        text_format.Parse(text, message)
    except text_format.ParseError as error:
        line = error.GetLine()
        raise InputError(f"line {line}: {_explain(str(error))}" if line else str(error)) from None
    except RecursionError:
        raise InputError("expected a ModelConfig, got values nested too deeply") from None
    _check_supported(message)
    return message


def parse_json(text: str) -> Any:
    """Parse a configuration in protobuf's JSON, in snake or in camel case; see `parse_text`."""
    require("reading a model's configuration", "google.protobuf")
    from google.protobuf import json_format

    message = _SCHEMA.message("ModelConfig")
    try:
        json_format.Parse(text, message)
    except (json_format.ParseError, RecursionError) as error:
        raise InputError(_explain(str(error) or "values nested too deeply")) from None
    _check_supported(message)
    return message


def _explain(problem: str) -> str:
    """Name what is supported instead of an unknown field."""
    if found := _UNKNOWN_FIELD.search(problem):
        fields = [field.name for field in _SCHEMA.fields[found["message"]] if field.is_supported]
        return (
            f"{found['message']}.{found['field']} is not supported; "
            f"expected one of {', '.join(fields)}"
        )
    return re.sub(r"^\d+:\d+ : ", "", problem)


def _check_supported(message: Any, place: str = "") -> None:
    """Refuse fields for which only the default is supported; that of a field is not set."""
    fields = {field.name: field for field in _SCHEMA.fields[message.DESCRIPTOR.name]}
    for descriptor, value in message.ListFields():
        field = fields[descriptor.name]
        path = f"{place}{field.name}"
        if not field.is_supported:
            shown = list(value) if field.is_repeated else value
            raise InputError(f"{path}: expected no value but the default, got {shown!r}")
        if field.kind in _SCHEMA.fields:
            if field.is_map:
                parts: Iterator[Any] = ((f"{path}[{key!r}].", part) for key, part in value.items())
            elif field.is_repeated:
                parts = ((f"{path}[{index}].", part) for index, part in enumerate(value))
            else:
                parts = iter([(f"{path}.", value)])
            for where, part in parts:
                _check_supported(part, where)
