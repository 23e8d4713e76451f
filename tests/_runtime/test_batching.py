"""`Batching`: its values, the sizes that it runs, and where it has no effect."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

import fasttrt
from fasttrt import Batching, Engine, InputError
from support import models


@pytest.mark.parametrize(
    ("most", "expected"),
    [
        (1, (1,)),
        (2, (1, 2)),
        (3, (1, 2, 3)),
        (8, (1, 2, 4, 8)),
        (9, (1, 2, 4, 8, 9)),
        (100, (1, 2, 4, 8, 16, 32, 64, 100)),
    ],
)
def test_powers_of_two_are_run_unless_told(most: int, expected: tuple[int, ...]) -> None:
    assert Batching(most).batch_sizes == expected
    assert Batching(most).sizes is None


@pytest.mark.parametrize("most", range(1, 70))
def test_every_request_finds_a_size(most: int) -> None:
    sizes = Batching(most).batch_sizes
    assert sizes == tuple(sorted(set(sizes)))
    assert sizes[-1] == most
    for count in range(1, most + 1):
        assert min(size for size in sizes if size >= count) < 2 * count


def test_sizes_are_those_given() -> None:
    given: Any = [3, np.int64(7), 12]
    batching = Batching(12, sizes=given)
    assert batching.batch_sizes == batching.sizes == (3, 7, 12)
    assert all(type(size) is int for size in batching.batch_sizes)


def test_values_are_plain_and_frozen() -> None:
    numbers: Any = np.array([16, 50])
    batching = Batching(numbers[0], max_delay_us=numbers[1])
    assert (type(batching.max_size), type(batching.max_delay_us)) == (int, int)
    assert batching == Batching(16, 50)
    assert hash(batching) == hash(Batching(16, 50))
    assert Batching(16).max_delay_us == 200
    with pytest.raises(dataclasses.FrozenInstanceError):
        batching.max_size = 3  # type: ignore[misc]


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("max_size", {"max_size": 0}),
        ("max_size", {"max_size": -4}),
        ("max_size", {"max_size": 2.0}),
        ("max_size", {"max_size": True}),
        ("max_size", {"max_size": 2**31}),
        ("max_size", {"max_size": "8"}),
        ("max_delay_us", {"max_size": 8, "max_delay_us": -1}),
        ("max_delay_us", {"max_size": 8, "max_delay_us": 0.5}),
        ("max_delay_us", {"max_size": 8, "max_delay_us": None}),
        ("sizes", {"max_size": 8, "sizes": ()}),
        ("sizes", {"max_size": 8, "sizes": (0, 8)}),
        ("sizes", {"max_size": 8, "sizes": (4, 2, 8)}),
        ("sizes", {"max_size": 8, "sizes": (4, 4, 8)}),
        ("sizes", {"max_size": 8, "sizes": (2, 4)}),
        ("sizes", {"max_size": 8, "sizes": (2, 16)}),
        ("sizes", {"max_size": 8, "sizes": (2.0, 8)}),
        ("sizes", {"max_size": 8, "sizes": 8}),
        ("sizes", {"max_size": 8, "sizes": "8"}),
    ],
)
def test_values_out_of_range_are_refused(name: str, values: dict[str, Any]) -> None:
    with pytest.raises(InputError) as caught:
        Batching(**values)
    assert str(caught.value).startswith(f"Batching.{name}: expected ")
    assert str(caught.value).endswith(f"got {values[name]!r}")


def test_the_cpu_gathers_nothing() -> None:
    made = models.mlp()
    items = [made.inputs(batch=n)[0] for n in (1, 2, 5)]
    with Engine(made.proto, device="cpu", batching=Batching(4)) as engine:
        for x in items:  # 5 is above max_size, and runs all the same
            expected = pytest.approx(made.reference(x), rel=1e-4, abs=1e-5)
            assert engine.infer(x) == expected
            assert engine.submit(x).result(60) == expected


@pytest.mark.parametrize("batching", [8, True, {"max_size": 8}])
def test_what_is_no_batching_is_refused(batching: Any) -> None:
    with pytest.raises(InputError, match=r"batching: expected a fasttrt\.Batching or None, got"):
        fasttrt.Engine(models.mlp().proto, device="cpu", batching=batching)
