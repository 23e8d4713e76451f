"""The futures of `Engine.submit`, which wait in the core for their results."""

import threading
import weakref
from collections.abc import Sequence
from concurrent.futures import CancelledError, Future, InvalidStateError
from concurrent.futures import TimeoutError as WaitTimeoutError
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NoReturn

from fasttrt import _core
from fasttrt._common.log import logger
from fasttrt.errors import Error

if TYPE_CHECKING:
    from fasttrt._runtime.request_queue import RequestQueue

_ATTRIBUTES = frozenset(vars(Future()))
"""What the functions of ``concurrent.futures`` expect a future to have."""


class RequestFuture(Future[Any]):
    """A request's future. Whoever calls `result` or `exception` waits in the core.

    What ``concurrent.futures.wait``, callbacks and asyncio need beyond that is made when they first
    ask for it, and brought up to date by the queue's `Collector`.
    """

    _request: "_core.Request"
    _queue: "RequestQueue"
    _by_name: bool
    _out: Sequence[Any] | None
    _outcome: "tuple[Any, BaseException | None] | None"
    _is_published: bool

    def __init__(
        self,
        request: "_core.Request",
        queue: "RequestQueue",
        by_name: bool,
        out: Sequence[Any] | None,
    ) -> None:
        """Take over a request; ``by_name`` and ``out`` are those of `RequestQueue.results`."""
        # Not Future's: see __getattr__.
        self._request = request
        self._queue = queue
        self._by_name = by_name
        self._out = out
        self._outcome = None
        self._is_published = False

    def result(self, timeout: float | None = None) -> Any:
        """Wait for the results; see ``concurrent.futures.Future``."""
        value, error = self._wait(timeout)
        if error is None:
            return value
        try:
            raise error
        finally:
            del self, error  # not in a cycle with the traceback

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Wait for the end, and return what the run raised, or None."""
        return self._wait(timeout)[1]

    def done(self) -> bool:
        """Whether the request is complete or cancelled."""
        return self._request.done

    def running(self) -> bool:
        """Whether the run has started and is not complete."""
        return self._request.running

    def cancelled(self) -> bool:
        """Whether the request was cancelled before its run started."""
        return self._request.cancelled

    def cancel(self) -> bool:
        """Cancel the request, and return whether it was not started."""
        if not self._request.cancel():
            return self._request.cancelled
        if "_condition" in vars(self):
            self.publish()
        return True

    def __getattr__(self, name: str) -> Any:
        """Become a complete ``concurrent.futures.Future``, for its functions."""
        if name not in _ATTRIBUTES:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        with self._queue.lock:
            is_new = "_condition" not in vars(self)
            if is_new:
                super().__init__()
        if is_new:
            if self._request.done:
                self.publish()
            else:
                self._queue.collector.add(self, self._request)
        return vars(self)[name]

    def __repr__(self) -> str:
        """Show the state."""
        request = self._request
        state = (
            "cancelled" if request.cancelled
            else "finished" if request.done
            else "running" if request.running
            else "pending"
        )  # fmt: skip
        return f"<{type(self).__name__} at {id(self):#x} state={state}>"

    def __reduce__(self) -> NoReturn:
        """Fail: like other futures, it belongs to its process."""
        raise TypeError(f"cannot pickle {type(self).__name__!r} object")

    def _wait(self, timeout: float | None) -> tuple[Any, BaseException | None]:
        """Return results and exception of the run, one of them None."""
        if self._outcome is None:
            request = self._request
            if not request.done and not self._queue.wait(request, timeout):
                raise WaitTimeoutError
            if request.cancelled:
                raise CancelledError
            self._settle()
        assert self._outcome is not None
        return self._outcome

    def _settle(self) -> None:
        """Take over the results of a request that is done, once."""
        with self._queue.lock:
            if self._outcome is not None:
                return
            try:
                results = self._queue.results(self._request, self._out, self._by_name)
            except Error as error:  # without frames: they would hold this future in a cycle
                self._outcome = None, error.with_traceback(None)
            except BaseException as error:
                frames = error.__traceback__
                self._outcome = None, error.with_traceback(frames and frames.tb_next)
            else:
                self._outcome = results, None

    def publish(self) -> None:
        """Let ``concurrent.futures`` know that the request is done."""
        with self._queue.lock:
            if self._is_published:
                return
            self._is_published = True
        if self._request.cancelled:
            super().cancel()
            super().set_running_or_notify_cancel()
            return
        self._settle()
        assert self._outcome is not None
        value, error = self._outcome
        with suppress(InvalidStateError):  # somebody else's set_result()
            if error is None:
                super().set_result(value)
            else:
                super().set_exception(error)


class Collector:
    """The thread that publishes the futures whose completion somebody asked to be told of.

    It starts with the first of them, and ends with `close`, or with this object.
    """

    def __init__(self) -> None:
        """Start no thread yet."""
        self._channel: _core.CompletionChannel | None = None
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._is_closed = False

    def add(self, future: RequestFuture, request: "_core.Request") -> None:
        """Publish a future as soon as its request is done."""
        with self._lock:
            if self._channel is None and not self._is_closed:
                self._channel = channel = _core.CompletionChannel()
                weakref.finalize(self, channel.close)
                self._thread = threading.Thread(
                    target=_collect, args=(channel,), name="fasttrt-collector", daemon=True
                )
                self._thread.start()
        if self._channel is not None:
            request.attach(self._channel, future)
        if self._is_closed:  # the thread may not have seen it
            request.wait(None)
            future.publish()

    def close(self) -> None:
        """End the thread once it has published what is done; its callbacks may call this, too.

        All requests have to be done.
        """
        with self._lock:
            self._is_closed = True
        if self._channel is None or self._thread is None:
            return
        self._channel.close()
        if self._thread is not threading.current_thread():
            self._thread.join()


def _collect(channel: "_core.CompletionChannel") -> None:
    is_open = True
    while is_open:
        is_open = channel.wait(None)
        for future, _ in channel.take():
            try:
                future.publish()
            except BaseException:  # of a callback; Exceptions are logged by concurrent.futures
                logger.critical("a callback of a future failed", exc_info=True)
        future = _ = None  # only their owners hold them
