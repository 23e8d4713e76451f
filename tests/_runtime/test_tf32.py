"""A process that began with TF32 is not trusted without it."""

from __future__ import annotations

import pytest

import fasttrt
from fasttrt._runtime import tf32

VARIABLE = "NVIDIA_TF32_OVERRIDE"
EXACT, ROUNDED = {"config": {"tf32": False}}, {"config": {"tf32": True}}


@pytest.fixture(autouse=True)
def _a_new_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tf32, "_first", [])


@pytest.mark.parametrize("first", [None, "1"])
def test_what_came_first_counts(monkeypatch: pytest.MonkeyPatch, first: str | None) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    if first is not None:
        monkeypatch.setenv(VARIABLE, first)
    tf32.check_tf32(ROUNDED)
    monkeypatch.setenv(VARIABLE, "0")
    with pytest.raises(fasttrt.Error, match=rf"built without TF32.*{first or 'not set'} when"):
        tf32.check_tf32(EXACT)
    tf32.check_tf32(ROUNDED)
    tf32.check_tf32({})  # a plan of another tool


def test_a_process_that_began_without(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "0")
    tf32.check_tf32(EXACT)
    monkeypatch.setenv(VARIABLE, "1")  # which comes too late to count
    tf32.check_tf32(ROUNDED)
    tf32.check_tf32(EXACT)
    assert tf32._first == ["0"]
