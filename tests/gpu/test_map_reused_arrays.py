"""`Engine.map` on a GPU over arrays that are filled anew for each item, of every kind."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import pytest
from onnx.parser import parse_model

import fasttrt
from support.gpu import EXACT, Array, need

pytestmark = pytest.mark.gpu
COUNT = 40
WIDE = 1 << 19
"""Columns: a row of float32 is 2 MiB, which is copied in pieces and takes the GPU a while."""
NEGATED = """
    <ir_version: 9, opset_import: ["" : 17]>
    g (float[n,k] x, float[n,4] z) => (float[n,k] y, float[n,4] w) { y = Neg (x) w = Neg (z) }
"""


class Buffer(NamedTuple):
    """Memory that is filled again and again."""

    array: Any
    fill: Callable[[float], None]


def _numpy(shape: tuple[int, int]) -> Buffer:
    array = np.empty(shape, np.float32)
    return Buffer(array, array.fill)


def _strided(shape: tuple[int, int]) -> Buffer:
    array = np.empty((shape[0], 2 * shape[1]), np.float32)[:, ::2]
    return Buffer(array, array.fill)


def _pinned(shape: tuple[int, int]) -> Buffer:
    array = fasttrt.empty_pinned(shape, "float32")
    return Buffer(array, array.fill)


def _torch(shape: tuple[int, int]) -> Buffer:
    tensor = need("torch").empty(shape)
    return Buffer(tensor, tensor.fill_)


def _torch_pinned(shape: tuple[int, int]) -> Buffer:
    tensor = need("torch").empty(shape, pin_memory=True)
    return Buffer(tensor, tensor.fill_)


def _torch_cuda(shape: tuple[int, int]) -> Buffer:
    tensor = need("torch").empty(shape, device="cuda")
    return Buffer(tensor, tensor.fill_)


def _cupy(shape: tuple[int, int]) -> Buffer:
    array = need("cupy").empty(shape, np.float32)
    return Buffer(array, array.fill)


def _list(shape: tuple[int, int]) -> Buffer:
    rows = [np.empty(shape[1], np.float32) for _ in range(shape[0])]

    def fill(value: float) -> None:
        for row in rows:
            row.fill(value)

    return Buffer(rows, fill)


KINDS = [_numpy, _strided, _pinned, _torch, _torch_pinned, _torch_cuda, _cupy, _list]
OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "one context": {"contexts": 1},
    "four contexts": {"contexts": 4},
    "no graph": {"cuda_graph": False},
    "asleep": {"wait": "block"},
    "batching": {"batching": fasttrt.Batching(max_size=8, max_delay_us=500)},
}


@pytest.fixture(scope="module")
def plan() -> fasttrt.Plan:
    shapes = {"x": ((1, 4), (2, WIDE), (8, WIDE)), "z": ((1, 4), (2, 4), (8, 4))}
    return fasttrt.build(parse_model(NEGATED), EXACT, shapes=shapes, device="cuda")


@pytest.fixture(scope="module", params=OPTIONS)
def engine(plan: fasttrt.Plan, request: pytest.FixtureRequest) -> Iterator[fasttrt.Engine]:
    with fasttrt.Engine(plan, device="cuda", **OPTIONS[request.param]) as engine:
        yield engine


def _on_host(array: Any) -> Array:
    for method in ("cpu", "get"):
        if hasattr(array, method):
            array = getattr(array, method)()
    return np.asarray(array)


def _assert_right(results: Any, count: int = COUNT) -> None:
    wrong = []
    for n, item in enumerate(results):
        y, w = item.values() if isinstance(item, dict) else item
        if not ((_on_host(y) == -n).all() and (_on_host(w) == -n - 0.5).all()):
            wrong.append(n)
    assert wrong == []
    assert n == count - 1


@pytest.mark.parametrize("in_flight", [None, 8])
@pytest.mark.parametrize("columns", [4, WIDE], ids=["small", "large"])
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__[1:])
def test_results_are_of_the_values_that_were_yielded(
    engine: fasttrt.Engine, kind: Callable[..., Buffer], columns: int, in_flight: int | None
) -> None:
    x, z = kind((2, columns)), kind((2, 4))

    def source() -> Iterator[Any]:
        item = {"x": x.array, "z": z.array}
        for n in range(COUNT):
            x.fill(n)
            z.fill(n + 0.5)
            yield item if n % 2 else (x.array, z.array)
            x.fill(np.nan)
            z.fill(np.nan)

    _assert_right(engine.map(source(), in_flight=in_flight))


@pytest.mark.parametrize("kind", [_numpy, _pinned], ids=lambda kind: kind.__name__[1:])
def test_whoever_reads_the_results_may_fill_the_buffer_too(
    engine: fasttrt.Engine, kind: Callable[..., Buffer]
) -> None:
    x, z = kind((4, WIDE)), kind((4, 4))

    def source() -> Iterator[Any]:
        for n in range(COUNT):
            x.fill(n)
            z.fill(n + 0.5)
            yield x.array, z.array

    def results() -> Iterator[Any]:
        for result in engine.map(source()):
            x.fill(np.nan)
            z.fill(np.nan)
            yield result

    _assert_right(results())


@pytest.mark.parametrize("size", [2, 3])
def test_a_ring_of_buffers_is_as_good(engine: fasttrt.Engine, size: int) -> None:
    ring = [(_pinned((1, WIDE)), _numpy((1, 4))) for _ in range(size)]

    def source() -> Iterator[Any]:
        for n in range(COUNT):
            x, z = ring[n % size]
            x.fill(n)
            z.fill(n + 0.5)
            yield x.array, z.array

    _assert_right(engine.map(source()))


def test_an_input_on_each_side(engine: fasttrt.Engine) -> None:
    x, z = _torch_cuda((2, 1024)), _pinned((2, 4))

    def source() -> Iterator[Any]:
        for n in range(COUNT):
            x.fill(n)
            z.fill(n + 0.5)
            yield x.array, z.array

    _assert_right(engine.map(source()))


def test_two_maps_over_one_engine(engine: fasttrt.Engine) -> None:
    failures: list[BaseException] = []

    def run(kind: Callable[..., Buffer]) -> None:
        x, z = kind((2, WIDE)), kind((2, 4))

        def source() -> Iterator[Any]:
            for n in range(COUNT):
                x.fill(n)
                z.fill(n + 0.5)
                yield x.array, z.array

        try:
            _assert_right(engine.map(source()))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(kind,)) for kind in (_numpy, _pinned, _numpy)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
        assert not thread.is_alive()
    assert failures == []


def test_items_that_fail_are_no_end(engine: fasttrt.Engine) -> None:
    x, z = _pinned((2, 1024)), _pinned((2, 4))

    def source() -> Iterator[Any]:
        for n in range(COUNT):
            x.fill(n)
            z.fill(n + 0.5)
            yield (x.array, z.array[:1]) if n == 7 else (x.array, z.array)

    results = list(engine.map(source(), errors="return"))
    assert isinstance(results[7], fasttrt.Error)
    for n, result in enumerate(results):
        assert n == 7 or (result[0] == -n).all()


def test_leaving_early_and_closing_meanwhile(plan: fasttrt.Plan) -> None:
    x, z = _pinned((8, WIDE)), _pinned((8, 4))

    def source() -> Iterator[Any]:
        while True:
            yield x.array, z.array

    x.fill(1)
    z.fill(1)
    with fasttrt.Engine(plan, device="cuda") as engine:
        for _ in range(5):
            for y, _ in engine.map(source()):
                assert (y == -1).all()
                break
        results = engine.map(source())
        next(results)
        threading.Timer(0.2, engine.close).start()
        with pytest.raises(fasttrt.Error, match="the engine is closed"):
            for _ in results:
                pass
