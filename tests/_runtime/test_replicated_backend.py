"""One model on several GPUs: who runs what, and how an `Engine` gets them."""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fasttrt
from fasttrt import Engine, EngineLoadError, InputError, Plan
from fasttrt._cache.cached_build import PlanSource
from fasttrt._graph.model import OnnxModel
from fasttrt._runtime.backend import EngineRunners
from fasttrt._runtime.reference_backend import ReferenceBackend
from fasttrt._runtime.replicated_backend import ReplicatedBackend
from support import models
from support.assertions import close_to
from support.device_arrays import CUDA, MANAGED, PINNED, CudaArray, DlpackArray
from support.gate import PATIENCE

Array = models.Array


class Recorder:
    """A backend that notes its calls and gives its inputs back; closed gates hold its runs."""

    reads_dlpack = False

    def __init__(self, name: str = "x") -> None:
        spec = fasttrt.TensorSpec(name, np.dtype("float32"), (-1,))
        self.inputs: tuple[fasttrt.TensorSpec, ...] = (spec, spec)
        self.outputs: tuple[fasttrt.TensorSpec, ...] = (spec,)
        self.metadata: dict[str, Any] = {}
        self.calls: list[tuple[Sequence[Any], Any, Any]] = []
        self.saved: list[Any] = []
        self.refitted: list[OnnxModel] = []
        self.warmed: list[Sequence[Any]] = []
        self.stored = 0
        self.closings = 0
        self.gate = threading.Event()
        self.gate.set()
        self.arrived = threading.Semaphore(0)
        self.error: Exception | None = None

    def run(
        self,
        arrays: Sequence[Any],
        out: Sequence[Any | None] | None,
        stream: Any = None,
    ) -> Sequence[Any]:
        self.calls.append((arrays, out, stream))
        self.arrived.release()
        assert self.gate.wait(PATIENCE)
        if self.error is not None:
            raise self.error
        return arrays

    def save(self, path: str | os.PathLike[str], *, force: bool = False) -> None:
        self.saved.append(path)

    def refit(self, model: OnnxModel) -> None:
        if self.error is not None:
            raise self.error
        self.refitted.append(model)

    @property
    def closed(self) -> bool:
        return self.closings > 0

    def warm_up(self, arrays: Sequence[Any]) -> None:
        self.warmed.append(arrays)
        if self.error is not None:
            raise self.error

    def store_kernels(self) -> None:
        self.stored += 1

    def statistics(self) -> dict[str, Any]:
        return {"runs": len(self.calls)}

    def runners(self, *, gathers: bool) -> EngineRunners:
        self.gathers = gathers
        engines: Any = [self]
        return EngineRunners(engines, None, lambda take, out: [self, *take()])

    def close(self) -> None:
        self.closings += 1
        if self.error is not None:
            raise self.error


X = np.zeros(3, np.float32)


def replicated(*ordinals: int) -> tuple[ReplicatedBackend, list[Recorder]]:
    recorders = [Recorder() for _ in ordinals]
    return ReplicatedBackend(recorders, ordinals), recorders


def counts(recorders: Sequence[Recorder]) -> list[int]:
    return [len(recorder.calls) for recorder in recorders]


# Spreading


@pytest.mark.parametrize("count", [1, 2, 3, 8])
def test_equals_take_turns(count: int) -> None:
    backend, recorders = replicated(*range(count))
    for i in range(3 * count):
        backend.run([X, X], None)
        assert counts(recorders) == [(i + count - k) // count for k in range(count)]


def test_the_one_with_the_fewest_under_way_is_next() -> None:
    backend, recorders = replicated(0, 1, 2)
    for recorder in recorders[:2]:
        recorder.gate.clear()
    with ThreadPoolExecutor(8) as pool:
        for recorder in recorders[:2]:  # the first in turn, and then the second
            pool.submit(backend.run, [X, X], None)
            assert recorder.arrived.acquire(timeout=PATIENCE)
        for _ in range(5):  # the third alone is idle, again and again
            backend.run([X, X], None)
        assert counts(recorders) == [1, 1, 5]
        recorders[0].gate.set()
        recorders[2].gate.clear()
        # Now the first is idle, once its run has returned.
        while backend._under_way[0]:
            threading.Event().wait(0.001)
        backend.run([X, X], None)
        held = pool.submit(backend.run, [X, X], None)
        while sum(counts(recorders)) < 9:
            threading.Event().wait(0.001)
        for recorder in recorders:
            recorder.gate.set()
        held.result(PATIENCE)
    assert sum(counts(recorders)) == 9
    assert counts(recorders)[1] == 1  # still busy with its first
    assert backend._under_way == [0, 0, 0]


def test_a_run_that_fails_is_over() -> None:
    backend, recorders = replicated(0, 1)
    recorders[0].error = InputError("x: no")
    for _ in range(2):
        with pytest.raises(InputError, match=r"^x: no$"):
            backend.run([X, X], None)
        backend.run([X, X], None)
    assert counts(recorders) == [2, 2]
    assert backend._under_way == [0, 0]


def test_arguments_and_results_pass_as_they_are() -> None:
    backend, recorders = replicated(0, 1)
    arrays, out, stream = [X, X], [None], DlpackArray(CUDA)
    stream.device_id = 1  # type: ignore[attr-defined]
    assert backend.run(arrays, out, stream) is arrays
    assert recorders[1].calls == [(arrays, out, stream)]
    assert (backend.inputs, backend.outputs) == (recorders[0].inputs, recorders[0].outputs)


def test_many_threads_get_their_own_answers() -> None:
    made = models.mlp()
    backend = ReplicatedBackend(
        [ReferenceBackend(OnnxModel(made.proto), None) for _ in range(3)], (0, 1, 2)
    )

    def ask(rows: int) -> tuple[Array, Any]:
        (x,) = made.inputs(batch=rows)
        return x, backend.run([x], None)[0]

    with ThreadPoolExecutor(8) as pool:
        for x, y in pool.map(ask, range(1, 61)):
            assert y == close_to(made.reference(x))
    assert backend._under_way == [0, 0, 0]


# Arrays that live on a GPU


@pytest.mark.parametrize("ordinal", [4, 0, 7])
@pytest.mark.parametrize("place", ["first", "second", "out"])
def test_arrays_are_run_where_they_live(ordinal: int, place: str) -> None:
    backend, recorders = replicated(4, 0, 7)
    there = DlpackArray(CUDA, ordinal)
    arrays = [there if place == "first" else X, there if place == "second" else X]
    for _ in range(4):
        backend.run(arrays, [there] if place == "out" else None)
    expected = [4 if ordinal == own else 0 for own in (4, 0, 7)]
    assert counts(recorders) == expected


def test_arrays_that_live_nowhere_in_particular_are_spread() -> None:
    backend, recorders = replicated(0, 1)
    for kind in (PINNED, MANAGED):
        for _ in range(2):
            backend.run([DlpackArray(kind, 0), X], [None])
    assert counts(recorders) == [2, 2]


def test_what_is_bound_to_a_gpu_counts_as_under_way_there() -> None:
    backend, recorders = replicated(0, 1)
    recorders[0].gate.clear()
    with ThreadPoolExecutor(2) as pool:
        held = [pool.submit(backend.run, [DlpackArray(CUDA, 0), X], None) for _ in range(2)]
        for _ in held:
            assert recorders[0].arrived.acquire(timeout=PATIENCE)
        for _ in range(4):
            backend.run([X, X], None)
        recorders[0].gate.set()
    assert counts(recorders) == [2, 4]


@pytest.mark.parametrize(
    ("arrays", "out", "message"),
    [
        ([DlpackArray(CUDA, 2), X], None, "x: is on cuda:2; the engine is on cuda:0,1"),
        ([DlpackArray(CUDA, 0), DlpackArray(CUDA, 1)], None, "x: is on cuda:1, but x is on cuda:0"),
        ([DlpackArray(CUDA, 1), X], [DlpackArray(CUDA, 0)], "x: is on cuda:0, but x is on cuda:1"),
        ([CudaArray(), X], None, "x: expected an array with __dlpack_device__"),
    ],
)
def test_arrays_in_wrong_places_are_refused(arrays: Any, out: Any, message: str) -> None:
    backend, recorders = replicated(0, 1)
    with pytest.raises(InputError) as caught:
        backend.run(arrays, out)
    assert str(caught.value).startswith(message)
    assert counts(recorders) == [0, 0]
    assert backend._under_way == [0, 0]


def test_with_one_gpu_the_backend_itself_checks_the_place() -> None:
    backend, recorders = replicated(3)
    backend.run([DlpackArray(CUDA, 5), CudaArray()], None, 7)
    assert counts(recorders) == [1]


class Device:
    def __init__(self, index: int) -> None:
        self.index = index


class TorchStream:
    def __init__(self, index: int) -> None:
        self.device = Device(index)


class CupyStream:
    def __init__(self, index: int) -> None:
        self.device_id = index


@pytest.mark.parametrize("kind", [TorchStream, CupyStream])
def test_streams_are_run_where_they_live(kind: Any) -> None:
    backend, recorders = replicated(0, 1)
    for _ in range(3):
        backend.run([X, X], None, kind(1))
    assert counts(recorders) == [0, 3]
    with pytest.raises(InputError, match=r"stream: is on cuda:2; the engine is on cuda:0,1"):
        backend.run([X, X], None, kind(2))


def test_a_stream_by_number_needs_arrays_that_tell_the_gpu() -> None:
    backend, recorders = replicated(0, 1)
    backend.run([DlpackArray(CUDA, 1), X], None, 12345)
    assert counts(recorders) == [0, 1]
    with pytest.raises(InputError, match="stream: expected arrays on a GPU, or"):
        backend.run([X, X], None, 12345)


# Alike, saved, closed


def test_replicas_have_to_be_alike() -> None:
    with pytest.raises(EngineLoadError, match="the engines on cuda:2 and cuda:5 differ"):
        ReplicatedBackend([Recorder(), Recorder(), Recorder("z")], (2, 3, 5))


def test_the_first_is_saved() -> None:
    backend, recorders = replicated(0, 1)
    backend.save("m.plan")
    assert [recorder.saved for recorder in recorders] == [["m.plan"], []]


def test_all_are_refitted_and_an_error_names_the_gpu() -> None:
    backend, recorders = replicated(0, 3, 5)
    model = OnnxModel(models.mlp().to_bytes())
    backend.refit(model)
    assert [recorder.refitted for recorder in recorders] == [[model]] * 3
    recorders[1].error = InputError("other weights")
    with pytest.raises(InputError, match=r"cuda:3: other weights; refitted already: cuda:0"):
        backend.refit(model)
    assert [len(recorder.refitted) for recorder in recorders] == [2, 1, 1]
    recorders[1].error = fasttrt.CudaError("lost", 719, "cuStreamSynchronize")
    with pytest.raises(fasttrt.CudaError, match="cuda:3: lost") as caught:
        backend.refit(model)
    assert (caught.value.code, caught.value.call) == (719, "cuStreamSynchronize")


def test_requests_are_run_by_all_and_converted_by_the_first() -> None:
    backend, recorders = replicated(0, 1)
    runners: Any = backend.runners(gathers=True)
    assert runners.engines == recorders
    assert [recorder.gathers for recorder in recorders] == [True, True]
    assert runners.complete(lambda: [X], None) == [recorders[0], X]


def test_all_are_closed_even_if_one_fails() -> None:
    backend, recorders = replicated(0, 1, 2)
    recorders[1].error = fasttrt.CudaError("gone")
    with pytest.raises(fasttrt.CudaError, match="gone"):
        backend.close()
    assert [recorder.closings for recorder in recorders] == [1, 1, 1]


# An engine on several GPUs: those here are the CPU, and plans are ONNX files


class Cpus:
    """In place of TensorRT: what was built, and what was loaded where."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = names
        self.builds: list[str] = []
        self.loads: list[dict[str, Any]] = []
        self.plans: list[Plan] = []
        self.runs: Counter[int] = Counter()
        self.closings: list[int] = []
        self.broken: int | None = None

    def model(self, ordinal: int) -> tuple[str, int, int]:
        if ordinal >= len(self.names):
            raise fasttrt.CudaError(f"there is no GPU {ordinal}")
        return (self.names[ordinal], 9, 0)

    def build(self, model: OnnxModel, *args: Any, device: str, **named: Any) -> PlanSource:
        self.builds.append(device)
        return PlanSource(Plan(model.to_bytes()))

    def load(self, plan: Plan, **options: Any) -> ReferenceBackend:
        ordinal = options["device"]
        if ordinal == self.broken:
            raise fasttrt.OutOfMemoryError("no room")
        self.plans.append(plan)
        self.loads.append(options)
        backend = ReferenceBackend(OnnxModel(bytes(plan.data)), None)
        run, close = backend.run, backend.close

        def counted(*args: Any) -> Any:
            self.runs[ordinal] += 1
            return run(*args)

        def noted() -> None:
            self.closings.append(ordinal)
            close()

        vars(backend).update(run=counted, close=noted)
        return backend


@pytest.fixture
def cpus(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cpus]:
    made = Cpus(["H200", "L40S", "H200", "H200"])
    monkeypatch.setattr("fasttrt._engine.backend_factory.gpu_model", made.model)
    monkeypatch.setattr("fasttrt._engine.backend_factory.cached_build", made.build)
    monkeypatch.setattr("fasttrt._engine.backend_factory.TensorRTBackend", made.load)
    yield made
    assert sorted(made.closings) == sorted(load["device"] for load in made.loads)


@pytest.mark.parametrize(
    ("where", "name", "builds"),
    [
        ({"device": "cuda"}, "cuda:0", ["cuda:0"]),
        ({"device": "cuda:0,2"}, "cuda:0,2", ["cuda:0"]),
        ({"device": "cuda:2,1,3,0"}, "cuda:2,1,3,0", ["cuda:2", "cuda:1"]),
        ({"devices": [1, 0]}, "cuda:1,0", ["cuda:1", "cuda:0"]),
        ({"devices": ["cuda:3", "cuda:2"]}, "cuda:3,2", ["cuda:3"]),
        ({"devices": [2]}, "cuda:2", ["cuda:2"]),
    ],
)
def test_each_kind_of_gpu_is_built_for_once(
    cpus: Cpus, where: dict[str, Any], name: str, builds: list[str]
) -> None:
    made = models.mlp()
    with Engine(made.proto, **where) as engine:
        assert engine.device == name
        assert cpus.builds == builds
        ordinals = [int(n) for n in name.removeprefix("cuda:").split(",")]
        assert [load["device"] for load in cpus.loads] == ordinals
        loaded = list(zip(ordinals, cpus.plans, strict=True))
        for n, plan in loaded:
            for m, other in loaded:
                assert (plan is other) == (cpus.names[n] == cpus.names[m])
        for _ in range(3 * len(ordinals)):
            (x,) = made.inputs()
            assert engine.infer(x) == close_to(made.reference(x))
        assert cpus.runs == dict.fromkeys(ordinals, 3)


def test_a_plan_is_loaded_everywhere(cpus: Cpus) -> None:
    made = models.mlp()
    plan = Plan(made.to_bytes())
    with Engine(plan, devices=[0, 1]) as engine:
        assert cpus.builds == []
        assert all(loaded is plan for loaded in cpus.plans)
        items = [made.inputs(batch=n)[0] for n in range(1, 31)]
        for x, y in zip(items, engine.map(items), strict=True):
            assert y == close_to(made.reference(x))
        assert cpus.runs.total() == 30
        assert set(cpus.runs) == {0, 1}
    assert engine.inputs[0].name == "x"


def test_a_gpu_that_is_missing_is_told_before_anything_is_built(cpus: Cpus) -> None:
    with pytest.raises(fasttrt.CudaError, match="there is no GPU 9"):
        Engine(models.mlp().proto, devices=[0, 9])
    assert cpus.builds == []


def test_a_failure_on_one_gpu_closes_the_others(cpus: Cpus) -> None:
    cpus.broken = 2
    with pytest.raises(fasttrt.OutOfMemoryError, match="no room"):
        Engine(models.mlp().proto, devices=[0, 1, 2, 3])
    assert cpus.closings == [0, 1]


def test_options_reach_every_gpu(cpus: Cpus, tmp_path: Path) -> None:
    options: dict[str, Any] = {
        "contexts": 3,
        "specialization": "lazy",
        "cuda_graph": False,
        "wait": "block",
        "weight_streaming_budget": 1 << 20,
        "plugins": ("libmine.so",),
    }
    config = fasttrt.BuildConfig(engine_host_code=True)
    made = models.mlp().proto
    with Engine(made, devices=[0, 1], config=config, library="rtx", cache=tmp_path, **options):
        expected = options | {
            "library": "rtx", "name": "engine", "engine_host_code": True, "cache": tmp_path,
            "weights": None, "plugins": (Path("libmine.so"),),
        }  # fmt: skip
        assert cpus.loads == [expected | {"device": 0}, expected | {"device": 1}]


def test_a_plan_without_weights_gets_those_of_its_model(cpus: Cpus) -> None:
    """An ONNX model has them; only where other ones are given do those count."""
    config = fasttrt.BuildConfig(refit=True, strip_weights=True)
    proto, other = models.mlp().proto, models.mlp().proto
    with Engine(proto, device="cuda:0", config=config):
        assert cpus.loads[-1]["weights"].proto == proto != other
    with Engine(proto, device="cuda:0", config=config, weights=other):
        assert cpus.loads[-1]["weights"].proto == other


def test_options_have_defaults(cpus: Cpus) -> None:
    with Engine(models.mlp().proto, device="cuda:1"):
        (load,) = cpus.loads
    assert load == {
        "library": "auto", "device": 1, "engine_host_code": False, "contexts": 2, "name": "engine",
        "specialization": "auto", "cuda_graph": "auto", "wait": "auto",
        "weights": None, "weight_streaming_budget": None, "plugins": (),
        "cache": fasttrt.cache.path(),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ({"device": "cuda:0", "devices": [0]}, "pass either device or devices"),
        ({"device": "cpu", "devices": [0]}, "pass either device or devices"),
        ({"devices": []}, "devices: expected GPUs"),
        ({"devices": ["cpu"]}, "devices: expected GPUs"),
        ({"devices": [1, 1]}, "expected each GPU once"),
        ({"device": "cuda:1,1"}, "expected each GPU once"),
    ],
)
def test_places_that_make_no_sense_are_refused(
    cpus: Cpus, where: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        Engine(models.mlp().proto, **where)
    assert cpus.builds == []


def test_several_gpus_never_fall_back(no_gpu: str) -> None:
    with pytest.raises(fasttrt.CudaError) as caught:
        Engine(models.mlp().proto, devices=[0, 1])
    assert str(caught.value) == no_gpu


def test_all_are_warmed_up() -> None:
    recorders = [Recorder(), Recorder(), Recorder()]
    backend = ReplicatedBackend(recorders, [0, 1, 2])
    arrays = [np.zeros(3, np.float32)] * 2
    backend.warm_up(arrays)
    backend.store_kernels()
    assert [recorder.warmed for recorder in recorders] == [[arrays]] * 3
    assert [recorder.stored for recorder in recorders] == [1, 1, 1]
