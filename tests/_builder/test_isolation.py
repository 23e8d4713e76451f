"""Builds in a process of their own: what comes back, and what becomes of it where that dies."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
from onnx.parser import parse_model

import fasttrt
from fasttrt._builder import isolation
from fasttrt._builder.isolation import describe_exception, run_isolated
from fasttrt._plan.profiles import Shapes
from support import models

BAD = '<ir_version: 8, opset_import: ["" : 17]> g (float[2] x) => (float[2] y) { y = Erff (x) }'


def children() -> list[int]:
    """Give the processes that this one has started, other tests' workers among them."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = entry.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == os.getpid() and fields[0] != "Z":
            found.append(int(entry.parent.name))
    return found


@pytest.mark.parametrize("where", ["file", "file that is changed", "memory"])
def test_the_plan_is_the_same(
    where: str, build: Callable[..., fasttrt.Plan], tmp_path: Path
) -> None:
    proto, path = models.mlp(batch="n").proto, tmp_path / "m.onnx"
    onnx.save(proto, path)
    source = proto if where == "memory" else path
    dims = {"n": 4} if where != "file" else None
    shapes = {"x": ((1, 16), (4, 16), (8, 16))} if dims is None else None
    ours, theirs = (
        build(source, dims=dims, shapes=shapes, isolate=isolate) for isolate in (False, True)
    )
    assert theirs.metadata == ours.metadata
    assert len(theirs.data) == len(ours.data)
    theirs.save(tmp_path / "m.plan")
    assert fasttrt.Plan.load(tmp_path / "m.plan").digest == theirs.digest


def test_steps_and_the_log_come_as_they_do_otherwise(
    build: Callable[..., fasttrt.Plan], caplog: pytest.LogCaptureFixture
) -> None:
    steps: list[fasttrt.BuildProgress] = []
    with caplog.at_level(logging.INFO, "fasttrt"):
        build(models.mlp(batch="n").proto, isolate=True, progress=steps.append, dims={"n": 4})
    assert any(step.step == step.steps for step in steps)
    assert {record.name for record in caplog.records} == {"fasttrt", "fasttrt.tensorrt"}


@pytest.mark.parametrize("shapes", [None, {"x": (1, 2)}])
def test_errors_are_the_same(shapes: Shapes | None, build: Callable[..., fasttrt.Plan]) -> None:
    proto = parse_model(BAD) if shapes is None else models.mlp(batch="n").proto
    found = []
    for isolate in (False, True):
        with pytest.raises(fasttrt.Error) as caught:
            build(proto, shapes=shapes, isolate=isolate)
        found.append((type(caught.value), str(caught.value), vars(caught.value)))
    assert found[0] == found[1]


@pytest.mark.parametrize(
    "error",
    [
        fasttrt.ParseError("m", (fasttrt.errors.ParseIssue(1, "n", "Op", "why"),), ("y",)),
        fasttrt.CudaError("m", 2, "cuInit"),
        fasttrt.OutOfMemoryError("m"),
        FileNotFoundError(2, "No such file", "m.onnx"),
        TypeError("m"),
    ],
)
def test_exceptions_survive_the_way(error: Exception) -> None:
    again = isolation._exception(json.loads(json.dumps(describe_exception(error))))
    assert type(again) is type(error)
    assert str(again) == str(error)
    assert vars(again) == vars(error)


DYING = """
import os, signal, sys, time
sys.argv[1:3] = sys.argv[1:3]
from fasttrt._builder import isolated_job
from fasttrt._common.progress import BuildProgress
def die(connection, how, phase=""):
    if phase:
        connection.progress(BuildProgress(phase, "", 0, 1))
    if how == "hang":
        time.sleep(1000)
    if how == "exit":
        os._exit(3)
    os.kill(os.getpid(), int(how))
isolated_job._JOBS["die"] = die
isolated_job.main()
"""


@pytest.fixture
def dying(monkeypatch: pytest.MonkeyPatch) -> None:
    """A job that dies as it is told."""
    monkeypatch.setattr(
        isolation, "command", lambda module, *rest: [sys.executable, "-c", DYING, *rest]
    )


@pytest.mark.usefixtures("dying")
@pytest.mark.parametrize(
    ("how", "phase", "kind", "text"),
    [
        (
            str(int(signal.SIGSEGV)),
            "",
            fasttrt.ParseError,
            "parses the model: .* signal 11 .SIGSEGV",
        ),
        (str(int(signal.SIGFPE)), "Timing", fasttrt.BuildError, 'in "Timing": .* signal 8 .SIGFPE'),
        (str(int(signal.SIGKILL)), "", fasttrt.ParseError, "SIGKILL.*memory is short"),
        ("exit", "", fasttrt.ParseError, "it ended with exit code 3"),
        ("hang", "", fasttrt.ParseError, "it took longer than 3 s"),
        ("hang", "Timing", fasttrt.BuildError, "it took longer than 3 s"),
    ],
)
def test_its_death_is_an_error(how: str, phase: str, kind: type[fasttrt.Error], text: str) -> None:
    others, before = children(), len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(kind, match=text):
        run_isolated("die", {"how": how, "phase": phase}, timeout=3)
    assert children() == others
    assert len(list(Path("/proc/self/fd").iterdir())) == before


@pytest.mark.usefixtures("dying")
@pytest.mark.timeout(120)
@pytest.mark.parametrize("thread", ["main", "other"])
def test_ctrl_c_ends_it(thread: str) -> None:
    """Whichever thread the signal arrives in; only that of the main one interrupts its `select`."""

    def interrupt() -> None:
        target = threading.main_thread().ident if thread == "main" else threading.get_ident()
        assert target is not None
        signal.pthread_kill(target, signal.SIGINT)

    timer = threading.Timer(0.3, interrupt)
    others = children()
    with pytest.raises(KeyboardInterrupt):  # the job hangs after its first step
        run_isolated("die", {"how": "hang", "phase": "Timing"}, progress=lambda step: timer.start())
    timer.join()
    assert children() == others


def test_an_exception_of_the_callback_ends_it(build: Callable[..., fasttrt.Plan]) -> None:
    def stop(step: fasttrt.BuildProgress) -> None:
        raise RuntimeError("enough")

    others = children()
    with pytest.raises(RuntimeError, match="enough"):
        build(models.mlp(batch=4).proto, isolate=True, progress=stop)
    assert children() == others


@pytest.mark.parametrize("limit", [0, -1.0, float("nan")])
def test_limits_that_are_none_are_refused(limit: float, build: Callable[..., fasttrt.Plan]) -> None:
    if limit == 0:  # False by another name
        return
    with pytest.raises(fasttrt.InputError, match="isolate: expected True, False or seconds > 0"):
        build(models.mlp(batch=4).proto, isolate=limit)


def test_it_runs_nothing_of_the_current_folder(
    build: Callable[..., fasttrt.Plan], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("json", "numpy", "onnx", "fasttrt", "ctypes"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('hijacked')")
    monkeypatch.chdir(tmp_path)
    assert build(models.mlp(batch=4).proto, isolate=True).metadata["inputs"][0]["name"] == "x"


def test_the_command_line_takes_it(rtx: fasttrt.LibraryInfo, tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    onnx.save(models.mlp(batch=4).proto, path)
    done = subprocess.run(
        [sys.executable, "-m", "fasttrt", "build", str(path), "--isolate", "--json",
         "--library", rtx.path],
        capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip
    assert json.loads(done.stdout)["path"] == str(path.with_suffix(".plan"))


def test_inspect_survives_the_parser(rtx: fasttrt.LibraryInfo, tmp_path: Path) -> None:
    """No model is known that the parser dies of and that is not refused before; so by a limit."""
    path = tmp_path / "m.onnx"
    onnx.save(models.mlp(batch=4).proto, path)
    code = "from fasttrt._cli import inspect, main; inspect._PATIENCE = 0.01; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "inspect", str(path), "--json", "--library", rtx.path],
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    parser = json.loads(done.stdout)["parser"]
    assert parser["parses"] is False
    assert "it took longer than 0.01 s" in parser["refused"][0]["reason"]
