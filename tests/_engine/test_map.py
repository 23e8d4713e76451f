"""`Engine.map`: order, reading ahead, errors, and the end."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest

import fasttrt
from fasttrt import CudaError, Engine, InputError
from support import models
from support.assertions import close_to
from support.gate import PATIENCE, Gate, replace_run
from support.process import run_python

Array = models.Array


def batches(mlp_model: models.Model, count: int) -> list[Array]:
    """Of different sizes, so that no result can be taken for another's."""
    return [mlp_model.inputs(batch=n)[0] for n in range(1, count + 1)]


def assert_usable(engine: Engine, mlp_model: models.Model) -> None:
    (x,) = mlp_model.inputs()
    assert engine.infer(x) == close_to(mlp_model.reference(x))
    assert engine.submit(x).result(PATIENCE) == close_to(mlp_model.reference(x))


# Results


@pytest.mark.parametrize("in_flight", [None, 1, 2, 50])
def test_results_come_in_order(
    engine: Engine, mlp_model: models.Model, in_flight: int | None
) -> None:
    items = batches(mlp_model, 40)
    results = list(engine.map(items, in_flight=in_flight))
    for x, y in zip(items, results, strict=True):
        assert y == close_to(mlp_model.reference(x))


def test_order_does_not_depend_on_what_is_done_first(
    engine: Engine, mlp_model: models.Model
) -> None:
    items = batches(mlp_model, 6)
    run = engine._run
    done = [threading.Event() for _ in items]

    def pairs_swapped(arrays: Sequence[Any], out: Any, stream: Any = None) -> Sequence[Any]:
        i = len(arrays[0]) - 1
        if i % 2 == 0:
            assert done[i + 1].wait(PATIENCE)
        results = run(arrays, out, stream)
        done[i].set()
        return results

    replace_run(engine, pairs_swapped)
    for x, y in zip(items, engine.map(items, in_flight=2), strict=True):
        assert y == close_to(mlp_model.reference(x))


def test_items_are_what_infer_takes() -> None:
    mlp_model = models.several()
    with Engine(mlp_model.proto, device="cpu") as engine:
        pairs = [mlp_model.inputs(batch=n) for n in range(1, 4)]
        items: list[Any] = [pairs[0], {"b": pairs[1][1], "a": pairs[1][0]}, pairs[2]]
        first, second, third = engine.map(items)
    assert isinstance(first, tuple)
    assert first[0] == close_to(mlp_model.reference(*pairs[0])[0])
    assert list(second) == ["sum", "twice"]
    assert second["sum"] == close_to(mlp_model.reference(*pairs[1])[0])
    np.testing.assert_array_equal(third[1], pairs[2][1] * 2)


def test_a_tuple_of_one_and_a_list_are_taken() -> None:
    with Engine(models.elementwise((2,), 7).proto, device="cpu") as engine:
        results = list(engine.map([(np.array([1, 2]),), [3, 4]]))
    np.testing.assert_array_equal(results, [[4, 8], [12, 16]])


def test_casts_are_made_on_request(engine: Engine, mlp_model: models.Model) -> None:
    x = models.random_array(np.float16, (3, 16))
    (y,) = engine.map([x], cast=True)
    assert y == close_to(mlp_model.reference(x))


def test_nothing_gives_nothing(engine: Engine) -> None:
    assert list(engine.map([])) == []


# Reading ahead


@pytest.mark.parametrize(
    ("contexts", "in_flight", "expected"), [(2, 1, 1), (2, 5, 5), (1, None, 2), (3, None, 4)]
)
def test_an_endless_source_is_read_ahead_so_far(
    mlp_model: models.Model, contexts: int, in_flight: int | None, expected: int
) -> None:
    ahead: list[int] = []
    given = 0

    def source() -> Iterator[Array]:
        for n in itertools.count(1):
            ahead.append(n - given)
            yield mlp_model.inputs(batch=n)[0]

    with Engine(mlp_model.proto, device="cpu", contexts=contexts) as engine:
        results = engine.map(source(), in_flight=in_flight)
        assert ahead == []  # not before the first result is asked for
        for y in itertools.islice(results, 20):
            given += 1
            assert len(y) == given
        results.close()
    assert max(ahead) == expected
    assert len(ahead) == 19 + expected


def test_what_is_read_ahead_is_under_way(mlp_model: models.Model) -> None:
    with Engine(mlp_model.proto, device="cpu", contexts=3) as engine:
        gate = Gate(engine)
        results = engine.map(batches(mlp_model, 10), in_flight=3)
        reading = threading.Thread(target=lambda: next(results))
        reading.start()
        gate.await_arrivals(3)
        assert gate.begun == 3
        gate.open()
        reading.join(PATIENCE)
        assert len(list(results)) == 9


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("in_flight", 0),
        ("in_flight", -1),
        ("in_flight", 1.5),
        ("in_flight", True),
        ("errors", "ignore"),
        ("progress", "yes"),
    ],
)
def test_arguments_are_checked_at_once(engine: Engine, name: str, value: Any) -> None:
    with pytest.raises(InputError, match=f"{name}: expected .* got {value!r}"):
        engine.map([], **{name: value})


# Errors of items


def damaged(mlp_model: models.Model, count: int, *wrong: int) -> list[Array]:
    items = batches(mlp_model, count)
    for i in wrong:
        items[i] = items[i][:, 1:]
    return items


def test_an_error_is_raised_in_its_turn(engine: Engine, mlp_model: models.Model) -> None:
    items = damaged(mlp_model, 8, 3, 5)
    results = engine.map(items, in_flight=8)
    for x in items[:3]:
        assert next(results) == close_to(mlp_model.reference(x))
    with pytest.raises(InputError) as caught:
        next(results)
    assert vars(caught.value)["index"] == 3
    assert str(caught.value) == "item 3: x: expected shape (-1, 16) (-1 is any), got (4, 15)"
    with pytest.raises(StopIteration):
        next(results)
    assert_usable(engine, mlp_model)


def test_nothing_is_under_way_after_an_error(mlp_model: models.Model) -> None:
    with Engine(mlp_model.proto, device="cpu", contexts=4) as engine:
        gate = Gate(engine)
        raised, runs = threading.Event(), threading.Event()

        def source() -> Iterator[Any]:
            yield {"z": 1}  # refused before it reaches the gate
            yield from batches(mlp_model, 2)
            gate.await_arrivals(1)
            runs.set()
            yield from batches(mlp_model, 7)

        def read() -> None:
            with pytest.raises(InputError, match="item 0: expected inputs named"):
                next(engine.map(source(), in_flight=4))
            raised.set()

        reading = threading.Thread(target=read)
        reading.start()
        assert runs.wait(PATIENCE)
        assert not raised.is_set()  # it waits for the one that runs
        gate.open()
        assert raised.wait(PATIENCE)
        reading.join(PATIENCE)
        assert gate.begun == gate.ended
        assert gate.begun <= 3
        assert_usable(engine, mlp_model)


def test_errors_can_be_results(engine: Engine, mlp_model: models.Model) -> None:
    items = damaged(mlp_model, 8, 0, 3, 7)
    results = list(engine.map(items, errors="return"))
    assert len(results) == 8
    for i, (x, result) in enumerate(zip(items, results, strict=True)):
        if i in (0, 3, 7):
            assert isinstance(result, InputError)
            assert vars(result)["index"] == i
            assert str(result).startswith(f"item {i}: x: expected shape")
        else:
            assert result == close_to(mlp_model.reference(x))
    assert_usable(engine, mlp_model)


def raising(engine: Engine, error: BaseException) -> None:
    """Let the engine's runs fail on batches of 3."""
    run = engine._run

    def fail(arrays: Sequence[Any], out: Any, stream: Any = None) -> Sequence[Any]:
        if len(arrays[0]) == 3:
            raise error
        return run(arrays, out, stream)

    replace_run(engine, fail)


@pytest.mark.parametrize("errors", ["raise", "return"])
def test_an_error_keeps_what_it_has(engine: Engine, mlp_model: models.Model, errors: Any) -> None:
    raising(engine, CudaError("cuLaunch failed", 700, "cuLaunch"))
    items = batches(mlp_model, 3)
    if errors == "raise":
        with pytest.raises(CudaError) as caught:
            list(engine.map(items))
        error = caught.value
    else:
        error = list(engine.map(items, errors="return"))[2]
    assert (str(error), error.code, error.call) == ("item 2: cuLaunch failed", 700, "cuLaunch")


def test_an_error_of_others_gets_a_note(engine: Engine, mlp_model: models.Model) -> None:
    raising(engine, KeyError("k"))
    with pytest.raises(KeyError) as caught:
        list(engine.map(batches(mlp_model, 5)))
    assert caught.value.args == ("k",)
    assert vars(caught.value) == {"index": 2, "__notes__": ["item 2"]}


def test_what_is_no_exception_is_raised_whatever_was_asked(
    engine: Engine, mlp_model: models.Model
) -> None:
    raising(engine, SystemExit(3))
    with pytest.raises(SystemExit):
        list(engine.map(batches(mlp_model, 5), errors="return"))
    assert len(list(engine.map(batches(mlp_model, 2)))) == 2


# Errors of the source


@pytest.mark.parametrize("errors", ["raise", "return"])
@pytest.mark.parametrize("count", [0, 1, 7])
def test_a_source_that_fails_loses_no_results(
    engine: Engine, mlp_model: models.Model, count: int, errors: Any
) -> None:
    items = batches(mlp_model, count)

    def source() -> Iterator[Array]:
        yield from items
        raise OSError("the disk is gone")

    results = engine.map(source(), in_flight=4, errors=errors)
    for x in items:
        assert next(results) == close_to(mlp_model.reference(x))
    with pytest.raises(OSError, match=r"^the disk is gone$") as caught:
        next(results)
    assert vars(caught.value) == {}  # it belongs to no item
    assert_usable(engine, mlp_model)


def test_an_interrupted_source_is_no_later_matter(engine: Engine, mlp_model: models.Model) -> None:
    def source() -> Iterator[Array]:
        yield from batches(mlp_model, 2)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        next(engine.map(source(), in_flight=4))
    assert_usable(engine, mlp_model)


def test_what_cannot_be_iterated_is_told_at_once(engine: Engine) -> None:
    items: Any = 5
    with pytest.raises(InputError, match="iterable: expected an iterable of inputs, got 5"):
        engine.map(items)


# The end


def test_closing_the_results_waits_for_what_runs(mlp_model: models.Model) -> None:
    with Engine(mlp_model.proto, device="cpu", contexts=2) as engine:
        (x,) = mlp_model.inputs()
        results = engine.map(itertools.repeat(x), in_flight=5)
        next(results)
        # As many as fit run now, and before the gate stand those that the next result needs.
        gate = Gate(engine)
        reading = threading.Thread(target=lambda: (next(results), next(results)))
        reading.start()
        gate.await_arrivals(2)
        gate.open()
        reading.join(PATIENCE)
        results.close()
        assert gate.begun == gate.ended
        begun = gate.begun
        assert_usable(engine, mlp_model)
        assert gate.begun == begun + 2  # what had been read ahead never came


def test_a_loop_that_is_left_leaves_nothing_behind(engine: Engine, mlp_model: models.Model) -> None:
    gate = Gate(engine)
    gate.open()
    for y in engine.map(itertools.repeat(mlp_model.inputs()[0]), in_flight=8):
        assert y.shape == (3, 8)
        break
    assert gate.begun == gate.ended
    assert_usable(engine, mlp_model)


@pytest.mark.parametrize("errors", ["raise", "return"])
def test_an_engine_closed_meanwhile_ends_it(mlp_model: models.Model, errors: Any) -> None:
    engine = Engine(mlp_model.proto, device="cpu", contexts=1)
    (x,) = mlp_model.inputs()
    results = engine.map(itertools.repeat(x), in_flight=3, errors=errors)
    assert next(results) == close_to(mlp_model.reference(x))
    engine.close()
    with pytest.raises(fasttrt.Error, match="the engine is closed"):
        list(itertools.islice(results, 10))


def test_cancelled_items_say_that_the_engine_is_closed(mlp_model: models.Model) -> None:
    engine = Engine(mlp_model.proto, device="cpu", contexts=1)
    gate = Gate(engine)
    items = batches(mlp_model, 5)
    queued, closing = threading.Event(), threading.Event()
    given: list[Any] = []

    def source() -> Iterator[Array]:
        yield from items
        queued.set()

    def read() -> None:
        try:
            given.extend(engine.map(source(), in_flight=6, errors="return"))
        except Exception as error:
            given.append(error)

    # The last in the queue, so that all before it are cancelled when this one is.
    reading = threading.Thread(target=read)
    reading.start()
    assert queued.wait(PATIENCE)
    gate.await_arrivals(1)
    engine.submit(items[0]).add_done_callback(lambda future: closing.set())
    ending = threading.Thread(target=engine.close)
    ending.start()
    assert closing.wait(PATIENCE)
    gate.open()
    for thread in (ending, reading):
        thread.join(PATIENCE)
        assert not thread.is_alive()
    first, error = given
    assert first == close_to(mlp_model.reference(items[0]))
    assert (type(error), str(error)) == (fasttrt.Error, "the engine is closed")


# Progress


def test_a_callback_counts_what_is_done(engine: Engine, mlp_model: models.Model) -> None:
    counts: list[int] = []
    for given, _ in enumerate(engine.map(batches(mlp_model, 6), progress=counts.append), 1):
        assert counts == list(range(1, given + 1))
    assert len(counts) == 6


def test_errors_count_as_done(engine: Engine, mlp_model: models.Model) -> None:
    counts: list[int] = []
    list(engine.map(damaged(mlp_model, 4, 1), errors="return", progress=counts.append))
    assert counts == [1, 2, 3, 4]


def test_a_callback_that_fails_ends_it(engine: Engine, mlp_model: models.Model) -> None:
    def fail(count: int) -> None:
        raise LookupError(count)

    with pytest.raises(LookupError):
        list(engine.map(batches(mlp_model, 6), progress=fail))
    assert_usable(engine, mlp_model)


BAR = """
    import sys, fasttrt
    from support.models import mlp
    made = mlp()
    items = [made.inputs()[0] for _ in range(7)]
    if sys.argv[1] == "unknown":
        items = iter(items)
    engine = fasttrt.Engine(made.proto, device="cpu")
    print(len(list(engine.map(items, progress=sys.argv[1] != "none"))))
"""


@pytest.mark.parametrize(("source", "shown"), [("known", "7/7"), ("unknown", "7/?")])
def test_a_bar_shows_how_many_are_done(source: str, shown: str) -> None:
    done = run_python(BAR, source, FORCE_COLOR="1", TERM="xterm", NO_COLOR="")
    assert (done.returncode, done.stdout) == (0, "7\n"), done.stderr
    assert shown in done.stderr


def test_there_is_no_bar_without_a_request() -> None:
    done = run_python(BAR, "none", FORCE_COLOR="1", TERM="xterm")
    assert (done.returncode, done.stdout, done.stderr) == (0, "7\n", "")


def test_results_are_an_iterator_of_their_own(engine: Engine, mlp_model: models.Model) -> None:
    """Two of them over one engine do not meet."""
    first, second = batches(mlp_model, 5), batches(mlp_model, 5)
    sources: Iterable[tuple[Array, Array]] = zip(first, second, strict=True)
    results = zip(engine.map(first), engine.map(second), strict=True)
    for (a, b), (y, z) in zip(sources, results, strict=True):
        assert y == close_to(mlp_model.reference(a))
        assert z == close_to(mlp_model.reference(b))
