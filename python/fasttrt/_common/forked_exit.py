"""The exit of forked processes, which have none of the threads that libraries left in their parent.

The static destructors of ONNX Runtime wait for such threads forever, and so do those of
TensorRT-RTX if the process was forked while its builder's threads were idle.
"""

import atexit
import ctypes
import os

_is_needed = False  # in this process, or in one that it was forked from


def skip_destructors_in_children() -> None:
    """Let processes forked from now on exit without libraries' static destructors.

    This is like ``os._exit``, with which multiprocessing ends forked processes, but after Python's
    own shutdown, and with the exit status.
    """
    global _is_needed
    _is_needed = True


def _after_fork() -> None:
    if not _is_needed:
        return
    c = ctypes.CDLL(None)
    if hasattr(c, "on_exit"):  # glibc only; the last one registered is called first
        c.on_exit(c._exit, None)  # noqa: SLF001  # its public name in C
        atexit.register(c.fflush, None)


os.register_at_fork(after_in_child=_after_fork)
