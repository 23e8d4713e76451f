"""Sizes that come often get plans of their own, in the background; here of backends made up."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

import fasttrt
from fasttrt._common.tensor_spec import TensorSpec
from fasttrt._runtime.observed_sizes import ObservedSizes, SizeCounter
from support.randomness import new_rng
from support.threads import wait_until

PATIENCE = 30
RANGE = ((1, 8), (4, 8), (64, 8))


def spec(name: str = "x", *profiles: Any) -> TensorSpec:
    return TensorSpec(name, np.dtype(np.float32), (-1, 8), profiles=profiles or (RANGE,))


class FakeBackend:
    """What was opened for shapes."""

    def __init__(self, shapes: Mapping[str, Any]) -> None:
        self.shapes, self.closed, self.changes = dict(shapes), False, 0

    def close(self) -> None:
        self.closed = True


class Opener:
    """Opens fake backends while its gate is open, and remembers them."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.asked = 0
        self.gate.set()
        self.opened: list[FakeBackend] = []
        self.remembered: list[Any] = []
        self.refused: set[int] = set()
        self.threads: set[str] = set()

    def open(self, shapes: Mapping[str, Any]) -> Any:
        self.asked += 1
        assert self.gate.wait(PATIENCE)
        self.threads.add(threading.current_thread().name)
        if shapes["x"][0] in self.refused:
            raise RuntimeError("no memory")
        self.opened.append(FakeBackend(shapes))
        return self.opened[-1]


@pytest.fixture
def opener() -> Opener:
    return Opener()


@pytest.fixture
def make(opener: Opener) -> Callable[..., ObservedSizes]:
    def made(*inputs: TensorSpec, **options: Any) -> ObservedSizes:
        return ObservedSizes(
            inputs or (spec(),), opener.open, opener.remembered.append, **{"often": 5} | options
        )

    return made


def test_shapes_that_come_often_are_told_in_bounded_memory() -> None:
    counter = SizeCounter(often=50, most=16)
    rng = new_rng()
    told = [
        batch
        for i in range(4000)  # batch 7 a quarter of the time, all others rarely
        if counter.add(((batch := 7 if i % 4 == 0 else int(rng.integers(1000, 10**9)), 8),))
    ]
    assert set(told) == {7}
    assert len(counter._counts) <= 16


def test_a_size_that_comes_often_gets_a_plan_and_only_once(
    make: Callable[..., ObservedSizes], opener: Opener
) -> None:
    sizes = make()
    for _ in range(4):
        sizes.count(((3, 8),))
    assert opener.threads == set()
    opener.gate.clear()
    for _ in range(100):
        sizes.count(((3, 8),))
        assert sizes.find(((3, 8),)) is None  # not before it is ready
    opener.gate.set()
    wait_until(lambda: sizes.find(((3, 8),)) is not None)
    backend: Any = sizes.find(((3, 8),))
    assert backend.shapes == {"x": (3, 8)}
    assert sizes.find(((4, 8),)) is None
    assert sizes.shapes == [{"x": (3, 8)}]
    wait_until(lambda: opener.remembered == [[{"x": (3, 8)}]])
    assert len(opener.opened) == 1
    assert threading.current_thread().name not in opener.threads


def test_profiles_of_a_single_size_are_not_observed(
    make: Callable[..., ObservedSizes], opener: Opener
) -> None:
    tuned = ((2, 8),) * 3
    sizes = make(spec("x", RANGE, tuned), spec("z", ((1, 8), (1, 8), (9, 8)), tuned))
    for _ in range(20):
        sizes.count(((2, 8), (2, 8)))
    for _ in range(5):
        sizes.count(((2, 8), (3, 8)))
    wait_until(lambda: len(opener.opened) == 1)
    assert opener.opened[0].shapes == {"x": (2, 8), "z": (3, 8)}


def test_plans_are_bounded_in_number(make: Callable[..., ObservedSizes], opener: Opener) -> None:
    sizes = make(most_plans=3)
    for batch in range(1, 10):
        for _ in range(5):
            sizes.count(((batch, 8),))
    wait_until(lambda: len(sizes.shapes) == 3)
    assert len(opener.opened) == 3


def test_shapes_of_an_earlier_start_are_opened_at_once(
    make: Callable[..., ObservedSizes], opener: Opener
) -> None:
    known = [{"x": [3, 8]}, {"y": [3, 8]}, {"x": [5, 8]}, {"x": [3, 8]}]  # one of another model
    sizes = make(known=known)
    wait_until(lambda: len(sizes.shapes) == 2)
    assert sizes.shapes == [{"x": (3, 8)}, {"x": (5, 8)}]


def test_what_cannot_be_opened_is_logged_and_not_tried_again(
    make: Callable[..., ObservedSizes], opener: Opener, caplog: pytest.LogCaptureFixture
) -> None:
    opener.refused = {3}
    sizes = make()
    for batch in (3, 5, 3, 3):
        for _ in range(5):
            sizes.count(((batch, 8),))
    wait_until(lambda: len(sizes.shapes) == 1)
    assert sizes.find(((3, 8),)) is None
    assert [r.message for r in caplog.records if "no plan for" in r.message] == [
        "no plan for {'x': (3, 8)}: no memory"
    ]


def test_closing_closes_all_and_what_is_still_being_opened(
    make: Callable[..., ObservedSizes], opener: Opener
) -> None:
    sizes = make()
    for _ in range(5):
        sizes.count(((3, 8),))
    wait_until(lambda: sizes.find(((3, 8),)) is not None)
    opener.gate.clear()
    for batch in (4, 5):
        for _ in range(5):
            sizes.count(((batch, 8),))
    wait_until(lambda: opener.asked == 2)
    sizes.close()  # does not wait
    assert opener.opened[0].closed
    opener.gate.set()
    wait_until(lambda: len(opener.opened) == 2 and opener.opened[1].closed)
    assert len(opener.remembered) == 1
    for _ in range(9):
        sizes.count(((6, 8),))
    assert len(opener.opened) == 2


def test_a_plan_that_cannot_be_remembered_keeps_no_other_from_being_built(
    opener: Opener, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(shapes: Any) -> None:
        raise OSError("the disk is full")

    sizes = ObservedSizes((spec(),), opener.open, fail, often=5)
    for batch in (3, 4):
        for _ in range(5):
            sizes.count(((batch, 8),))
        wait_until(lambda: sizes.find(((batch, 8),)) is not None)  # noqa: B023
        wait_until(lambda: "the disk is full" in caplog.text)
        caplog.clear()


def test_a_plan_that_fails_to_close_keeps_no_other_open(
    make: Callable[..., ObservedSizes], opener: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = make()
    for batch in (3, 4):
        for _ in range(5):
            sizes.count(((batch, 8),))
    wait_until(lambda: sizes.find(((4, 8),)) is not None)

    def fail() -> None:
        raise fasttrt.Error("cannot be closed")

    monkeypatch.setattr(opener.opened[0], "close", fail)
    with pytest.raises(fasttrt.Error, match="cannot be closed"):
        sizes.close()
    assert opener.opened[1].closed


def test_a_change_reaches_all_plans_and_ends_the_building(
    make: Callable[..., ObservedSizes], opener: Opener
) -> None:
    sizes = make()
    for batch in (3, 4):
        for _ in range(5):
            sizes.count(((batch, 8),))
    wait_until(lambda: len(sizes.shapes) == 2)

    def change(backend: Any) -> None:
        backend.changes += 1

    sizes.apply(change)
    assert [backend.changes for backend in opener.opened] == [1, 1]
    for _ in range(9):
        sizes.count(((5, 8),))
    assert len(opener.opened) == 2
    assert sizes.find(((4, 8),)) is not None


def test_threads_that_count_at_once(make: Callable[..., ObservedSizes], opener: Opener) -> None:
    sizes = make(often=400)

    def work() -> None:
        for _ in range(100):
            sizes.count(((3, 8),))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wait_until(lambda: len(sizes.shapes) == 1)
