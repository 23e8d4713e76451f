"""What an engine tells of itself, kernels kept for a later one, and plans read where they lie."""

from __future__ import annotations

import dataclasses
import mmap
from pathlib import Path
from typing import Any

import pytest

import fasttrt
from fasttrt import _core
from fasttrt._library.discovery import find
from fasttrt._library.inspector import layers_of
from fasttrt._runtime.tensorrt_backend import TensorRTBackend
from support.assertions import assert_close
from support.gpu import (
    Array,
    is_rtx,
    is_v8,
    library,
    normal,
    open_engine,
    product_tolerance,
    run_child,
)
from support.models import Model, mlp

pytestmark = pytest.mark.gpu
SHAPES = {"x": ((1, 16), (4, 16), (8, 16))}


def load(
    plan: Any, cache: bytes | None = None, specialization: str = "eager", key: str = ""
) -> _core.Engine:
    """The core's engine, without the Python layer."""
    options = _core.EngineOptions()
    options.kernels_key = key
    options.set_specialization(specialization)
    if cache is not None:
        options.set_runtime_cache(cache)
    return _core.Engine(find(library().path, 0), plan, options)


def check(engine: _core.Engine, mlp_model: Model) -> None:
    for batch in (1, 4, 8, 4, 4):
        x: Array = normal(batch, 16)
        assert_close(engine.infer([x], None, None)[0], mlp_model.reference(x), product_tolerance())


@pytest.mark.parametrize("verbosity", ["names", "detailed"])
def test_the_inspector_lists_layers(mlp_model: Model, verbosity: Any) -> None:
    config = fasttrt.BuildConfig(tf32=False, profiling_verbosity=verbosity)
    with open_engine(mlp_model, config=config, shapes=SHAPES) as engine:
        backend = engine._backend
        assert isinstance(backend, TensorRTBackend)
        layers = layers_of(backend.core.layer_information())
        assert layers
        if verbosity == "detailed":
            assert all(layer["Name"] for layer in layers)
        core = backend.core
    with pytest.raises(fasttrt.Error, match="the engine is closed"):
        core.layer_information()


def test_kernels_are_kept_for_a_later_engine(plan: fasttrt.Plan, mlp_model: Model) -> None:
    first = load(plan.data)
    check(first, mlp_model)
    kept = first.runtime_cache()
    if not is_rtx():
        assert kept is None
        check(load(plan.data, b"of no use here"), mlp_model)
        return
    assert kept
    second = load(plan.data, kept)
    check(second, mlp_model)
    assert second.runtime_cache()
    first.close()
    with pytest.raises(fasttrt.Error, match="the engine is closed"):
        first.runtime_cache()
    check(load(plan.data, kept), mlp_model)


def test_kernels_are_given_once(plan: fasttrt.Plan, mlp_model: Model) -> None:
    """Each time TensorRT-RTX 1.6.1 keeps memory, so that is done only for new ones."""
    if not is_rtx():
        pytest.skip("only TensorRT-RTX has a cache of kernels")
    first = load(plan.data, key="given once")
    check(first, mlp_model)
    kept = first.runtime_cache()
    assert kept
    assert first.runtime_cache() is None
    second = load(plan.data, kept, key="given once")  # beside the first
    check(second, mlp_model)
    assert second.runtime_cache() is None
    second.infer([normal(7, 16)], None, None)
    more = second.runtime_cache()
    assert more
    first.close()
    second.close()
    third = load(plan.data, more, key="given once")
    check(third, mlp_model)
    third.infer([normal(7, 16)], None, None)
    assert third.runtime_cache() is None
    third.infer([normal(6, 16)], None, None)
    assert third.runtime_cache()
    third.close()
    assert load(plan.data, key="given once").runtime_cache()  # the file has gone, it seems


def test_kernels_compiled_in_the_background_are_not_kept(
    plan: fasttrt.Plan, mlp_model: Model
) -> None:
    """Each context has its own, and nothing tells when they are done."""
    engine = load(plan.data, specialization="lazy")
    check(engine, mlp_model)
    assert engine.runtime_cache() is None


def test_a_damaged_cache_is_said_and_does_no_harm(
    plan: fasttrt.Plan, mlp_model: Model, tmp_path: Path
) -> None:
    if not is_rtx():
        pytest.skip("only TensorRT-RTX has a cache of kernels")
    first = load(plan.data)
    check(first, mlp_model)
    kept = first.runtime_cache()
    assert kept is not None
    (tmp_path / "m.plan").write_bytes(plan.data)
    (tmp_path / "cut").write_bytes(kept[: len(kept) // 2])
    (tmp_path / "noise").write_bytes(bytes(reversed(kept)))
    code = """
    import pathlib, sys
    import numpy as np
    from fasttrt import _core
    from fasttrt._library.discovery import find
    _core.set_log_threshold(2)
    options = _core.EngineOptions()
    options.set_runtime_cache(pathlib.Path(sys.argv[3]).read_bytes())
    engine = _core.Engine(find(sys.argv[1], 0), pathlib.Path(sys.argv[2]).read_bytes(), options)
    print(any("runtime cache does not fit" in text for _, text in _core.take_log()))
    engine.infer([np.ones((4, 16), np.float32)], None, None)
    print(len(engine.runtime_cache()) > 0)
    """
    for name in ("cut", "noise"):
        child = run_child(code, library().path, tmp_path / "m.plan", tmp_path / name)
        assert child.returncode == 0, f"{name}: {child.stderr}"
        assert child.stdout.split() == ["True", "True"], name


def test_a_mapped_plan_is_read_and_let_go(
    plan: fasttrt.Plan, mlp_model: Model, tmp_path: Path
) -> None:
    path = tmp_path / "m.plan"
    path.write_bytes(b"#" * mmap.PAGESIZE + plan.data)
    with (
        path.open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped,
        memoryview(mapped)[mmap.PAGESIZE :] as view,
    ):
        engine = load(view)
    # The mapping is closed: had anything held it, that would have failed.
    path.unlink()
    check(engine, mlp_model)


def test_a_plan_whose_plugins_are_not_given(plan: fasttrt.Plan, mlp_model: Model) -> None:
    """If it loads all the same, fine; if not, the error says what may be missing."""
    named = plan.metadata | {"plugins": [{"name": "libmine.so", "sha256": "ab" * 32}]}
    with fasttrt.Engine(fasttrt.Plan(plan.data, named), device="cuda") as engine:
        x = normal(4, 16)
        assert_close(engine.infer(x), mlp_model.reference(x), product_tolerance())
    damaged = fasttrt.Plan(plan.data[: len(plan.data) // 2], named)
    with pytest.raises(fasttrt.EngineLoadError, match=r"plugins that were not passed: libmine\.so"):
        fasttrt.Engine(damaged, device="cuda")


def test_tensorrt_8_says_what_it_lacks(mlp_model: Model) -> None:
    if not is_v8():
        pytest.skip("only TensorRT 8.6 lacks it")
    config = fasttrt.BuildConfig(tf32=False, refit=True)
    with open_engine(mlp_model, config=config, shapes=SHAPES) as engine:
        with pytest.raises(fasttrt.UnsupportedLibraryError, match="cannot refit engines"):
            engine.refit(mlp().proto)
        x = normal(4, 16)
        assert_close(engine.infer(x), mlp_model.reference(x), product_tolerance())
    for name, lacking in (
        ("strip_weights", dataclasses.replace(config, strip_weights=True)),
        ("weight_streaming", dataclasses.replace(config, weight_streaming=True)),
    ):
        with pytest.raises(fasttrt.BuildError, match=rf"{name} is not an option of TensorRT 8\.6"):
            open_engine(mlp_model, config=lacking, shapes=SHAPES)
    with pytest.raises(fasttrt.UnsupportedLibraryError, match="cannot stream weights"):
        open_engine(mlp_model, shapes=SHAPES, weight_streaming_budget=0)
