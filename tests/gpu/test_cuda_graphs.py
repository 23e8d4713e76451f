"""Runs that are recorded and replayed: every replay is of its own call's data."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import fasttrt
from support.assertions import assert_close
from support.gpu import (
    ELEMENTWISE,
    EXACT,
    Array,
    is_rtx,
    is_v8,
    need_torch,
    normal,
    open_engine,
    product_tolerance,
)
from support.gpu_models import by_its_own_shape, crossed, cut_by_data, shape_of
from support.models import Model, conditional, elementwise, loop, loop_by_value, nonzero
from support.randomness import new_rng

pytestmark = pytest.mark.gpu
POLICIES = ["auto", True, False]
MOST_RECORDINGS = 64
# Rows of 64 bytes in and 32 out: up to 2.5 MB. The GPU reads and writes up to 32 KiB in place.
SHAPES = [
    {"x": ((1, 16), (4, 16), (64, 16))},
    {"x": ((65, 16), (1024, 16), (40_000, 16))},
]
SMALL, MIDDLE, LARGE = 4, 2_000, 40_000
BATCHES = (1, 2, SMALL, 33, 64, 65, 1024, 1025, MIDDLE, 5_000)
TALL = 600_000


@pytest.fixture(scope="module", params=POLICIES)
def policy(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture(scope="module")
def engine(plan: fasttrt.Plan, policy: Any) -> Iterator[fasttrt.Engine]:
    with fasttrt.Engine(plan, device="cuda", contexts=1, cuda_graph=policy) as engine:
        yield engine


@pytest.fixture(scope="module")
def subtractions() -> Model:
    """Three inputs, three outputs, and not one of them like another."""
    return crossed()


@pytest.fixture(scope="module")
def subtractions_plan(subtractions: Model) -> fasttrt.Plan:
    shapes = dict.fromkeys("abc", ((1, 4), (64, 4), (TALL, 4)))
    return fasttrt.build(subtractions.proto, EXACT, shapes=shapes, device="cuda")


@pytest.fixture(scope="module")
def subtractions_engine(subtractions_plan: fasttrt.Plan, policy: Any) -> Iterator[fasttrt.Engine]:
    with fasttrt.Engine(subtractions_plan, device="cuda", contexts=1, cuda_graph=policy) as engine:
        yield engine


def _right(y: Any, mlp_model: Model, x: Array) -> None:
    """Of large batches, some of the rows: the reference takes its time."""
    assert len(y) == len(x)
    some = slice(None, None, 1 + len(x) // MIDDLE)
    assert_close(y[some], mlp_model.reference(x[some]), product_tolerance())


def _check(engine: fasttrt.Engine, mlp_model: Model, batch: int) -> None:
    x = normal(batch, 16)
    _right(engine.infer(x), mlp_model, x)


# Data


def test_each_run_is_of_its_own_data(engine: fasttrt.Engine, mlp_model: Model) -> None:
    """Ten runs each of shapes of both profiles, interleaved."""
    rng = new_rng()
    for _ in range(10):
        for batch in rng.permutation(BATCHES):
            _check(engine, mlp_model, batch)


@pytest.mark.parametrize("on_gpu", [False, True])
def test_values_that_follow_from_the_shape(policy: Any, on_gpu: bool) -> None:
    """A graph of one shape is replayed after the context was told others."""
    model = by_its_own_shape()
    torch = need_torch() if on_gpu else None
    shapes = {"x": ((1, 64), (4, 64), (2_000, 64))}  # from 600 on they are copied
    with open_engine(model, shapes=shapes, contexts=1, cuda_graph=policy) as engine:
        for batch in (4, 4, 4, 32, 32, 32, 4, 4, 17, 17, 32, 4, 900, 900, 1500, 900, 4, 900, 17):
            x = normal(batch, 64)
            results = engine.infer(x if torch is None else torch.from_numpy(x).cuda())
            for y, expected in zip(results, model.reference(x), strict=True):
                assert_close(y if torch is None else y.cpu().numpy(), expected, ELEMENTWISE)


def test_one_shape_after_the_other(engine: fasttrt.Engine, mlp_model: Model) -> None:
    for batch in BATCHES:
        for _ in range(5):
            _check(engine, mlp_model, batch)


def test_auto_does_record(plan: fasttrt.Plan) -> None:
    """Else most of this file would test nothing; with True an unrecorded run is an error."""
    with fasttrt.Engine(plan, device="cuda", cuda_graph="auto") as engine:
        backend: Any = engine._backend
        assert len(backend.core.time_replays([normal(4, 16)], 5)) == 5
    with fasttrt.Engine(plan, device="cuda", cuda_graph=False) as engine:
        backend = engine._backend
        with pytest.raises(fasttrt.Error, match="without CUDA graphs"):
            backend.core.time_replays([normal(4, 16)], 5)


def test_more_shapes_than_are_kept(plan: fasttrt.Plan, mlp_model: Model, policy: Any) -> None:
    """Recordings go and come again, those in use last of all."""
    batches = range(1, MOST_RECORDINGS + 27)  # of both profiles
    rng = new_rng()
    with fasttrt.Engine(
        plan, device="cuda", contexts=1, cuda_graph=policy, specialization="none"
    ) as engine:
        for _ in range(3):  # each time, the next shape is the one that has just gone
            for batch in batches:
                _check(engine, mlp_model, batch)
        for batch in batches:
            for _ in range(3):
                _check(engine, mlp_model, batch)
        for batch in rng.choice(batches, 300):
            _check(engine, mlp_model, batch)


def test_results_stay_while_later_runs_are_made(engine: fasttrt.Engine, mlp_model: Model) -> None:
    kept = []
    for i in range(200):
        x = normal((SMALL, MIDDLE, LARGE)[i % 3], 16)
        y = engine.infer(x)
        _right(y, mlp_model, x)
        kept.append((y, y.copy()))
    for result, copy in kept:
        np.testing.assert_array_equal(result, copy)
    for (a, _), (b, _) in itertools.pairwise(kept):
        assert not np.shares_memory(a, b)


@pytest.mark.parametrize("batch", [SMALL, MIDDLE, LARGE])
def test_results_are_the_callers_to_write_to(
    engine: fasttrt.Engine, mlp_model: Model, batch: int
) -> None:
    for _ in range(6):
        x = normal(batch, 16)
        y = engine.infer(x)
        _right(y, mlp_model, x)
        y[...] = np.nan
        x[...] = np.nan


@pytest.mark.parametrize("wait", ["auto", "spin", "yield", "block"])
def test_ways_to_wait(plan: fasttrt.Plan, mlp_model: Model, wait: Any) -> None:
    with fasttrt.Engine(plan, device="cuda", wait=wait) as engine:
        for batch in (SMALL, LARGE) * 5:
            _check(engine, mlp_model, batch)


# Memory that moves


def test_growing_and_shrinking(plan: fasttrt.Plan, mlp_model: Model, policy: Any) -> None:
    """Buffers are replaced by larger ones: a graph that knows the old ones must not be replayed.

    What they leave is taken by others at once, and must not be written to any more.
    """
    torch = need_torch()
    taken = []
    with fasttrt.Engine(plan, device="cuda", contexts=1, cuda_graph=policy) as engine:
        for batch in (SMALL, 700, SMALL, MIDDLE, 700, LARGE, SMALL, MIDDLE, LARGE, 65):
            for _ in range(3):
                _check(engine, mlp_model, batch)
            torch.cuda.empty_cache()
            taken += [torch.full((1 << bits,), 7.0, device="cuda") for bits in range(8, 22)]
            for _ in range(3):
                _check(engine, mlp_model, batch)
    assert all(bool((tensor == 7).all()) for tensor in taken)


# What fails at a time when there is a graph for the very same shape.
FAULTS: dict[str, Callable[[fasttrt.Engine, int], Any]] = {
    "extents": lambda engine, batch: engine.infer(normal(LARGE + 1, 16)),
    "rank": lambda engine, batch: engine.infer(normal(batch, 16, 1)),
    "type": lambda engine, batch: engine.infer(np.zeros((batch, 16))),
    "shape of out": lambda engine, batch: engine.infer(
        normal(batch, 16), out=np.zeros((batch + 1, 8), np.float32)
    ),
    "type of out": lambda engine, batch: engine.infer(normal(batch, 16), out=np.zeros((batch, 8))),
    "out of a larger run": lambda engine, batch: engine.infer(
        normal(LARGE - 1, 16), out=np.zeros((batch, 8), np.float32)
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_failed_run_between(engine: fasttrt.Engine, mlp_model: Model, fault: str) -> None:
    for batch in (SMALL, MIDDLE, LARGE, SMALL):
        for times in (3, 1, 2):
            for _ in range(times):
                _check(engine, mlp_model, batch)
            with pytest.raises(fasttrt.InputError):
                FAULTS[fault](engine, batch)
        _check(engine, mlp_model, batch)


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_failed_run_that_moved_memory(
    subtractions_plan: fasttrt.Plan, subtractions: Model, policy: Any, place: int
) -> None:
    """One output's memory has grown already when another one's out= turns out to be wrong."""
    with fasttrt.Engine(subtractions_plan, device="cuda", contexts=1, cuda_graph=policy) as engine:
        for _ in range(2):
            for _ in range(4):
                inputs = [normal(4096, 4) for _ in range(3)]
                results = engine.infer(*inputs)
                for result, expected in zip(results, subtractions.reference(*inputs), strict=True):
                    assert_close(result, expected, ELEMENTWISE)
            out: list[Array | None] = [None] * 3
            out[place] = np.zeros((TALL - 1, 4), np.float32)
            with pytest.raises(fasttrt.InputError, match=f"{'zmy'[place]}: .*out= has shape"):
                engine.infer(*(normal(TALL, 4) for _ in range(3)), out=out)


def test_the_same_memory_with_new_values(engine: fasttrt.Engine, mlp_model: Model) -> None:
    torch = need_torch()
    for batch in (SMALL, MIDDLE):
        x = torch.empty((batch, 16), device="cuda")
        y = torch.empty((batch, 8), device="cuda")
        for _ in range(8):
            host = normal(batch, 16)
            x.copy_(torch.from_numpy(host))
            assert engine.infer(x, out=y) is y
            assert_close(y.cpu().numpy(), mlp_model.reference(host), product_tolerance())
            y.fill_(torch.nan)
            result = engine.infer(x)
            assert_close(result.cpu().numpy(), mlp_model.reference(host), product_tolerance())


def test_memory_that_is_freed_and_taken_again(engine: fasttrt.Engine, mlp_model: Model) -> None:
    torch = need_torch()
    addresses = []
    for i in range(40):
        batch = (SMALL, MIDDLE)[i // 3 % 2]
        host = normal(batch, 16)
        x = torch.from_numpy(host).cuda()
        addresses.append(x.data_ptr())
        result = engine.infer(x)
        del x
        assert_close(result.cpu().numpy(), mlp_model.reference(host), product_tolerance())
        del result
        if i % 10 == 9:  # to CUDA itself, which gives it to whoever asks next
            torch.cuda.empty_cache()
            _check(engine, mlp_model, LARGE)
    assert len(set(addresses)) < len(addresses), "no address came twice"


def test_more_addresses_than_recordings(engine: fasttrt.Engine, mlp_model: Model) -> None:
    torch = need_torch()
    tensors = [torch.empty((SMALL, 16), device="cuda") for _ in range(MOST_RECORDINGS + 26)]
    for _ in range(3):
        for x in tensors:
            for _ in range(2):
                host = normal(SMALL, 16)
                x.copy_(torch.from_numpy(host))
                result = engine.infer(x).cpu().numpy()
                assert_close(result, mlp_model.reference(host), product_tolerance())


def test_the_same_memory_in_other_places(
    subtractions_engine: fasttrt.Engine, subtractions: Model
) -> None:
    """Two inputs, or two outputs, change places: each order is a run of its own."""
    torch = need_torch()
    tensors = [torch.empty((64, 4), device="cuda") for _ in range(3)]
    targets = [torch.empty((64, 4), device="cuda") for _ in range(3)]
    for _ in range(3):
        for order in itertools.permutations(range(3)):
            hosts = [normal(64, 4) for _ in range(3)]
            for tensor, host in zip(tensors, hosts, strict=True):
                tensor.copy_(torch.from_numpy(host))
            out = [targets[i] for i in reversed(order)]
            results = subtractions_engine.infer(*(tensors[i] for i in order), out=out)
            expected = subtractions.reference(*(hosts[i] for i in order))
            for result, target, right in zip(results, out, expected, strict=True):
                assert result is target
                assert_close(result.cpu().numpy(), right, ELEMENTWISE)


@pytest.mark.parametrize("batch", [SMALL, MIDDLE, LARGE])
def test_arrays_of_every_kind_in_turn(engine: fasttrt.Engine, mlp_model: Model, batch: int) -> None:
    """One shape, whose arrays are now here and now there."""
    torch = need_torch()
    out, pinned_out = np.empty((batch, 8), np.float32), fasttrt.empty_pinned((batch, 8), np.float32)
    target = torch.empty((batch, 8), device="cuda")
    pinned = fasttrt.empty_pinned((batch, 16), np.float32)
    tensor = torch.empty((batch, 16), device="cuda")
    shifted = torch.empty(batch * 16 + 1, device="cuda")[1:].view(batch, 16)
    shifted_out = torch.empty(batch * 8 + 1, device="cuda")[1:].view(batch, 8)
    rng = new_rng()
    forms: list[Callable[[Array], Any]] = [
        engine.infer,
        lambda x: engine.infer(x, out=out),
        lambda x: engine.infer(x, out=pinned_out),
        lambda x: engine.infer(x, out=target),
        lambda x: engine.infer(pinned),
        lambda x: engine.infer(tensor),
        lambda x: engine.infer(tensor, out=out),
        lambda x: engine.infer(tensor, out=target),
        lambda x: engine.infer(shifted),
        lambda x: engine.infer(shifted, out=shifted_out),
        lambda x: engine.infer(tensor, out=shifted_out),
        lambda x: engine.infer({"x": x})["y"],
    ]
    for _ in range(4):
        for i in rng.permutation(len(forms)):
            x = normal(batch, 16)
            pinned[...] = x
            tensor.copy_(torch.from_numpy(x))
            shifted.copy_(torch.from_numpy(x))
            y = forms[i](x)
            result = y if isinstance(y, np.ndarray) else y.cpu().numpy()
            _right(result, mlp_model, x)


# Models that cannot be captured


def _data_dependent() -> tuple[Model, str]:
    """A model, and the output that has no extent before it runs."""
    return (nonzero(), "y") if is_v8() else (cut_by_data(), "head")


def _run_thrice(plan: fasttrt.Plan, x: Array) -> None:
    with fasttrt.Engine(plan, device="cuda", cuda_graph=True) as engine:
        for _ in range(3):
            engine.infer(x)


def test_extents_that_depend_on_the_data() -> None:
    model, output = _data_dependent()
    shapes = {"x": ((1,), (64,), (512,))}
    plan = fasttrt.build(model.proto, EXACT, shapes=shapes, device="cuda")
    for policy in ("auto", False):
        chosen: Any = policy
        with fasttrt.Engine(plan, device="cuda", contexts=1, cuda_graph=chosen) as engine:
            for size in (64, 64, 64, 512, 512, 512, 3, 64, 512):
                x = normal(size)
                results, expected = engine.infer(x), model.reference(x)
                if isinstance(results, np.ndarray):
                    results, expected = (results,), (expected,)
                for result, right in zip(results, expected, strict=True):
                    np.testing.assert_array_equal(result, right)
    with pytest.raises(fasttrt.Error, match=rf"cuda_graph=True.*\b{output}\b"):
        _run_thrice(plan, normal(64))


def test_shapes_as_outputs() -> None:
    model = shape_of()
    shapes = {"x": ((1, 4, 1), (2, 4, 8), (8, 4, 32))}
    plan = fasttrt.build(model.proto, EXACT, shapes=shapes, device="cuda")
    for policy in ("auto", False):
        chosen: Any = policy
        with fasttrt.Engine(plan, device="cuda", contexts=1, cuda_graph=chosen) as engine:
            for width in (8, 8, 8, 32, 32, 32, 8, 17):
                x = normal(3, 4, width)
                y, extents = engine.infer(x)
                assert_close(y, model.reference(x)[0], ELEMENTWISE)
                assert extents.tolist() == [3, 4, width]
            on_host = [spec.name for spec in engine.outputs if spec.is_shape]
    if on_host:
        with pytest.raises(fasttrt.Error, match=rf"cuda_graph=True.*\b{on_host[0]}\b"):
            _run_thrice(plan, normal(3, 4, 8))
    else:
        _run_thrice(plan, normal(3, 4, 8))


def _run_or_refusal(engine: fasttrt.Engine, *inputs: Array) -> tuple[Array | None, str]:
    try:
        return engine.infer(*inputs), ""
    except fasttrt.Error as error:
        return None, str(error)


@pytest.mark.parametrize("make", [conditional, loop_by_value])
def test_control_flow(make: Callable[[], Model]) -> None:
    """A graph holds what was done with one condition; another one's replay would be wrong."""
    model = make()
    try:
        plan = fasttrt.build(model.proto, EXACT, device="cuda")
    except (fasttrt.ParseError, fasttrt.BuildError) as error:
        pytest.skip(f"not for this library: {error}")
    with pytest.raises(fasttrt.InputError, match=r"cannot be captured .* it has (If|Loop), whose"):
        fasttrt.Engine(plan, device="cuda", cuda_graph=True)
    plain = fasttrt.Plan(plan.data)  # as of another tool, which does not tell
    for either in (plan, plain) if is_v8() else (plan,):
        with fasttrt.Engine(either, device="cuda", contexts=1) as engine:
            for i in range(16):
                condition = np.array(i % 4 < 2)
                by_type = {"bool": condition, "int64": np.array(3 + i % 4)}
                inputs = [by_type.get(str(x.dtype), x) for x in model.inputs()]
                # Without metadata a plan of TensorRT 8.6 takes int32 where the model says int64.
                given = [x.astype(s.dtype) for s, x in zip(engine.inputs, inputs, strict=True)]
                assert_close(engine.infer(*given), model.reference(*inputs), ELEMENTWISE)


def test_counted_loops() -> None:
    """What their graph holds is right for other values, recorded or not."""
    model = loop(7)
    with open_engine(model, contexts=1) as engine:
        for _ in range(8):
            (x,) = model.inputs()
            assert_close(engine.infer(x), model.reference(x), 2e-6)


def test_kernels_that_change_later() -> None:
    """TensorRT-RTX swaps faster kernels in: a graph would keep those that it was recorded with."""
    model = elementwise()
    shapes = {"x": ((1, 4), (4, 4), (16, 4))}
    plan = fasttrt.build(model.proto, EXACT, shapes=shapes, device="cuda")
    if is_rtx():
        with pytest.raises(fasttrt.InputError, match=r"cuda_graph.*lazy"):
            fasttrt.Engine(plan, device="cuda", cuda_graph=True, specialization="lazy")
    with fasttrt.Engine(plan, device="cuda", specialization="lazy") as engine:
        for batch in (4, 16, 1) * 5:
            x = normal(batch, 4)
            assert_close(engine.infer(x), model.reference(x), ELEMENTWISE)


def test_fixed_shapes_with_kernels_that_change_later() -> None:
    """Nothing changes for them."""
    model = elementwise((5, 3))
    with open_engine(model, cuda_graph=True, specialization="lazy") as engine:
        for _ in range(6):
            x = normal(5, 3)
            assert_close(engine.infer(x), model.reference(x), ELEMENTWISE)


# Threads


@pytest.mark.parametrize("contexts", [1, 3])
def test_recording_beside_others_on_the_gpu(
    plan: fasttrt.Plan, mlp_model: Model, contexts: int
) -> None:
    """Other threads allocate, free, and use the default stream meanwhile.

    None of that may break a recording, nor a recording any of that.
    """
    torch = need_torch()
    done = threading.Event()

    def others() -> int:
        count = 0
        while not done.is_set():
            tensor = torch.full((1 << 20,), float(count), device="cuda")
            assert bool((tensor == count).all())
            del tensor
            torch.cuda.empty_cache()
            count += 1
        return count

    def run(engine: fasttrt.Engine, seed: int) -> int:
        for batch in range(1 + seed, 91, 3):
            for _ in range(3):
                _check(engine, mlp_model, batch)
        return seed

    with (
        fasttrt.Engine(
            plan, device="cuda", contexts=contexts, cuda_graph=True, specialization="none"
        ) as engine,
        ThreadPoolExecutor(5) as pool,
    ):
        beside = [pool.submit(others) for _ in range(2)]
        try:
            runs = [pool.submit(run, engine, seed) for seed in range(3)]
            assert [task.result() for task in runs] == [0, 1, 2]
        finally:
            done.set()
        assert all(task.result() > 0 for task in beside)
