"""Ranges from what the caller wrote and from what the model declares."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pytest

import fasttrt
from fasttrt._plan.profiles import (
    NetworkInput,
    ambiguous_dimensions,
    is_placeholder,
    parse_range,
    resolve,
    varies,
)


def tensor(
    name: str, *shape: int, dims: tuple[str, ...] | None = None, is_shape: bool = False
) -> NetworkInput:
    return NetworkInput(name, "float32", shape, dims or ("",) * len(shape), is_shape)


IMAGE = tensor("image", -1, 3, -1, -1, dims=("batch", "", "height", "width"))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ((2, 3), ((2, 3), (2, 3), (2, 3))),
        ([2, 3], ((2, 3), (2, 3), (2, 3))),
        (np.array([2, 3]), ((2, 3), (2, 3), (2, 3))),
        ((np.int64(2), np.int32(3)), ((2, 3), (2, 3), (2, 3))),
        ("2x3", ((2, 3), (2, 3), (2, 3))),
        ("7", ((7,), (7,), (7,))),
        ((), ((), (), ())),
        ((5,), ((5,), (5,), (5,))),
        (((1, 3), (2, 3), (4, 3)), ((1, 3), (2, 3), (4, 3))),
        ([[1, 3], [2, 3], [4, 3]], ((1, 3), (2, 3), (4, 3))),
        ([(1, 3)], ((1, 3), (1, 3), (1, 3))),
        ("1x3:2x3:4x3", ((1, 3), (2, 3), (4, 3))),
        (((-1,), (0,), (2,)), ((-1,), (0,), (2,))),  # a shape tensor's values
    ],
)
def test_forms_of_a_range(value: Any, expected: Any) -> None:
    assert parse_range("x", value) == expected


@pytest.mark.parametrize(
    "value",
    [
        "",
        "1x",
        "1xq",
        "1x3:2x3",
        "1x3:2x3:4x3:8x3",
        "1x3:2x3:4",
        ((1, 3), (2, 3)),
        ((1, 3), (2, 3), (4,)),
        ((1, 3), 2, (4, 3)),
        ("1x3", "2x3", "4x3"),
        ("12", "24", "48"),
        (1, "3"),
        (1, None),
        (1, 2.7),
        (True, 3),
        ((1, 3), (2, 3), (True, 3)),
        ((1, 3), (2, 3), (4, 3.5)),
        5,
        None,
        {"a": 1},
    ],
)
def test_other_forms_are_refused_with_the_input_and_what_came(value: Any) -> None:
    with pytest.raises(fasttrt.InputError) as caught:
        parse_range("x", value)
    assert str(caught.value).startswith("x: expected a shape, a (min, opt, max) of shapes")
    assert str(caught.value).endswith(f"got {value!r}")


def test_a_static_network_needs_no_profile() -> None:
    static = tensor("x", 2, 3)
    assert not static.is_dynamic
    assert resolve([static], None) == []
    assert resolve([static], {"x": (2, 3)}) == []
    with pytest.raises(fasttrt.InputError, match=r"x: expected a shape like \(2, 3\)"):
        resolve([static], {"x": (2, 4)})


def test_given_ranges_are_taken_as_they_are() -> None:
    given = ((1, 3, 8, 8), (2, 3, 16, 8), (4, 3, 32, 64))
    assert resolve([IMAGE], {"image": given}) == [{"image": given}]
    assert resolve([IMAGE], {"image": "1x3x8x8:2x3x16x8:4x3x32x64"}) == [{"image": given}]


def test_several_profiles_keep_their_order() -> None:
    small, large = (1, 3, 8, 8), (4, 3, 64, 64)
    assert resolve([IMAGE], [{"image": small}, {"image": large}]) == [
        {"image": (small,) * 3},
        {"image": (large,) * 3},
    ]


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ({"image": (1, 3, 8)}, "image: expected a shape like"),
        ({"image": (1, 4, 8, 8)}, "image: expected a shape like"),
        ({"image": "1x3x8x8:1x3x8x8:1x4x8x8"}, "image: expected a shape like"),
        ({"image": "1x2x8x8:1x3x8x8:1x3x8x8"}, "image: expected a shape like"),
        (
            {"image": ((1, 3, 8, 8), (1, 3, 4, 8), (1, 3, 9, 9))},
            "image: expected 0 <= min <= opt <= max",
        ),
        (
            {"image": ((1, 3, 8, 8), (9, 3, 8, 8), (4, 3, 8, 8))},
            "image: expected 0 <= min <= opt <= max",
        ),
        ({"image": (-1, 3, 8, 8)}, "image: expected 0 <= min <= opt <= max"),
        ({"picture": (1, 3, 8, 8)}, "the model has no input 'picture'; it has image"),
        ([], "an empty list"),
        ([(1, 3, 8, 8)], "expected a mapping from input names"),
        ("1x3x8x8", "expected a mapping from input names"),
    ],
)
def test_ranges_that_do_not_fit_are_refused(shapes: Any, message: str) -> None:
    with pytest.raises(fasttrt.InputError) as caught:
        resolve([IMAGE], shapes)
    assert message in str(caught.value)


@pytest.mark.parametrize("name", ["N", "b", "bs", "batch", "batch_size", "BatchSize", "my_batch"])
def test_a_batch_gets_a_default(name: str) -> None:
    assert resolve([tensor("x", -1, 4, dims=(name, ""))], None) == [
        {"x": ((1, 4), (8, 4), (32, 4))}
    ]


@pytest.mark.parametrize("name", ["T", "seq", "seq_len", "sequence", "sequence_length", "tokens"])
def test_a_sequence_gets_a_default(name: str) -> None:
    ids = tensor("ids", -1, -1, dims=("batch", name))
    assert resolve([ids], None) == [{"ids": ((1, 1), (8, 128), (32, 512))}]


def test_defaults_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    inputs = [tensor("x", -1, 4, dims=("batch", "")), tensor("fixed", 2)]
    with caplog.at_level(logging.WARNING, logger="fasttrt"):
        resolve(inputs, None)
    assert [record.message for record in caplog.records] == [
        "no shapes= passed; building for x min (1, 4) opt (8, 4) max (32, 4)"
    ]


def test_what_is_given_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, logger="fasttrt"):
        resolve([tensor("x", -1, dims=("batch",))], {"x": (3,)})
    assert not caplog.records


def test_extents_are_shared_by_name() -> None:
    mask = tensor("mask", -1, -1, dims=("rows", "width"))
    image = tensor("image", -1, -1, 3, dims=("height", "width", ""))
    shapes = {"image": ((1, 2, 3), (4, 5, 3), (6, 7, 3)), "mask": ((1, 2), (1, 5), (1, 7))}
    assert resolve([image, tensor("row", -1, dims=("width",)), mask], shapes) == [
        {**shapes, "row": ((2,), (5,), (7,))}
    ]


def test_a_given_extent_beats_the_default_of_its_name() -> None:
    inputs = [tensor("x", -1, 4, dims=("batch", "")), tensor("y", -1, 2, dims=("batch", ""))]
    assert resolve(inputs, {"y": ((1, 2), (2, 2), (64, 2))}) == [
        {"y": ((1, 2), (2, 2), (64, 2)), "x": ((1, 4), (2, 4), (64, 4))}
    ]


def test_placeholders_share_nothing() -> None:
    inputs = [tensor("x", -1, dims=("?",)), tensor("y", -1, dims=("?",))]
    with pytest.raises(fasttrt.InputError, match='"y"'):
        resolve(inputs, {"x": (3,)})


def test_the_error_says_exactly_what_to_pass() -> None:
    inputs = [
        IMAGE,
        tensor("scale", -1),
        tensor("x", -1, dims=("batch",)),
        tensor("size", 2, is_shape=True),
        tensor("fixed", 4),
    ]
    with pytest.raises(fasttrt.InputError) as caught:
        resolve(inputs, None)
    image = "(batch, 3, height, width)"
    assert str(caught.value).endswith(
        f'pass shapes={{"image": (min {image}, opt {image}, max {image}), '
        '"scale": (min (d0,), opt (d0,), max (d0,)), '
        '"size": (min values, opt values, max values)}'
    )


def test_a_shape_tensor_takes_values_of_any_sign_and_number() -> None:
    inputs = [tensor("target", 3, is_shape=True)]
    assert inputs[0].is_dynamic
    values = ((-1, 1, 1), (-1, 8, 8), (-1, 64, 64))
    assert resolve(inputs, {"target": values}) == [{"target": values}]
    with pytest.raises(fasttrt.InputError, match="min <= opt <= max"):
        resolve(inputs, {"target": ((2, 1, 1), (1, 8, 8), (3, 64, 64))})


@pytest.mark.parametrize("name", ["?", "*", "", "-1", "None", "unk", "UNKNOWN", "dyn", "__"])
def test_placeholders(name: str) -> None:
    assert is_placeholder(name)


@pytest.mark.parametrize("name", ["batch", "n", "H", "x1", "unk__12", "0"])
def test_names_that_mean_something(name: str) -> None:
    assert not is_placeholder(name)


def test_placeholders_are_told_apart() -> None:
    inputs = [tensor("x", -1, -1, -1, dims=("batch", "?", "?")), tensor("y", -1, dims=("?",))]
    profile = {"x": ((1, 4, 4),) * 3, "y": ((4,),) * 3}
    assert ambiguous_dimensions(inputs, [profile]) == [("x", 1), ("x", 2), ("y", 0)]


def test_a_single_placeholder_is_left_alone() -> None:
    assert ambiguous_dimensions([tensor("x", -1, dims=("?",))], [{"x": ((1,), (2,), (3,))}]) == []


def test_names_with_equal_extents_stay_equal() -> None:
    inputs = [tensor("x", -1, 4, dims=("batch", "")), tensor("y", -1, dims=("batch",))]
    profile = {"x": ((1, 4), (2, 4), (3, 4)), "y": ((1,), (2,), (3,))}
    assert ambiguous_dimensions(inputs, [profile, profile]) == []


@pytest.mark.parametrize("part", [0, 1, 2])
def test_names_with_other_extents_in_any_profile_are_told_apart(part: int) -> None:
    inputs = [tensor("x", -1, dims=("n",)), tensor("y", -1, dims=("n",))]
    same = {"x": ((1,), (5,), (9,)), "y": ((1,), (5,), (9,))}
    extents = [(1,), (5,), (9,)]
    extents[part] = (extents[part][0] + 1,)
    other = {"x": ((1,), (5,), (9,)), "y": (extents[0], extents[1], extents[2])}
    assert ambiguous_dimensions(inputs, [same, other]) == [("x", 0), ("y", 0)]


def test_shape_tensors_and_fixed_axes_contradict_nothing() -> None:
    inputs = [
        tensor("x", -1, 4, dims=("n", "n")),
        tensor("s", -1, dims=("n",), is_shape=True),
    ]
    assert ambiguous_dimensions(inputs, [{"x": ((1, 4),) * 3, "s": ((7,),) * 3}]) == []


def test_what_varies() -> None:
    fixed, open_ = ((1, 3), (1, 3), (1, 3)), ((1, 3), (1, 3), (2, 3))
    assert not varies([])
    assert not varies([{"x": fixed}])
    assert varies([{"x": fixed, "y": open_}])
    assert varies([{"x": fixed}, {"x": ((2, 3), (2, 3), (2, 3))}])


@pytest.mark.parametrize("value", [(2**63, 2), f"1x2:1x2:{2**64}x2", (-(2**63) - 1, 2)])
def test_sizes_beyond_64_bits_are_refused(value: Any) -> None:
    with pytest.raises(fasttrt.InputError, match=r"x: expected sizes of 64 bits in shapes=, got"):
        parse_range("x", value)
