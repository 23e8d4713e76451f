"""Forked processes end by themselves although TensorRT's threads are their parent's."""

from __future__ import annotations

import sys

import pytest

import fasttrt
from support.process import run_python

CODE = """
    import atexit, os, sys, threading, warnings
    import fasttrt
    from support.models import deep
    warnings.simplefilter("ignore")  # forking with threads
    proto, started = deep(40).proto, threading.Semaphore(0)

    def build():
        while True:
            try:
                fasttrt.build(proto, shapes={"x": (2, 16)}, progress=lambda step: started.release())
            except fasttrt.Error:  # the process ends
                return

    for _ in range(2):
        threading.Thread(target=build, daemon=True).start()
    for _ in range(100):
        started.acquire()
    child = os.fork()
    if child == 0:
        atexit.register(print, "from the child", flush=True)
        sys.exit(7)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="forks as Linux does")
def test_a_process_forked_during_a_build_ends_by_itself(rtx: fasttrt.LibraryInfo) -> None:
    done = run_python(CODE, timeout=60, FASTTRT_LIBRARY=str(rtx.path))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == ["from the child", "7"]
