"""The options of a build, apart from building; _builder/test_build.py tries them on TensorRT."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fasttrt
from fasttrt import BuildConfig, _core
from fasttrt._plan.build_config import parse_capability


@pytest.mark.parametrize(
    ("option", "values"),
    [
        ("workspace", [0, 1 << 40, np.int64(5), None]),
        ("optimization_level", [0, 3, 5, None]),
        ("max_aux_streams", [0, 7, None]),
        ("profiling_verbosity", ["names", "none", "detailed"]),
        ("hardware_compatibility", ["none", "ampere_plus", "same_compute_capability"]),
        ("compute_capabilities", [(), ("8.6", "12.0"), [8.9, 12.0], ("current",)]),
    ],
)
def test_values_in_range_are_taken(option: str, values: list[Any]) -> None:
    for value in values:
        assert getattr(BuildConfig(**{option: value}), option) == value


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("workspace", -1),
        ("workspace", 1.5e9),
        ("workspace", "1GB"),
        ("optimization_level", -1),
        ("optimization_level", 6),
        ("optimization_level", 2.5),
        ("max_aux_streams", -1),
        ("max_aux_streams", 1.0),
        ("profiling_verbosity", "all"),
        ("profiling_verbosity", None),
        ("hardware_compatibility", "ampere"),
        ("exclude_lean_runtime", True),  # without version_compatible
        ("compute_capabilities", ("9",)),
        ("compute_capabilities", (9,)),
        ("compute_capabilities", ("8.6", "sm_90")),
        ("compute_capabilities", ("8.60",)),
        ("compute_capabilities", ("",)),
        ("compute_capabilities", (-8.6,)),
    ],
)
def test_values_out_of_range_are_refused_by_name(option: str, value: Any) -> None:
    with pytest.raises(fasttrt.InputError) as caught:
        BuildConfig(**{option: value})
    culprit = value[-1] if isinstance(value, tuple) else value
    assert f"BuildConfig.{option}: expected" in str(caught.value)
    assert str(caught.value).endswith(f"got {culprit!r}")


def test_options_are_named_and_fixed() -> None:
    with pytest.raises(TypeError):
        BuildConfig(1)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="precisoin"):
        BuildConfig(precisoin="fp16")  # type: ignore[call-arg]
    with pytest.raises(dataclasses.FrozenInstanceError):
        BuildConfig().refit = True  # type: ignore[misc]


@pytest.mark.parametrize(
    ("capability", "expected"), [("8.6", 86), (8.6, 86), ("12.0", 120), (12.0, 120), ("current", 1)]
)
def test_capabilities_as_the_vendor_counts_them(capability: str | float, expected: int) -> None:
    assert parse_capability(capability) == expected


def test_every_option_reaches_the_core(
    tmp_path: Path, rtx_library: _core.Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "0")  # or TensorRT-RTX takes no tf32=False
    config = BuildConfig(
        workspace=1 << 20,
        optimization_level=4,
        profiling_verbosity="detailed",
        timing_cache=tmp_path / "none yet",
        max_aux_streams=2,
        version_compatible=True,
        exclude_lean_runtime=True,
        refit=True,
        strip_weights=True,
        weight_streaming=True,
        tf32=False,
        compute_capabilities=("8.9", 12.0),
    )
    core = config.to_core(rtx_library)
    names = {field.name for field in dataclasses.fields(config)}
    # set_timing_cache() and the loader take the first two; TensorRT-RTX refuses the third.
    elsewhere = {"timing_cache", "engine_host_code", "hardware_compatibility"}
    # What these do is in _precision/test_typed_parse.py.
    elsewhere |= {"precision", "keep_fp32", "convert_io", "conversion"}
    elsewhere |= {"nan"}  # in _parser/test_nan_propagation.py
    for name in names - elsewhere - {"compute_capabilities"}:
        assert getattr(core, name) == getattr(config, name), name
        assert getattr(core, name) != getattr(BuildConfig().to_core(rtx_library), name), name
    assert core.compute_capabilities == [89, 120]


def test_a_plan_remembers_what_concerns_it() -> None:
    stored = BuildConfig(
        timing_cache="cache", engine_host_code=True, compute_capabilities=(8.6, "12.0"), refit=True
    ).to_json()
    assert json.loads(json.dumps(stored)) == stored
    assert stored["compute_capabilities"] == ["8.6", "12.0"]
    assert stored["refit"] is True
    names = {field.name for field in dataclasses.fields(BuildConfig)}
    assert stored.keys() == names - {"timing_cache", "engine_host_code"}
