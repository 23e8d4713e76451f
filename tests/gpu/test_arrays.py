"""numpy arrays of any layout."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import fasttrt
from support.assertions import assert_close
from support.gpu import ELEMENTWISE, Array, normal, open_engine
from support.models import Model, elementwise
from support.randomness import new_rng

pytestmark = pytest.mark.gpu
SHAPE = (3, 4, 6)


@pytest.fixture(scope="module")
def model() -> Model:
    return elementwise(("batch", 4, 6))


@pytest.fixture(scope="module")
def engine(model: Model) -> Iterator[fasttrt.Engine]:
    with open_engine(model, shapes={"x": ((1, 4, 6), (3, 4, 6), (8, 4, 6))}) as engine:
        yield engine


def _unaligned() -> Array:
    return np.frombuffer(b"\0" + normal(*SHAPE).tobytes(), np.float32, offset=1).reshape(SHAPE)


def _field() -> Array:
    records = np.zeros(SHAPE, [("flag", np.int8), ("x", np.float32)])
    records["x"] = normal(*SHAPE)
    return records["x"]


def _read_only() -> Array:
    return np.frombuffer(normal(*SHAPE).tobytes(), np.float32).reshape(SHAPE)


LAYOUTS: dict[str, Callable[[], Any]] = {
    "transposed": lambda: normal(*SHAPE[::-1]).T,
    "axes swapped": lambda: normal(4, 3, 6).swapaxes(0, 1),
    "negative strides": lambda: normal(*SHAPE)[::-1, ::-1, ::-1],
    "every other": lambda: normal(6, 12, 18)[::2, ::3, 1::3],
    "one repeated": lambda: np.broadcast_to(normal(1, 4, 1), SHAPE),
    "one value": lambda: np.broadcast_to(normal(), SHAPE),
    "Fortran order": lambda: np.asfortranarray(normal(*SHAPE)),
    "part of a larger one": lambda: normal(9, 9, 9)[2:5, 3:7, 1:7],
    "unaligned": _unaligned,
    "field of a structure": _field,
    "read-only": _read_only,
    "an axis of one": lambda: normal(4, 6)[None],
    "C order": lambda: normal(*SHAPE),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(engine: fasttrt.Engine, model: Model, layout: str) -> None:
    x = LAYOUTS[layout]()
    kept = x.copy()
    expected = model.reference(kept)
    np.testing.assert_allclose(engine.infer(x), expected, rtol=ELEMENTWISE)
    np.testing.assert_allclose(engine.infer({"x": x})["y"], expected, rtol=ELEMENTWISE)
    np.testing.assert_array_equal(x, kept)


def test_layouts_are_what_they_say() -> None:
    """Else the test above would test one layout many times."""
    assert not LAYOUTS["unaligned"]().flags.aligned
    assert not LAYOUTS["read-only"]().flags.writeable
    assert LAYOUTS["one value"]().strides == (0, 0, 0)
    assert max(LAYOUTS["negative strides"]().strides) < 0
    plain = {"C order", "read-only", "an axis of one", "unaligned"}
    assert {name for name in LAYOUTS if LAYOUTS[name]().flags.c_contiguous} == plain


def test_what_numpy_makes_an_array_of(engine: fasttrt.Engine, model: Model) -> None:
    x = normal(*SHAPE)

    class Wrapped:
        def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
            return x

    values: list[Any] = [Wrapped(), x.data, [list(x[0]), *x[1:]]]
    for given in values:
        np.testing.assert_allclose(engine.infer(given), model.reference(x), rtol=ELEMENTWISE)


def test_casts_where_no_value_can_change(engine: fasttrt.Engine, model: Model) -> None:
    x = normal(*SHAPE).astype(np.float16)
    y = engine.infer(x, cast=True)
    assert y.dtype == np.float32
    np.testing.assert_allclose(y, model.reference(x.astype(np.float32)), rtol=ELEMENTWISE)
    with pytest.raises(fasttrt.InputError, match="cannot cast float64 to float32"):
        engine.infer(normal(*SHAPE).astype(np.float64), cast=True)
    with pytest.raises(fasttrt.InputError, match="expected dtype float32, got float16"):
        engine.infer(x)


def test_a_copy_may_be_freed_at_once(engine: fasttrt.Engine, model: Model) -> None:
    """Nothing of the caller's is read after infer() is back."""
    for _ in range(20):
        x = normal(8, 4, 6)
        expected = model.reference(x)
        y = engine.infer(x)
        x[...] = np.nan
        del x
        np.testing.assert_allclose(y, expected, rtol=ELEMENTWISE)


def test_large_arrays_in_quick_succession() -> None:
    """They are copied by several threads, piece by piece, to memory that is used again."""
    model = elementwise(("n",))
    rng = new_rng()
    shapes = {"x": ((1,), (1 << 17,), (3 << 20,))}
    with open_engine(model, shapes=shapes, contexts=1) as engine:
        sizes = [1 << 17, 3 << 20, 75_264, 1 << 17, 100_001]
        for i in range(60):
            x = rng.standard_normal(sizes[i % len(sizes)]).astype(np.float32)
            out = np.full(x.shape, np.nan, np.float32)  # ordinary memory
            engine.infer(x, out=out)
            assert_close(out, model.reference(x), ELEMENTWISE)
            assert_close(engine.infer(x), model.reference(x), ELEMENTWISE)
