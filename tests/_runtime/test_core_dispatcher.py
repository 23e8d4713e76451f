"""`_core.Dispatcher` with a Python function as its runner: order, deadlines, errors, the end."""

from __future__ import annotations

import gc
import select
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest

from fasttrt import _core
from fasttrt.errors import DeadlineError, Error, InputError, QueueFullError
from support.randomness import new_rng
from support.threads import at_once

PATIENCE = 30


class Model:
    """Twice its input; waits where it is told to, and remembers the order of its runs."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.began = threading.Semaphore(0)
        self.order: list[float] = []

    def __call__(self, arrays: Sequence[Any], out: Sequence[Any] | None) -> list[Any]:
        self.order.append(float(arrays[0].ravel()[0]))
        self.began.release()
        assert self.gate.wait(PATIENCE)
        if not np.isfinite(arrays[0]).all():
            raise ValueError("not a number")
        if out is None:
            return [arrays[0] * 2]
        np.multiply(arrays[0], 2, out=out[0])
        return list(out)


@pytest.fixture
def model() -> Model:
    return Model()


@pytest.fixture
def dispatcher(model: Model) -> Iterator[_core.Dispatcher]:
    dispatcher = _core.Dispatcher(model, options())
    yield dispatcher
    model.gate.set()
    dispatcher.close(drain=False)


def options(workers: int = 1, max_queue: int | None = None, wait: str = "auto") -> Any:
    options = _core.DispatcherOptions()
    options.workers = workers
    options.max_queue = max_queue
    options.set_wait(wait)
    return options


def normal() -> np.ndarray[Any, Any]:
    return new_rng().normal(size=(2, 3))


def submit(dispatcher: _core.Dispatcher, x: Any, **terms: Any) -> _core.Request:
    return dispatcher.submit([x], None, stage=False, **terms)


def occupy(dispatcher: _core.Dispatcher, model: Model) -> _core.Request:
    """Let the one worker wait in a run until the gate opens."""
    model.gate.clear()
    request = submit(dispatcher, normal())
    assert model.began.acquire(timeout=PATIENCE)
    model.order.clear()
    return request


def right(request: _core.Request, x: Any) -> None:
    assert request.wait(PATIENCE)
    assert request.done
    assert not request.cancelled
    np.testing.assert_array_equal(request.results()[0], 2 * x)


@pytest.mark.parametrize("wait", ["auto", "block"])
def test_runs_by_the_hundred(model: Model, wait: str) -> None:
    dispatcher = _core.Dispatcher(model, options(workers=3, wait=wait))
    xs = [normal() for _ in range(200)]
    requests = [submit(dispatcher, x) for x in xs]
    for x, request in zip(xs, requests, strict=True):
        right(request, x)
        assert request.results() is request.results()
    x = normal()
    np.testing.assert_array_equal(dispatcher.infer([x], None)[0], 2 * x)
    found = dispatcher.statistics()
    assert found["requests"] == {
        "ok": 201,
        "error": 0,
        "deadline": 0,
        "rejected": 0,
        "cancelled": 0,
    }
    assert found["runs"] == found["rows"] == 201
    assert found["waiting"] == found["running"] == 0
    dispatcher.close(drain=True)


def test_all_threads_get_the_same_results(dispatcher: _core.Dispatcher) -> None:
    for _ in range(50):
        x = normal()
        request = submit(dispatcher, x)
        right(request, x)
        results = at_once(8, request.results)
        assert all(found is results[0] for found in results)
    assert dispatcher.statistics()["requests"]["ok"] == 50


def test_results_in_memory_of_the_callers(dispatcher: _core.Dispatcher) -> None:
    x, y = normal(), normal()
    request = dispatcher.submit([x], [y], stage=False)
    assert request.wait(PATIENCE)
    assert request.results()[0] is y
    np.testing.assert_array_equal(y, 2 * x)


def test_high_priority_goes_first(dispatcher: _core.Dispatcher, model: Model) -> None:
    occupy(dispatcher, model)
    xs = [np.array([float(i)]) for i in range(8)]
    requests = [submit(dispatcher, x, priority=i % 2) for i, x in enumerate(xs)]
    model.gate.set()
    for x, request in zip(xs, requests, strict=True):
        right(request, x)
    assert model.order == [1, 3, 5, 7, 0, 2, 4, 6]


def test_a_bad_request_fails_alone(dispatcher: _core.Dispatcher) -> None:
    xs = [normal() for _ in range(20)]
    xs[7][1, 1] = np.nan
    requests = [submit(dispatcher, x) for x in xs]
    for i, (x, request) in enumerate(zip(xs, requests, strict=True)):
        if i != 7:
            right(request, x)
    for _ in range(2):
        with pytest.raises(ValueError, match="not a number"):
            requests[7].results()
    with pytest.raises(ValueError, match="not a number"):
        dispatcher.infer([xs[7]], None)
    assert dispatcher.statistics()["requests"]["error"] == 2


def test_exits_are_errors_of_their_requests(model: Model) -> None:
    def leave(arrays: Any, out: Any) -> Any:
        raise SystemExit(3)

    dispatcher = _core.Dispatcher(leave, options())
    with pytest.raises(SystemExit):
        dispatcher.infer([normal()], None)
    dispatcher.close(drain=False)


def test_a_request_that_does_not_begin_by_its_deadline(
    dispatcher: _core.Dispatcher, model: Model
) -> None:
    """It fails while the worker is still occupied, and is not run."""
    occupy(dispatcher, model)
    late = submit(dispatcher, normal(), timeout=0.05)
    patient = submit(dispatcher, x := normal(), timeout=PATIENCE)
    assert late.wait(PATIENCE)
    assert not patient.done
    with pytest.raises(DeadlineError):
        late.results()
    model.gate.set()
    right(patient, x)
    assert len(model.order) == 1
    assert dispatcher.statistics()["requests"]["deadline"] == 1


def test_a_request_that_ends_after_its_deadline(dispatcher: _core.Dispatcher, model: Model) -> None:
    model.gate.clear()
    request = submit(dispatcher, normal(), timeout=0.05)
    assert model.began.acquire(timeout=PATIENCE)
    time.sleep(0.06)
    assert not request.done
    model.gate.set()
    assert request.wait(PATIENCE)
    with pytest.raises(DeadlineError):
        request.results()


def test_a_full_queue(model: Model) -> None:
    dispatcher = _core.Dispatcher(model, options(max_queue=3))
    occupy(dispatcher, model)
    xs = [normal() for _ in range(3)]
    requests = [submit(dispatcher, x) for x in xs]
    with pytest.raises(QueueFullError, match="max_queue is 3"):
        submit(dispatcher, normal())
    assert requests.pop().cancel()
    xs[2] = normal()
    requests.append(submit(dispatcher, xs[2]))
    model.gate.set()
    for x, request in zip(xs, requests, strict=True):
        right(request, x)
    found = dispatcher.statistics()
    assert found["requests"]["rejected"] == 1
    assert found["most_waiting"] == 3
    dispatcher.close(drain=True)


def test_only_what_has_not_begun_can_be_cancelled(
    dispatcher: _core.Dispatcher, model: Model
) -> None:
    running = occupy(dispatcher, model)
    queued = submit(dispatcher, normal())
    assert running.running
    assert not running.cancel()
    assert not queued.running
    assert queued.cancel()
    assert queued.done
    assert queued.cancelled
    assert not queued.cancel()
    with pytest.raises(Error, match="cancelled"):
        queued.results()
    with pytest.raises(Error, match="not done"):
        running.results()
    model.gate.set()
    assert running.wait(PATIENCE)
    assert not running.running
    assert model.order == []


@pytest.mark.parametrize("drain", [True, False])
def test_close_with_requests_in_the_queue(
    dispatcher: _core.Dispatcher, model: Model, drain: bool
) -> None:
    running = occupy(dispatcher, model)
    xs = [normal() for _ in range(5)]
    requests = [submit(dispatcher, x) for x in xs]
    closer = threading.Thread(target=dispatcher.close, args=(drain,))
    closer.start()
    while not dispatcher.closed:
        time.sleep(0.001)
    with pytest.raises(Error, match="the engine is closed"):
        submit(dispatcher, normal())
    model.gate.set()
    closer.join(PATIENCE)
    assert running.done
    for x, request in zip(xs, requests, strict=True):
        if drain:
            right(request, x)
        else:
            assert request.cancelled
    with pytest.raises(Error, match="the engine is closed"):
        dispatcher.infer([xs[0]], None)


def test_waiting_has_its_time(dispatcher: _core.Dispatcher, model: Model) -> None:
    request = occupy(dispatcher, model)
    assert not request.wait(0.01)
    assert not request.wait(0)
    model.gate.set()
    assert request.wait()


def test_a_channel_has_all_that_are_done(dispatcher: _core.Dispatcher, model: Model) -> None:
    channel = _core.CompletionChannel()
    assert not channel.wait(0.01)
    assert channel.take() == []
    xs = [normal() for _ in range(50)]
    xs[3][0, 0] = np.nan
    requests = {i: submit(dispatcher, x, channel=channel, token=i) for i, x in enumerate(xs)}
    found: dict[Any, _core.Request] = {}
    while len(found) < len(xs):
        assert select.select([channel.fileno()], [], [], PATIENCE)[0]
        assert channel.wait(0)
        for token, request in channel.take():
            assert request is requests[token]
            assert request.done
            found[token] = request
    assert not select.select([channel.fileno()], [], [], 0)[0]
    assert list(found) == list(requests)
    running = occupy(dispatcher, model)
    queued = submit(dispatcher, normal(), channel=channel, token="queued")
    queued.cancel()
    assert channel.take() == [("queued", queued)]
    waiter = threading.Thread(target=lambda: channel.wait())
    waiter.start()
    channel.close()
    waiter.join(PATIENCE)
    assert not waiter.is_alive()
    model.gate.set()
    assert running.wait(PATIENCE)


def test_a_channel_that_comes_late(dispatcher: _core.Dispatcher, model: Model) -> None:
    channel = _core.CompletionChannel()
    running = occupy(dispatcher, model)
    running.attach(channel, "running")
    assert not channel.wait(0)
    model.gate.set()
    assert channel.wait(PATIENCE)
    assert channel.take() == [("running", running)]
    request = submit(dispatcher, normal())
    assert request.wait(PATIENCE)
    request.attach(channel, "done")
    assert channel.take() == [("done", request)]


@pytest.mark.parametrize("keep", [True, False])
def test_arrays_live_as_long_as_they_are_used(
    dispatcher: _core.Dispatcher, model: Model, keep: bool
) -> None:
    occupy(dispatcher, model)
    x = normal()
    seen = weakref.ref(x)
    request = submit(dispatcher, x)
    del x
    if not keep:
        del request
    assert seen() is not None
    model.gate.set()
    dispatcher.infer([normal()], None)
    dispatcher.close(drain=True)
    gc.collect()
    assert seen() is None


def test_a_dispatcher_that_is_dropped(model: Model) -> None:
    dispatcher = _core.Dispatcher(model, options(workers=2))
    requests = [submit(dispatcher, normal()) for _ in range(20)]
    del dispatcher
    for request in requests:
        assert request.wait(PATIENCE)
        assert not request.cancel()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda options: setattr(options, "workers", 0), "workers"),
        (lambda options: setattr(options, "max_queue", 0), "max_queue"),
        (lambda options: options.set_wait("never"), "wait"),
    ],
)
def test_options_out_of_range(model: Model, change: Callable[[Any], None], message: str) -> None:
    wrong = options()
    with pytest.raises(InputError, match=message):  # noqa: PT012
        change(wrong)
        _core.Dispatcher(model, wrong)
