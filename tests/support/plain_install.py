"""What fasttrt-runtime does without any extra: everything that plans need.

A program that needs fasttrt and its own dependencies alone:

python -m support.plain_install prepare DIR   # where everything is installed
python -m support.plain_install check DIR     # where nothing else is
"""

from __future__ import annotations

import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

import fasttrt
from fasttrt import _core
from fasttrt._cache.cached_build import cached_build
from fasttrt._common.optional_packages import install_command
from fasttrt._graph.model import OnnxModel

E = TypeVar("E", bound=BaseException)


def prepare(folder: Path) -> None:
    """Write a model, its plan, the same plan in a cache, inputs, and what they give."""
    from support.models import mlp

    model = mlp(batch=3)
    model.save(folder / "m.onnx")
    _cached(folder).save(folder / "m.plan")
    (x,) = model.inputs()
    np.savez(folder / "samples.npz", x=x, y=model.reference(x))
    if not _core.driver_problem():
        fasttrt.Engine(folder / "m.onnx", cache=folder / "cache").close()


def check(folder: Path) -> None:
    """Do with them what needs no extra, and meet the errors of all else."""
    for name in fasttrt.__all__:
        getattr(fasttrt, name)
    _check_plan(folder)
    _check_cache(folder)
    _check_serving(folder)
    _check_missing(folder)
    _check_command()
    found = {name.partition(".")[0] for name in sys.modules} & {"onnx", "rich", "typer", "google"}
    assert not found, found


def _cached(folder: Path) -> fasttrt.Plan:
    return cached_build(
        OnnxModel(folder / "m.onnx", later=True), fasttrt.BuildConfig(), shapes=None, library="rtx",
        device=None, progress=False, cache=folder / "cache",
    ).plan  # fmt: skip


def _check_plan(folder: Path) -> None:
    plan = fasttrt.Plan.load(folder / "m.plan")
    assert [tensor["name"] for tensor in plan.metadata["inputs"]] == ["x"], plan.metadata
    plan.save(folder / "copy.plan")
    assert fasttrt.Plan.from_bytes((folder / "copy.plan").read_bytes()).digest == plan.digest
    if problem := _core.driver_problem():
        error = _raised(fasttrt.EngineLoadError, lambda: fasttrt.Engine(folder / "m.plan"))
        assert str(error) == f"a plan needs a GPU and TensorRT: {problem}", error
        return
    arrays = np.load(folder / "samples.npz")
    for file in ("m.plan", "m.onnx"):  # the second from the cache
        with fasttrt.Engine(folder / file, cache=folder / "cache", device="cuda") as engine:
            y = engine.infer(arrays["x"])
            np.testing.assert_allclose(y, arrays["y"], rtol=5e-3, atol=5e-3)
            _lacks("onnx", "onnx", lambda: engine.refit(folder / "m.onnx"))


def _check_cache(folder: Path) -> None:
    cache = folder / "cache"
    entries = fasttrt.cache.entries(cache)
    assert entries
    assert fasttrt.cache.verify(cache) == []
    assert fasttrt.cache.size(cache) >= sum(entry.size for entry in entries)
    assert fasttrt.cache.path().is_absolute()
    assert _cached(folder).digest == fasttrt.Plan.load(folder / "m.plan").digest


def _check_serving(folder: Path) -> None:
    import fasttrt.serving

    (folder / "fasttrt.toml").write_text("[batching]\nmax_size = 8\n")
    options = fasttrt.load_config(folder / "fasttrt.toml")
    assert options == {"batching": fasttrt.Batching(8)}, options
    fasttrt.serving.ServerOptions(http_port=0)
    (folder / "config.pbtxt").write_text('name: "m"\n')
    from fasttrt._serving.config_reader import read_config

    _lacks("protobuf", "serve", lambda: read_config(folder / "config.pbtxt"))


def _check_missing(folder: Path) -> None:
    model, content = folder / "m.onnx", (folder / "m.onnx").read_bytes()
    config = fasttrt.BuildConfig(optimization_level=1)
    _lacks("onnx", "onnx", lambda: fasttrt.build(model))
    _lacks("onnx", "onnx", lambda: fasttrt.build(content))
    _lacks("onnx", "onnx", lambda: fasttrt.Engine(content))
    _lacks("onnx", "onnx", lambda: fasttrt.Engine(model, freeze={"x": 1}))
    _lacks("onnx", "onnx", lambda: fasttrt.Engine(folder / "m.plan", weights=content))
    _lacks("onnx", "onnx", lambda: fasttrt.compare(model))
    _lacks("onnx", "onnx", lambda: cached_build(
        OnnxModel(model, later=True), config, shapes=None, library="rtx", device=None,
        progress=False, cache=folder / "cache",
    ))  # fmt: skip
    _lacks("ONNX Runtime", "cpu", lambda: fasttrt.Engine(model, device="cpu"))
    _lacks("ONNX Runtime", "cpu", lambda: fasttrt.quantize(model, []))
    number: Any = 5
    _raised(fasttrt.InputError, lambda: fasttrt.Engine(number))
    if _core.driver_problem():
        _lacks("ONNX Runtime", "cpu", lambda: fasttrt.Engine(model))


def _check_command() -> None:
    """Run ``python -m fasttrt`` without typer: Python would print the text, and exit with 1."""
    stopped = _raised(SystemExit, lambda: runpy.run_module("fasttrt", run_name="__main__"))
    text = "error: the command fasttrt needs typer, which is not installed"
    assert stopped.code == f"{text}: {install_command('cli')}", stopped.code


def _lacks(package: str, extra: str, call: Callable[[], Any]) -> None:
    error = _raised(fasttrt.MissingPackageError, call)
    assert (error.package, error.extra) == (package, extra), vars(error)
    text = f"needs {package}, which is not installed: {install_command(extra)}"
    assert text in str(error), error


def _raised(kind: type[E], call: Callable[[], Any]) -> E:
    try:
        call()
    except kind as error:
        return error
    raise AssertionError(f"expected a {kind.__name__}")


if __name__ == "__main__":
    task, place = sys.argv[1:]
    {"prepare": prepare, "check": check}[task](Path(place))
