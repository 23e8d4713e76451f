"""Inputs that do not fit: what the error says, and that the engine goes on working."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import fasttrt
from support.gpu import ELEMENTWISE, normal, open_engine
from support.gpu_models import stacked, sum_of_two
from support.models import Model, elementwise

pytestmark = pytest.mark.gpu
RANGE = ("x: expected shape", "min (2, 16)", "opt (8, 16)", "max (32, 16)", "got ")


@pytest.fixture(scope="module")
def model() -> Model:
    return elementwise(("batch", 16))


@pytest.fixture(scope="module")
def engine(model: Model) -> Iterator[fasttrt.Engine]:
    with open_engine(model, shapes={"x": ((2, 16), (8, 16), (32, 16))}) as engine:
        yield engine


# What is given, and what the message has to name.
BAD: dict[str, tuple[Callable[[], Any], tuple[str, ...]]] = {
    "float64": (lambda: np.ones((4, 16)), ("x: expected dtype float32, got float64",)),
    "int32": (lambda: np.ones((4, 16), np.int32), ("x: expected dtype float32, got int32",)),
    "complex": (lambda: np.ones((4, 16), np.complex64), ("expected dtype float32, got complex64",)),
    "other byte order": (
        lambda: np.ones((4, 16), np.dtype(np.float32).newbyteorder()),
        ("x: expected dtype float32, got >f4",),
    ),
    "python floats": (lambda: [[1.0] * 16] * 4, ("x: expected dtype float32, got float64",)),
    "nothing": (lambda: None, ("x: expected dtype float32, got object",)),
    "text": (lambda: "ones", ("x: expected dtype float32, got <U4",)),
    "ragged": (lambda: [[1.0], [1.0, 2.0]], ("x: expected an array, got list",)),
    "too few": (lambda: normal(1, 16), (*RANGE, "got (1, 16)")),
    "none": (lambda: normal(0, 16), (*RANGE, "got (0, 16)")),
    "too many": (lambda: normal(33, 16), (*RANGE, "got (33, 16)")),
    "narrow": (lambda: normal(8, 15), (*RANGE, "got (8, 15)")),
    "wide": (lambda: normal(8, 17), (*RANGE, "got (8, 17)")),
    "rank 0": (lambda: normal(), (*RANGE, "got ()")),
    "rank 1": (lambda: normal(16), (*RANGE, "got (16,)")),
    "rank 3": (lambda: normal(1, 8, 16), (*RANGE, "got (1, 8, 16)")),
    "rank 9": (lambda: normal(*[1] * 8, 16), ("x: expected at most 8 dimensions, got 9",)),
}


@pytest.mark.parametrize("fault", BAD)
@pytest.mark.parametrize("by_name", [False, True], ids=["by order", "by name"])
def test_refused(engine: fasttrt.Engine, model: Model, fault: str, by_name: bool) -> None:
    make, parts = BAD[fault]
    given = make()
    with pytest.raises(fasttrt.InputError) as caught:
        engine.infer({"x": given} if by_name else given)
    for part in parts:
        assert part in str(caught.value)
    assert isinstance(caught.value, ValueError)
    x = normal(5, 16)
    np.testing.assert_allclose(engine.infer(x), model.reference(x), rtol=ELEMENTWISE)


def test_wrong_number_of_inputs(engine: fasttrt.Engine, model: Model) -> None:
    x = normal(5, 16)
    for given in ((), (x, x)):
        with pytest.raises(fasttrt.InputError, match=rf"expected 1 inputs \(x\), got {len(given)}"):
            engine.infer(*given)
    for named in ({}, {"y": x}, {"x": x, "y": x}):
        with pytest.raises(fasttrt.InputError, match=r"expected inputs named \['x'\], got \["):
            engine.infer(named)
    np.testing.assert_allclose(engine.infer(x), model.reference(x), rtol=ELEMENTWISE)


def test_fixed_shapes_are_named_alone() -> None:
    model = elementwise((4, 3))
    with open_engine(model) as engine:
        with pytest.raises(fasttrt.InputError, match=r"x: expected shape \(4, 3\), got \(3, 4\)"):
            engine.infer(normal(3, 4))
        x = normal(4, 3)
        np.testing.assert_allclose(engine.infer(x), model.reference(x), rtol=ELEMENTWISE)


def test_a_second_input_that_does_not_fit() -> None:
    """The first one is not taken for the culprit, nor left half set."""
    model = stacked()
    shapes = {"a": ((1, 4), (2, 4), (4, 4)), "b": ((1, 4), (2, 4), (8, 4))}
    with open_engine(model, shapes=shapes) as engine:
        for _ in range(3):
            with pytest.raises(fasttrt.InputError, match=r"^b: .*max \(8, 4\), got \(9, 4\)"):
                engine.infer(normal(4, 4), normal(9, 4))
            a, b = normal(1, 4), normal(8, 4)
            np.testing.assert_allclose(engine.infer(a, b), model.reference(a, b), rtol=ELEMENTWISE)


def test_shapes_that_do_not_go_together() -> None:
    """Each extent is within its range, and the sum of the two inputs is not possible."""
    model = sum_of_two()
    shapes = {"a": ((1, 4), (4, 4), (8, 4)), "b": ((1, 4), (4, 4), (8, 4))}
    with open_engine(model, shapes=shapes) as engine:
        for _ in range(2):
            a, b = normal(4, 4), normal(4, 4)
            np.testing.assert_allclose(
                engine.infer(a, b), model.reference(a, b), rtol=ELEMENTWISE, atol=ELEMENTWISE
            )
            with pytest.raises(fasttrt.Error):
                engine.infer(normal(4, 4), normal(3, 4))
