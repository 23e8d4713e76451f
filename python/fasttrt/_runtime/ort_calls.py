"""Shutdown of ONNX Runtime: at the end of the interpreter or of an engine, and after a fork.

ONNX Runtime releases the GIL while it works. A daemon thread that needs it back while the
interpreter is ending is terminated by Python with ONNX Runtime's frames on its stack, which aborts
the process; so calls are stopped and waited for first. In a forked process, ONNX Runtime's threads
do not exist, and the destructors of its sessions and static objects would wait for them forever; so
these are not destroyed there.
"""

import atexit
import ctypes
import os
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from fasttrt._common.forked_exit import skip_destructors_in_children
from fasttrt.errors import Error


class _State:
    """The calls in progress in this process."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.calls: dict[object, Any] = {}
        """The RunOptions of each call, or None, by a unique key."""
        self.ending = False


_state = _State()
_sessions: "weakref.WeakSet[Any]" = weakref.WeakSet()


@contextmanager
def under_way(options: Any = None) -> Iterator[None]:
    """Make the interpreter's end wait for the call of ONNX Runtime in the block.

    Args:
        options: the run's RunOptions, with which it is then stopped.

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
    """Keep a session alive in forked processes, so that they can end cleanly."""
    skip_destructors_in_children()
    _sessions.add(session)


@atexit.register
def end_calls() -> None:
    """Stop current runs, wait for all calls, and reject new ones."""
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
        self._threads: list[int] = []  # one entry per run
        self._closing: set[int] = set()  # threads that called close()

    @contextmanager
    def one(self) -> Iterator[None]:
        """Count the block as a run.

        Raises:
            Error: after `close`.
        """
        thread = threading.get_ident()
        with self._changed:
            if self._closing:
                raise Error("the engine is closed")
            self._threads.append(thread)
        try:
            yield
        finally:
            with self._changed:
                self._threads.remove(thread)
                self._changed.notify_all()

    def close(self) -> None:
        """Reject new runs, and wait for current ones.

        It does not wait for a run of this thread, which a signal handler or a finalizer may have
        interrupted, nor for one that was interrupted to close them, too.
        """
        with self._changed:
            self._closing.add(threading.get_ident())
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._closing.issuperset(self._threads))


def _after_fork() -> None:
    global _state
    _state = _State()
    for session in list(_sessions):
        for owner in (session, getattr(session, "_sess", None)):
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(owner))
    _sessions.clear()


os.register_at_fork(after_in_child=_after_fork)
