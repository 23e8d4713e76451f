"""The options with which engines are opened: whose word counts, and what is derived."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx
import pytest

import fasttrt
from fasttrt._serving.engine_settings import EngineDefaults, engine_options
from fasttrt._serving.model_config import (
    DynamicBatching,
    InstanceGroup,
    ModelConfig,
    TensorConfig,
)
from support.models import elementwise, mlp


def options(
    file: Path,
    config: ModelConfig | None = None,
    defaults: EngineDefaults | None = None,
    toml: str = "",
) -> dict[str, Any]:
    options_file = None
    if toml:
        options_file = file.parent / "fasttrt.toml"
        options_file.write_text(toml)
    given = ModelConfig() if config is None else config
    return engine_options(file, given, options_file, defaults or EngineDefaults(), "config.pbtxt")


def test_models_with_batches_are_gathered_without_a_configuration(tmp_path: Path) -> None:
    file = mlp().save(tmp_path / "m.onnx")
    found = options(file, defaults=EngineDefaults(max_batch_size=12, max_queue_delay_us=50))
    assert found == {
        "batching": fasttrt.Batching(12, 50, (1, 2, 4, 8, 12)),
        "shapes": {"x": ((1, 16), (12, 16), (12, 16))},
    }
    assert options(file, defaults=EngineDefaults(max_batch_size=0)) == {}


def test_models_without_batches_are_not(tmp_path: Path) -> None:
    file = mlp(batch=4).save(tmp_path / "m.onnx")
    assert options(file) == {}


def test_a_configured_size_alone_gathers_nothing(tmp_path: Path) -> None:
    file = mlp().save(tmp_path / "m.onnx")
    found = options(file, ModelConfig(max_batch_size=8))
    assert found == {"shapes": {"x": ((1, 16), (8, 16), (8, 16))}}
    assert options(file, ModelConfig(max_batch_size=0)) == {}


def test_preferred_sizes_are_run(tmp_path: Path) -> None:
    file = mlp().save(tmp_path / "m.onnx")
    batching = DynamicBatching((6, 10), 100, 7)
    found = options(file, ModelConfig(max_batch_size=10, dynamic_batching=batching))
    assert found["batching"] == fasttrt.Batching(10, 100, (1, 2, 4, 6, 8, 10))
    assert found["max_queue"] == 7


def test_configured_dims_fix_dynamic_ones(tmp_path: Path) -> None:
    file = elementwise(shape=("batch", "width")).save(tmp_path / "m.onnx")
    name = onnx.load(file).graph.input[0].name
    config = ModelConfig(max_batch_size=4, inputs=(TensorConfig(name, "FP32", (7,)),))
    found = options(file, config)
    assert found["shapes"][name] == ((1, 7), (4, 7), (4, 7))
    assert options(file, ModelConfig(max_batch_size=4)) == {"shapes": None}


def test_the_models_own_files_have_precedence(tmp_path: Path) -> None:
    file = mlp().save(tmp_path / "m.onnx")
    defaults = EngineDefaults({"device": "cuda:1", "precision": "fp16", "contexts": 5})
    toml = '[engine]\nprecision = "bf16"\nwait = "block"\n[shapes]\nx = "1x16:2x16:6x16"\n'
    config = ModelConfig(
        parameters={"wait": "spin", "cuda_graph": "false", "contexts": "3"},
        instance_group=InstanceGroup(kind="KIND_CPU", count=2),
    )
    found = options(file, config, defaults, toml)
    assert found == {
        "device": "cpu",
        "precision": "bf16",
        "contexts": 2,
        "wait": "spin",
        "cuda_graph": False,
        "shapes": {"x": "1x16:2x16:6x16"},
        "batching": fasttrt.Batching(6, 0, (1, 2, 4, 6)),
    }


def test_batching_of_the_toml_counts(tmp_path: Path) -> None:
    file = mlp().save(tmp_path / "m.onnx")
    found = options(file, toml="[batching]\nmax_size = 3\n")
    assert found == {"batching": fasttrt.Batching(3)}


@pytest.mark.parametrize(
    ("group", "device"),
    [
        (InstanceGroup(kind="KIND_GPU"), "cuda"),
        (InstanceGroup(kind="KIND_AUTO", gpus=(1, 2)), "cuda:1,2"),
        (InstanceGroup(kind="KIND_CPU"), "cpu"),
        (InstanceGroup(), "auto"),
    ],
)
def test_instance_groups_choose_the_device(
    tmp_path: Path, group: InstanceGroup, device: str
) -> None:
    file = mlp(batch=4).save(tmp_path / "m.onnx")
    found = options(file, ModelConfig(instance_group=group), EngineDefaults({"device": "auto"}))
    assert found["device"] == device


@pytest.mark.parametrize("name", ["plugins", "library", "cache", "isolate", "weights", "no", "x.y"])
def test_clients_cannot_name_files(tmp_path: Path, name: str) -> None:
    file = mlp().save(tmp_path / "m.onnx")
    with pytest.raises(fasttrt.InputError, match=rf"config.pbtxt: parameters: '{name}' is not su"):
        options(file, ModelConfig(parameters={name: "/tmp/x"}))


def test_wrong_values_are_refused(tmp_path: Path) -> None:
    file = mlp().save(tmp_path / "m.onnx")
    with pytest.raises(fasttrt.InputError, match=r"config.pbtxt: parameters: engine.contexts"):
        options(file, ModelConfig(parameters={"contexts": "many"}))
    with pytest.raises(fasttrt.InputError, match=r"x: expected a shape"):
        options(file, ModelConfig(parameters={"shapes.x": "1y16"}))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            ModelConfig(max_batch_size=4, inputs=(TensorConfig("z", "", ()),)),
            "config.pbtxt: input 'z': expected inputs of the model, which has 'x'",
        ),
        (
            ModelConfig(max_batch_size=4, inputs=(TensorConfig("x", "FP16", (16,)),)),
            "config.pbtxt: input 'x': data_type: expected FP32, got FP16",
        ),
        (
            ModelConfig(max_batch_size=4, outputs=(TensorConfig("y", "FP32", (9,)),)),
            r"config.pbtxt: output 'y': dims: expected \[8\], got \[9\]",
        ),
        (
            ModelConfig(max_batch_size=0, inputs=(TensorConfig("x", "FP32", (16,)),)),
            r"config.pbtxt: input 'x': dims: expected \[-1, 16\], got \[16\]",
        ),
    ],
)
def test_configurations_are_checked_before_the_build(
    tmp_path: Path, config: ModelConfig, message: str
) -> None:
    file = mlp().save(tmp_path / "m.onnx")
    with pytest.raises(fasttrt.InputError, match=message):
        options(file, config)


def test_batches_need_a_first_dimension_of_any_size(tmp_path: Path) -> None:
    file = mlp(batch=4).save(tmp_path / "m.onnx")
    with pytest.raises(fasttrt.InputError, match=r"max_batch_size: expected 0, .*\[4, 16\], got 8"):
        options(file, ModelConfig(max_batch_size=8))


def test_a_plan_of_fasttrt_says_its_batch_size(tmp_path: Path, build: Any, mlp_model: Any) -> None:
    plan = build(mlp_model.proto, shapes={"x": "1x16:4x16:24x16"})
    plan.save(tmp_path / "m.plan")
    assert options(tmp_path / "m.plan")["batching"].max_size == 24
    plan = build(mlp(batch=4).proto)
    plan.save(tmp_path / "fixed.plan")
    assert options(tmp_path / "fixed.plan") == {}
