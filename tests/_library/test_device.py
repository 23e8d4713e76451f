"""What names a GPU, or several."""

from __future__ import annotations

import threading
from typing import Any, NamedTuple

import numpy as np
import pytest

from fasttrt import CudaError, InputError, _core
from fasttrt._engine.device_warmup import warm_up_devices
from fasttrt._library.device import parse_device, parse_devices


class Torch(NamedTuple):
    """As a ``torch.device`` is seen from outside."""

    type: str
    index: int | None = None  # type: ignore[assignment]


@pytest.mark.parametrize(
    ("device", "expected"),
    [
        ("cpu", None), ("cuda", 0), ("cuda:0", 0), ("cuda:12", 12), (0, 0), (3, 3), ("1", 1),
        (np.int64(2), 2), (Torch("cpu"), None), (Torch("cuda"), 0), (Torch("cuda", 1), 1),
    ],
)  # fmt: skip
def test_one_device(device: Any, expected: int | None) -> None:
    assert parse_device(device) == expected
    assert parse_devices(device) == (None if expected is None else [expected])


@pytest.mark.parametrize(
    "device",
    [
        "auto",
        "",
        "cuda:",
        "cuda:0,1",
        Torch("meta"),
        Torch("mps", 0),
        "cuda:-1",
        "CUDA",
        -1,
        True,
        0.0,
        None,
        b"cpu",
    ],
)
def test_what_is_not_one_device_is_refused(device: Any) -> None:
    with pytest.raises(InputError, match='device: expected "cuda", "cuda:N" or "cpu", got'):
        parse_device(device)


@pytest.mark.parametrize(
    ("device", "expected"), [("cuda:0,1", [0, 1]), ("cuda:7,0,3", [7, 0, 3]), ("cuda:5", [5])]
)
def test_several_in_one_name(device: str, expected: list[int]) -> None:
    assert parse_devices(device) == expected


@pytest.mark.parametrize(
    ("devices", "expected"),
    [
        ([0, 1], [0, 1]),
        ((3,), [3]),
        (["cuda:1", "cuda:0"], [1, 0]),
        ([0, "cuda:2"], [0, 2]),
        (range(3), [0, 1, 2]),
        (np.array([1, 0]), [1, 0]),
    ],
)
def test_several_in_a_sequence(devices: Any, expected: list[int]) -> None:
    found = parse_devices("auto", devices)
    assert found == expected
    assert found is not None
    assert all(type(ordinal) is int for ordinal in found)


@pytest.mark.parametrize(
    "device", ["cuda:0,", "cuda:,1", "cuda:0,,1", "cuda:0, 1", "cpu,cuda", 1.5, []]
)
def test_names_of_nothing_are_refused(device: Any) -> None:
    with pytest.raises(InputError) as caught:
        parse_devices(device)
    expected = 'device: expected "auto", "cuda", "cuda:N", "cuda:0,1" or "cpu", got '
    assert str(caught.value) == f"{expected}{device!r}"


@pytest.mark.parametrize(
    "devices",
    [[], (), "cuda:0", b"01", 0, ["cpu"], ["cuda"], [-1], [True], [0.0], [None], [0, "cuda:x"]],
)
def test_sequences_of_other_things_are_refused(devices: Any) -> None:
    with pytest.raises(InputError, match=r"devices: expected GPUs as in .*, got ") as caught:
        parse_devices("auto", devices)
    assert str(caught.value).endswith(repr(devices))


@pytest.mark.parametrize(
    ("device", "devices"),
    [("cuda:1,1", None), ("cuda:0,1,0", None), ("auto", [2, 2]), ("auto", [0, "cuda:0"])],
)
def test_a_gpu_given_twice_is_refused(device: str, devices: Any) -> None:
    with pytest.raises(InputError, match=r"devices?: expected each GPU once, got "):
        parse_devices(device, devices)


@pytest.mark.parametrize("device", ["cuda", "cuda:0", "cpu"])
def test_one_of_both_ways_is_enough(device: str) -> None:
    with pytest.raises(InputError, match="pass either device or devices"):
        parse_devices(device, [0, 1])


def test_what_fails_to_start_is_left_to_the_block() -> None:
    before = threading.active_count()
    with warm_up_devices("cuda:99", None), pytest.raises(CudaError):
        _core.device_info(99)
    assert threading.active_count() == before
    with pytest.raises(KeyError), warm_up_devices("auto", None):
        raise KeyError
    assert threading.active_count() == before


def test_nothing_starts_for_the_cpu() -> None:
    before = threading.active_count()
    with warm_up_devices("cpu", None):
        assert threading.active_count() == before
    with pytest.raises(InputError, match="device: expected"), warm_up_devices("gpu", None):
        raise AssertionError
