"""Unpickled engines: a process opens one for all tasks with the same recipe."""

from __future__ import annotations

import copy
import gc
import multiprocessing
import os
import pickle
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import fasttrt
from fasttrt import Engine
from fasttrt._engine import shared_engines
from support import models
from support.assertions import close_to

TASKS = 12


@pytest.fixture
def content(model_file: Path) -> bytes:
    """A pickled engine."""
    with Engine(model_file, device="cpu") as engine:
        return pickle.dumps(engine)


@pytest.fixture(autouse=True)
def nothing_kept() -> Iterator[None]:
    """Each test starts and ends without open engines."""
    shared_engines._renew()
    yield
    for opened in shared_engines._table.kept.values():
        assert opened.engine is not None
        opened.engine.close()
    shared_engines._renew()


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[Engine]:
    """The engines that are opened from here on."""
    found: list[Engine] = []
    original = Engine.__init__

    def noting(self: Engine, *arguments: Any, **options: Any) -> None:
        original(self, *arguments, **options)
        found.append(self)

    monkeypatch.setattr(Engine, "__init__", noting)
    return found


def task(engine: Engine, x: Any) -> tuple[int, Any, int]:
    """In another process: who it is, the result, and how much its engine has run by then."""
    y = engine.infer(x)
    return os.getpid(), y, engine.stats().runs


def with_executor(method: str) -> Callable[[Engine, list[Any]], list[Any]]:
    def run(engine: Engine, inputs: list[Any]) -> list[Any]:
        context = multiprocessing.get_context(method)
        with ProcessPoolExecutor(2, context) as pool:
            return [f.result(100) for f in [pool.submit(task, engine, x) for x in inputs]]

    return run


def with_pool(engine: Engine, inputs: list[Any]) -> list[Any]:
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        return pool.starmap(task, [(engine, x) for x in inputs], chunksize=1)


def with_joblib(engine: Engine, inputs: list[Any]) -> list[Any]:
    joblib = pytest.importorskip("joblib")
    return list(joblib.Parallel(2)(joblib.delayed(task)(engine, x) for x in inputs))


def with_dask(engine: Engine, inputs: list[Any]) -> list[Any]:
    distributed = pytest.importorskip("distributed")
    options = {"n_workers": 2, "threads_per_worker": 2, "dashboard_address": None}
    with distributed.LocalCluster(**options) as cluster, distributed.Client(cluster) as client:
        return list(client.gather(client.map(task, [engine] * len(inputs), inputs)))


def with_spark(engine: Engine, inputs: list[Any]) -> list[Any]:
    sql = pytest.importorskip("pyspark.sql")
    options = {
        "spark.ui.enabled": "false", "spark.executorEnv.PYTHONPATH": os.pathsep.join(sys.path)
    }  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYSPARK_PYTHON", sys.executable)
        with (
            sql.SparkSession.builder.master("local[2]").config(map=options).getOrCreate() as session
        ):
            given = session.sparkContext.parallelize(inputs, 6)
            return list(given.map(lambda x: task(engine, x)).collect())


@pytest.mark.timeout(120)
@pytest.mark.filterwarnings("ignore::ResourceWarning")  # of Dask and Spark
@pytest.mark.parametrize(
    "run",
    [
        with_executor("spawn"), with_executor("forkserver"), with_pool, with_joblib, with_dask,
        with_spark,
    ],
    ids=["spawn", "forkserver", "pool", "joblib", "dask", "spark"],
)  # fmt: skip
def test_each_process_opens_it_once(
    run: Callable[[Engine, list[Any]], list[Any]], model_file: Path, mlp_model: models.Model
) -> None:
    inputs = [mlp_model.inputs(batch=3)[0] for _ in range(TASKS)]
    with Engine(model_file, device="cpu") as engine:
        answers = run(engine, inputs)
    runs: dict[int, list[int]] = {}
    for x, (process, y, count) in zip(inputs, answers, strict=True):
        assert y == close_to(mlp_model.reference(x))
        runs.setdefault(process, []).append(count)
    assert os.getpid() not in runs
    for counts in runs.values():
        assert sorted(counts) == list(range(1, len(counts) + 1))


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_all_protocols(protocol: int, mlp_model: models.Model) -> None:
    (x,) = mlp_model.inputs(batch=2)
    with Engine(mlp_model.to_bytes(), device="cpu", dims={"x.0": 2}) as engine:
        content = pickle.dumps(engine, protocol)
    assert pickle.loads(content).infer(x) == close_to(mlp_model.reference(x))


def test_the_next_task_finds_it_open(content: bytes, mlp_model: models.Model) -> None:
    (x,) = mlp_model.inputs(batch=2)
    for count in range(1, 4):
        engine: Engine = pickle.loads(content)
        assert engine.infer(x) == close_to(mlp_model.reference(x))
        assert engine.stats().runs == count
        del engine


@pytest.mark.usefixtures("content")
def test_recipes_that_differ_share_nothing(
    model_file: Path, mlp_model: models.Model, tmp_path: Path
) -> None:
    """Neither options nor contents; the same content under another path is the same."""
    other, elsewhere = tmp_path / "other.onnx", tmp_path / "elsewhere.onnx"
    models.mlp().save(other)
    elsewhere.write_bytes(model_file.read_bytes())
    (x,) = mlp_model.inputs(batch=4)
    given: list[tuple[Path, dict[str, Any], int]] = [
        (model_file, {}, 1), (model_file, {"contexts": 1}, 1), (other, {}, 1),
        (model_file, {"dims": {"x.0": 4}}, 1), (elsewhere, {}, 2),
    ]  # fmt: skip
    for path, options, runs in given:
        with Engine(path, device="cpu", **options) as engine:
            copied = pickle.loads(pickle.dumps(engine))
            assert copied.infer(x) == close_to(engine.infer(x))
        assert copied.stats().runs == runs


def test_a_few_are_kept(content: bytes, mlp_model: models.Model, opened: list[Engine]) -> None:
    """The ones used last, and those that somebody holds."""
    (x,) = mlp_model.inputs(batch=2)
    held: Engine = pickle.loads(content)
    held.infer(x)
    for contexts in range(3, 3 + 2 * shared_engines._MOST_KEPT):
        with Engine(mlp_model.to_bytes(), device="cpu", contexts=contexts) as engine:
            pickle.loads(pickle.dumps(engine)).infer(x)
    del engine
    references = [weakref.ref(each) for each in opened]
    opened.clear()
    gc.collect()
    assert sum(each() is not None for each in references) == shared_engines._MOST_KEPT + 1
    again: Engine = pickle.loads(content)
    assert again.infer(x) == close_to(mlp_model.reference(x))
    assert held.stats().runs == 2


def test_the_last_to_close_closes(
    content: bytes, mlp_model: models.Model, opened: list[Engine]
) -> None:
    (x,) = mlp_model.inputs(batch=2)
    first, second = pickle.loads(content), pickle.loads(content)
    for engine in (first, second):
        engine.infer(x)
    first.close()
    first.close()
    for use in (first.infer, first.submit):
        with pytest.raises(fasttrt.Error, match="the engine is closed"):
            use(x)
    with pytest.raises(fasttrt.Error, match="the engine is closed"):
        first.refit(mlp_model.to_bytes())
    assert [spec.name for spec in first.inputs] == ["x"]
    assert "on cpu" in repr(first)
    assert second.infer(x) == close_to(mlp_model.reference(x))
    second.close()
    with pytest.raises(fasttrt.Error, match="the engine is closed"):
        second.infer(x)
    (shared,) = opened
    with pytest.raises(fasttrt.Error, match="the engine is closed"):
        shared.infer(x)
    third: Engine = pickle.loads(pickle.dumps(first))
    assert third.infer(x) == close_to(mlp_model.reference(x))
    assert len(opened) == 2


def test_closing_one_that_was_never_used_frees_what_is_kept(
    content: bytes, mlp_model: models.Model, opened: list[Engine]
) -> None:
    """As ``client.run(engine.close)`` does on each worker of Dask."""
    (x,) = mlp_model.inputs(batch=2)
    pickle.loads(content).infer(x)
    pickle.loads(content).close()
    (shared,) = opened
    with pytest.raises(fasttrt.Error, match="the engine is closed"):
        shared.infer(x)
    user: Engine = pickle.loads(content)
    user.infer(x)
    pickle.loads(content).close()
    assert user.infer(x) == close_to(mlp_model.reference(x))
    user.close()
    later: Engine = pickle.loads(content)
    later.infer(x)
    del later
    user.close()  # again, which does nothing
    later = pickle.loads(content)
    assert later.infer(x) == close_to(mlp_model.reference(x))
    assert later.stats().runs == 2


def test_results_stay_after_the_engine_is_gone(content: bytes, mlp_model: models.Model) -> None:
    (x,) = mlp_model.inputs(batch=2)
    futures = [pickle.loads(content).submit(x) for _ in range(20)]
    for future in futures:
        assert future.result(60) == close_to(mlp_model.reference(x))


def test_threads_that_use_and_close_it(content: bytes, mlp_model: models.Model) -> None:
    """Each its own, as tasks in the threads of one worker do."""
    (x,) = mlp_model.inputs(batch=2)
    expected = close_to(mlp_model.reference(x))
    problems: list[BaseException] = []

    def use(closes: bool) -> None:
        try:
            for _ in range(20):
                engine: Engine = pickle.loads(content)
                assert engine.infer(x) == expected
                if closes:
                    engine.close()
        except BaseException as error:
            problems.append(error)

    threads = [threading.Thread(target=use, args=(i % 2 == 0,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not problems


def test_copies_share_nothing(
    content: bytes, mlp_model: models.Model, opened: list[Engine]
) -> None:
    (x,) = mlp_model.inputs(batch=2)
    shared: Engine = pickle.loads(content)
    shared.infer(x)
    for each in (copy.copy(shared), copy.deepcopy({"a": [shared]})["a"][0]):
        assert each.infer(x) == close_to(mlp_model.reference(x))
        assert each.stats().runs == 1
    del each
    references = [weakref.ref(each) for each in opened]
    opened.clear()
    gc.collect()
    assert [reference() is None for reference in references] == [False, True, True]


def test_a_refit_leaves_the_others_alone(
    content: bytes, mlp_model: models.Model, opened: list[Engine]
) -> None:
    """The CPU backend has none, so the error is all that is left of it."""
    (x,) = mlp_model.inputs(batch=2)
    first, second, third = (pickle.loads(content) for _ in range(3))
    for engine in (first, second):
        engine.infer(x)
    for engine in (first, third, second):
        with pytest.raises(fasttrt.Error, match="refit"):
            engine.refit(mlp_model.to_bytes())
        assert engine.infer(x) == close_to(mlp_model.reference(x))
    assert [engine.stats().runs for engine in (first, second, third)] == [1, 3, 1]
    assert len(opened) == 3


def test_memory_of_kept_engines_is_given_to_others(
    content: bytes, mlp_model: models.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    (x,) = mlp_model.inputs(batch=2)
    kept: Engine = pickle.loads(content)
    kept.infer(x)
    backend = weakref.ref(kept._backend)
    del kept
    with Engine(mlp_model.to_bytes(), device="cpu", contexts=3) as engine:
        other: Engine = pickle.loads(pickle.dumps(engine))
    original = Engine.__init__

    def failing(self: Engine, *arguments: Any, **options: Any) -> None:
        if backend() is not None:
            raise fasttrt.OutOfMemoryError("too little memory")
        original(self, *arguments, **options)

    monkeypatch.setattr(Engine, "__init__", failing)
    assert other.infer(x) == close_to(mlp_model.reference(x))
    holder: Engine = pickle.loads(content)
    holder.infer(x)
    backend = weakref.ref(holder._backend)
    with pytest.raises(fasttrt.OutOfMemoryError):  # somebody uses that one
        copy.copy(other).infer(x)


def test_a_forked_process_does_not_use_it(content: bytes, mlp_model: models.Model) -> None:
    (x,) = mlp_model.inputs(batch=2)
    used: Engine = pickle.loads(content)
    used.infer(x)
    receiver, sender = multiprocessing.Pipe(duplex=False)

    def child() -> None:
        try:
            used.infer(x)
        except fasttrt.Error as error:
            sender.send(str(error))
        used.close()
        try:
            sender.send(pickle.loads(content).infer(x))
        except BaseException as error:
            sender.send(repr(error))

    process = multiprocessing.get_context("fork").Process(target=child)
    process.start()
    assert receiver.poll(60)
    assert "the engine belongs to process" in receiver.recv()
    assert receiver.poll(60)
    assert receiver.recv() == close_to(mlp_model.reference(x))
    process.join(60)
    assert process.exitcode == 0
    assert used.infer(x) == close_to(mlp_model.reference(x))


def test_a_fork_while_another_thread_opens_it(
    content: bytes, mlp_model: models.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    (x,) = mlp_model.inputs(batch=2)
    engine: Engine = pickle.loads(content)
    original = Engine.__init__
    opening, forked = threading.Event(), threading.Event()

    def waiting(self: Engine, *arguments: Any, **options: Any) -> None:
        opening.set()
        assert forked.wait(60)
        original(self, *arguments, **options)

    def child() -> None:
        monkeypatch.setattr(Engine, "__init__", original)
        sender.send(engine.infer(x))

    monkeypatch.setattr(Engine, "__init__", waiting)
    receiver, sender = multiprocessing.Pipe(duplex=False)
    thread = threading.Thread(target=engine.infer, args=(x,))
    thread.start()
    assert opening.wait(60)
    process = multiprocessing.get_context("fork").Process(target=child, daemon=True)
    process.start()
    forked.set()
    try:
        assert receiver.poll(60)  # it does not wait for the parent's thread
        assert receiver.recv() == close_to(mlp_model.reference(x))
    finally:
        process.kill()
        process.join()
        thread.join()
