"""Extents that change from call to call, within one profile and among several."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

import fasttrt
from support.assertions import assert_close
from support.gpu import ELEMENTWISE, normal, open_engine, product_tolerance
from support.gpu_models import stacked
from support.models import Model, attention, convolution
from support.randomness import new_rng

pytestmark = pytest.mark.gpu


@pytest.fixture(scope="module")
def two_profiles(mlp_model: Model) -> Iterator[fasttrt.Engine]:
    """Batches of 2 to 4, and of 16 to 32; nothing between."""
    shapes = [{"x": ((2, 16), (3, 16), (4, 16))}, {"x": ((16, 16), (24, 16), (32, 16))}]
    with open_engine(mlp_model, shapes=shapes) as engine:
        yield engine


def test_profiles_are_told(two_profiles: fasttrt.Engine) -> None:
    (x,) = two_profiles.inputs
    assert x.profiles == (
        ((2, 16), (3, 16), (4, 16)),
        ((16, 16), (24, 16), (32, 16)),
    )
    assert (x.min, x.opt, x.max) == ((2, 16), (3, 16), (32, 16))


def test_each_profile_to_its_bounds_and_back(
    two_profiles: fasttrt.Engine, mlp_model: Model
) -> None:
    for batch in (2, 3, 4, 16, 24, 32, 4, 32, 2, 16, 2, 2, 32, 32, 3):
        x = normal(batch, 16)
        assert_close(two_profiles.infer(x), mlp_model.reference(x), product_tolerance())


@pytest.mark.parametrize("batch", [1, 5, 15, 33])
def test_outside_every_profile(two_profiles: fasttrt.Engine, mlp_model: Model, batch: int) -> None:
    for inside in (4, 16):  # whichever profile was used last
        with pytest.raises(fasttrt.InputError) as caught:
            two_profiles.infer(normal(batch, 16))
        message = str(caught.value)
        assert message == (
            "x: expected shape min (2, 16), opt (3, 16), max (4, 16); or min (16, 16), "
            f"opt (24, 16), max (32, 16), got ({batch}, 16)"
        )
        x = normal(inside, 16)
        assert_close(two_profiles.infer(x), mlp_model.reference(x), product_tolerance())


def test_profiles_that_overlap(mlp_model: Model) -> None:
    shapes = [{"x": ((1, 16), (16, 16), (32, 16))}, {"x": ((1, 16), (2, 16), (4, 16))}]
    with open_engine(mlp_model, shapes=shapes) as engine:
        for batch in (1, 4, 5, 32, 4, 1):
            x = normal(batch, 16)
            assert_close(engine.infer(x), mlp_model.reference(x), product_tolerance())
        with pytest.raises(fasttrt.InputError):
            engine.infer(normal(33, 16))


def test_inputs_have_to_fit_one_profile_together() -> None:
    model = stacked()
    shapes = [
        {"a": ((1, 4), (2, 4), (4, 4)), "b": ((1, 4), (2, 4), (4, 4))},
        {"a": ((8, 4), (9, 4), (16, 4)), "b": ((8, 4), (9, 4), (16, 4))},
    ]
    with open_engine(model, shapes=shapes) as engine:
        for rows in ((1, 4), (16, 8), (4, 4), (8, 8), (2, 3)):
            a, b = (normal(n, 4) for n in rows)
            y = engine.infer(a, b)
            assert y.shape == (sum(rows), 4)
            np.testing.assert_allclose(y, model.reference(a, b), rtol=ELEMENTWISE)
            with pytest.raises(fasttrt.InputError) as caught:
                engine.infer(normal(2, 4), normal(10, 4))
            assert str(caught.value).startswith("no single profile takes these shapes together:")
            assert "a (2, 4)" in str(caught.value)
            assert "b (10, 4)" in str(caught.value)


def test_images_of_any_size() -> None:
    model = convolution()
    shapes = {"x": ((1, 4, 8, 8), (2, 4, 16, 24), (3, 4, 40, 40))}
    with open_engine(model, shapes=shapes) as engine:
        for shape in ((1, 4, 8, 8), (3, 4, 40, 40), (2, 4, 16, 24), (1, 4, 13, 37), (2, 4, 39, 8)):
            x = normal(*shape)
            y = engine.infer(x)
            assert y.shape == shape
            assert_close(y, model.reference(x), product_tolerance())


def test_sequences_of_any_length() -> None:
    model = attention()
    shapes = {"x": ((1, 1, 8), (2, 16, 8), (4, 64, 8))}
    with open_engine(model, shapes=shapes) as engine:
        for shape in ((1, 1, 8), (4, 64, 8), (2, 16, 8), (3, 33, 8), (1, 64, 8), (4, 2, 8)):
            x = 0.3 * normal(*shape)  # small scores: the softmax makes no more of their errors
            assert_close(engine.infer(x), model.reference(x), product_tolerance())


def test_nothing_is_left_of_other_calls(two_profiles: fasttrt.Engine, mlp_model: Model) -> None:
    """Buffers grow and are kept: results must be of this call's values and extents alone."""
    rng = new_rng()
    for batch in rng.choice([2, 3, 4, 16, 17, 31, 32], 60):
        x = normal(batch, 16) * 10.0 ** rng.integers(-3, 4)
        x = x.astype(np.float32)
        assert_close(two_profiles.infer(x), mlp_model.reference(x), product_tolerance())
