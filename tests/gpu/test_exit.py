"""How the interpreter ends while engines live."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import fasttrt
from support.gpu import EXACT, run_child
from support.models import Model, elementwise
from support.randomness import new_rng

pytestmark = pytest.mark.gpu

BEGIN = """
import sys, threading, time
import numpy as np
import fasttrt

engine = fasttrt.Engine(sys.argv[1], device="cuda", contexts=2)
x = np.load(sys.argv[2])

def run_once():
    np.testing.assert_allclose(engine.infer(x), 4 * x.astype(float), rtol=1e-6)

run_once()
"""
ENDS = {
    "live engine": "",
    "global names keep everything": "keep = [engine, engine._backend, engine._backend.core]",
    "reference cycle": "cycle = [engine]; cycle.append(cycle); del engine, run_once",
    "sys.exit": "sys.exit(0)",
    "inside with": "engine.__enter__()",
    "in another atexit function": """
import atexit
atexit.register(lambda: print("late", threading.active_count()))
""",
    "thread that stops on its own": """
def run():
    for _ in range(50):
        run_once()
threading.Thread(target=run).start()
""",
    "daemon thread that ends with the engine": """
def run():
    try:
        while True:
            run_once()
    except fasttrt.Error:
        pass
threading.Thread(target=run, daemon=True).start()
time.sleep(0.2)
""",
    "forked while threads run": """
import os, warnings
def run():
    while True:
        try:
            run_once()
        except fasttrt.Error:
            pass
for _ in range(3):
    threading.Thread(target=run, daemon=True).start()
time.sleep(0.2)
warnings.simplefilter("ignore")  # forking with threads
if os.fork() == 0:
    sys.exit(0)  # without a word to the GPU, which it has no way to
assert os.wait()[1] == 0
""",
    "forked process that goes on": """
import os, warnings
def run():
    while True:
        try:
            run_once()
        except fasttrt.Error:
            pass
for _ in range(3):
    threading.Thread(target=run, daemon=True).start()
futures = [engine.submit(x) for _ in range(50)]
warnings.simplefilter("ignore")  # forking with threads
if os.fork() == 0:
    for call in (engine.infer, lambda x: engine.submit(x).result()):
        try:
            call(x)
        except fasttrt.Error as error:
            assert "forked" in str(error), error
        else:
            raise AssertionError(call)
    engine._backend._inherited.core.close()  # the core too
    engine.close()
    sys.exit(0)
assert os.wait()[1] == 0
for future in futures:
    np.testing.assert_allclose(future.result(), 4 * x.astype(float), rtol=1e-6)
run_once()
""",
    "arrays of the GPU's in a forked process": """
import gc, os
large = np.ones((256, 4), np.float32)
keep = [
    fasttrt.empty_pinned((1 << 20,), "float32"), fasttrt.DeviceArray.from_numpy(large),
    engine.infer(fasttrt.DeviceArray.from_numpy(large)), engine.infer(large),
]
if os.fork() == 0:
    keep[0][:5] = 1  # a copy of the parent's
    keep.pop()
    gc.collect()
    sys.exit(0)
assert os.wait()[1] == 0
np.testing.assert_array_equal(keep[1].numpy(), large)
""",
    "daemon thread that maps": """
import itertools
pinned = fasttrt.empty_pinned(x.shape, x.dtype)
pinned[...] = x
def run(item):
    while True:
        try:
            for y in engine.map(itertools.repeat(item)):
                pass
        except fasttrt.Error:
            pass
for item in (x, pinned):
    threading.Thread(target=run, args=(item,), daemon=True).start()
time.sleep(0.2)
""",
    "daemon thread that loads engines": """
def run():
    while True:
        try:
            fasttrt.Engine(sys.argv[1], device="cuda", cache=False)
        except fasttrt.Error:
            pass
threading.Thread(target=run, daemon=True).start()
time.sleep(0.2)
""",
    "daemon threads that never stop": """
def run():
    while True:
        try:
            run_once()
        except fasttrt.Error:
            pass
for _ in range(3):
    threading.Thread(target=run, daemon=True).start()
time.sleep(0.2)
""",
}


@pytest.fixture(scope="module")
def model() -> Model:
    return elementwise()


@pytest.fixture(scope="module")
def files(model: Model, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A plan, and an input for it."""
    folder = tmp_path_factory.mktemp("exit")
    shapes = {"x": ((1, 4), (64, 4), (256, 4))}
    fasttrt.build(model.proto, EXACT, shapes=shapes, device="cuda").save(folder / "m.plan")
    np.save(folder / "x.npy", new_rng().standard_normal((64, 4)).astype(np.float32))
    return folder / "m.plan", folder / "x.npy"


@pytest.mark.parametrize("end", ENDS)
def test_exit_code_is_0(files: tuple[Path, Path], end: str) -> None:
    code = f'{BEGIN}\nprint("right", flush=True)\n{ENDS[end]}'
    for _ in range(3 if "daemon" in end else 1):  # a race shows in one of a few
        child = run_child(code, *files, timeout=60)
        assert child.stdout.startswith("right\n"), child.stderr
        assert child.returncode == 0, f"exit code {child.returncode}\n{child.stderr}"
        assert child.stderr == ""


def test_errors_of_the_program_keep_their_exit_code(files: tuple[Path, Path]) -> None:
    child = run_child(f"{BEGIN}\nraise ValueError('mine')", *files, timeout=60)
    assert child.returncode == 1
    assert child.stderr.rstrip().endswith("ValueError: mine")
    child = run_child(f"{BEGIN}\nsys.exit(7)", *files, timeout=60)
    assert child.returncode == 7
    assert child.stderr == ""
