"""How asyncio's event loops learn which requests are complete."""

import os
import threading
import time
import weakref
from typing import TYPE_CHECKING

from fasttrt import _core

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop, Future

_POLLING_SECONDS = 200e-6
"""How long a loop looks for its only result before it sleeps: waking it takes some 30 us."""
_completions: "weakref.WeakKeyDictionary[AbstractEventLoop, Completions | None]"
_completions = weakref.WeakKeyDictionary()
_last: "tuple[weakref.ref[AbstractEventLoop], Completions] | None" = None
"""What was asked for last: most programs have only one event loop."""
_opening = threading.Lock()


class Completions:
    """The requests of one event loop. The tokens in their channel are futures of the loop.

    These are done as soon as their requests are complete. The loop wakes up once for all that are
    complete by then.
    """

    def __init__(self, loop: "AbstractEventLoop") -> None:
        """Let the loop watch a channel.

        Raises:
            NotImplementedError: the loop cannot watch file descriptors.
        """
        self.channel = _core.CompletionChannel()
        self._waiting = 0
        self._polling_ends = 0.0
        loop.add_reader(self.channel.fileno(), self._complete)

    def expect(self, done: "Future[None]", *, polls: bool) -> None:
        """Count a request that was queued.

        Args:
            done: its token.
            polls: whether the loop may look for the result again and again instead of sleeping, for
                a moment; other tasks go on meanwhile. It only does so for a single request.
        """
        self._waiting += 1
        if polls and self._waiting == 1:
            is_polling = self._polling_ends > 0
            self._polling_ends = time.monotonic() + _POLLING_SECONDS
            if not is_polling:
                loop = done.get_loop()
                loop.call_soon(self._poll, loop)

    def _poll(self, loop: "AbstractEventLoop") -> None:
        self._complete()
        if self._waiting == 1 and time.monotonic() < self._polling_ends:
            loop.call_soon(self._poll, loop)
        else:
            self._polling_ends = 0.0

    def _complete(self) -> None:
        for future, _ in self.channel.take():
            self._waiting -= 1
            if not future.done():  # cancelled
                future.set_result(None)


def completions_of(loop: "AbstractEventLoop") -> Completions | None:
    """Return those of the running event loop.

    None if the loop cannot watch file descriptors, such as Windows' proactor.
    """
    global _last
    last = _last  # another thread's loop may replace it at any moment
    if last is not None and last[0]() is loop:
        return last[1]
    with _opening:
        found = _completions[loop] if loop in _completions else _open(loop)
    if found is not None:
        _last = weakref.ref(loop), found
    return found


def _open(loop: "AbstractEventLoop") -> Completions | None:
    for other, left in list(_completions.items()):
        if other.is_closed():
            del _completions[other]
            if left is not None:  # its futures would hold it for ever
                left.channel.close()
                left.channel.take()
    try:
        found = Completions(loop)
    except NotImplementedError:
        _completions[loop] = None
        return None
    _completions[loop] = found
    return found


def _forget() -> None:
    """Begin anew in a forked process: the file descriptors are shared with its parent."""
    global _completions, _last, _opening
    _completions, _last = weakref.WeakKeyDictionary(), None
    _opening = threading.Lock()


os.register_at_fork(after_in_child=_forget)
