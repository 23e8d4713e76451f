"""The order of work on the GPU: what makes the inputs comes first, what uses the results after.

The GPU is held up by a kernel that counts cycles, so that whatever does not wait for its turn is
early: it would find NaN.
"""

from __future__ import annotations

import gc
import os
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import pytest

import fasttrt
from support.assertions import assert_close
from support.gpu import ELEMENTWISE, EXACT, Array, is_v8, need, normal, open_engine
from support.gpu_models import crossed
from support.models import Model, elementwise, reshape
from support.randomness import new_rng

pytestmark = pytest.mark.gpu
WIDTH = 1024
ROWS = 64
MOST = 2048
HELD_UP = 100_000_000
"""Cycles: a twentieth of a second, in which a call is over many times."""
LONG = 1_000_000_000


class Interface:
    """An array of a library that knows streams, and no DLPack."""

    def __init__(self, tensor: Any, stream: int | None) -> None:
        self.tensor = tensor
        self._stream = stream

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        inner: dict[str, Any] = dict(self.tensor.__cuda_array_interface__)
        return inner | {"version": 3, "stream": self._stream}


@pytest.fixture(scope="module")
def model() -> Model:
    return elementwise(("batch", WIDTH))


@pytest.fixture(scope="module")
def plan(model: Model) -> fasttrt.Plan:
    shapes = {"x": ((1, WIDTH), (ROWS, WIDTH), (MOST, WIDTH))}
    return fasttrt.build(model.proto, EXACT, shapes=shapes, device="cuda")


@pytest.fixture(scope="module", params=[1, 3], ids=["1 context", "3 contexts"])
def engine(request: pytest.FixtureRequest, plan: fasttrt.Plan) -> Iterator[fasttrt.Engine]:
    with fasttrt.Engine(plan, device="cuda", contexts=request.param) as engine:
        _warm_up(engine)
        yield engine


@pytest.fixture(scope="module")
def single(plan: fasttrt.Plan) -> Iterator[fasttrt.Engine]:
    with fasttrt.Engine(plan, device="cuda", contexts=1) as engine:
        _warm_up(engine)
        yield engine


@pytest.fixture
def torch() -> Any:
    torch = need("torch")
    if not torch.cuda.is_available():
        pytest.skip("this torch has no CUDA")
    torch.cuda.synchronize()
    return torch


def _warm_up(engine: fasttrt.Engine) -> None:
    """What is done once for a shape is done."""
    for _ in range(3):
        engine.infer(normal(ROWS, WIDTH))


def _blank(torch: Any, rows: int = ROWS, *, aligned: bool = True) -> Any:
    """A tensor of NaN, at an address that TensorRT takes or not."""
    if aligned:
        return torch.full((rows, WIDTH), torch.nan, device="cuda")
    return torch.full((rows * WIDTH + 1,), torch.nan, device="cuda")[1:].view(rows, WIDTH)


def _on_gpu(torch: Any, host: Array) -> Any:
    tensor = torch.from_numpy(host).cuda()
    torch.cuda.synchronize()
    return tensor


def _fill_late(torch: Any, x: Any, source: Any) -> None:
    """Queue, in the current stream, what gives x its values after a while."""
    torch.cuda._sleep(HELD_UP)
    x.copy_(source)
    for _ in range(20):
        x.neg_()


def _right(tensor: Any, expected: Array) -> None:
    assert_close(tensor.cpu().numpy(), expected, ELEMENTWISE)


# Order


@pytest.mark.parametrize("given_out", [False, True], ids=["new", "out"])
@pytest.mark.parametrize("aligned", [True, False], ids=["aligned", "misaligned"])
def test_torchs_current_stream(
    engine: fasttrt.Engine, model: Model, torch: Any, given_out: bool, aligned: bool
) -> None:
    side = torch.cuda.Stream()
    for _ in range(4):
        host = normal(ROWS, WIDTH)
        source, x = _on_gpu(torch, host), _blank(torch, aligned=aligned)
        out = _blank(torch, aligned=aligned) if given_out else None
        torch.cuda.synchronize()
        with torch.cuda.stream(side):
            _fill_late(torch, x, source)
            y = engine.infer(x, out=out)
            after = y + 1
            assert torch.cuda.current_stream() == side
        side.synchronize()
        _right(y, model.reference(host))
        _right(after, model.reference(host) + 1)


@pytest.mark.parametrize("explicit", ["no", "stream", "number"])
def test_the_legacy_default_stream(
    engine: fasttrt.Engine, model: Model, torch: Any, explicit: str
) -> None:
    default = torch.cuda.default_stream()
    assert default.cuda_stream == 0
    stream = {"no": None, "stream": default, "number": 0}[explicit]
    for _ in range(4):
        host = normal(ROWS, WIDTH)
        source, x = _on_gpu(torch, host), _blank(torch)
        torch.cuda.synchronize()
        _fill_late(torch, x, source)
        y = engine.infer(x, stream=stream)
        after = y + 1
        _right(after, model.reference(host) + 1)
        _right(y, model.reference(host))


@pytest.mark.parametrize("kind", ["cupy", "DeviceArray"])
def test_results_in_another_librarys_memory(
    engine: fasttrt.Engine, model: Model, torch: Any, kind: str
) -> None:
    """Which knows nothing of torch's current stream: they are complete on return."""
    cupy = need("cupy")
    side = torch.cuda.Stream()
    for _ in range(4):
        host = normal(ROWS, WIDTH)
        source, x = _on_gpu(torch, host), _blank(torch)
        out = cupy.full((ROWS, WIDTH), cupy.nan, cupy.float32)
        if kind == "DeviceArray":
            out = engine.infer(Interface(_blank(torch), None))
            assert type(out) is fasttrt.DeviceArray
        torch.cuda.synchronize()
        with torch.cuda.stream(side):
            _fill_late(torch, x, source)
            assert engine.infer(x, out=out) is out
        assert_close(cupy.asnumpy(cupy.from_dlpack(out)), model.reference(host), ELEMENTWISE)


def test_submitted_into_torchs_memory(engine: fasttrt.Engine, model: Model, torch: Any) -> None:
    """From the host: in the order of the caller's current stream, not of the worker's."""
    side = torch.cuda.Stream()
    for wrap in (lambda out: out, lambda out: [out], lambda out: {"y": out}) * 2:
        host, out = normal(ROWS, WIDTH), _blank(torch)
        torch.cuda.synchronize()
        torch.cuda._sleep(HELD_UP)  # in the default stream
        with torch.cuda.stream(side):
            given = wrap(out)
            inputs: Any = {"x": host} if isinstance(given, dict) else host
            engine.submit(inputs, out=given).result()
            after = out + 1
        side.synchronize()
        _right(out, model.reference(host))
        _right(after, model.reference(host) + 1)


# A kernel for cupy, which has none of its own that only takes time.
SPIN = r"""
extern "C" __global__ void spin(long long cycles) {
  const long long begin = clock64();
  while (clock64() - begin < cycles) {}
}
"""


@pytest.mark.parametrize("explicit", [False, True], ids=["current", "explicit"])
@pytest.mark.parametrize("given_out", [False, True], ids=["new", "out"])
def test_cupys_streams(
    engine: fasttrt.Engine, model: Model, explicit: bool, given_out: bool
) -> None:
    cupy = need("cupy")
    spin = cupy.RawKernel(SPIN, "spin")
    stream = cupy.cuda.Stream(non_blocking=True)
    for _ in range(4):
        host = normal(ROWS, WIDTH)
        source = cupy.asarray(host)
        x = cupy.full((ROWS, WIDTH), cupy.nan, cupy.float32)
        out = cupy.full((ROWS, WIDTH), cupy.nan, cupy.float32) if given_out else None
        cupy.cuda.Device().synchronize()
        with stream:
            spin((1,), (1,), (np.int64(HELD_UP),))
            x[...] = source
            for _ in range(20):
                cupy.negative(x, out=x)
            y = engine.infer(x, out=out, stream=stream if explicit else None)
            after = y + 1
        stream.synchronize()
        assert_close(cupy.asnumpy(y), model.reference(host), ELEMENTWISE)
        assert_close(cupy.asnumpy(after), model.reference(host) + 1, ELEMENTWISE)


class Side(NamedTuple):
    """A stream as torch sees it, as it is given to ``stream=``, and who keeps it."""

    torch: Any
    given: Any
    owner: Any = None


def _cupys(torch: Any) -> Side:
    own = need("cupy").cuda.Stream(non_blocking=True)
    return Side(torch.cuda.ExternalStream(own.ptr), own, own)


def _torchs(torch: Any) -> Side:
    own = torch.cuda.Stream()
    return Side(own, own)


def _numbered(torch: Any) -> Side:
    own = torch.cuda.Stream()
    return Side(own, own.cuda_stream)


STREAMS: dict[str, Callable[[Any], Side]] = {
    "torch.cuda.Stream": _torchs,
    "cupy.cuda.Stream": _cupys,
    "handle": _numbered,
}


@pytest.fixture(params=STREAMS)
def side(request: pytest.FixtureRequest, torch: Any) -> Iterator[Side]:
    side = STREAMS[request.param](torch)
    yield side
    torch.cuda.synchronize()


@pytest.mark.parametrize("given_out", [False, True], ids=["new", "out"])
def test_a_stream_of_the_callers(
    engine: fasttrt.Engine, model: Model, torch: Any, side: Side, given_out: bool
) -> None:
    """The arrays are made on it and used on it; torch's current one has nothing to do with it."""
    for _ in range(4):
        host = normal(ROWS, WIDTH)
        source, x = _on_gpu(torch, host), _blank(torch)
        out = _blank(torch) if given_out else None
        torch.cuda.synchronize()
        with torch.cuda.stream(side.torch):
            _fill_late(torch, x, source)
        y = engine.infer(x, out=out, stream=side.given)
        with torch.cuda.stream(side.torch):
            after = y + 1
        side.torch.synchronize()
        _right(y, model.reference(host))
        _right(after, model.reference(host) + 1)


def test_a_stream_follows_the_arrays_own(
    engine: fasttrt.Engine, model: Model, torch: Any, side: Side
) -> None:
    """Made on torch's current stream, used on another."""
    current = torch.cuda.Stream()
    for _ in range(4):
        host = normal(ROWS, WIDTH)
        source, x = _on_gpu(torch, host), _blank(torch)
        torch.cuda.synchronize()
        with torch.cuda.stream(current):
            _fill_late(torch, x, source)
            y = engine.infer(x, stream=side.given)
        side.torch.synchronize()
        _right(y, model.reference(host))


def test_two_streams_at_once(engine: fasttrt.Engine, model: Model, torch: Any) -> None:
    """A second run waits for the first, if at all, on the GPU: both are right."""
    first, second = torch.cuda.Stream(), torch.cuda.Stream()
    for aligned in (True, False) * 2:
        hosts = [normal(ROWS, WIDTH) for _ in range(2)]
        sources = [_on_gpu(torch, host) for host in hosts]
        x = [_blank(torch, aligned=aligned) for _ in range(2)]
        torch.cuda.synchronize()
        with torch.cuda.stream(first):
            _fill_late(torch, x[0], sources[0])
            late = engine.infer(x[0])
        with torch.cuda.stream(second):
            x[1].copy_(sources[1])
            early = engine.infer(x[1])
        torch.cuda.synchronize()
        _right(late, model.reference(hosts[0]))
        _right(early, model.reference(hosts[1]))


def test_arrays_in_host_memory_with_a_stream(
    engine: fasttrt.Engine, model: Model, torch: Any, side: Side
) -> None:
    """They are there when infer() is back, behind what was queued."""
    for rows in (1, ROWS):
        for _ in range(3):
            with torch.cuda.stream(side.torch):
                torch.cuda._sleep(HELD_UP // 10)
            x = normal(rows, WIDTH)
            y = engine.infer(x, stream=side.given)
            assert_close(y, model.reference(x), ELEMENTWISE)
            out = np.full((rows, WIDTH), np.nan, np.float32)
            assert engine.infer(_on_gpu(torch, x), out=out, stream=side.given) is out
            assert_close(out, model.reference(x), ELEMENTWISE)


def test_shape_tensors_on_the_gpu(torch: Any) -> None:
    """TensorRT reads them on the host, when they have their values."""
    if is_v8():
        pytest.skip("TensorRT 8 has no int64 on the GPU")
    model = reshape(24)
    shapes = {"x": ((1, 24), (3, 24), (8, 24)), "shape": ((2, 12), (6, 12), (8, 24))}
    side = torch.cuda.Stream()
    with open_engine(model, shapes=shapes) as engine:
        engine.infer(normal(2, 24), np.array([4, 12]))
        shape = torch.tensor([4, 12], device="cuda")
        for extents in ((3, 16), (2, 24), (4, 12), (3, 16)):
            host = normal(2, 24)
            x, source = _on_gpu(torch, host), _on_gpu(torch, np.array(extents))
            with torch.cuda.stream(side):
                torch.cuda._sleep(HELD_UP)
                shape.copy_(source)
                y = engine.infer(x, shape)
            side.synchronize()
            assert_close(y.cpu().numpy(), model.reference(host, np.array(extents)), ELEMENTWISE)


# Who waits, and who does not


@pytest.mark.parametrize("given_out", [False, True], ids=["new", "out"])
@pytest.mark.parametrize("explicit", [False, True], ids=["current", "explicit"])
def test_it_is_back_before_the_gpu_is_done(
    single: fasttrt.Engine, model: Model, torch: Any, given_out: bool, explicit: bool
) -> None:
    side, done = torch.cuda.Stream(), torch.cuda.Event()
    host = normal(ROWS, WIDTH)
    source, x = _on_gpu(torch, host), _blank(torch)
    out = _blank(torch) if given_out else None
    stream = side if explicit else None
    torch.cuda.synchronize()
    with torch.cuda.stream(side):
        for _ in range(6):
            y = single.infer(x, out=out, stream=stream)
        side.synchronize()
        torch.cuda._sleep(LONG)
        x.copy_(source)
        y = single.infer(x, out=out, stream=stream)
        done.record()
        assert not done.query()
        after = y + 1
    side.synchronize()
    assert done.query()
    _right(y, model.reference(host))
    _right(after, model.reference(host) + 1)


def test_it_is_back_before_cupys_stream_is_done(single: fasttrt.Engine, model: Model) -> None:
    cupy = need("cupy")
    spin = cupy.RawKernel(SPIN, "spin")
    stream, done = cupy.cuda.Stream(non_blocking=True), cupy.cuda.Event()
    host = normal(ROWS, WIDTH)
    source, x = cupy.asarray(host), cupy.full((ROWS, WIDTH), cupy.nan, cupy.float32)
    cupy.cuda.Device().synchronize()
    with stream:
        spin((1,), (1,), (np.int64(1),))
        for _ in range(6):
            y = single.infer(x)
        stream.synchronize()
        spin((1,), (1,), (np.int64(LONG),))
        x[...] = source
        y = single.infer(x)
        done.record()
        assert not done.done
    stream.synchronize()
    assert_close(cupy.asnumpy(y), model.reference(host), ELEMENTWISE)


def test_complete_where_the_library_names_a_stream(
    engine: fasttrt.Engine, model: Model, torch: Any
) -> None:
    side, made = torch.cuda.Stream(), torch.cuda.Event()
    for given_out in (False, True) * 2:
        host = normal(ROWS, WIDTH)
        source, x, target = _on_gpu(torch, host), _blank(torch), _blank(torch)
        torch.cuda.synchronize()
        with torch.cuda.stream(side):
            _fill_late(torch, x, source)
            made.record()
        given = Interface(x, side.cuda_stream)
        out = Interface(target, None) if given_out else None
        y = engine.infer(given, out=out)
        assert made.query()
        if out is None:
            assert isinstance(y, fasttrt.DeviceArray)
            assert_close(y.numpy(), model.reference(host), ELEMENTWISE)
            continue
        assert y is out
        with torch.cuda.stream(torch.cuda.Stream()):  # which nobody has told of the run
            _right(target, model.reference(host))


def test_the_default_stream_by_the_interfaces_number(
    engine: fasttrt.Engine, model: Model, torch: Any
) -> None:
    """1 there; 0 could be two streams, and is refused."""
    for _ in range(3):
        host = normal(ROWS, WIDTH)
        source, x = _on_gpu(torch, host), _blank(torch)
        torch.cuda.synchronize()
        _fill_late(torch, x, source)
        y = engine.infer(Interface(x, 1))
        assert_close(y.numpy(), model.reference(host), ELEMENTWISE)
        with pytest.raises(fasttrt.InputError, match=r"^x: .*stream 0"):
            engine.infer(Interface(x, 0))


def test_an_interface_with_a_stream_of_the_callers(
    engine: fasttrt.Engine, model: Model, torch: Any, side: Side
) -> None:
    """The run follows the array's stream, and the caller follows the run's."""
    making = torch.cuda.Stream()
    for _ in range(3):
        host = normal(ROWS, WIDTH)
        source, x, target = _on_gpu(torch, host), _blank(torch), _blank(torch)
        torch.cuda.synchronize()
        with torch.cuda.stream(making):
            _fill_late(torch, x, source)
        out = Interface(target, None)
        assert engine.infer(Interface(x, making.cuda_stream), out=out, stream=side.given) is out
        with torch.cuda.stream(side.torch):
            after = target + 1
        side.torch.synchronize()
        _right(after, model.reference(host) + 1)


def test_jax_makes_it_first(engine: fasttrt.Engine, model: Model) -> None:
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # it would take most memory
    jax = need("jax")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if jax.default_backend() != "gpu":
            pytest.skip("this JAX has no CUDA")

    def multiply(x: Any, unit: Any) -> Any:
        same = jax.lax.fori_loop(0, 40, lambda _, power: power @ power, unit)
        return x * same[0, 0]

    late = jax.jit(multiply)
    unit = jax.numpy.eye(4096, dtype=np.float32)  # whatever JAX was set to before
    late(jax.device_put(normal(ROWS, WIDTH)), unit).block_until_ready()
    for _ in range(4):
        host = normal(ROWS, WIDTH)
        y = engine.infer(late(jax.device_put(host), unit))
        assert isinstance(y, jax.Array)
        after = y + 1
        assert_close(np.asarray(after), model.reference(host) + 1, ELEMENTWISE)
        assert_close(np.asarray(y), model.reference(host), ELEMENTWISE)


def test_device_arrays_are_complete(engine: fasttrt.Engine, model: Model, torch: Any) -> None:
    """From one run to the next, and to others, who read them in streams of their own."""
    for _ in range(4):
        x = normal(ROWS, WIDTH)
        y = engine.infer(fasttrt.DeviceArray.from_numpy(x))
        again = engine.infer(y)
        with torch.cuda.stream(torch.cuda.Stream()):
            _right(torch.from_dlpack(y), model.reference(x))
        assert_close(again.numpy(), 4 * model.reference(x), ELEMENTWISE)


# Many


def _varied_runs(
    engine: fasttrt.Engine, model: Model, torch: Any, streams: list[Any], count: int
) -> int:
    """Runs of all kinds and sizes, none waited for before the last is queued; checks them all."""
    rng = new_rng()
    cases: list[tuple[Array, Any, Array]] = []
    for _ in range(count):
        host = normal(int(rng.choice([1, 7, ROWS, 500])), WIDTH)
        cases.append((host, torch.from_numpy(host).cuda(), model.reference(host)))
    torch.cuda.current_stream().synchronize()
    kept = []
    for i, (host, source, expected) in enumerate(cases):
        kind = i % 5
        with torch.cuda.stream(streams[i % len(streams)]):
            rows = len(host)
            if i % 7 == 0:
                torch.cuda._sleep(HELD_UP // 20)
            if kind == 0:
                y = engine.infer(source.clone())
            elif kind == 1:
                x = _blank(torch, rows, aligned=False)
                y = engine.infer(x.copy_(source))
            elif kind == 2:
                y = engine.infer(source.clone(), out=_blank(torch, rows, aligned=False))
            elif kind == 3:  # numpy's values have been read when it returns
                given = host.copy()
                y = engine.infer(given, out=_blank(torch, rows))
                given[...] = np.nan
            else:
                y = engine.infer(source.clone(), out=_blank(torch, rows))
            kept.append((y, y + 1, expected))
    for stream in streams:
        stream.synchronize()
    for y, after, expected in kept:
        _right(y, expected)
        _right(after, expected + 1)
    return count


def test_streams_in_turn(engine: fasttrt.Engine, model: Model, torch: Any) -> None:
    streams = [torch.cuda.Stream() for _ in range(3)]
    assert _varied_runs(engine, model, torch, streams, 105) == 105


def test_streams_and_the_default_one_in_turn(
    engine: fasttrt.Engine, model: Model, torch: Any
) -> None:
    streams = [torch.cuda.Stream(), torch.cuda.default_stream()]
    assert _varied_runs(engine, model, torch, streams, 70) == 70


def test_a_stream_for_each_thread(engine: fasttrt.Engine, model: Model, torch: Any) -> None:
    def work() -> int:
        return _varied_runs(engine, model, torch, [torch.cuda.Stream()], 35)

    def without() -> int:
        for _ in range(35):
            x = normal(ROWS, WIDTH)
            assert_close(engine.infer(x), model.reference(x), ELEMENTWISE)
        return 35

    with ThreadPoolExecutor(6) as pool:
        runs = [pool.submit(work) for _ in range(4)] + [pool.submit(without) for _ in range(2)]
        assert [run.result() for run in runs] == [35] * 6


# Memory that is let go of before the GPU has used it


def _garbage(torch: Any) -> list[Any]:
    """Tensors in whatever memory of this size is free."""
    return [torch.full((ROWS, WIDTH), 7.0, device="cuda") for _ in range(8)]


def _is_whole(tensors: list[Any]) -> bool:
    return all(bool((tensor == 7).all()) for tensor in tensors)


def test_inputs_that_are_dropped(engine: fasttrt.Engine, model: Model, torch: Any) -> None:
    side = torch.cuda.Stream()
    for _ in range(4):
        host = normal(ROWS, WIDTH)
        source = _on_gpu(torch, host)
        with torch.cuda.stream(side):
            torch.cuda._sleep(HELD_UP)
            x = source.clone()
            y = engine.infer(x)
            del x
            garbage = _garbage(torch)
        torch.cuda.synchronize()
        _right(y, model.reference(host))
        assert _is_whole(garbage)


def test_inputs_of_another_stream_that_are_dropped(
    engine: fasttrt.Engine, model: Model, torch: Any, side: Side
) -> None:
    """Torch would give their memory to the next tensor of its current stream."""
    for _ in range(4):
        host = normal(ROWS, WIDTH)
        x = _on_gpu(torch, host)
        with torch.cuda.stream(side.torch):
            torch.cuda._sleep(HELD_UP)
        y = engine.infer(x, stream=side.given)
        del x
        garbage = _garbage(torch)
        torch.cuda.synchronize()
        _right(y, model.reference(host))
        assert _is_whole(garbage)


def test_inputs_of_another_library_that_are_dropped(torch: Any) -> None:
    """CuPy would give their memory to the next array of its own current stream."""
    cupy = need("cupy")
    made = crossed()
    side = torch.cuda.Stream()
    with open_engine(made, shapes=dict.fromkeys("abc", (ROWS, 4))) as engine:
        for _ in range(4):
            hosts = {name: normal(ROWS, 4) for name in "abc"}
            source, c = _on_gpu(torch, hosts["c"]), torch.full((ROWS, 4), torch.nan, device="cuda")
            others = {name: cupy.asarray(hosts[name]) for name in "ab"}
            torch.cuda.synchronize()
            with torch.cuda.stream(side):
                _fill_late(torch, c, source)
                results = engine.infer({"c": c} | others)
            del others
            garbage = [cupy.full((ROWS, 4), 7, cupy.float32) for _ in range(8)]
            torch.cuda.synchronize()
            expected = made.reference(*(hosts[name] for name in "cab"))
            for name, values in zip("zmy", expected, strict=True):
                assert_close(results[name].cpu().numpy(), values, ELEMENTWISE)
            assert all(bool((array == 7).all()) for array in garbage)


@pytest.mark.parametrize("given_out", [False, True], ids=["new", "out"])
def test_results_that_are_dropped(
    engine: fasttrt.Engine, model: Model, torch: Any, side: Side, given_out: bool
) -> None:
    """Whoever gets their memory next must not find the result in it."""
    for _ in range(4):
        x = _on_gpu(torch, normal(ROWS, WIDTH))
        out = _blank(torch) if given_out else None
        torch.cuda.synchronize()
        with torch.cuda.stream(side.torch):
            torch.cuda._sleep(HELD_UP)
        engine.infer(x, out=out, stream=side.given)
        del out
        garbage = _garbage(torch)
        torch.cuda.synchronize()
        assert _is_whole(garbage)
        host = normal(ROWS, WIDTH)
        assert_close(engine.infer(host), model.reference(host), ELEMENTWISE)


@pytest.mark.parametrize("rows", [1, ROWS], ids=["small", "large"])
@pytest.mark.parametrize("explicit", [False, True], ids=["current", "explicit"])
def test_arrays_in_host_memory_that_are_dropped(
    engine: fasttrt.Engine, model: Model, torch: Any, rows: int, explicit: bool
) -> None:
    """numpy's memory has been read when infer() is back; page-locked memory is kept."""
    side = torch.cuda.Stream()
    out = _blank(torch, rows)
    torch.cuda.synchronize()
    for pinned in (False, True) * 2:
        host = normal(rows, WIDTH)
        x = fasttrt.empty_pinned((rows, WIDTH), np.float32) if pinned else np.empty_like(host)
        x[...] = host
        with torch.cuda.stream(side):
            torch.cuda._sleep(HELD_UP)
            y = engine.infer(x, out=out, stream=side if explicit else None)
        if not pinned:
            x[...] = np.nan
        del x
        others = [fasttrt.empty_pinned((rows, WIDTH), np.float32) for _ in range(4)]
        for other in others:
            other[...] = np.nan
        side.synchronize()
        assert y is out
        _right(y, model.reference(host))


# The end, and errors


@pytest.mark.parametrize("explicit", [False, True], ids=["current", "explicit"])
@pytest.mark.parametrize("end", ["close", "drop"])
def test_the_end_of_an_engine_with_work_under_way(
    plan: fasttrt.Plan, model: Model, torch: Any, explicit: bool, end: str
) -> None:
    engine = fasttrt.Engine(plan, device="cuda", contexts=2)
    _warm_up(engine)
    side, host = torch.cuda.Stream(), normal(ROWS, WIDTH)
    source, x = _on_gpu(torch, host), _blank(torch, aligned=False)
    out = _blank(torch, aligned=False)  # the run needs memory of the engine's own for both
    torch.cuda.synchronize()
    with torch.cuda.stream(side):
        _fill_late(torch, x, source)
        y = engine.infer(x, out=out, stream=side if explicit else None)
        after = y + 1
    if end == "close":
        engine.close()
        with pytest.raises(fasttrt.Error, match="closed"):
            engine.infer(source)
        with pytest.raises(fasttrt.Error, match="closed"):
            engine.infer(source, stream=side)
    del engine
    gc.collect()
    garbage = _garbage(torch)
    torch.cuda.synchronize()
    _right(y, model.reference(host))
    _right(after, model.reference(host) + 1)
    assert _is_whole(garbage)


FAULTS: dict[str, Callable[[Any, fasttrt.Engine, Any], Any]] = {
    "extents": lambda torch, engine, s: engine.infer(_blank(torch, MOST + 1), stream=s),
    "type": lambda torch, engine, s: engine.infer(_blank(torch).half(), stream=s),
    "rank": lambda torch, engine, s: engine.infer(_blank(torch)[None], stream=s),
    "shape of out": lambda torch, engine, s: engine.infer(
        _blank(torch), out=_blank(torch, ROWS + 1), stream=s
    ),
    "order of out": lambda torch, engine, s: engine.infer(
        _blank(torch), out=_blank(torch).T.contiguous().T, stream=s
    ),
    "numpy's extents": lambda torch, engine, s: engine.infer(normal(MOST + 1, WIDTH), stream=s),
    "numpy's out": lambda torch, engine, s: engine.infer(
        normal(ROWS, WIDTH), out=_blank(torch, 1), stream=s
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_errors_beside_work_under_way(
    engine: fasttrt.Engine, model: Model, torch: Any, fault: str
) -> None:
    """They come from the call itself, and neither earlier nor later runs are touched."""
    side, host = torch.cuda.Stream(), normal(ROWS, WIDTH)
    source, x = _on_gpu(torch, host), _blank(torch)
    torch.cuda.synchronize()
    for stream in (side, None):
        with torch.cuda.stream(side):
            x.fill_(torch.nan)
            _fill_late(torch, x, source)
            before = engine.infer(x, stream=stream)
            with pytest.raises(fasttrt.InputError):
                FAULTS[fault](torch, engine, stream)
            after = engine.infer(before, stream=stream)
        side.synchronize()
        _right(before, model.reference(host))
        _right(after, 4 * model.reference(host))


@pytest.mark.parametrize("stream", ["side", 1.5, -1, True, {}, [0]], ids=repr)
def test_what_is_no_stream(single: fasttrt.Engine, model: Model, torch: Any, stream: Any) -> None:
    host = normal(ROWS, WIDTH)
    for x in (host, _on_gpu(torch, host)):
        with pytest.raises(fasttrt.InputError, match="stream: expected"):
            single.infer(x, stream=stream)
        y = single.infer(x)
        assert_close(y if isinstance(y, np.ndarray) else y.cpu().numpy(),
                     model.reference(host), ELEMENTWISE)  # fmt: skip
