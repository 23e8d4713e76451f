"""Worker processes that may crash or hang without harm to others."""

from __future__ import annotations

import multiprocessing
import os
import queue
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any

_spawn = multiprocessing.get_context("spawn")
_LONGEST_START = 120.0
"""Seconds that a process may take to start, which do not count as its item's."""


@contextmanager
def environment() -> Iterator[None]:
    """Set what TensorRT-RTX heeds for all of float32, and no idle threads, for new processes."""
    before = dict(os.environ)
    os.environ.update(NVIDIA_TF32_OVERRIDE="0", OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


class Crashed(Exception):  # noqa: N818
    """The worker ended while it was at work."""


class _Worker:
    """A process that applies a function to one item after the other."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self._pipe, theirs = _spawn.Pipe()
        self._process = _spawn.Process(target=_serve, args=(function, theirs), daemon=True)
        self._process.start()
        self._is_ready = False
        theirs.close()

    def ask(self, item: Any, timeout: float) -> Any:
        """The function's result.

        Raises:
            Crashed: the process ended.
            TimeoutError: it did not answer in time.
        """
        try:
            if not self._is_ready:
                if not self._pipe.poll(_LONGEST_START):
                    raise TimeoutError("the process did not start")
                self._is_ready = self._pipe.recv()
            self._pipe.send(item)
            if not self._pipe.poll(timeout):
                raise TimeoutError(f"no answer in {timeout:.0f} s")
            return self._pipe.recv()
        except (EOFError, ConnectionError):
            self._process.join()
            code = self._process.exitcode or 0
            cause = signal.Signals(-code).name if code < 0 else f"exit code {code}"
            raise Crashed(f"the process ended with {cause}") from None

    def end(self) -> None:
        self._process.kill()
        self._process.join()
        self._pipe.close()


def _serve(function: Callable[[Any], Any], pipe: Connection) -> None:
    for descriptor in (1, 2):  # what libraries print
        os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)
    pipe.send(True)
    while True:
        try:
            item = pipe.recv()
        except EOFError:
            return
        pipe.send(function(item))


def run(
    function: Callable[[Any], Any],
    items: Iterable[Any],
    jobs: int,
    timeout: float,
    is_spoiled: Callable[[Any], bool] = lambda result: False,
) -> Iterator[tuple[Any, Any]]:
    """(item, result) of each as it is done; `Crashed` or TimeoutError in place of a result.

    What goes wrong is tried a second time, alone in a fresh process, as an earlier item may be to
    blame. A worker whose result ``is_spoiled`` (a CUDA error leaves no CUDA behind) ends too.
    """
    waiting: queue.SimpleQueue[Any] = queue.SimpleQueue()
    done: queue.SimpleQueue[tuple[Any, Any]] = queue.SimpleQueue()
    count = 0
    for item in items:
        waiting.put(item)
        count += 1

    def attend() -> None:
        worker = _Worker(function)
        while True:
            try:
                item = waiting.get_nowait()
            except queue.Empty:
                break
            for is_last in (False, True):
                if is_last:
                    worker.end()
                    worker = _Worker(function)
                try:
                    result = worker.ask(item, timeout)
                except (Crashed, TimeoutError) as error:
                    result = error
                if not (isinstance(result, Exception) or is_spoiled(result)):
                    break
            done.put((item, result))
            if isinstance(result, Exception) or is_spoiled(result):
                worker.end()
                worker = _Worker(function)
        worker.end()

    for _ in range(jobs):
        threading.Thread(target=attend, daemon=True).start()
    for _ in range(count):
        yield done.get()
