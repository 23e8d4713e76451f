"""`Engine.map` over arrays that are filled anew for each item, as cameras and simulations do."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from onnx.parser import parse_model

import fasttrt
from fasttrt import Engine
from support import models
from support.device_arrays import PINNED, HostArray

Array = models.Array
COUNT = 40
NEGATED = """
    <ir_version: 9, opset_import: ["" : 17]>
    g (float[n,64] x) => (float[n,64] y) { y = Neg (x) }
"""
ECHO = """
    <ir_version: 9, opset_import: ["" : 17]>
    g (string[1] x) => (string[1] y) { y = Identity (x) }
"""


@pytest.fixture
def engine() -> Iterator[Engine]:
    with Engine(parse_model(NEGATED), device="cpu", contexts=4) as engine:
        yield engine


def values(count: int = COUNT) -> list[Array]:
    rng = np.random.default_rng(7)
    return [rng.standard_normal((3, 64), np.float32) for _ in range(count)]


def refilled(buffer: Any, fill: Callable[[Array], None], item: Callable[[], Any]) -> Iterator[Any]:
    for value in values():
        fill(value)
        yield item()
        fill(np.full_like(value, np.nan))  # at once, not just when the next one comes


def in_numpy() -> Iterator[Any]:
    buffer = np.empty((3, 64), np.float32)
    return refilled(buffer, lambda v: np.copyto(buffer, v), lambda: buffer)


def in_a_new_view() -> Iterator[Any]:
    buffer = np.empty((5, 64), np.float32)
    return refilled(buffer, lambda v: np.copyto(buffer[1:4], v), lambda: buffer[1:4])


def in_strided_memory() -> Iterator[Any]:
    buffer = np.empty((64, 3), np.float32)
    return refilled(buffer, lambda v: np.copyto(buffer, v.T), lambda: buffer.T)


def in_a_tuple() -> Iterator[Any]:
    buffer = np.empty((3, 64), np.float32)
    return refilled(buffer, lambda v: np.copyto(buffer, v), lambda: (buffer,))


def in_one_mapping() -> Iterator[Any]:
    item: dict[str, Any] = {"x": np.empty((3, 64), np.float32)}
    return refilled(item, lambda v: np.copyto(item["x"], v), lambda: item)


def in_a_mapping_that_changes() -> Iterator[Any]:
    item: dict[str, Any] = {}
    return refilled(item, lambda v: item.update(x=v), lambda: item)


def in_memory_of_the_system() -> Iterator[Any]:
    memory = bytearray(3 * 64 * 4)
    buffer = np.frombuffer(memory, np.float32).reshape(3, 64)
    return refilled(memory, lambda v: np.copyto(buffer, v), lambda: buffer.data)


def in_a_framework() -> Iterator[Any]:
    buffer = np.empty((3, 64), np.float32)
    return refilled(buffer, lambda v: np.copyto(buffer, v), lambda: HostArray(buffer))


def in_pinned_memory() -> Iterator[Any]:
    buffer = np.empty((3, 64), np.float32)
    return refilled(buffer, lambda v: np.copyto(buffer, v), lambda: HostArray(buffer, PINNED))


def in_two_buffers() -> Iterator[Any]:
    ring = [np.empty((3, 64), np.float32) for _ in range(2)]
    for i, value in enumerate(values()):
        ring[i % 2][...] = value
        yield ring[i % 2]


SOURCES = [
    in_numpy, in_a_new_view, in_strided_memory, in_a_tuple, in_one_mapping,
    in_a_mapping_that_changes, in_memory_of_the_system, in_a_framework, in_pinned_memory,
    in_two_buffers,
]  # fmt: skip


@pytest.mark.parametrize("in_flight", [None, 1, 3, 16])
@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.__name__)
def test_results_are_of_the_values_that_were_yielded(
    engine: Engine, source: Callable[[], Iterator[Any]], in_flight: int | None
) -> None:
    results = list(engine.map(source(), in_flight=in_flight))
    assert len(results) == COUNT
    for value, result in zip(values(), results, strict=True):
        found = result["y"] if isinstance(result, dict) else result
        np.testing.assert_array_equal(found, -value)


def test_whoever_reads_the_results_may_fill_the_buffer_too(engine: Engine) -> None:
    buffer = np.empty((3, 64), np.float32)

    def source() -> Iterator[Array]:
        for value in values():
            buffer[...] = value
            yield buffer

    for value, result in zip(values(), engine.map(source(), in_flight=4), strict=True):
        buffer.fill(np.nan)
        np.testing.assert_array_equal(result, -value)


def test_lists_of_numbers_and_casts_are_of_their_moment() -> None:
    made = models.elementwise((4,), 7)
    with Engine(made.proto, device="cpu", contexts=4) as engine:
        numbers = [0, 0, 0, 0]
        small = np.zeros(4, np.int32)

        def source() -> Iterator[Any]:
            for n in range(COUNT):
                numbers[:] = [n, n + 1, n + 2, n + 3]
                small[:] = numbers
                yield numbers if n % 2 else small

        results = list(engine.map(source(), cast=True))
    for n, result in enumerate(results):
        np.testing.assert_array_equal(result, made.reference(np.arange(n, n + 4)))


def test_strings_are_of_their_moment() -> None:
    buffer = np.empty(1, object)

    def source() -> Iterator[Array]:
        for n in range(COUNT):
            buffer[0] = f"frame {n}"
            yield buffer

    with Engine(parse_model(ECHO), device="cpu", contexts=4) as engine:
        assert [y[0] for y in engine.map(source())] == [f"frame {n}" for n in range(COUNT)]


def test_several_inputs_in_one_buffer() -> None:
    made = models.several()
    a, b = made.inputs()

    def source() -> Iterator[Any]:
        first, second = a.copy(), b.copy()
        for n in range(COUNT):
            first[...], second[...] = a + n, b + n
            yield {"a": first, "b": second} if n % 2 else (first, second)

    with Engine(made.proto, device="cpu", contexts=4) as engine:
        for n, result in enumerate(engine.map(source())):
            total, twice = result.values() if isinstance(result, dict) else result
            expected = made.reference(a + n, b + n)
            np.testing.assert_allclose(total, expected[0], rtol=1e-5)
            np.testing.assert_array_equal(twice, expected[1])


def test_an_item_that_is_refused_leaves_the_others_right(engine: Engine) -> None:
    buffer = np.empty((3, 64), np.float32)

    def source() -> Iterator[Any]:
        for n in range(COUNT):
            buffer.fill(n)
            yield buffer[:, :5] if n == 7 else buffer

    results = list(engine.map(source(), errors="return"))
    assert isinstance(results[7], fasttrt.InputError)
    for n, result in enumerate(results):
        assert n == 7 or (result == -n).all()


def test_copies_are_let_go_of(engine: Engine) -> None:
    results = engine.map(iter(values(6)), in_flight=3)
    next(results)
    results.close()
    gc.collect()
    assert sum(type(o) is np.ndarray and o.shape == (3, 64) for o in gc.get_objects()) == 0


# Others who keep what they were given


def test_compare_looks_for_the_node_with_the_values_that_failed() -> None:
    made = models.mlp()
    (x,) = made.inputs()
    from support.perturbed import perturbing

    buffer = np.empty_like(x)

    def source() -> Iterator[Array]:
        for scale in (1, 0, 0):
            buffer[...] = x * scale + (0 if scale else np.nan)
            yield buffer

    found = fasttrt.compare(made.proto, source(), engine=perturbing("y", 1.5))
    again = fasttrt.compare(made.proto, x, engine=perturbing("y", 1.5))
    assert found.divergence is not None
    assert again.divergence is not None
    assert found.divergence.comparison == again.divergence.comparison


def test_compare_keeps_no_memory_of_a_function() -> None:
    made = models.mlp()
    shared = np.empty((3, 8), np.float32)

    def reference(x: Array) -> Array:
        shared[...] = made.reference(x)
        return shared

    xs = [made.inputs()[0] * n for n in (1, 2)]
    (y,) = fasttrt.compare(made.proto, xs, device="cpu", against=reference).outputs
    assert y.input_sensitive  # the two answers differ


def test_quantize_measures_on_the_values_that_were_yielded() -> None:
    from support.quantized import normal, residual_block

    pytest.importorskip("onnxruntime")
    model = residual_block()
    data = normal(11, 2, 8, 12, 12)

    def source() -> Iterator[Array]:
        buffer = np.empty_like(data[0])
        for sample in data:
            buffer[...] = sample
            yield buffer

    expected = fasttrt.quantize(model, list(data), library=None)
    found = fasttrt.quantize(model, source(), library=None)
    assert found.report == expected.report
