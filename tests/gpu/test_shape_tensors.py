"""Tensors whose values are shapes: inputs with a range of values, and outputs."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

import fasttrt
from support.gpu import ELEMENTWISE, is_v8, need, normal, open_engine
from support.gpu_models import count_up, shape_of
from support.models import Model, reshape

pytestmark = pytest.mark.gpu


@pytest.fixture(scope="module")
def model() -> Model:
    return reshape(24)


@pytest.fixture(scope="module")
def engine(model: Model) -> Iterator[fasttrt.Engine]:
    # TensorRT reshapes at min, opt and max while it builds: each has as many elements as x has.
    shapes = {"x": ((1, 24), (3, 24), (8, 24)), "shape": ((2, 12), (6, 12), (8, 24))}
    with open_engine(model, shapes=shapes) as engine:
        yield engine


def test_spec_has_the_values(engine: fasttrt.Engine) -> None:
    x, shape = engine.inputs
    assert not x.is_shape
    assert shape.is_shape
    assert shape.dtype == np.int64
    assert shape.shape == (2,)
    assert (shape.min, shape.opt, shape.max) == ((2, 12), (6, 12), (8, 24))
    assert engine.outputs[0].shape == (-1, -1)


def test_values_give_the_result_its_shape(engine: fasttrt.Engine, model: Model) -> None:
    for batch, rows, columns in ((1, 2, 12), (8, 8, 24), (2, 4, 12), (2, 3, 16), (2, 2, 24)):
        x, shape = normal(batch, 24), np.array([rows, columns])
        y = engine.infer(x, shape)
        assert y.shape == (rows, columns)
        np.testing.assert_array_equal(y, model.reference(x, shape))
        named = engine.infer({"shape": shape, "x": x})["y"]
        np.testing.assert_array_equal(named, y)


@pytest.mark.parametrize("values", [(1, 24), (9, 12), (2, 25), (2, 11), (-1, 24), (0, 24)])
def test_values_out_of_range(engine: fasttrt.Engine, model: Model, values: tuple[int, int]) -> None:
    x, shape = normal(2, 24), np.array([4, 12])
    with pytest.raises(fasttrt.InputError) as caught:
        engine.infer(x, np.array(values))
    message = str(caught.value)
    assert message.startswith("shape: expected")
    for part in ("min [2, 12]", "opt [6, 12]", "max [8, 24]", f"got values {list(values)}"):
        assert part in message
    np.testing.assert_array_equal(engine.infer(x, shape), model.reference(x, shape))


def test_values_on_the_gpu_choose_the_profile(model: Model) -> None:
    """The profiles differ in values alone, which the host has to fetch before it can choose."""
    torch = need("torch")
    if is_v8():
        pytest.skip("its int32 is not the model's int64, and arrays on a GPU are not converted")
    x = ((1, 24), (2, 24), (4, 24))
    shapes = [
        {"x": x, "shape": ((2, 12), (4, 12), (8, 12))},
        {"x": x, "shape": ((1, 24), (2, 24), (4, 24))},
    ]
    with open_engine(model, shapes=shapes) as engine:
        for batch, rows, columns in ((2, 4, 12), (2, 2, 24), (4, 8, 12), (1, 1, 24), (4, 4, 24)):
            data, shape = normal(batch, 24), np.array([rows, columns])
            expected = model.reference(data, shape)
            on_gpu = torch.from_numpy(data).cuda(), torch.from_numpy(shape).cuda()
            np.testing.assert_array_equal(engine.infer(data, shape), expected)
            for _ in range(3):
                np.testing.assert_array_equal(engine.infer(*on_gpu).cpu().numpy(), expected)
        for values in ((1, 12), (9, 12), (5, 24)):
            wrong = torch.tensor(values).cuda()
            with pytest.raises(fasttrt.InputError, match=r"shape: expected .*got values"):
                engine.infer(on_gpu[0], wrong)
        data, shape = normal(2, 24), np.array([4, 12])
        right = torch.from_numpy(shape).cuda()
        y = engine.infer(torch.from_numpy(data).cuda(), right)
        np.testing.assert_array_equal(y.cpu().numpy(), model.reference(data, shape))


def test_values_that_no_array_of_this_size_has(engine: fasttrt.Engine, model: Model) -> None:
    """In range, and yet 4 x 13 is not 2 x 24."""
    x, shape = normal(2, 24), np.array([4, 12])
    for _ in range(2):
        with pytest.raises(fasttrt.InputError):
            engine.infer(x, np.array([4, 13]))
        np.testing.assert_array_equal(engine.infer(x, shape), model.reference(x, shape))


def test_wrong_type_and_length(engine: fasttrt.Engine, model: Model) -> None:
    x, shape = normal(2, 24), np.array([4, 12])
    with pytest.raises(fasttrt.InputError, match="shape: expected dtype int64, got int32"):
        engine.infer(x, shape.astype(np.int32))
    with pytest.raises(fasttrt.InputError, match=r"shape: expected .*got .*(\(3,\)|2, 12, 2)"):
        engine.infer(x, np.array([2, 12, 2]))
    strided = np.array([4, 99, 12, 99])[::2]
    np.testing.assert_array_equal(engine.infer(x, strided), model.reference(x, shape))


def test_into_memory_of_the_callers(engine: fasttrt.Engine, model: Model) -> None:
    x, shape = normal(2, 24), np.array([3, 16])
    out = np.full((3, 16), np.nan, np.float32)
    assert engine.infer(x, shape, out=out) is out
    np.testing.assert_array_equal(out, model.reference(x, shape))
    with pytest.raises(fasttrt.InputError, match=r"y: .*\(4, 12\).*out= has shape \(3, 16\)"):
        engine.infer(x, np.array([4, 12]), out=out)


def test_a_scalar_that_is_a_length() -> None:
    model = count_up()
    with open_engine(model, shapes={"limit": ((1,), (4,), (64,))}) as engine:
        for limit in (5, 1, 64, 2):
            y = engine.infer(np.array(limit))
            assert y.dtype == np.int64
            np.testing.assert_array_equal(y, np.arange(limit))
        with pytest.raises(fasttrt.InputError, match=r"limit: .*max \[64\], got values \[65\]"):
            engine.infer(np.array(65))


def test_shapes_as_outputs() -> None:
    model = shape_of()
    with open_engine(model, shapes={"x": ((1, 4, 1), (2, 4, 8), (8, 4, 32))}) as engine:
        for shape in ((1, 4, 1), (8, 4, 32), (3, 4, 17)):
            x = normal(*shape)
            y, extents = engine.infer(x)
            np.testing.assert_allclose(y, model.reference(x)[0], rtol=ELEMENTWISE)
            assert extents.dtype == np.int64
            assert extents.tolist() == list(shape)
        out = np.zeros(3, np.int64)
        x = normal(5, 4, 6)
        assert engine.infer(x, out=[None, out])[1] is out
        assert out.tolist() == [5, 4, 6]
