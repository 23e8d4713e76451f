"""How asyncio's event loops learn which requests are complete."""

import os
import weakref
from functools import partial
from typing import TYPE_CHECKING

from fasttrt import _core

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

_channels: "weakref.WeakKeyDictionary[AbstractEventLoop, _core.CompletionChannel | None]"
_channels = weakref.WeakKeyDictionary()
_last: "tuple[weakref.ref[AbstractEventLoop], _core.CompletionChannel] | None" = None
"""The channel that was asked for last: most programs have only one event loop."""


def channel_of(loop: "AbstractEventLoop") -> "_core.CompletionChannel | None":
    """Return the channel of the running event loop; its tokens are futures of the loop.

    They are done as soon as their requests are complete: the loop wakes up once for all that are
    complete by then. None if the loop cannot watch file descriptors, such as Windows' proactor.
    """
    global _last
    if _last is not None and _last[0]() is loop:
        return _last[1]
    if loop in _channels:
        channel = _channels[loop]
    else:
        channel = _channels[loop] = _open(loop)
    if channel is not None:
        _last = weakref.ref(loop), channel
    return channel


def _open(loop: "AbstractEventLoop") -> "_core.CompletionChannel | None":
    for other, left in list(_channels.items()):
        if other.is_closed():
            del _channels[other]
            if left is not None:  # its futures would hold it for ever
                left.close()
                left.take()
    channel = _core.CompletionChannel()
    try:
        loop.add_reader(channel.fileno(), partial(_complete, channel))
    except NotImplementedError:
        return None
    return channel


def _complete(channel: "_core.CompletionChannel") -> None:
    for future, _ in channel.take():
        if not future.done():  # cancelled
            future.set_result(None)


def _forget() -> None:
    """Begin anew in a forked process: the file descriptors are shared with its parent."""
    global _channels, _last
    _channels, _last = weakref.WeakKeyDictionary(), None


os.register_at_fork(after_in_child=_forget)
