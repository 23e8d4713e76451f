"""Calls of ONNX Runtime and the ends of things: of the interpreter, of an engine, after a fork.

ONNX Runtime lets go of the GIL while it works. A daemon thread that wants it back when the
interpreter is ending is ended by Python with ONNX Runtime's frames on its stack, which aborts the
process; so calls are stopped and waited for before that. In a forked process ONNX Runtime's
threads are not there, and what it destroys at the end, sessions and static objects, waits for them
for ever; so none of that is destroyed there.
"""

import atexit
import ctypes
import os
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from fasttrt.errors import Error


class _State:
    """What is under way in this process."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.calls: dict[object, Any] = {}
        """A key for each call, with its RunOptions if it has any."""
        self.ending = False


_state = _State()
_used = False  # whether there was a session in this process, or in one that it was forked from
_sessions: "weakref.WeakSet[Any]" = weakref.WeakSet()


@contextmanager
def under_way(options: Any = None) -> Iterator[None]:
    """For a call of ONNX Runtime: the interpreter's end waits for it.

    Args:
        options: the run's RunOptions, by which it is stopped then.

    Raises:
        Error: the interpreter is ending.
    """
    state, key = _state, object()
    with state.changed:
        if state.ending:
            raise Error("the interpreter is ending")
        state.calls[key] = options
    try:
        yield
    finally:
        with state.changed:
            del state.calls[key]
            state.changed.notify_all()


def keep_in_children(session: Any) -> None:
    """Let processes that are forked from this one end well, in spite of a session."""
    global _used
    _used = True
    _sessions.add(session)


@atexit.register
def end_calls() -> None:
    """Stop the runs under way, wait for all calls, and let no more begin."""
    with _state.changed:
        _state.ending = True
        for options in _state.calls.values():
            if options is not None:
                options.terminate = True
        _state.changed.wait_for(lambda: not _state.calls)


class Runs:
    """The runs of one session, which `close` waits for."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._threads: list[int] = []  # one entry for each run
        self._closed = False

    @contextmanager
    def one(self) -> Iterator[None]:
        """For the time of a run.

        Raises:
            Error: after `close`.
        """
        thread = threading.get_ident()
        with self._changed:
            if self._closed:
                raise Error("the engine is closed")
            self._threads.append(thread)
        try:
            yield
        finally:
            with self._changed:
                self._threads.remove(thread)
                self._changed.notify_all()

    def close(self) -> None:
        """Let no more begin, and wait for those under way.

        Not for one of this thread, which a signal's handler may have interrupted.
        """
        own = threading.get_ident()
        with self._changed:
            self._closed = True
            self._changed.wait_for(lambda: all(thread == own for thread in self._threads))


def _after_fork() -> None:
    global _state
    _state = _State()
    for session in list(_sessions):
        for held in (session, getattr(session, "_sess", None)):
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(held))
    _sessions.clear()
    if _used:
        _leave_out_destructors()


def _leave_out_destructors() -> None:
    """End this process once Python is done, before static objects of libraries are destroyed.

    As ``os._exit`` does, by which multiprocessing ends the processes that it forks, but after
    Python's own end.
    """
    c = ctypes.CDLL(None)
    if hasattr(c, "on_exit"):  # glibc's; what is registered last is called first, with the status
        c.on_exit(c._exit, None)
        atexit.register(c.fflush, None)


os.register_at_fork(after_in_child=_after_fork)
