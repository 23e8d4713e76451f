"""Engines that are pickled: opened in another process, as they were opened here."""

from __future__ import annotations

import copy
import multiprocessing
import pickle
import shutil
import threading
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import fasttrt
from fasttrt import Engine, InputError, _core
from fasttrt._engine import engine as engine_module
from fasttrt._engine import recipe
from support import models
from support.assertions import close_to


def again(engine: Engine) -> Engine:
    copied: Engine = pickle.loads(pickle.dumps(engine))
    return copied


def infer_there(engine: Engine, x: Any) -> tuple[Any, str]:
    """In another process."""
    return engine.infer(x), repr(engine)


def test_another_process_opens_it(model_file: Path, mlp_model: models.Model) -> None:
    (x,) = mlp_model.inputs(batch=3)
    context = multiprocessing.get_context("spawn")
    with Engine(model_file, device="cpu") as engine, ProcessPoolExecutor(1, context) as pool:
        y, text = pool.submit(infer_there, engine, x).result()
        assert y == close_to(mlp_model.reference(x))
        assert text == repr(engine)


def test_it_opens_when_it_is_first_used(model_file: Path, mlp_model: models.Model) -> None:
    (x,) = mlp_model.inputs(batch=2)
    with Engine(model_file, device="cpu") as engine:
        content = pickle.dumps(engine)
        assert len(content) < 2000  # not the model
        copied: Engine = pickle.loads(content)
        assert repr(copied) == "<fasttrt.Engine of mlp.onnx, not opened yet>"
        assert repr(again(copied)) == repr(copied)
        with pytest.raises(
            AttributeError, match="'Engine' object has no attribute '__length_hint__'"
        ):
            copied.__getattribute__("__length_hint__")
        assert "not opened" in repr(copied)
        with copied:
            assert copied.infer(x) == close_to(mlp_model.reference(x))
            assert repr(copied) == repr(engine)
            with pytest.raises(AttributeError, match="'nothing'"):
                _ = copied.nothing  # type: ignore[attr-defined]
            assert again(copied).infer(x) == close_to(mlp_model.reference(x))


def test_threads_open_it_once(
    model_file: Path, mlp_model: models.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = []
    original = Engine.__init__

    def counting(self: Engine, *arguments: Any, **options: Any) -> None:
        opened.append(self)
        original(self, *arguments, **options)

    with Engine(model_file, device="cpu") as engine:
        copied = again(engine)
    monkeypatch.setattr(Engine, "__init__", counting)
    (x,) = mlp_model.inputs(batch=2)
    results: list[Any] = []
    barrier = threading.Barrier(8)

    def use() -> None:
        barrier.wait()
        results.append(copied.infer(x))

    threads = [threading.Thread(target=use) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(opened) == 1
    assert len(results) == 8
    assert all(y == close_to(mlp_model.reference(x)) for y in results)
    copied.close()


def test_options_are_those_it_was_opened_with(mlp_model: models.Model, tmp_path: Path) -> None:
    proto = onnx.ModelProto()
    proto.CopyFrom(mlp_model.proto)
    with Engine(
        proto, device="cpu", batching=fasttrt.Batching(4, max_delay_us=0), max_queue=3, contexts=1,
        dims={"x.0": 4}, shapes=None, progress=lambda report: None,
    ) as engine:  # fmt: skip
        copied = again(engine)
        with copied:
            assert [spec.shape for spec in copied.inputs] == [spec.shape for spec in engine.inputs]
            (x,) = mlp_model.inputs(batch=4)
            assert copied.infer(x) == close_to(mlp_model.reference(x))
            with pytest.raises(InputError, match="expected"):
                copied.infer(x[:3])


@pytest.mark.parametrize("kind", ["bytes", "proto"])
def test_a_model_in_memory_is_pickled_up_to_a_size(
    kind: str, mlp_model: models.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    content: Any = mlp_model.proto if kind == "proto" else mlp_model.to_bytes()
    size = len(mlp_model.to_bytes())
    (x,) = mlp_model.inputs(batch=2)
    monkeypatch.setattr(recipe, "_MOST_BYTES", size)
    with Engine(content, device="cpu") as engine, again(engine) as copied:
        assert "model in memory" in repr(again(engine))
        assert copied.infer(x) == close_to(mlp_model.reference(x))
    monkeypatch.setattr(recipe, "_MOST_BYTES", size - 1)
    with Engine(content, device="cpu") as engine:
        with pytest.raises(InputError, match=rf"up to {size - 1} bytes; this one has {size}: save"):
            pickle.dumps(engine)
        assert engine.infer(x) == close_to(mlp_model.reference(x))


def test_a_model_in_memory_that_is_changed_later(mlp_model: models.Model) -> None:
    proto, other = onnx.ModelProto(), models.mlp().to_bytes()
    proto.CopyFrom(mlp_model.proto)
    memory = bytearray(mlp_model.to_bytes())
    (x,) = mlp_model.inputs(batch=2)
    with Engine(proto, device="cpu") as first, Engine(memoryview(memory), device="cpu") as second:
        proto.Clear()
        assert len(other) == len(memory)
        memory[:] = other
        for engine in (first, second):
            with again(engine) as copied, copy.copy(engine) as twin:
                assert copied.infer(x) == close_to(mlp_model.reference(x))
                assert twin.infer(x) == close_to(mlp_model.reference(x))


def test_a_file_that_is_not_there(model_file: Path, mlp_model: models.Model) -> None:
    (x,) = mlp_model.inputs(batch=2)
    with Engine(model_file, device="cpu") as engine:
        content = pickle.dumps(engine)
    aside = model_file.with_suffix(".aside")
    model_file.rename(aside)
    copied: Engine = pickle.loads(content)
    for _ in range(2):
        with pytest.raises(fasttrt.FileError, match=r"mlp.onnx does not exist here.*fasttrt.Plan"):
            copied.infer(x)
    models.mlp().save(model_file)
    with pytest.raises(fasttrt.FileError, match=r"mlp.onnx has another content here"):
        copied.infer(x)
    shutil.copyfile(aside, model_file)
    with copied:  # nothing is lost
        assert copied.infer(x) == close_to(mlp_model.reference(x))


def test_a_file_that_has_changed_since(model_file: Path) -> None:
    with Engine(model_file, device="cpu") as engine:
        models.mlp().save(model_file)
        with pytest.raises(fasttrt.FileError, match=r"mlp.onnx has changed since"):
            pickle.dumps(engine)


def test_closing_before_the_first_use(model_file: Path, mlp_model: models.Model) -> None:
    with Engine(model_file, device="cpu") as engine:
        copied = again(engine)
    copied.close()
    copied.close()
    (x,) = mlp_model.inputs(batch=2)
    with pytest.raises(fasttrt.Error, match="the engine is closed"):
        copied.infer(x)


def test_a_copy_is_an_engine_of_its_own(model_file: Path, mlp_model: models.Model) -> None:
    (x,) = mlp_model.inputs(batch=2)
    with Engine(model_file, device="cpu") as engine, copy.deepcopy(engine) as copied:
        engine.close()
        assert copied.infer(x) == close_to(mlp_model.reference(x))


@pytest.mark.parametrize(
    ("given", "here"),
    [
        ({"device": "auto", "devices": None}, {"device": "auto", "devices": None}),
        ({"device": "cpu", "devices": None}, {"device": "cpu", "devices": None}),
        ({"device": "cuda", "devices": None}, {"device": "cuda:0", "devices": None}),
        ({"device": "cuda:1", "devices": None}, {"device": "cuda:1", "devices": None}),
        ({"device": "cuda:3", "devices": None}, {"device": "cuda:0", "devices": None}),
        (
            {"device": "auto", "devices": ["cuda:1", "cuda:2"]},
            {"device": "cuda:1", "devices": None},
        ),
        ({"device": "cuda:0,1", "devices": None}, {"device": "cuda:0,1", "devices": None}),
    ],
)
def test_the_gpus_of_the_other_process(
    given: dict[str, Any], here: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where there are two."""
    monkeypatch.setattr(_core, "driver_problem", lambda: "")
    monkeypatch.setattr(_core, "device_count", lambda: 2)
    assert recipe._devices_here(**given) == here


def test_files_of_options_are_found_from_another_folder(
    model_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "timings").write_bytes(b"")
    (tmp_path / "kept").mkdir()
    config = fasttrt.BuildConfig(timing_cache="timings")
    with Engine(model_file.name, device="cpu", config=config, cache="kept") as engine:
        packed = engine._pack()
    assert packed.model.content == str(model_file)
    assert packed.options["config"].timing_cache == str(tmp_path / "timings")
    assert packed.options["cache"] == str(tmp_path / "kept")


def test_external_data_belongs_to_the_content(mlp_model: models.Model, tmp_path: Path) -> None:
    path, data = tmp_path / "mlp.onnx", tmp_path / "weights"
    onnx.save(
        copy.deepcopy(mlp_model.proto), path, save_as_external_data=True, location=data.name,
        size_threshold=0,
    )  # fmt: skip
    (x,) = mlp_model.inputs(batch=2)
    engine, late = Engine(path, device="cpu"), Engine(path, device="cpu")
    content = pickle.dumps(engine)
    weights = data.read_bytes()
    data.write_bytes(weights[::-1])
    for changed in (engine, late):
        with changed, pytest.raises(fasttrt.FileError, match="weights has changed since"):
            pickle.dumps(changed)
    copied: Engine = pickle.loads(content)
    with pytest.raises(fasttrt.FileError, match=r"mlp.onnx has another content here"):
        copied.infer(x)
    data.write_bytes(weights)
    assert copied.infer(x) == close_to(mlp_model.reference(x))
    copied.close()


def test_who_asks_what_an_engine_is_does_not_open_it(model_file: Path) -> None:
    with Engine(model_file, device="cpu") as engine:
        copied = again(engine)
        assert vars(engine).keys() == engine_module._OPENED
    for name in ("_repr_html_", "_ipython_display_", "__array__", "shape", "SerializeToString"):
        assert not hasattr(copied, name)
    assert repr(copied).endswith("not opened yet>")
    copied.close()


def test_engines_in_use_and_closed_ones(model_file: Path, mlp_model: models.Model) -> None:
    (x,) = mlp_model.inputs(batch=2)
    with Engine(model_file, device="cpu") as engine:
        futures = [engine.submit(x) for _ in range(50)]
        while_used = again(engine)
        for future in futures:
            assert future.result(60) == close_to(mlp_model.reference(x))
    for copied in (while_used, again(engine)):
        assert copied.infer(x) == close_to(mlp_model.reference(x))
    while_used.close()
    copied.close()
    assert again(while_used).infer(x) == close_to(mlp_model.reference(x))


def test_wrong_models_are_refused_as_before(tmp_path: Path) -> None:
    with pytest.raises(fasttrt.MissingFileError):
        Engine(tmp_path / "none.onnx", device="cpu")
    with pytest.raises(InputError, match="model: expected"):
        Engine(np.zeros(3), device="cpu")  # type: ignore[arg-type]
    with pytest.raises(InputError):
        Engine(tmp_path, device="cpu")
