"""Which sizes get a profile of their own, and which requests are refused."""

from __future__ import annotations

from typing import Any

import pytest

import fasttrt
from fasttrt._plan.profiles import NetworkInput
from fasttrt._plan.tuned import (
    MAX_PROFILES,
    BatchSizes,
    for_family,
    parse_tuned,
    tuned_profiles,
)


def tensor(name: str, shape: tuple[int, ...], *dims: str, is_shape: bool = False) -> NetworkInput:
    return NetworkInput(name, "float32", shape, dims or ("",) * len(shape), is_shape)


X = tensor("x", (-1, 16), "batch", "")
IDS = tensor("ids", (-1, -1), "batch", "seq")
MASK = tensor("mask", (-1, -1), "batch", "seq")
IMAGE = tensor("image", (-1, 3, -1, -1), "n", "", "h", "w")

WIDE: dict[str, Any] = {"x": ((1, 16), (8, 16), (32, 16))}
TEXT: dict[str, Any] = {
    "ids": ((1, 16), (4, 128), (8, 512)),
    "mask": ((1, 16), (4, 128), (8, 512)),
}


def tune(
    inputs: list[NetworkInput], profile: dict[str, Any], tuned: Any = "auto"
) -> tuple[list[dict[str, Any]], dict[str, list[int]]]:
    """Tune, and check that the range stays the first profile."""
    profiles, sizes = tuned_profiles(inputs, [profile], None, parse_tuned(tuned))
    assert profiles[0] == profile
    return profiles[1:], sizes


def fixed(profile: dict[str, Any]) -> dict[str, Any]:
    """Return each shape of a profile whose ranges are single shapes."""
    assert all(len(set(range_)) == 1 for range_ in profile.values())
    return {name: range_[0] for name, range_ in profile.items()}


def test_a_batch_gets_powers_of_two_its_opt_and_its_max() -> None:
    profiles, sizes = tune([X], WIDE)
    assert sizes == {"batch": [1, 2, 4, 8, 16, 32]}
    assert [fixed(profile) for profile in profiles] == [
        {"x": (n, 16)} for n in (1, 2, 4, 8, 16, 32)
    ]
    assert tune([X], {"x": ((3, 16), (6, 16), (20, 16))})[1] == {"batch": [4, 6, 8, 16, 20]}


@pytest.mark.parametrize("most", [64, 200, 1000, 1 << 20, (1 << 31) - 1])
def test_few_sizes_however_wide_the_range(most: int) -> None:
    sizes = tune([X], {"x": ((1, 16), (1, 16), (most, 16))})[1]["batch"]
    assert len(sizes) <= 8
    assert sizes[0] == 1
    assert sizes[-1] == most


def test_all_inputs_of_the_batch_get_the_same_size() -> None:
    other, scale = tensor("other", (-1,), ""), tensor("scale", (4,))
    ranges = {**WIDE, "other": ((1,), (8,), (32,)), "scale": ((4,),) * 3}
    # without a common name, the dimensions are one if their ranges are
    profiles, sizes = tune([X, other, scale], ranges, [8])
    assert sizes == {"batch": [8]}
    assert [fixed(p) for p in profiles] == [{"x": (8, 16), "other": (8,), "scale": (4,)}]


@pytest.mark.parametrize(
    ("inputs", "profile"),
    [
        ([X], {"x": ((4, 16), (4, 16), (4, 16))}),  # nothing is open
        ([IDS, MASK], TEXT),  # a sequence is open as well
        ([tensor("t", (-1, 8), "seq", "")], {"t": ((1, 8), (64, 8), (512, 8))}),  # no batch
        ([tensor("t", (4, -1), "", "")], {"t": ((4, 1), (4, 8), (4, 32))}),  # not dimension 0
        (
            [X, tensor("other", (-1,), "m")],
            {**WIDE, "other": ((1,), (8,), (64,))},
        ),  # not of one range
        (
            [X, tensor("size", (2,), is_shape=True)],
            {**WIDE, "size": ((1, 1), (2, 2), (4, 4))},
        ),  # values are open
    ],
)
def test_where_a_batch_is_not_all_that_is_open_auto_tunes_nothing(
    inputs: list[NetworkInput], profile: dict[str, Any]
) -> None:
    assert tune(inputs, profile) == ([], {})


def test_sizes_of_batching_count_where_the_range_has_them() -> None:
    assert tune([X], WIDE, BatchSizes((1, 6, 24, 48)))[1] == {"batch": [1, 6, 24]}
    assert tune([X], WIDE, BatchSizes((48,))) == ([], {})
    assert tune([IDS, MASK], TEXT, BatchSizes((1, 8))) == ([], {})


def test_a_list_is_of_batch_sizes_and_leaves_other_dimensions_open() -> None:
    profiles, sizes = tune([IDS, MASK], TEXT, [8, 1])
    assert sizes == {"batch": [1, 8]}
    assert profiles == [
        dict.fromkeys(("ids", "mask"), ((n, 16), (n, 128), (n, 512))) for n in (1, 8)
    ]


def test_names_are_of_dimensions_axes_and_inputs() -> None:
    for names in (("batch", "seq"), ("ids.0", "mask.1")):
        profiles, sizes = tune([IDS, MASK], TEXT, dict(zip(names, ([1, 4], [32, 64]), strict=True)))
        assert sizes == {"batch": [1, 4], "seq": [32, 64]}
        assert [fixed(profile)["mask"] for profile in profiles] == [
            (1, 32),
            (1, 64),
            (4, 32),
            (4, 64),
        ]
        assert all(profile["ids"] == profile["mask"] for profile in profiles)
    assert tune([X], WIDE, {"x": [5]})[1] == {"batch": [5]}
    _, sizes = tune(
        [IMAGE], {"image": ((1, 3, 32, 32), (1, 3, 64, 64), (4, 3, 96, 96))}, {"h": [64], "w": [96]}
    )
    assert sizes == {"h": [64], "w": [96]}


def test_dimensions_without_names_are_one_where_place_and_range_agree() -> None:
    ids, mask = tensor("ids", (1, -1)), tensor("mask", (1, -1))
    ranges = {"ids": ((1, 8), (1, 8), (1, 64)), "mask": ((1, 8), (1, 8), (1, 64))}
    profiles, sizes = tune([ids, mask], ranges, {"ids": [16]})
    assert sizes == {"ids.1": [16]}
    assert [fixed(profile) for profile in profiles] == [{"ids": (1, 16), "mask": (1, 16)}]


@pytest.mark.parametrize(
    ("inputs", "profile", "tuned", "message"),
    [
        ([X], WIDE, [33], r"batch: expected sizes from 1 to 32, got \[33\]"),
        ([X], WIDE, {"seq": [1]}, "the model has no dimension or input 'seq'; .*: batch from 1"),
        (
            [X],
            WIDE,
            {"x.1": [16]},
            "x.1: expected a dimension with a range, got a fixed one; .*batch",
        ),
        ([X], WIDE, {"batch": [1], "x": [2]}, "each dimension once, got batch again"),
        ([IDS, MASK], TEXT, {"ids": [16]}, "ids: expected one dimension, got one of several"),
        (
            [IDS, MASK],
            TEXT,
            {"batch": range(1, 9), "seq": range(16, 21)},
            f"at most {MAX_PROFILES} combinations, got 40",
        ),
        (
            [tensor("t", (4, -1), "", "")],
            {"t": ((4, 1), (4, 8), (4, 32))},
            [4],
            "a dynamic dimension 0 of one range for all of them, got t.1 from 1 to 32",
        ),
    ],
)
def test_requests_that_do_not_fit_are_refused(
    inputs: list[NetworkInput], profile: dict[str, Any], tuned: Any, message: str
) -> None:
    with pytest.raises(fasttrt.InputError, match=message):
        tune(inputs, profile, tuned)


@pytest.mark.parametrize(
    "tuned", ["all", "", b"auto", 8, [], [0], [1.5], [True], ["8"], {}, {"x": 8}, {1: [8]}]
)
def test_other_forms_are_refused(tuned: Any) -> None:
    with pytest.raises(fasttrt.InputError, match='tuned: expected "auto", None, a list'):
        parse_tuned(tuned)


def test_a_list_of_profiles_stays_as_it_is() -> None:
    profiles = [WIDE, {"x": ((3, 16),) * 3}]
    assert tuned_profiles([X], profiles, profiles, "auto") == (profiles, {})
    with pytest.raises(fasttrt.InputError, match="expected one profile in shapes with it"):
        tuned_profiles([X], profiles, profiles, (8,))


def test_fixed_models_have_nothing_to_tune() -> None:
    inputs = [tensor("x", (4, 16))]
    assert tuned_profiles(inputs, [], None, "auto") == ([], {})
    with pytest.raises(fasttrt.InputError, match="dynamic inputs, got x \\(4, 16\\)"):
        tuned_profiles(inputs, [], None, (4,))


def test_auto_is_for_libraries_that_build_quickly() -> None:
    assert for_family("auto", "rtx") == "auto"
    assert for_family("auto", "tensorrt") is None
    assert for_family(BatchSizes((1,)), "tensorrt") is None
    assert for_family((1, 8), "tensorrt") == (1, 8)
