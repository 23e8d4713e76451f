"""An engine's requests: queued, run and completed by the core's dispatcher."""

import atexit
import os
import threading
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from typing import Any, NoReturn, TypeAlias

import numpy as np

from fasttrt import _core
from fasttrt._common.tensor_spec import Range
from fasttrt._runtime.arguments import own_copy
from fasttrt._runtime.arrays import is_device_array
from fasttrt._runtime.backend import Backend, EngineRunners, Runner
from fasttrt._runtime.batching import Batching
from fasttrt._runtime.forked_backend import ForkedDispatcher
from fasttrt._runtime.request_future import Collector
from fasttrt.errors import Error, InputError

_MAX_GATHERED = 256
_open_queues: "weakref.WeakSet[RequestQueue]" = weakref.WeakSet()


class _CountedRuns:
    """Counts the runs of a function that do not fail. The core holds it, so it knows no queue."""

    def __init__(self, run: Runner) -> None:
        self._run = run
        self._lock = threading.Lock()
        self.completed = 0

    def __call__(self, arrays: Sequence[Any], out: Sequence[Any | None] | None) -> Sequence[Any]:
        results = self._run(arrays, out)
        with self._lock:
            self.completed += 1
        return results


class RequestQueue:
    """Runs requests through a backend, in the order of their priority and arrival.

    Attributes:
        gathers: whether requests are joined to batches.
        polls: whether who waits for a request may poll for a moment, as the workers do.
        lock: for the futures of these requests.
        collector: publishes these futures.
    """

    def __init__(
        self,
        backend: Backend,
        *,
        contexts: int,
        gpus: int,
        wait: str,
        batching: Batching | None,
        max_queue: int | None,
        warm: bool,
    ) -> None:
        """Start no threads yet; the options are those of `Engine`, and ``gpus`` their number.

        ``warm``: allocate the memory of batches now, and not with the first ones.

        Raises:
            InputError: the model cannot be batched.
            OutOfMemoryError: there is no memory for the batches.
        """
        runners = backend.runners(gathers=batching is not None)
        self._engines = runners if isinstance(runners, EngineRunners) else None
        self.gathers = batching is not None and self._engines is not None
        # For each engine, or for a function. A batch's run ends with copying results to requests,
        # which one worker may do while the contexts are busy with the next batches.
        workers = contexts * gpus if self._engines is None else contexts + self.gathers
        if self._engines is None and wait == "auto":
            wait = "block"  # what polls takes the processor from what computes
        options = partial(_options, workers, max_queue, wait)
        self._dispatcher: _core.Dispatcher | ForkedDispatcher
        if isinstance(runners, EngineRunners):
            self._function = None
            sizes = () if batching is None else batching.batch_sizes
            self._dispatcher = _core.Dispatcher(runners.engines, options(batching, sizes))
            if warm:
                self._dispatcher.reserve()
        else:
            self._function = _CountedRuns(runners)
            self._dispatcher = _function_dispatcher(self._function, backend, batching, options)
        self._backend = backend
        self.polls = self._engines is not None and wait in ("auto", "spin")
        self._names = [spec.name for spec in backend.outputs]
        self.lock = threading.RLock()
        self.collector = Collector()
        _open_queues.add(self)

    def submit(
        self,
        arrays: Sequence[Any],
        out: Sequence[Any] | None,
        timeout: float | None = None,
        priority: int = 0,
        stage: bool = False,
        channel: "_core.CompletionChannel | None" = None,
        token: Any = None,
    ) -> "_core.Request":
        """Queue a request of arrays in host memory.

        Args:
            arrays: one for each input, as `as_array` returns them.
            out: an array or None for each output; or None for all.
            timeout: the seconds within which it must be complete, or None.
            priority: 0, or 1 for one that precedes those.
            stage: copy the arrays, so that the caller may change them at once.
            channel: where its completion is announced, with ``token``.
            token: see ``channel``.

        Raises:
            InputError: the arrays do not fit.
            QueueFullError: as many requests wait as may.
            Error: after `close`, and in a forked process.
        """
        if self._engines is None:
            if stage:
                arrays, stage = [own_copy(array) for array in arrays], False
        elif self._engines.prepare is not None:
            arrays, out = self._engines.prepare(arrays, out)
        return self._dispatcher.submit(arrays, out, stage, priority, timeout, channel, token)

    def infer(
        self,
        arrays: Sequence[Any],
        out: Sequence[Any] | None,
        timeout: float | None = None,
        priority: int = 0,
    ) -> Sequence[Any]:
        """Queue a request, and wait for its results; see `submit`.

        Raises:
            DeadlineError: it was not complete in time.
        """
        dispatcher, engines, targets = self._dispatcher, self._engines, out
        if engines is None:
            return dispatcher.infer(arrays, out, priority, timeout)
        if engines.prepare is not None:
            arrays, targets = engines.prepare(arrays, out)
        return engines.complete(lambda: dispatcher.infer(arrays, targets, priority, timeout), out)

    def run(
        self, arrays: Sequence[Any], out: Sequence[Any] | None, stream: Any = None
    ) -> Sequence[Any]:
        """Run in a batch with others; alone and at once for arrays on a GPU, or on a stream."""
        is_alone = stream is not None or any(map(is_device_array, (*arrays, *(out or ()))))
        return self._backend.run(arrays, out, stream) if is_alone else self.infer(arrays, out)

    def results(self, request: "_core.Request", out: Sequence[Any] | None, by_name: bool) -> Any:
        """Return what a request that is done has resulted in, as `Engine.infer` does.

        Args:
            request: of `submit`.
            out: as it was given to `submit`.
            by_name: whether to return a mapping.
        """
        engines = self._engines
        results = request.results() if engines is None else engines.complete(request.results, out)
        return self.deliver(results, by_name)

    def deliver(self, results: Sequence[Any], by_name: bool) -> Any:
        """Arrange a run's results as `Engine.infer` returns them."""
        if by_name:
            return dict(zip(self._names, results, strict=True))
        return results[0] if len(results) == 1 else tuple(results)

    def run_at_once(self, function: Any, /, *args: Any, **named: Any) -> Future[Any]:
        """Call a function on the caller's thread, and return a future of its result.

        Raises:
            Error: after `close`.
        """
        if self._dispatcher.closed:
            raise Error("the engine is closed")
        future: Future[Any] = Future()
        try:
            future.set_result(function(*args, **named))
        except Exception as error:
            future.set_exception(error)
        return future

    def wait(self, request: "_core.Request", timeout: float | None) -> bool:
        """Wait for a request, and return whether it is done.

        Raises:
            Error: in a forked process, which does not have the threads that would complete it.
        """
        if isinstance(self._dispatcher, ForkedDispatcher):
            self._dispatcher.refuse()
        return request.wait(timeout)

    @property
    def plain_dispatcher(self) -> "_core.Dispatcher | None":
        """What takes requests without Python; None where arrays need to be converted first."""
        if self._engines is not None and self._engines.prepare is not None:
            return None
        return None if isinstance(self._dispatcher, ForkedDispatcher) else self._dispatcher

    @property
    def closed(self) -> bool:
        """Whether nothing more is taken."""
        return self._dispatcher.closed

    def statistics(self) -> dict[str, Any]:
        """Return the dispatcher's counts and times, see `_core.Dispatcher.statistics`.

        Its ``function_runs`` are those of a backend's function that did not fail.
        """
        completed = 0 if self._function is None else self._function.completed
        return self._dispatcher.statistics() | {"function_runs": completed}

    def close(self, *, drain: bool = False) -> None:
        """Take no more requests, and wait for those under way; run or cancel those that wait.

        May be called by a future's callback. Within a run, as by a finalizer, it does not wait:
        another thread does.
        """
        if self._dispatcher.close(drain):
            self.collector.close()
        else:
            threading.Thread(target=self.close, name="fasttrt-close", daemon=True).start()

    def leave_to_parent(self, refuse: Callable[[], NoReturn]) -> None:
        """Let ``refuse`` raise its `Error` for every request, in a forked process."""
        self._dispatcher = ForkedDispatcher(self._dispatcher, refuse)
        self.lock = threading.RLock()  # a thread of the parent may have held the other
        self.collector = Collector()
        self.collector.close()


_FunctionTensor: TypeAlias = tuple[str, "np.dtype[Any]", tuple[int, ...], list[Range]]


def _options(
    workers: int, max_queue: int | None, wait: str, batching: Batching | None, sizes: Sequence[int]
) -> "_core.DispatcherOptions":
    """Return options; ``sizes`` are those that batches are padded to."""
    options = _core.DispatcherOptions()
    options.workers = workers
    options.max_queue = max_queue
    options.set_wait(wait)
    if batching is not None:
        options.set_batching(batching.max_size, batching.max_delay_us, sizes)
    return options


def _function_dispatcher(
    function: Runner,
    backend: Backend,
    batching: Batching | None,
    options: "Callable[[Batching | None, Sequence[int]], _core.DispatcherOptions]",
) -> "_core.Dispatcher":
    """Return the queue of a function: requests that come without Python share runs if they can.

    Nothing is padded, as all sizes are equally good for it.
    """
    tensors = _function_tensors(backend)
    if batching is not None:
        sizes = range(1, batching.max_size + 1)
        with suppress(InputError):  # its types or shapes do not allow it
            return _core.Dispatcher(function, options(batching, sizes), *tensors)
    return _core.Dispatcher(function, options(None, ()), *tensors)


def _function_tensors(backend: Backend) -> tuple[list[_FunctionTensor], list[_FunctionTensor]]:
    """Return the inputs and outputs as a dispatcher describes those of a function.

    Empty where values of shape tensors matter, which it does not look at.
    """
    if any(spec.is_shape for spec in backend.inputs):
        return [], []
    inputs, outputs = (
        [(spec.name, spec.dtype, spec.shape, list(spec.profiles)) for spec in specs]
        for specs in (backend.inputs, backend.outputs)
    )
    return inputs, outputs


def concurrent_runs(
    contexts: int, batching: Batching | None, ordinals: Sequence[int] | None
) -> int:
    """Return how many requests keep all GPUs busy, and fill a batch while another one runs.

    Args:
        contexts: the number of concurrent runs on each GPU.
        batching: how runs are gathered, if they are.
        ordinals: the GPUs; None for the CPU, where runs are not gathered.
    """
    if ordinals is None:
        return contexts
    count = contexts * len(ordinals)
    if batching is None:
        return count
    return max(count, min(2 * batching.max_size * len(ordinals), _MAX_GATHERED))


os.register_at_fork(after_in_child=_open_queues.clear)


@atexit.register
def _close_all() -> None:
    """End the threads of engines that only a future still holds, while the interpreter is there."""
    for queue in list(_open_queues):
        queue.close()
