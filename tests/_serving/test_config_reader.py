"""Reading of a model's configuration: what is taken, and what is refused by name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import fasttrt
from fasttrt._serving.config_reader import parse_config, read_config
from fasttrt._serving.model_config import (
    DynamicBatching,
    InstanceGroup,
    ModelConfig,
    TensorConfig,
    Warmup,
    WarmupInput,
)
from fasttrt._serving.version_policy import VersionPolicy

EVERYTHING = """
# a comment
name: "net"
platform: "onnxruntime_onnx"
backend: "onnxruntime"
max_batch_size: 16
input [
  { name: "x" data_type: TYPE_FP32 format: FORMAT_NCHW dims: [ 3, -1, 224 ] },
  { name: "sizes" data_type: TYPE_INT64 dims: [ 2 ] is_shape_tensor: true }
]
output { name: "y" data_type: TYPE_STRING dims: 10 label_filename: "labels.txt" }
version_policy: { specific: { versions: [ 3, 1 ] } }
dynamic_batching {
  preferred_batch_size: [ 4, 16 ]
  max_queue_delay_microseconds: 100
  default_queue_policy { max_queue_size: 64 }
}
instance_group [ { name: "g" count: 2 kind: KIND_GPU gpus: [ 0, 1 ] } ]
default_model_filename: "net.onnx"
parameters { key: "precision" value { string_value: "fp16" } }
model_warmup [ {
  name: "w" batch_size: 2 count: 3
  inputs { key: "x" value { data_type: TYPE_FP32 dims: [ 3, 8, 224 ] random_data: true } }
  inputs { key: "sizes" value { data_type: TYPE_INT64 dims: [ 2 ] input_data_file: "sizes" } }
} ]
model_transaction_policy { decoupled: false }
response_cache { enable: false }
"""
READ = ModelConfig(
    name="net",
    platform="onnxruntime_onnx",
    backend="onnxruntime",
    max_batch_size=16,
    inputs=(
        TensorConfig("x", "FP32", (3, -1, 224), "FORMAT_NCHW"),
        TensorConfig("sizes", "INT64", (2,), is_shape_tensor=True),
    ),
    outputs=(TensorConfig("y", "BYTES", (10,), label_filename="labels.txt"),),
    version_policy=VersionPolicy("specific", versions=("3", "1")),
    dynamic_batching=DynamicBatching((4, 16), 100, 64),
    instance_group=InstanceGroup("g", "KIND_GPU", 2, (0, 1)),
    default_model_filename="net.onnx",
    parameters={"precision": "fp16"},
    warmup=(
        Warmup(
            "w",
            2,
            3,
            {
                "x": WarmupInput("FP32", (3, 8, 224), "random_data"),
                "sizes": WarmupInput("INT64", (2,), "input_data_file", "sizes"),
            },
        ),
    ),
)


def read(tmp_path: Path, text: str) -> ModelConfig:
    path = tmp_path / "config.pbtxt"
    path.write_text(text)
    return read_config(path)


def test_everything_supported_is_read(tmp_path: Path) -> None:
    assert read(tmp_path, EVERYTHING) == READ


def test_what_it_writes_it_reads() -> None:
    assert parse_config(json.dumps(READ.to_json())) == READ


def test_an_empty_file_says_nothing(tmp_path: Path) -> None:
    assert read(tmp_path, "") == ModelConfig()
    assert read(tmp_path, "max_batch_size: 0").max_batch_size == 0


def test_json_may_be_in_camel_case() -> None:
    found = parse_config(
        '{"maxBatchSize": 4, "dynamicBatching": {"maxQueueDelayMicroseconds": "7"},'
        ' "input": [{"name": "x", "dataType": 11, "dims": ["-1", 2]}]}'
    )
    assert found.dynamic_batching == DynamicBatching(max_queue_delay_us=7)
    assert found.inputs == (TensorConfig("x", "FP32", (-1, 2)),)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("max_batch_size: -1", "config.pbtxt: max_batch_size: expected an integer >= 0, got -1"),
        ("\nsequence_batching {}", "line 2: ModelConfig.sequence_batching is not supported"),
        ("optimization { graph { level: 1 } }", "ModelConfig.optimization is not supported"),
        ("ensemble_scheduling {}", "ModelConfig.ensemble_scheduling is not supported"),
        ("batchsize: 3", "ModelConfig.batchsize is not supported; expected one of name, platform"),
        ('input { name: "x" reshape {} }', "ModelInput.reshape is not supported"),
        ('input { name: "x" optional: true }', r"input\[0\].optional: expected no value but"),
        ("dynamic_batching { preserve_ordering: true }", "dynamic_batching.preserve_ordering"),
        ("dynamic_batching { priority_levels: 5 }", "dynamic_batching.priority_levels: .* got 5"),
        (
            "dynamic_batching { default_queue_policy { default_timeout_microseconds: 9 } }",
            "dynamic_batching.default_queue_policy.default_timeout_microseconds: .* got 9",
        ),
        ("model_transaction_policy { decoupled: true }", "decoupled: expected no value but"),
        ("response_cache { enable: true }", "response_cache.enable: expected no value but"),
        ("instance_group { kind: KIND_MODEL }", "kind: expected KIND_AUTO, KIND_GPU or KIND_CPU"),
        ("instance_group {} instance_group {}", "instance_group: expected one group, got 2"),
        ("instance_group { count: -3 }", "count: expected 1 to 1024, got -3"),
        ("instance_group { kind: KIND_CPU gpus: 0 }", "gpus: expected none for KIND_CPU"),
        ("instance_group { gpus: [1, 1] }", r"gpus: expected GPUs by number, got \[1, 1\]"),
        ('platform: "pytorch_libtorch"', "platform: expected onnxruntime_onnx or tensorrt_plan"),
        ('backend: "python"', "backend: expected one of onnxruntime, tensorrt, fasttrt, got 'py"),
        ('platform: "tensorrt_plan" backend: "onnxruntime"', "backend: expected tensorrt for"),
        ('default_model_filename: "../m.onnx"', "default_model_filename: expected the name of a"),
        ('output { name: "y" label_filename: "/etc/passwd" }', "label_filename: expected the name"),
        ("input { dims: 1 }", r"input\[0\].name: expected a name"),
        ('input { name: "x" } input { name: "x" }', r"input\[1\].name: 'x' is there twice"),
        ('input { name: "x" dims: [ 0 ] }', r"input 'x': dims: expected sizes >= 1, .* got \[0\]"),
        ('input { name: "x" data_type: TYPE_FP8 }', "line 1: .*TYPE_FP8"),
        ("version_policy { latest {} all {} }", "version_policy: expected one of latest, all and"),
        ("version_policy { specific { versions: 0 } }", "expected versions >= 1"),
        ("version_policy { specific {} }", "expected versions >= 1"),
        (
            "max_batch_size: 4 dynamic_batching { preferred_batch_size: 8 }",
            r"preferred_batch_size: expected sizes from 1 to max_batch_size, 4, got \[8\]",
        ),
        ("max_batch_size: 0 dynamic_batching {}", "expected a max_batch_size >= 1 with it"),
        (
            "dynamic_batching { max_queue_delay_microseconds: 2147483648 }",
            "max_queue_delay_microseconds: expected at most 2147483647",
        ),
        (
            'model_warmup { inputs { key: "x" value { dims: 1 } } }',
            "expected one of zero_data, random_data and input_data_file, got none",
        ),
        (
            'model_warmup { inputs { key: "x" value { zero_data: true dims: -1 } } }',
            r"dims: expected sizes >= 1, got \[-1\]",
        ),
        (
            'model_warmup { inputs { key: "x" value { input_data_file: "../secret" } } }',
            "input_data_file: expected the name of a file, got '../secret'",
        ),
        ("max_batch_size: two", "line 1: "),
        ("input {", "line 1: "),
        ("\x00", "config.pbtxt: "),
    ],
)
def test_refusals_name_file_and_field(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(fasttrt.InputError, match=message) as caught:
        read(tmp_path, text)
    assert str(caught.value).startswith("config.pbtxt: ")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "config: "),
        ("[", "config: "),
        ("3", "config: "),
        ('{"nme": "x"}', "ModelConfig.nme is not supported"),
        ('{"max_batch_size": 1.5}', "max_batch_size"),
        ('{"input": [{"name": "x", "data_type": 99}]}', "data_type: expected one of TYPE_INVALID"),
        ("[" * 100000, "config: "),
        ('{"input":' * 200 + "1" + "}" * 200, "config: "),
    ],
)
def test_json_is_refused_likewise(text: str, message: str) -> None:
    with pytest.raises(fasttrt.InputError, match=message):
        parse_config(text)


def test_files_that_are_no_text_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "config.pbtxt"
    path.write_bytes(b'name: "\xff"')
    with pytest.raises(fasttrt.InputError, match=r"config.pbtxt: expected text"):
        read_config(path)
    with pytest.raises(fasttrt.MissingFileError):
        read_config(tmp_path / "other")


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (VersionPolicy(), ("10",)),
        (VersionPolicy(count=2), ("9", "10")),
        (VersionPolicy("all"), ("2", "9", "10")),
        (VersionPolicy("specific", versions=("9", "2")), ("2", "9")),
    ],
)
def test_a_policy_chooses_versions_by_number(
    policy: VersionPolicy, expected: tuple[str, ...]
) -> None:
    assert policy.choose(["10", "2", "9"]) == expected


def test_a_specific_version_must_be_there() -> None:
    policy = VersionPolicy("specific", versions=("1", "7"))
    with pytest.raises(fasttrt.InputError, match=r"expected some of 1, 2, got 7"):
        policy.choose(["2", "1"])
