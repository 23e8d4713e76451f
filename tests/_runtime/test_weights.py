"""Weights that are replaced, left out or streamed: all that needs no GPU."""

from __future__ import annotations

import mmap
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

import fasttrt
from fasttrt import BuildConfig, _core
from fasttrt._graph.fingerprint import structure
from fasttrt._graph.model import OnnxModel
from fasttrt._plan.compatibility import hints, known_mismatch
from fasttrt._runtime.refit import check_weights_set, set_weights
from support import models
from support.process import python_output
from support.randomness import new_rng


def test_plans_without_weights_need_to_be_refittable() -> None:
    with pytest.raises(fasttrt.InputError, match=r"strip_weights: expected refit=True with it"):
        BuildConfig(strip_weights=True)
    assert BuildConfig(refit=True, strip_weights=True).to_json()["strip_weights"]


def test_options_reach_the_core(rtx_library: _core.Library) -> None:
    config = BuildConfig(refit=True, strip_weights=True, weight_streaming=True)
    options = config.to_core(rtx_library)
    assert (options.refit, options.strip_weights, options.weight_streaming) == (True, True, True)
    options = BuildConfig().to_core(rtx_library)
    assert (options.refit, options.strip_weights, options.weight_streaming) == (False, False, False)


def test_rtx_builds_for_weight_streaming(build: Any) -> None:
    plan = build(models.mlp(batch=4).proto, BuildConfig(weight_streaming=True), progress=False)
    assert plan.metadata["config"]["weight_streaming"]
    assert "structure" not in plan.metadata


def test_rtx_needs_a_gpu_to_build_what_can_be_refitted(build: Any, no_gpu: str) -> None:
    """Measured: 1.6.1 calls the driver for it. It says so, and the next build is none the worse."""
    proto = models.mlp(batch=4).proto
    with pytest.raises(fasttrt.BuildError, match="could not build the engine"):
        build(proto, BuildConfig(refit=True), progress=False)
    assert build(proto, progress=False).data


@pytest.mark.parametrize("budget", [-1, 1.5, "1GB", True, 2**63])
def test_a_budget_is_a_number_of_bytes(budget: Any) -> None:
    with pytest.raises(fasttrt.InputError, match="weight_streaming_budget: expected an integer"):
        fasttrt.Engine(models.mlp().proto, device="cpu", weight_streaming_budget=budget)


@pytest.mark.parametrize(
    ("option", "name"),
    [
        ({"weight_streaming_budget": 1}, "weight_streaming_budget"),
        ({"weights": models.mlp().to_bytes()}, "weights"),
        ({"cuda_graph": True}, "cuda_graph=True"),
    ],
)
def test_the_cpu_refuses_what_it_cannot_do(option: dict[str, Any], name: str, no_gpu: str) -> None:
    with pytest.raises(fasttrt.InputError, match=f"^{name}: needs a GPU; the engine runs on the C"):
        fasttrt.Engine(models.mlp().proto, device="cpu", **option)
    with pytest.raises(fasttrt.InputError, match=f"^{name}: needs a GPU.*driver"):
        fasttrt.Engine(models.mlp().proto, **option)  # device="auto" has fallen back


def test_an_engine_on_the_cpu_is_not_refitted_and_goes_on() -> None:
    model = models.mlp()
    x = new_rng().standard_normal((3, 16)).astype(np.float32)
    with fasttrt.Engine(model.proto, device="cpu") as engine:
        with pytest.raises(fasttrt.Error, match="on the CPU cannot be refitted"):
            engine.refit(models.mlp().proto)
        with pytest.raises(fasttrt.ParseError, match="cannot be read as an ONNX model"):
            engine.refit(b"no model")
        np.testing.assert_allclose(engine.infer(x), model.reference(x), rtol=1e-4, atol=1e-5)


def test_a_plan_without_weights_wants_a_model(rtx_library: _core.Library) -> None:
    metadata: dict[str, Any] = {"config": {"strip_weights": True}}
    with pytest.raises(fasttrt.EngineLoadError, match=r"built without weights.*weights=\"m.onnx\""):
        set_weights(_core.EngineOptions(), metadata, None, rtx_library)
    set_weights(_core.EngineOptions(), {"config": {"strip_weights": False}}, None, rtx_library)
    set_weights(_core.EngineOptions(), metadata, OnnxModel(models.mlp().to_bytes()), rtx_library)


def test_weights_of_another_model_are_refused_before_loading(rtx_library: _core.Library) -> None:
    metadata = {"structure": structure(OnnxModel(models.mlp().proto))}
    same, other = OnnxModel(models.mlp().proto), OnnxModel(models.mlp((16, 8)).proto)
    assert set_weights(_core.EngineOptions(), metadata, same, rtx_library)
    with pytest.raises(fasttrt.InputError, match="not the one that the engine was built from"):
        set_weights(_core.EngineOptions(), metadata, other, rtx_library)


@pytest.mark.parametrize("same", [True, False])
def test_a_verdict_holds_as_long_as_the_weights_do(
    rtx: fasttrt.LibraryInfo, build: Any, same: bool, rtx_library: _core.Library
) -> None:
    """A plan without weights, which gets them when it is loaded, keeps what was verified of it."""
    made = models.mlp(batch=4)
    metadata = build(made.proto, progress=False).metadata | {"verification": {"passed": True}}
    weights = OnnxModel((made if same else models.mlp(batch=4)).proto)
    given = set_weights(_core.EngineOptions(), metadata, weights, rtx_library)
    assert given is not None
    model, new = given
    assert new is None  # as of a plan that cannot be refitted; so the engine is not asked
    check_weights_set(cast("_core.Engine", None), metadata, model, new)
    assert ("verification" in metadata) == same
    assert metadata["model_sha256"] == weights.sha256()


def test_no_bytes_are_no_model() -> None:
    with pytest.raises(fasttrt.InputError, match="model: expected an ONNX model, got no bytes"):
        _core.EngineOptions().set_weights(b"", "")


def test_any_contiguous_memory_is_a_plan(
    rtx_library: _core.Library, tmp_path: Path, no_gpu: str
) -> None:
    """It gets as far as the driver; what is not contiguous does not."""
    options = _core.EngineOptions()
    content = new_rng().bytes(4096)
    path = tmp_path / "m.plan"
    path.write_bytes(content)
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        for plan in (content, memoryview(content)[16:], mapped, bytearray(content)):
            with pytest.raises(fasttrt.CudaError, match="driver"):
                _core.Engine(rtx_library, plan, options)
    # Closed without an error: nothing holds the memory any longer.
    with pytest.raises(fasttrt.InputError, match="plan: expected contiguous memory"):
        _core.Engine(rtx_library, memoryview(content)[::2], options)
    with pytest.raises(TypeError):
        _core.Engine(rtx_library, "text", options)  # type: ignore[arg-type]


def test_a_runtime_cache_is_any_contiguous_memory() -> None:
    options = _core.EngineOptions()
    options.set_runtime_cache(memoryview(b"kernels")[1:])
    with pytest.raises(fasttrt.InputError, match="runtime_cache: expected contiguous memory"):
        options.set_runtime_cache(memoryview(b"kernels")[::2])


def _plan(**config: bool) -> fasttrt.Plan:
    library = {"family": "tensorrt", "version": "10.3.0"}
    return fasttrt.Plan(b"ftrt", {"library": library, "config": config})


def test_the_lean_runtime_wants_version_compatible_plans(vendor_library: Any) -> None:
    """Said before it is asked; it loads them, and only the driver is missing here."""
    code = """
    import sys
    import fasttrt
    from fasttrt._library.discovery import find
    from fasttrt._plan.compatibility import known_mismatch
    built_by = {"family": "tensorrt", "version": "10.3.0"}
    found = find(sys.argv[1], None)
    for compatible in (True, False):
        metadata = {"library": built_by, "config": {"version_compatible": compatible}}
        print(known_mismatch(fasttrt.Plan(b"ftrt", metadata), found))
    """
    for name, title in (("lean-10", "TensorRT lean runtime 10."), ("lean-11", "runtime 11.")):
        lines = python_output(code, vendor_library(name)).split("\n")
        assert lines[0] == ""
        assert "a plan of tensorrt 10.3.0 does not run on" in lines[1]
        assert title in lines[1]
        assert "BuildConfig(version_compatible=True)" in lines[1]


def test_refused_plans_get_hints(rtx_library: _core.Library) -> None:
    carries = _plan(version_compatible=True, exclude_lean_runtime=False)
    (hint,) = hints(carries, rtx_library, False, [])
    assert "contains its runtime" in hint
    assert "engine_host_code=True" in hint
    assert hints(carries, rtx_library, True, []) == []
    (hint,) = hints(
        _plan(version_compatible=True, exclude_lean_runtime=True), rtx_library, False, []
    )
    assert 'library="lean"' in hint
    assert hints(_plan(), rtx_library, False, []) == []
    assert hints(fasttrt.Plan(b"ftrt"), rtx_library, False, []) == []


def test_a_plan_of_the_other_family_is_known_before_loading(rtx_library: _core.Library) -> None:
    reason = f"a plan of tensorrt 10.3.0 does not run on {rtx_library}"
    assert known_mismatch(_plan(), rtx_library) == reason
    assert known_mismatch(fasttrt.Plan(b"ftrt"), rtx_library) == ""
