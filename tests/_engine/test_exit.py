"""How engines on the CPU end: closed while they run, with the interpreter, in a forked process."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

import fasttrt
from fasttrt import Engine
from fasttrt._runtime import ort_calls
from fasttrt._runtime import ort_session as _ort
from support import models
from support.free_threading import IS_FIRST
from support.gate import PATIENCE
from support.process import run_python

pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")

Array = models.Array


class Held:
    """Stands for ONNX Runtime's run: it begins, and ends when it is told to."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.begun = threading.Semaphore(0)
        self.end = threading.Event()
        self.run = _ort.run
        patch.setattr(_ort, "run", self)

    def __call__(self, *arguments: Any) -> Any:
        self.begun.release()
        assert self.end.wait(PATIENCE)
        return self.run(*arguments)


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Iterator[Held]:
    held = Held(monkeypatch)
    yield held
    held.end.set()


@pytest.mark.parametrize("threads", [1, 3])
def test_close_waits_for_runs_under_way(held: Held, threads: int) -> None:
    made = models.mlp()
    engine = Engine(made.proto, device="cpu")
    (x,) = made.inputs()
    results: list[Array] = []
    runs = [
        threading.Thread(target=lambda: results.append(engine.infer(x))) for _ in range(threads)
    ]
    for run in runs:
        run.start()
        assert held.begun.acquire(timeout=PATIENCE)
    closing = threading.Thread(target=engine.close)
    closing.start()
    closing.join(0.2)
    assert closing.is_alive()
    with pytest.raises(fasttrt.Error, match="the engine is closed"):
        engine.infer(x)  # refused, not waited for
    held.end.set()
    for thread in (closing, *runs):
        thread.join(PATIENCE)
        assert not thread.is_alive()
    for y in results:
        assert pytest.approx(made.reference(x), rel=1e-4, abs=1e-5) == y
    assert len(results) == threads
    engine.close()


def test_close_does_not_wait_for_the_run_that_it_interrupts(monkeypatch: Any) -> None:
    """As from a signal's handler, on the thread that runs."""
    made = models.mlp()
    engine = Engine(made.proto, device="cpu")
    run = _ort.run

    def closing(*arguments: Any) -> Any:
        engine.close()
        return run(*arguments)

    monkeypatch.setattr(_ort, "run", closing)
    engine.infer(made.inputs()[0])
    with pytest.raises(fasttrt.Error, match="the engine is closed"):
        engine.infer(made.inputs()[0])


def test_a_run_that_fails_is_over() -> None:
    made = models.mlp()
    engine = Engine(made.proto, device="cpu")
    with pytest.raises(fasttrt.InputError):
        engine.infer(made.inputs()[0][:, :3])
    engine.close()


def test_nothing_is_left_of_calls_that_are_over() -> None:
    made = models.mlp()
    with Engine(made.proto, device="cpu") as engine:
        for _ in engine.map([made.inputs()[0]] * 5):
            pass
    assert ort_calls._state.calls == {}


BEGIN = """
    import itertools, sys, threading, time
    from concurrent.futures import CancelledError
    import numpy as np
    import fasttrt
    from support import models

    made = models.mlp((16, 512, 512, 8))
    engine = fasttrt.Engine(made.proto, device="cpu")
    x = made.inputs(batch=64)[0]
    engine.infer(x)

    def forever(work):
        def run():
            while True:
                try:
                    work()
                except (fasttrt.Error, CancelledError):
                    pass
        for _ in range(3):
            threading.Thread(target=run, daemon=True).start()
        time.sleep(0.3)
"""
ENDS = {
    "infer": "forever(lambda: engine.infer(x))",
    "submit": "forever(lambda: engine.submit(x).result())",
    "submit, with callbacks": """
    from concurrent.futures import wait
    forever(lambda: wait([engine.submit(x) for _ in range(20)]))
""",
    "ainfer": """
    import asyncio
    async def many():
        tasks = (engine.ainfer(x) for _ in range(20))
        return await asyncio.gather(*tasks, return_exceptions=True)
    forever(lambda: asyncio.run(many()))
""",
    "futures whose engine nobody holds": """
    def work():
        other = fasttrt.Engine(made.proto, device="cpu")
        futures = [other.submit(x) for _ in range(20)]
        del other
        futures[-1].result()
    forever(work)
""",
    "map": "forever(lambda: list(engine.map(itertools.repeat(x, 50))))",
    "engines that are made and closed": """
    def work():
        with fasttrt.Engine(made.proto, device="cpu") as engine:
            engine.infer(x)
    forever(work)
""",
    "compare": "forever(lambda: fasttrt.compare(made.proto, x, device='cpu'))",
    "a run that would take for ever": """
    from onnx.parser import parse_model
    endless = parse_model('''
        <ir_version: 9, opset_import: ["" : 17]>
        g (int64 n, float[4] x) => (float[4] y) {
            go = Constant <value = bool {1}> ()
            y = Loop (n, go, x) <body = b (int64 i, bool c, float[4] v) => (bool d, float[4] w)
                { d = Identity (c) w = Neg (v) }>
        }
    ''')
    other = fasttrt.Engine(endless, device="cpu")
    forever(lambda: other.infer(np.int64(2**62), np.ones(4, np.float32)))
""",
    "sys.exit": "forever(lambda: engine.infer(x)); sys.exit(0)",
}


@pytest.mark.skipif(IS_FIRST, reason="free-threaded Python 3.13 may hang at its end")
@pytest.mark.parametrize("end", ENDS)
def test_a_daemon_thread_does_not_abort_the_end(end: str) -> None:
    child = run_python(f"{BEGIN}    {ENDS[end].strip()}\n", timeout=60)
    assert child.returncode == 0, child.stderr
    # ONNX Runtime's own lines about a run that was stopped may be there.
    assert "Traceback" not in child.stderr


FORK = """
    import os, sys, threading, time, warnings
    import numpy as np
    import fasttrt
    from support import models

    warnings.simplefilter("ignore")  # forking with threads
    made = models.mlp()
    engine = fasttrt.Engine(made.proto, device="cpu")
    x = made.inputs()[0]
    engine.infer(x)
    {before}
    child = os.fork()
    if child == 0:
        {inside}
        print("from the child")
        sys.exit(7)
    for _ in range(300):
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            break
        time.sleep(0.1)
    else:
        os.kill(child, 9)
        sys.exit("the child hangs")
    assert os.waitstatus_to_exitcode(status) == 7, status
    np.testing.assert_allclose(engine.infer(x), made.reference(x), rtol=1e-4, atol=1e-5)
"""
THREADS = """
    def run():
        while True:
            try: engine.infer(x)
            except fasttrt.Error: pass
    for _ in range(3): threading.Thread(target=run, daemon=True).start()
    time.sleep(0.2)
"""
FORKS = {
    "nothing": ("", "pass"),
    "the engine is let go of": ("", "del engine"),
    "the engine is closed": ("", "engine.close()"),
    "it was closed before": ("other = fasttrt.Engine(made.proto, device='cpu'); other.close()", ""),
    "an engine of its own": ("", "fasttrt.Engine(made.proto, device='cpu').infer(x)"),
    "after runs of threads": (THREADS.strip(), "fasttrt.Engine(made.proto, device='cpu').infer(x)"),
    "requests are let go of": ("waiting = [engine.submit(x) for _ in range(999)]", "del waiting"),
    "requests are waited for": (
        "waiting = [engine.submit(x) for _ in range(999)]",
        """
        try: waiting[-1].exception(60)
        except fasttrt.Error as error: assert 'forked' in str(error)
        from concurrent.futures import wait
        try: wait(waiting)
        except fasttrt.Error as error: assert 'process' in str(error)
""",
    ),
    "tasks are under way": (
        """
    import asyncio
    async def many(): await asyncio.gather(*(engine.ainfer(x) for _ in range(999)))
    threading.Thread(target=lambda: asyncio.run(many())).start()
""",
        "pass",
    ),
    "a child of the child": ("", "os.waitpid(os.fork() or sys.exit(7), 0)"),
}


@pytest.mark.skipif(sys.platform != "linux", reason="forks as Linux does")
@pytest.mark.parametrize("case", FORKS)
def test_a_forked_process_ends_by_itself(case: str) -> None:
    before, inside = FORKS[case]
    code = FORK.replace("{before}", before).replace("{inside}", inside or "pass")
    done = run_python(code, timeout=90)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == ["from the child"]


CLOSED_WITHIN_A_RUN = """
import concurrent.futures, gc, threading
import fasttrt
from fasttrt._runtime import ort_session
from support.models import mlp

gc.disable()
run = ort_session.run

def ends(*arguments):
    end()
    return run(*arguments)

ort_session.run = ends
model = mlp()
(x,) = model.inputs(batch=2)

class Cycle:
    pass

def dropped():
    cycle = Cycle()
    cycle.itself = cycle
    cycle.engine = fasttrt.Engine(model.proto, device="cpu")
    cycle.futures = [cycle.engine.submit(x) for _ in range(4)]
    return cycle.futures[0]._request

end = gc.collect
for _ in range(5):
    assert dropped().wait(30)

submitted = threading.Event()
end = lambda: submitted.wait(30) and engine.close()
engine = fasttrt.Engine(model.proto, device="cpu")
futures = [engine.submit(x) for _ in range(50)]
submitted.set()
done, late = concurrent.futures.wait(futures, 30)
assert not late
try:
    engine.submit(x)
except fasttrt.Error as error:
    print(error)
"""


def test_finalizers_may_close_an_engine_within_its_runs() -> None:
    child = run_python(CLOSED_WITHIN_A_RUN, timeout=60)
    assert (child.returncode, child.stdout, child.stderr) == (0, "the engine is closed\n", "")
