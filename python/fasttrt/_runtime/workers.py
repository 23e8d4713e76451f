"""An engine's worker threads, and `Engine.map`'s results in order."""

import threading
from collections import deque
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor, wait
from typing import Any

from fasttrt._common.checks import is_one_of, refuse
from fasttrt._common.progress import counter
from fasttrt._runtime.batching import Batching
from fasttrt.errors import Error

_MAX_BATCH_WORKERS = 256


def worker_count(contexts: int, batching: Batching | None, ordinals: Sequence[int] | None) -> int:
    """Return how many threads keep all GPUs busy, and fill a batch while another one runs.

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
    return max(count, min(2 * batching.max_size * len(ordinals), _MAX_BATCH_WORKERS))


class Workers:
    """Threads that start when there is work, and end with this object at the latest."""

    def __init__(self, max_threads: int) -> None:
        """Start no threads yet.

        Args:
            max_threads: the maximum number of threads.
        """
        self.max_threads = max_threads
        self._executor: ThreadPoolExecutor | None = None
        self._unfinished: set[Future[Any]] = set()
        self._closed = False
        self._lock = threading.Lock()
        self._local = threading.local()

    def submit(self, function: Callable[..., Any], /, *args: Any, **named: Any) -> Future[Any]:
        """Call a function on one of the threads.

        Raises:
            Error: after `close`.
        """
        with self._lock:
            if self._closed:
                raise Error("the engine is closed")
            if self._executor is None:
                # The threads hold the initializer's arguments: not this object, which they would
                # keep alive.
                self._executor = ThreadPoolExecutor(
                    self.max_threads, "fasttrt-worker", _mark, (self._local,)
                )
            try:
                future = self._executor.submit(function, *args, **named)
            except RuntimeError as error:  # on a daemon thread that is still running
                raise Error("the interpreter is ending") from error
            self._unfinished.add(future)
        future.add_done_callback(self._unfinished.discard)
        return future

    def run(self, function: Callable[..., Any], /, *args: Any, **named: Any) -> Future[Any]:
        """Call a function immediately, on the caller's thread.

        Raises:
            Error: after `close`.
        """
        if self._closed:
            raise Error("the engine is closed")
        future: Future[Any] = Future()
        try:
            future.set_result(function(*args, **named))
        except Exception as error:
            future.set_exception(error)
        return future

    def close(self, flush: Callable[[], None]) -> None:
        """Cancel calls that have not started, wait for the others, and end the threads.

        ``flush`` is called before the wait, to make it short. May be called on one of the threads,
        from a future's callback; that one ends afterwards.
        """
        with self._lock:
            self._closed = True
            executor = self._executor
            unfinished = self._unfinished.copy()
        if executor is not None:
            running = _cancel(unfinished)
            flush()
            wait(running)
            executor.shutdown(wait=not hasattr(self._local, "is_worker"))


def _mark(local: threading.local) -> None:
    local.is_worker = True


def settle(futures: Collection[Future[Any]]) -> None:
    """Cancel calls that have not started, and wait for the others."""
    wait(_cancel(futures))


def _cancel(futures: Collection[Future[Any]]) -> list[Future[Any]]:
    """Cancel calls that have not started, and return the others."""
    # Not ThreadPoolExecutor.shutdown(cancel_futures=True), which removes the work from the queue
    # and leaves a thread in concurrent.futures.wait() waiting forever (seen in 3.12): cancelled
    # here, the work stays in the queue, and a worker notifies the waiting thread.
    return [future for future in futures if not future.cancel()]


def failed(error: Exception) -> Future[Any]:
    """Return a future of a call that was rejected before it could start."""
    future: Future[Any] = Future()
    future.set_exception(error)
    return future


def ordered_map(
    begin: Callable[[tuple[Any, ...]], Future[Any]],
    iterable: Iterable[Any],
    in_flight: int | None,
    errors: str,
    progress: Callable[[int], None] | bool,
    workers: int,
) -> Generator[Any, None, None]:
    """Return the generator of `Engine.map`.

    Args:
        begin: starts a run of these inputs, and returns once its arrays may be changed.
        iterable: the items, see `Engine.map`, as for the next three arguments.
        in_flight: None: one more than ``workers``, and at least 2.
        errors: ``"raise"`` or ``"return"``.
        progress: True, False or a callback.
        workers: the maximum number of concurrent runs.
    """
    if in_flight is None:
        in_flight = max(2, workers + 1)
    if not isinstance(in_flight, int) or isinstance(in_flight, bool) or in_flight < 1:
        refuse("in_flight", "an integer >= 1 or None", in_flight)
    if not is_one_of(errors, ("raise", "return")):
        refuse("errors", '"raise" or "return"', errors)
    if not callable(progress) and not isinstance(progress, bool):
        refuse("progress", "True, False or a callable", progress)

    def submit(item: Any) -> Future[Any]:
        return begin(item if isinstance(item, tuple) else (item,))

    def results(items: Iterator[Any], ahead: int, total: int | None) -> Generator[Any, None, None]:
        with counter(progress, total) as report:
            keep = errors == "return"
            yield from in_order(submit, items, ahead, keep_errors=keep, report=report)

    return results(iter(iterable), in_flight, _length(iterable))


def _length(iterable: Iterable[Any]) -> int | None:
    try:
        return len(iterable)  # type: ignore[arg-type]
    except TypeError:
        return None


def in_order(
    submit: Callable[[Any], Future[Any]],
    items: Iterator[Any],
    in_flight: int,
    *,
    keep_errors: bool,
    report: Callable[[int], None],
) -> Generator[Any, None, None]:
    """Yield the results of all items in their order, leaving no run behind when it ends.

    Args:
        submit: starts an item.
        items: the source, read by whoever iterates over the results.
        in_flight: how many items to read ahead of the results.
        keep_errors: whether to yield an item's exception in its place instead of raising it.
        report: called with the number of completed items, before each result.
    """
    ahead: deque[Future[Any]] = deque()
    end: Exception | None = None  # the source's exception
    ended = False
    index = 0
    try:
        while True:
            while not ended and len(ahead) < in_flight:
                try:
                    ahead.append(submit(next(items)))
                except StopIteration:
                    ended = True
                except Exception as error:
                    ended, end = True, error
            if not ahead:
                break
            outcome = _outcome(ahead[0], index)
            ahead.popleft()
            index += 1
            if isinstance(outcome, Exception) and not keep_errors:
                raise outcome
            report(index)
            yield outcome
            outcome = None  # only the consumer holds it
        if end is not None:
            raise end
    finally:
        settle(ahead)


def _outcome(future: Future[Any], index: int) -> Any:
    try:
        error = future.exception()
    except CancelledError:  # by Engine.close()
        raise Error("the engine is closed") from None
    if error is None:
        return future.result()
    if not isinstance(error, Exception):
        raise error
    return with_index(error, index)


def with_index(error: Exception, index: int) -> Exception:
    """Add an item's index to an exception: as its attribute ``index``, and for the reader.

    fasttrt's own exceptions get it in their message; others get a note (PEP 678's ``__notes__``,
    which Python 3.10 stores but does not print), as their arguments have meanings of their own.
    """
    vars(error)["index"] = index
    where = f"item {index}"
    if isinstance(error, Error) and error.args and isinstance(error.args[0], str):
        error.args = (f"{where}: {error.args[0]}", *error.args[1:])
    else:
        vars(error).setdefault("__notes__", []).append(where)
    return error
