"""Values that numpy would make something else of: masks, missing values, bytes, other dtypes."""

from __future__ import annotations

import array
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from onnx.parser import parse_model

import fasttrt
from fasttrt import Engine, InputError

NEGATED = """
    <ir_version: 9, opset_import: ["" : 17]>
    g (float[2,3] x) => (float[2,3] y) { y = Neg (x) }
"""
ECHO = """
    <ir_version: 9, opset_import: ["" : 17]>
    g (string[n] x) => (string[n] y) { y = Identity (x) }
"""
X = np.arange(6, dtype=np.float32).reshape(2, 3)


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with Engine(parse_model(NEGATED), device="cpu") as engine:
        yield engine


@pytest.fixture(scope="module")
def echo() -> Iterator[Engine]:
    with Engine(parse_model(ECHO), device="cpu") as engine:
        yield engine


class Matrix(np.ndarray[Any, Any]):
    """A class of somebody's, with rules of its own."""

    def ravel(self, *args: Any) -> Any:
        raise AssertionError("called")


MASKED = np.ma.masked_array(X, mask=X > 4)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (MASKED, "x: expected an array without a mask, got a masked array with 1 elements masked"),
        ([MASKED[0], MASKED[1]], "x: expected an array without a mask"),
        ([[1.0, 2.0], [1.0]], "x: expected an array, got list: "),
        (np.array([[1, None, 3]] * 2, object), "x: .*float32, got object"),
        (X.astype("M8[s]"), "x: .*float32, got datetime64"),
        (np.zeros((2, 3), [("a", "f4")]), "x: .*float32, got "),
        (X.astype(np.complex64), "x: .*float32, got complex64"),
        (X.astype(">f4"), "x: .*float32, got >f4"),
        (X.astype(np.float64), "x: .*float32, got float64"),
        (memoryview(b"123456"), "x: .*float32, got uint8"),
        (b"123456", r"x: .*float32, got \|S6"),
        ("text", "x: .*float32, got <U4"),
        (None, "x: .*float32, got object"),
        (X > 1, "x: .*float32, got bool"),
    ],
    ids=lambda value: None if isinstance(value, str) else type(value).__name__,
)
def test_what_is_not_meant_is_refused_by_name(engine: Engine, value: Any, message: str) -> None:
    for call in (
        lambda: engine.infer(value),
        lambda: engine.infer({"x": value}),
        lambda: engine.submit(value).result(60),
        lambda: next(engine.map([value])),
    ):
        with pytest.raises(InputError, match=message):
            call()
    with pytest.raises(InputError, match="x: "):
        fasttrt.compare(parse_model(NEGATED), {"x": value}, device="cpu")
    np.testing.assert_array_equal(engine.infer(X), -X)


@pytest.mark.parametrize(
    "value",
    [
        np.ma.masked_array(X),  # of which nothing is masked
        X.view(Matrix),
        np.asfortranarray(X),
        X[::-1][::-1],
        [list(row) for row in X],
        X.data,
        [array.array("f", row) for row in X],
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_means_the_same_is_taken(engine: Engine, value: Any) -> None:
    np.testing.assert_array_equal(engine.infer(value), -X)
    assert type(engine.infer(value)) is np.ndarray


def test_read_only_arrays_are_inputs_and_no_targets(engine: Engine) -> None:
    fixed = X.copy()
    fixed.flags.writeable = False
    np.testing.assert_array_equal(engine.infer(fixed), -X)
    with pytest.raises(InputError, match="out= must be C-contiguous, aligned and writeable"):
        engine.infer(X, out=fixed)


def test_results_do_not_go_under_a_mask(engine: Engine) -> None:
    target = np.ma.masked_array(np.zeros((2, 3), np.float32), mask=True)
    calls: list[tuple[Any, Any]] = [(X, target), (X, [target]), ({"x": X}, {"y": target})]
    for inputs, out in calls:
        with pytest.raises(InputError, match="out: expected arrays without masks"):
            engine.infer(inputs, out=out)


@pytest.mark.parametrize(
    "value",
    [
        np.array(["a", "é漢", "", "a\0b", "c\0"], object),
        ["a", "é漢", "", "a\0b", "c\0"],
        ("a", "c\0"),
        np.array(["a", "bb"]),
        np.array([np.str_("a")], object),
    ],
)
def test_strings_come_back_as_they_were(echo: Engine, value: Any) -> None:
    for given in [value] if isinstance(value, np.ndarray) else [{"x": value}, {"x": list(value)}]:
        result = echo.infer(given)
        assert list(result["y"] if isinstance(given, dict) else result) == list(value)


@pytest.mark.parametrize(
    "item", [None, b"a", float("nan"), 1, 2.5, True, np.datetime64("2026-01-01"), ["b"], object()]
)
def test_what_is_no_string_is_refused(echo: Engine, item: Any) -> None:
    value = np.empty(2, object)
    value[0], value[1] = "a", item
    with pytest.raises(InputError, match=r"x: expected strings, got .* among them"):
        echo.infer(value)
    with pytest.raises(InputError, match="x: expected strings, got "):
        echo.infer(["a", item])


@pytest.mark.parametrize("value", [np.array([b"a"]), np.array([1]), np.zeros(1, "M8[s]")])
def test_other_types_are_no_strings(echo: Engine, value: Any) -> None:
    with pytest.raises(InputError, match="x: expected strings, got dtype"):
        echo.infer(value)


def test_what_no_encoding_has_is_refused(echo: Engine) -> None:
    with pytest.raises(InputError):
        echo.infer(np.array(["\ud800"], object))
    assert list(echo.infer(np.array(["a"], object))) == ["a"]
