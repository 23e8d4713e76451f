"""Workers that crash, hang or spoil their process harm no other case."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from conformance import pool


def work(item: str) -> str:
    """What the workers do."""
    if item == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    if item == "exit":
        os._exit(3)
    if item == "hang":
        time.sleep(600)
    if item.startswith("once:"):  # the second time, in a process of its own, all is well
        marker = Path(item.removeprefix("once:"))
        if not marker.exists():
            marker.touch()
            os.kill(os.getpid(), signal.SIGABRT)
    print("what libraries print goes nowhere")
    return f"{item} {os.getpid()}"


def test_each_item_gets_its_result(tmp_path: Path) -> None:
    once = f"once:{tmp_path / 'marker'}"
    items = ["a", "crash", "b", "hang", once, "exit", "c", "d"]
    results = dict(pool.run(work, items, jobs=2, timeout=3))
    assert results.keys() == set(items)
    for item in ("a", "b", "c", "d", once):
        assert results[item].rpartition(" ")[0] == item
    assert isinstance(results["crash"], pool.Crashed)
    assert "SIGSEGV" in str(results["crash"])
    assert "exit code 3" in str(results["exit"])
    assert isinstance(results["hang"], TimeoutError)


def test_a_spoiled_process_is_not_used_again() -> None:
    results = dict(pool.run(work, ["a", "b"], 1, 60, lambda result: str(result).startswith("a")))
    assert results["a"].split()[1] != results["b"].split()[1]


@pytest.mark.parametrize("jobs", [1, 3])
def test_workers_are_used_again(jobs: int) -> None:
    results = list(pool.run(work, list("abcdefgh"), jobs, 60))
    assert len({result.split()[1] for _, result in results}) <= jobs
    assert sorted(item for item, _ in results) == list("abcdefgh")
