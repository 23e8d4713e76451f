"""The threads of this process, in Python and in C++."""

from __future__ import annotations

import time
from pathlib import Path

from support.gate import PATIENCE


def threads() -> set[str]:
    """Return the system's numbers of this process's threads."""
    return {task.name for task in Path("/proc/self/task").iterdir()}


def await_end(before: set[str]) -> None:
    """Wait until no threads are left but those of ``before``."""
    end = time.monotonic() + PATIENCE
    while threads() - before:
        assert time.monotonic() < end
        time.sleep(0.01)
