"""Models are loaded, replaced and unloaded while requests run."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

import fasttrt
from fasttrt._serving import model_loader, model_recovery
from fasttrt._serving.engine_settings import EngineDefaults
from fasttrt._serving.errors import (
    ModelControlError,
    UnavailableModelError,
    UnknownModelError,
    UnsupportedRequestError,
)
from fasttrt._serving.loaded_model import LoadedModel, load_version
from fasttrt._serving.model_entry import ModelState
from fasttrt._serving.model_source import open_source
from fasttrt._serving.models import Models
from support.gate import PATIENCE, Gate, replace_run
from support.models import Model, mlp
from support.threads import under_load

CPU = EngineDefaults({"device": "cpu"})
Opened = Callable[..., Models]


class Recorder:
    """Remembers what a listener is told."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    def model_ready(self, model: LoadedModel, is_default: bool) -> None:
        self.calls.append(("ready", model.name, model.version, is_default))

    def model_removed(self, name: str, version: str) -> None:
        self.calls.append(("removed", name, version))

    def take(self) -> list[tuple[Any, ...]]:
        taken, self.calls = self.calls, []
        return taken


@pytest.fixture
def opened(repository: Path) -> Iterator[Opened]:
    """Make `Models` of the repository, whose models are loaded."""
    made = []

    def make(
        control: Literal["none", "poll", "explicit"] = "explicit", allow_files: bool = False
    ) -> Models:
        source = open_source(repository)
        models = Models(source, defaults=CPU, control=control, allow_files=allow_files)
        made.append(models)
        assert models.start() == {}
        return models

    yield make
    for models in made:
        models.close()


def add(repository: Path, version: int = 1, name: str = "net", model: Model | None = None) -> Model:
    folder = repository / name / str(version)
    folder.mkdir(parents=True, exist_ok=True)
    model = mlp() if model is None else model
    (folder / "new").write_bytes(model.to_bytes())
    (folder / "new").replace(folder / "model.onnx")
    return model


def configure(repository: Path, text: str, name: str = "net") -> None:
    (repository / name / "config.pbtxt").write_text(text)


def assert_serves(models: Models, model: Model, version: str | None = None) -> None:
    (x,) = model.inputs(batch=3)
    with models.use("net", version) as loaded:
        y = loaded.engine.infer(x)
    np.testing.assert_allclose(y, model.reference(x), rtol=1e-4, atol=1e-4)


def states(models: Models) -> dict[str, str]:
    return {state.version: state.state for state in models.index() if state.name == "net"}


def test_a_model_is_complete_without_a_configuration(repository: Path, opened: Opened) -> None:
    model = add(repository)
    models = opened()
    loaded = models.get("net")
    assert (loaded.version, loaded.platform) == ("1", "onnxruntime_onnx")
    assert [(s.name, s.datatype, s.shape) for s in loaded.inputs] == [("x", "FP32", (-1, 16))]
    assert [(s.name, s.datatype, s.shape) for s in loaded.outputs] == [("y", "FP32", (-1, 8))]
    config = loaded.config.to_json()
    assert config["name"] == "net"
    assert config["max_batch_size"] == 32
    assert config["input"][0]["dims"] == [16]
    assert config["input"][0]["data_type"] == "TYPE_FP32"
    assert models.is_ready()
    assert_serves(models, model)


def test_max_batch_size_0_gives_whole_shapes(repository: Path, opened: Opened) -> None:
    add(repository)
    configure(repository, "max_batch_size: 0")
    loaded = opened().get("net")
    assert loaded.inputs[0].shape == (-1, 16)
    assert loaded.config.to_json()["input"][0]["dims"] == [-1, 16]


def test_labels_come_with_the_model(repository: Path, opened: Opened) -> None:
    add(repository)
    configure(repository, 'max_batch_size: 4 output { name: "y" label_filename: "l.txt" }')
    (repository / "net" / "l.txt").write_text("cat\ndog\n")
    assert opened().get("net").labels == {"y": ("cat", "dog")}


def test_names_and_versions_that_are_not_there(repository: Path, opened: Opened) -> None:
    add(repository)
    models = opened()
    for name in ("nothing", "../models/net", "", "net/1"):
        with pytest.raises(UnknownModelError, match=r"Request for unknown model: .* is not found"):
            models.get(name)
    for version in ("2", "x", "01", "-1"):
        with pytest.raises(UnavailableModelError, match=rf"'net' version '{version}' is not found"):
            models.get("net", version)
    with pytest.raises(UnknownModelError):
        models.unload("nothing")
    with pytest.raises(UnknownModelError):
        models.load("nothing")


def test_a_new_version_replaces_the_one_before(repository: Path, opened: Opened) -> None:
    add(repository)
    models = opened()
    recorder = Recorder()
    models.add_listener(recorder)
    assert recorder.take() == [("ready", "net", "1", True)]
    second = add(repository, 2)
    models.load("net")
    assert recorder.take() == [("ready", "net", "2", True), ("removed", "net", "1")]
    assert states(models) == {"1": "UNAVAILABLE", "2": "READY"}
    assert models.versions("net") == ["2"]
    assert_serves(models, second)


def test_a_policy_keeps_several_versions(repository: Path, opened: Opened) -> None:
    first, second = add(repository), add(repository, 2)
    configure(repository, "version_policy { all {} }")
    models = opened()
    recorder = Recorder()
    models.add_listener(recorder)
    assert models.versions("net") == ["1", "2"]
    assert_serves(models, first, "1")
    assert_serves(models, second)
    configure(repository, "version_policy { specific { versions: 1 } }")
    models.load("net")
    calls = recorder.take()
    assert calls[-2:] == [("removed", "net", "2"), ("ready", "net", "1", True)]
    assert_serves(models, first)


def test_loading_what_is_unchanged_keeps_the_engine(repository: Path, opened: Opened) -> None:
    add(repository)
    models = opened()
    before = models.get("net")
    models.load("net")
    assert models.get("net") is before
    add(repository)
    models.load("net")
    assert models.get("net") is not before


def test_a_model_that_fails_to_load_stays_as_it_was(repository: Path, opened: Opened) -> None:
    model = add(repository)
    models = opened()
    (repository / "net" / "1" / "model.onnx").write_bytes(b"not a model")
    with pytest.raises(fasttrt.InputError, match=r"load failed for model 'net': version 1 is at U"):
        models.load("net")
    assert states(models) == {"1": "READY"}
    assert_serves(models, model)
    with pytest.raises(fasttrt.InputError, match=r"ModelConfig.x is not supported"):
        models.load("net", config='{"x": 1}')
    with pytest.raises(fasttrt.InputError, match=r"config: name: expected 'net', got 'other'"):
        models.load("net", config='{"name": "other"}')
    assert_serves(models, model)


def test_models_that_cannot_be_loaded_say_why(repository: Path) -> None:
    add(repository)
    add(repository, name="damaged")
    (repository / "damaged" / "1" / "model.onnx").write_bytes(b"not a model")
    (repository / "empty").mkdir()
    add(repository, name="wrong")
    configure(repository, 'max_batch_size: 4 input { name: "z" }', "wrong")
    models = Models(open_source(repository), defaults=CPU)
    assert not models.is_ready()
    try:
        errors = models.start()
        assert sorted(errors) == ["damaged", "empty", "wrong"]
        assert "wrong/config.pbtxt: input 'z': expected inputs of the model" in str(errors["wrong"])
        assert not models.is_ready()
        found = {state.name: state for state in models.index()}
        assert found["net"] == ModelState("net", "1", "READY", "")
        assert found["damaged"].state == "UNAVAILABLE"
        assert "not an ONNX model" in found["damaged"].reason
        assert found["empty"].version == ""
        assert "at least one version must be available" in found["empty"].reason
        with pytest.raises(UnavailableModelError, match=r"no available versions \(not an ONNX"):
            models.get("damaged")
        with pytest.raises(UnavailableModelError, match=r"version 1 is not at ready state: not an"):
            models.get("damaged", "1")
    finally:
        models.close()


def test_models_are_loaded_on_demand(repository: Path) -> None:
    add(repository)
    models = Models(open_source(repository), defaults=CPU, control="explicit")
    try:
        assert models.start([]) == {}
        assert models.is_ready()
        assert models.index() == [ModelState("net")]
        models.load("net", config='{"max_batch_size": 3}')
        assert models.get("net").config.max_batch_size == 3
        models.load("net")
        assert models.get("net").config.max_batch_size == 32
        models.unload("net")
        assert models.index() == [ModelState("net", "1", "UNAVAILABLE", "unloaded")]
        with pytest.raises(UnavailableModelError, match=r"has no available versions"):
            models.get("net")
        assert models.is_ready()
        models.unload("net")
        models.load("net")
        assert models.get("net").version == "1"
    finally:
        models.close()


@pytest.mark.parametrize("control", ["none", "poll"])
def test_clients_control_models_only_where_they_may(
    repository: Path, opened: Opened, control: Literal["none", "poll"]
) -> None:
    add(repository)
    models = opened(control)
    message = f"explicit model load / unload is not allowed: .* model control mode is {control}"
    with pytest.raises(ModelControlError, match=message):
        models.load("net")
    with pytest.raises(ModelControlError, match=message):
        models.unload("net")
    assert models.is_ready()


def test_unloading_waits_for_requests(repository: Path, opened: Opened) -> None:
    model = add(repository)
    models = opened()
    (x,) = model.inputs(batch=2)
    gate = Gate(models.get("net").engine)
    with models.use("net") as loaded:
        future = loaded.engine.submit(x)
        gate.await_arrivals(1)
        unloading = threading.Thread(target=models.unload, args=("net",))
        unloading.start()
        while states(models)["1"] == "READY":
            pass
        with pytest.raises(UnavailableModelError):
            models.get("net")
        gate.open()
        result = future.result(PATIENCE)
        assert states(models)["1"] == "UNLOADING"
        again = loaded.engine.infer(x)  # it is open as long as somebody uses it
    np.testing.assert_allclose(result, model.reference(x), rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(again, result)
    unloading.join(PATIENCE)
    assert states(models)["1"] == "UNAVAILABLE"
    with pytest.raises(fasttrt.Error, match=r"closed"):
        loaded.engine.infer(x)


def test_no_request_fails_while_models_are_replaced(repository: Path, opened: Opened) -> None:
    served = [add(repository)]
    models = opened()
    (x,) = served[0].inputs(batch=2)
    expected = [served[0].reference(x)]
    problems: list[object] = []
    counts = [0, 0, 0]

    def request(index: int, is_over: threading.Event) -> None:
        while not is_over.is_set():
            try:
                known = len(expected)
                with models.use("net") as loaded:
                    y = loaded.engine.infer(x)
                if not any(np.allclose(y, e, rtol=1e-4, atol=1e-4) for e in expected[: known + 1]):
                    problems.append(y)
                counts[index] += 1
            except Exception as error:
                problems.append(error)

    with under_load([partial(request, index) for index in range(3)]):
        for _ in range(10):
            model = mlp()
            expected.append(model.reference(x))
            add(repository, model=model)
            models.load("net")
    assert problems == []
    assert min(counts) > 0
    np.testing.assert_allclose(
        models.get("net").engine.infer(x), expected[-1], rtol=1e-4, atol=1e-4
    )


def test_polling_finds_new_changed_and_deleted_models(repository: Path, opened: Opened) -> None:
    add(repository, name="gone")
    add(repository)
    models = opened("poll")
    recorder = Recorder()
    models.add_listener(recorder)
    recorder.take()
    models.poll()
    assert recorder.take() == []
    add(repository, name="new")
    changed = add(repository)
    for file in (repository / "gone").rglob("*.onnx"):
        file.unlink()
    (repository / "gone" / "1").rmdir()
    (repository / "gone").rmdir()
    models.poll()
    assert recorder.take() == [("removed", "gone", "1")]  # files may still be being written
    models.poll()
    assert recorder.take() == [("ready", "net", "1", True), ("ready", "new", "1", True)]
    assert_serves(models, changed)
    (repository / "net" / "1" / "model.onnx").write_bytes(b"not a model")
    for _ in range(3):
        models.poll()
    assert recorder.take() == []
    assert_serves(models, changed)
    repaired = add(repository)
    for _ in range(2):
        models.poll()
    assert_serves(models, repaired)


def test_a_new_version_that_is_damaged_leaves_the_server_ready(
    repository: Path, opened: Opened
) -> None:
    model = add(repository)
    models = opened()
    add(repository, 2)
    (repository / "net" / "2" / "model.onnx").write_bytes(b"not a model")
    with pytest.raises(fasttrt.InputError, match=r"version 2 is at UNAVAILABLE state"):
        models.load("net")
    assert states(models) == {"1": "READY", "2": "UNAVAILABLE"}
    assert models.is_ready()
    assert_serves(models, model)


def test_files_of_a_request_are_served_where_they_may(repository: Path, opened: Opened) -> None:
    own = add(repository)
    models = opened(allow_files=True)
    model = mlp()
    files = {"7/model.onnx": model.to_bytes(), "l.txt": b"a\nb\n"}
    with pytest.raises(fasttrt.InputError, match=r"load: expected a config with the files"):
        models.load("net", files=files)
    config = json.dumps({"output": [{"name": "y", "label_filename": "l.txt"}]})
    models.load("net", config, files)
    assert models.get("net").labels == {"y": ("a", "b")}
    assert models.versions("net") == ["7"]
    assert_serves(models, model)
    with pytest.raises(fasttrt.InputError, match=r"version 8 is at UNAVAILABLE state: not an ONNX"):
        models.load("net", "{}", {"8/model.onnx": b"no model"})
    assert_serves(models, model)
    models.load("net")
    assert models.versions("net") == ["1"]
    assert_serves(models, own)
    models.load("other", "{}", files)
    assert models.versions("other") == ["7"]


def test_files_of_a_request_are_refused_otherwise(repository: Path, opened: Opened) -> None:
    add(repository)
    with pytest.raises(UnsupportedRequestError, match=r"--allow-model-files"):
        opened().load("net", "{}", {"1/model.onnx": mlp().to_bytes()})


def test_what_is_loaded_while_models_are_closed_is_closed(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(repository)
    models = Models(open_source(repository), defaults=CPU)
    loaded: list[LoadedModel] = []
    begun, closed = threading.Event(), threading.Event()

    def slow(*args: Any) -> LoadedModel:
        begun.set()
        assert closed.wait(PATIENCE)
        loaded.append(load_version(*args))
        return loaded[0]

    monkeypatch.setattr(model_loader, "load_version", slow)
    loading = threading.Thread(target=models.start)
    loading.start()
    assert begun.wait(PATIENCE)
    models.close(timeout=0.01)
    closed.set()
    loading.join(PATIENCE)
    assert models.ready_models() == []
    with pytest.raises(fasttrt.Error, match="closed"):
        loaded[0].engine.infer(*mlp().inputs(batch=1))
    monkeypatch.undo()
    assert "being closed" in str(models.start()["net"])


def test_engines_of_a_program_stay_open(engine: fasttrt.Engine, mlp_model: Model) -> None:
    models = Models()
    models.add_engine("net", engine)
    with pytest.raises(fasttrt.InputError, match=r"net: expected a name that is not in use"):
        models.add_engine("net", engine)
    assert models.is_ready()
    loaded = models.get("net")
    assert loaded.config.max_batch_size == 0
    assert loaded.inputs[0].shape == (-1, 16)
    models.stop_ready()
    assert not models.is_ready()
    models.close()
    assert_engine(engine, mlp_model)


def assert_engine(engine: fasttrt.Engine, model: Model) -> None:
    (x,) = model.inputs(batch=2)
    np.testing.assert_allclose(engine.infer(x), model.reference(x), rtol=1e-4, atol=1e-4)


class Broken:
    """Stands for the runs of an engine whose GPU has failed."""

    def __call__(self, arrays: Any, out: Any, stream: Any = None) -> Any:
        raise fasttrt.CudaError("an illegal address", 700, "cuStreamSynchronize")


def test_a_cuda_error_takes_only_that_model_out_of_service(
    repository: Path, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = add(repository)
    add(repository, name="other")
    monkeypatch.setattr(model_recovery, "_RETRY_SECONDS", (0.01,))
    models = opened()
    recorder = Recorder()
    models.add_listener(recorder)
    recorder.take()
    loaded = models.get("net")
    other = models.get("other")
    replace_run(loaded.engine, Broken())
    (x,) = model.inputs(batch=2)
    with pytest.raises(fasttrt.CudaError) as caught:
        loaded.engine.infer(x)
    is_held = threading.Event()
    real = load_version

    def held(*args: Any) -> LoadedModel:
        if not is_held.is_set():
            assert is_held.wait(PATIENCE)
            raise fasttrt.Error("the GPU is not back yet")
        return real(*args)

    monkeypatch.setattr(model_loader, "load_version", held)
    models.report_failure(loaded, caught.value)
    assert not models.is_ready()
    with pytest.raises(UnavailableModelError, match=r"an illegal address"):
        models.get("net")
    assert models.get("other") is other
    is_held.set()
    with models.changed:
        assert models.changed.wait_for(models.is_ready, PATIENCE)
    assert_serves(models, model)
    assert recorder.take() == [("removed", "net", "1"), ("ready", "net", "1", True)]
    models.report_failure(loaded, caught.value)  # of the engine before
    assert models.is_ready()


def test_cuda_errors_of_queued_runs_are_found(
    repository: Path, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = add(repository)
    models = opened()
    loaded = models.get("net")
    models.check_health()
    assert models.get("net") is loaded
    stats = loaded.engine.stats()
    failed = fasttrt.EngineStats(**{**vars(stats), "errors": {"CudaError": 1}})
    monkeypatch.setattr(loaded.engine, "stats", lambda: failed)
    monkeypatch.setattr(model_recovery, "_RETRY_SECONDS", (0.01,))
    models.check_health()
    with models.changed:
        assert models.changed.wait_for(lambda: states(models)["1"] == "READY", PATIENCE)
    assert models.get("net") is not loaded
    assert_serves(models, model)
