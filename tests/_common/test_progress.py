"""Who is told of a build's progress: a callback, a terminal, or nobody."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

import fasttrt
from fasttrt import BuildProgress
from fasttrt._common.progress import reporter
from support.process import run_python

BUILD = """
import sys, fasttrt
from support.models import deep
options = {"bar": {"progress": True}, "none": {"progress": False}, "default": {}}[sys.argv[1]]
plan = fasttrt.build(deep(60).proto, shapes={"x": (2, 16)}, **options)
print(len(plan.data) > 5000)
"""


def test_a_callback_is_called_with_what_there_is() -> None:
    seen: list[BuildProgress] = []
    step = BuildProgress("phase", "", 1, 2)
    with reporter(seen.append) as report:
        report(step)
    assert seen == [step]


def test_nobody_is_told_on_request(capfd: pytest.CaptureFixture[str]) -> None:
    with reporter(False) as report:
        report(BuildProgress("phase", "", 1, 2))
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("option", ["none", "default"])
def test_where_there_is_no_terminal_nothing_is_shown(rtx: fasttrt.LibraryInfo, option: str) -> None:
    done = run_python(BUILD, option, FASTTRT_LIBRARY=str(rtx.path))
    assert (done.returncode, done.stdout, done.stderr) == (0, "True\n", "")


def on_terminal(option: str, library: Path) -> str:
    """What a build shows on a terminal."""
    leader, follower = pty.openpty()
    paths = [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    environment = {"PYTHONPATH": os.pathsep.join(filter(None, paths)), "TERM": "xterm"}
    environment["FASTTRT_LIBRARY"] = str(library)
    with subprocess.Popen(
        [sys.executable, "-c", BUILD, option],
        stdout=subprocess.PIPE,
        stderr=follower,
        env=os.environ | environment,
        text=True,
    ) as process:
        os.close(follower)
        shown = bytearray()
        while True:
            try:
                block = os.read(leader, 1 << 16)
            except OSError:  # Linux's way to say that the other end is closed
                break
            if not block:
                break
            shown += block
        output = process.stdout.read() if process.stdout else ""
    os.close(leader)
    assert (process.returncode, output) == (0, "True\n"), shown
    return shown.decode()


@pytest.mark.parametrize("option", ["bar", "default"])
def test_a_terminal_gets_a_bar(rtx: fasttrt.LibraryInfo, option: str) -> None:
    assert "Building engine" in on_terminal(option, rtx.path)


def test_a_terminal_gets_no_bar_on_request(rtx: fasttrt.LibraryInfo) -> None:
    assert on_terminal("none", rtx.path) == ""
