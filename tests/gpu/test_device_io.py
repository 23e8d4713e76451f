"""Arrays on the GPU, of every library that makes them: in, out, and mixed with numpy's."""

from __future__ import annotations

import gc
import os
import warnings
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeAlias

import ml_dtypes
import numpy as np
import pytest
from onnx import TensorProto

import fasttrt
from support.assertions import assert_close
from support.gpu import (
    ELEMENTWISE,
    EXACT,
    Array,
    is_v8,
    library,
    need,
    need_torch,
    normal,
    open_engine,
)
from support.gpu_models import crossed, cut_by_data
from support.models import Model, elementwise, logical_not, nonzero, reshape, several
from support.randomness import new_rng

pytestmark = pytest.mark.gpu
MOST = 100_000
CUDA = 2  # DLPack's number


class Interface:
    """What a library without DLPack offers. The tensor beneath keeps the memory."""

    def __init__(self, tensor: Any, **changes: Any) -> None:
        self.tensor = tensor
        self._interface = dict(tensor.__cuda_array_interface__) | changes

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return self._interface


class Framework(NamedTuple):
    """How arrays come to be on the GPU, and back."""

    put: Callable[[Array], Any]
    """The values are there when it returns."""
    get: Callable[[Any], Array]
    result: Any
    """Of what a run gives for such arrays."""
    types: frozenset[str]


Pair: TypeAlias = tuple[fasttrt.Engine, Model]
COMMON = frozenset({"float32", "float16", "int32", "int64", "bool"})


def _to_torch(x: Array) -> Any:
    torch = need_torch()
    if x.dtype == ml_dtypes.bfloat16:
        tensor = torch.from_numpy(x.astype(np.float32)).cuda().to(torch.bfloat16)
    else:
        tensor = torch.from_numpy(x).cuda()
    torch.cuda.synchronize()
    return tensor


def _from_torch(tensor: Any) -> Array:
    torch = need_torch()
    if tensor.dtype == torch.bfloat16:
        wide: Array = tensor.float().cpu().numpy()
        return wide.astype(ml_dtypes.bfloat16)
    array: Array = tensor.cpu().numpy()
    return array


def _from_device_array(array: fasttrt.DeviceArray) -> Array:
    values: Array = array.numpy()
    return values


def _torch_framework() -> Framework:
    return Framework(_to_torch, _from_torch, need_torch().Tensor, COMMON | {"bfloat16"})


def _cupy_framework() -> Framework:
    cupy = need("cupy")
    return Framework(cupy.asarray, cupy.asnumpy, cupy.ndarray, COMMON)


def _jax_framework() -> Framework:
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # it would take most memory
    jax = need("jax")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if jax.default_backend() != "gpu":
            pytest.skip("this JAX has no CUDA")
    types = COMMON - {"int64"} | {"bfloat16"}  # 64 bits are off in JAX
    return Framework(jax.device_put, np.asarray, jax.Array, types)


def _device_array_framework() -> Framework:
    kind = fasttrt.DeviceArray
    return Framework(kind.from_numpy, _from_device_array, kind, COMMON | {"bfloat16"})


def _interface_framework() -> Framework:
    def get(array: Any) -> Array:
        if isinstance(array, Interface):
            return _from_torch(array.tensor)
        return _from_device_array(array)

    def put(x: Array) -> Interface:
        return Interface(_to_torch(x))

    return Framework(put, get, fasttrt.DeviceArray, COMMON)


FRAMEWORKS: dict[str, Callable[[], Framework]] = {
    "torch": _torch_framework,
    "cupy": _cupy_framework,
    "jax": _jax_framework,
    "DeviceArray": _device_array_framework,
    "interface": _interface_framework,
}
WRITABLE = ["torch", "cupy", "DeviceArray", "interface"]
"""JAX's arrays never change."""
WITH_VIEWS = ["torch", "cupy"]


@pytest.fixture(params=FRAMEWORKS)
def framework(request: pytest.FixtureRequest) -> Framework:
    return FRAMEWORKS[request.param]()


@pytest.fixture(params=WRITABLE)
def writable(request: pytest.FixtureRequest) -> Framework:
    return FRAMEWORKS[request.param]()


@pytest.fixture(scope="module")
def model() -> Model:
    return elementwise()


@pytest.fixture(scope="module")
def plan(model: Model) -> fasttrt.Plan:
    shapes = {"x": ((0, 4), (64, 4), (MOST, 4))}
    return fasttrt.build(model.proto, EXACT, shapes=shapes, device="cuda")


@pytest.fixture(scope="module")
def engine(plan: fasttrt.Plan) -> Iterator[fasttrt.Engine]:
    with fasttrt.Engine(plan, device="cuda") as engine:
        yield engine


@pytest.fixture(scope="module")
def subtractions() -> Model:
    return crossed()


@pytest.fixture(scope="module")
def subtractions_engine(subtractions: Model) -> Iterator[fasttrt.Engine]:
    shapes = dict.fromkeys("abc", ((1, 4), (64, 4), (MOST, 4)))
    with open_engine(subtractions, shapes=shapes) as engine:
        yield engine


def _pointer(array: Any) -> int:
    interface: dict[str, Any] = array.__cuda_array_interface__
    return int(interface["data"][0])


def _assert_kind(framework: Framework, array: Any) -> None:
    """Of the framework, and on the GPU."""
    assert isinstance(array, framework.result)
    kind, ordinal = array.__dlpack_device__()
    assert (int(kind), int(ordinal)) == (CUDA, 0)


def _assert_right(framework: Framework, array: Any, expected: Array) -> None:
    _assert_kind(framework, array)
    assert_close(framework.get(array), expected, ELEMENTWISE)


# One input, one output


@pytest.mark.parametrize("batch", [1, 3, 64, 5_000, MOST])
def test_device_in_device_out(
    engine: fasttrt.Engine, model: Model, framework: Framework, batch: int
) -> None:
    for _ in range(4):
        x = normal(batch, 4)
        given = framework.put(x)
        expected = model.reference(x)
        _assert_right(framework, engine.infer(given), expected)
        named = engine.infer({"x": given})
        assert list(named) == ["y"]
        _assert_right(framework, named["y"], expected)
        np.testing.assert_array_equal(framework.get(given), x)


def test_batches_of_any_size_in_turn(
    engine: fasttrt.Engine, model: Model, framework: Framework
) -> None:
    for batch in (1, 50_000, 2, 2, 1, 70_000, 50_000, 3):
        x = normal(batch, 4)
        _assert_right(framework, engine.infer(framework.put(x)), model.reference(x))


@pytest.mark.parametrize("batch", [3, 50_000])
def test_into_memory_of_the_callers(
    engine: fasttrt.Engine, model: Model, writable: Framework, batch: int
) -> None:
    out = writable.put(np.full((batch, 4), np.nan, np.float32))
    address = _pointer(out)
    for _ in range(4):
        x = normal(batch, 4)
        assert engine.infer(writable.put(x), out=out) is out
        assert _pointer(out) == address
        assert_close(writable.get(out), model.reference(x), ELEMENTWISE)
    x = normal(batch, 4)
    assert engine.infer({"x": writable.put(x)}, out={"y": out})["y"] is out
    assert_close(writable.get(out), model.reference(x), ELEMENTWISE)


def test_results_are_the_callers_own(
    engine: fasttrt.Engine, model: Model, framework: Framework
) -> None:
    kept = []
    for i in range(60):
        x = normal((3, 5_000)[i % 2], 4)
        kept.append((engine.infer(framework.put(x)), model.reference(x)))
    for result, expected in kept:
        _assert_right(framework, result, expected)


def test_results_outlive_the_engine(plan: fasttrt.Plan, model: Model, framework: Framework) -> None:
    engine = fasttrt.Engine(plan, device="cuda")
    x = normal(7, 4)
    y = engine.infer(framework.put(x))
    engine.close()
    del engine
    gc.collect()
    _assert_right(framework, y, model.reference(x))


@pytest.mark.parametrize("name", ["torch", "cupy", "interface"])
def test_empty_arrays(engine: fasttrt.Engine, model: Model, name: str) -> None:
    framework = FRAMEWORKS[name]()
    for batch in (0, 3, 0, 0, 5_000, 0):
        x = normal(batch, 4)
        y = engine.infer(framework.put(x))
        assert isinstance(y, framework.result)
        assert tuple(y.shape) == (batch, 4)
        np.testing.assert_allclose(framework.get(y), model.reference(x), rtol=ELEMENTWISE)


@pytest.fixture(scope="module")
def scalar() -> Iterator[Pair]:
    model = elementwise(())
    with open_engine(model) as engine:
        yield engine, model


def test_scalars(scalar: Pair, framework: Framework) -> None:
    engine, model = scalar
    for _ in range(4):
        x = np.array(normal(1)[0])
        y = engine.infer(framework.put(x))
        assert tuple(y.shape) == ()
        _assert_right(framework, y, model.reference(x))


class Typed(NamedTuple):
    name: str
    engine: fasttrt.Engine
    model: Model


# rtol: two roundings to the type itself, each of half a unit in the last place.
TYPES: dict[str, tuple[Callable[[], Model], float]] = {
    "float16": (lambda: elementwise(dtype=TensorProto.FLOAT16), 2**-10),
    "bfloat16": (lambda: elementwise(dtype=TensorProto.BFLOAT16), 2**-7),
    "int32": (lambda: elementwise(dtype=TensorProto.INT32), 0),
    "int64": (lambda: elementwise(dtype=TensorProto.INT64), 0),
    "bool": (logical_not, 0),
}


@pytest.fixture(scope="module", params=TYPES)
def typed(request: pytest.FixtureRequest) -> Iterator[Typed]:
    if is_v8() and request.param in ("bfloat16", "int64"):
        pytest.skip(f"{library()} computes with no {request.param}")
    model = TYPES[request.param][0]()
    with open_engine(model, shapes={"x": ((1, 4), (4, 4), (4_000, 4))}) as engine:
        yield Typed(request.param, engine, model)


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_types(typed: Typed, name: str) -> None:
    framework = FRAMEWORKS[name]()
    if typed.name not in framework.types:
        pytest.skip(f"{name} has no {typed.name}, or not here")
    for batch in (5, 4_000):
        for _ in range(4):
            (x,) = typed.model.inputs(batch=batch)
            y = typed.engine.infer(framework.put(x))
            _assert_kind(framework, y)
            result, expected = framework.get(y), typed.model.reference(x)
            assert result.dtype.name == typed.name
            assert result.shape == (batch, 4)
            np.testing.assert_allclose(
                result.astype(np.float64),
                expected.astype(np.float64),
                rtol=TYPES[typed.name][1],
            )


# Several inputs and outputs


def test_several_inputs_and_outputs(
    subtractions_engine: fasttrt.Engine, subtractions: Model, framework: Framework
) -> None:
    for batch in (2, 5_000, 2):
        hosts = [normal(batch, 4) for _ in "cab"]
        given = [framework.put(x) for x in hosts]
        expected = subtractions.reference(*hosts)
        results = subtractions_engine.infer(*given)
        assert isinstance(results, tuple)
        named = subtractions_engine.infer(dict(zip("cab", given, strict=True)))
        assert list(named) == ["z", "m", "y"]
        for by_order, by_name, right in zip(results, named.values(), expected, strict=True):
            _assert_right(framework, by_order, right)
            _assert_right(framework, by_name, right)


def test_some_targets_left_out(
    subtractions_engine: fasttrt.Engine, subtractions: Model, writable: Framework
) -> None:
    for _ in range(3):
        hosts = [normal(9, 4) for _ in "cab"]
        given = [writable.put(x) for x in hosts]
        z, y = (writable.put(np.full((9, 4), np.nan, np.float32)) for _ in "zy")
        expected = subtractions.reference(*hosts)
        results = subtractions_engine.infer(*given, out=[z, None, y])
        assert results[0] is z
        assert results[2] is y
        _assert_kind(writable, results[1])
        for result, right in zip(results, expected, strict=True):
            assert_close(writable.get(result), right, ELEMENTWISE)
        m = writable.put(np.full((9, 4), np.nan, np.float32))
        named = subtractions_engine.infer(dict(zip("cab", given, strict=True)), out={"m": m})
        assert named["m"] is m
        for result, right in zip(named.values(), expected, strict=True):
            assert_close(writable.get(result), right, ELEMENTWISE)


@pytest.fixture(scope="module")
def two_types() -> Iterator[Pair]:
    model = several()
    shapes = {"a": ((1, 4), (4, 4), (16, 4)), "b": ((1, 1), (4, 1), (16, 1))}
    with open_engine(model, shapes=shapes) as engine:
        yield engine, model


def test_several_types_at_once(two_types: Pair, framework: Framework) -> None:
    engine, model = two_types
    rng = new_rng()
    for batch in (1, 16, 16, 16, 5):
        a, b = normal(batch, 4), rng.integers(-1000, 1000, (batch, 1), dtype=np.int32)
        total, twice = engine.infer(framework.put(a), framework.put(b))
        _assert_right(framework, total, model.reference(a, b)[0])
        _assert_kind(framework, twice)
        np.testing.assert_array_equal(framework.get(twice), b + b)


# Mixed


@pytest.mark.parametrize("on_gpu", ["c", "a", "b", "ca", "ab"])
@pytest.mark.parametrize("batch", [3, 5_000])
def test_numpy_arrays_beside_them(
    subtractions_engine: fasttrt.Engine,
    subtractions: Model,
    framework: Framework,
    on_gpu: str,
    batch: int,
) -> None:
    """One array on the GPU, and the results are there too."""
    for _ in range(4):
        hosts = {name: normal(batch, 4) for name in "cab"}
        given: dict[str, Any] = {
            name: framework.put(x) if name in on_gpu else x for name, x in hosts.items()
        }
        results = subtractions_engine.infer(given)
        for result, right in zip(
            results.values(), subtractions.reference(*hosts.values()), strict=True
        ):
            _assert_right(framework, result, right)


@pytest.mark.parametrize("batch", [3, 5_000])
def test_targets_in_other_places(
    subtractions_engine: fasttrt.Engine, subtractions: Model, writable: Framework, batch: int
) -> None:
    """Each out= is filled where it is; what has none comes where the inputs are."""
    for _ in range(4):
        hosts = [normal(batch, 4) for _ in "cab"]
        expected = subtractions.reference(*hosts)
        blank = np.full((batch, 4), np.nan, np.float32)

        target, host = writable.put(blank), blank.copy()
        results = subtractions_engine.infer(*hosts, out=[target, host, None])
        assert results[0] is target
        assert results[1] is host
        assert_close(writable.get(target), expected[0], ELEMENTWISE)
        assert_close(host, expected[1], ELEMENTWISE)
        assert_close(results[2], expected[2], ELEMENTWISE)

        target, host = writable.put(blank), blank.copy()
        results = subtractions_engine.infer(*map(writable.put, hosts), out=[host, None, target])
        assert results[0] is host
        assert results[2] is target
        assert_close(host, expected[0], ELEMENTWISE)
        _assert_right(writable, results[1], expected[1])
        assert_close(writable.get(target), expected[2], ELEMENTWISE)


def test_several_frameworks_at_once(
    subtractions_engine: fasttrt.Engine, subtractions: Model
) -> None:
    """The first array on the GPU tells whose the results are."""
    torch, cupy = _torch_framework(), _cupy_framework()
    for first, second in ((torch, cupy), (cupy, torch)):
        for _ in range(3):
            hosts = [normal(64, 4) for _ in "cab"]
            expected = subtractions.reference(*hosts)
            results = subtractions_engine.infer(hosts[0], first.put(hosts[1]), second.put(hosts[2]))
            target = second.put(np.full((64, 4), np.nan, np.float32))
            again = subtractions_engine.infer(
                *(f.put(x) for f, x in zip((first, second, first), hosts, strict=True)),
                out=[None, target, None],
            )
            assert again[1] is target
            assert_close(second.get(target), expected[1], ELEMENTWISE)
            for i, right in enumerate(expected):
                _assert_right(first, results[i], right)
                if i != 1:
                    _assert_right(first, again[i], right)


# Views


def _blank(name: str, size: int) -> Any:
    return FRAMEWORKS[name]().put(np.full(size, np.nan, np.float32))


def _fill(view: Any, x: Array, name: str) -> None:
    view[...] = FRAMEWORKS[name]().put(x)


@pytest.mark.parametrize("name", WITH_VIEWS)
@pytest.mark.parametrize("offset", [1, 3, 63, 64])
@pytest.mark.parametrize("batch", [5, 50_000])
def test_addresses_that_tensorrt_does_not_take(
    engine: fasttrt.Engine, model: Model, name: str, offset: int, batch: int
) -> None:
    """It wants multiples of 256 bytes."""
    framework, size = FRAMEWORKS[name](), batch * 4
    whole, target = _blank(name, size + offset), _blank(name, size + 2 * offset)
    x = whole[offset:].reshape(batch, 4)
    out = target[offset : offset + size].reshape(batch, 4)
    assert (_pointer(x) % 256 == 0) == (offset == 64)
    address = _pointer(out)
    for _ in range(4):
        host = normal(batch, 4)
        _fill(x, host, name)
        _assert_right(framework, engine.infer(x), model.reference(host))
        assert engine.infer(x, out=out) is out
        assert _pointer(out) == address
        assert_close(framework.get(out), model.reference(host), ELEMENTWISE)
        np.testing.assert_array_equal(framework.get(x), host)
        around = framework.get(target)
        assert np.isnan(around[:offset]).all()
        assert np.isnan(around[offset + size :]).all()
        out[...] = np.nan
        assert engine.infer(host, out=out) is out
        assert_close(framework.get(out), model.reference(host), ELEMENTWISE)


LAYOUTS: dict[str, Callable[[Any], Any]] = {  # of (12, 8, 4): (batch, 4) in some order
    "transposed": lambda whole: whole[:4, :, 0].T,
    "every other row": lambda whole: whole[::2, 0],
    "every other element": lambda whole: whole[0, :, :].reshape(4, 8)[:, ::2],
    "part of a row": lambda whole: whole.reshape(48, 8)[:, 3:7],
    "axes swapped": lambda whole: whole[:4].reshape(4, 32).swapaxes(0, 1),
    "rows of a larger one": lambda whole: whole[3, 2:7],
    "the same row": lambda whole: whole[:1, 0],
}


@pytest.mark.parametrize("name", WITH_VIEWS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(engine: fasttrt.Engine, model: Model, name: str, layout: str) -> None:
    framework = FRAMEWORKS[name]()
    for _ in range(3):
        host = normal(12, 8, 4)
        whole = framework.put(host)
        x, right = LAYOUTS[layout](whole), LAYOUTS[layout](host)
        assert tuple(x.shape) == right.shape
        _assert_right(framework, engine.infer(x), model.reference(right))
        out = framework.put(np.full(right.shape, np.nan, np.float32))
        assert engine.infer(x, out=out) is out
        assert_close(framework.get(out), model.reference(right), ELEMENTWISE)
        np.testing.assert_array_equal(framework.get(whole), host)


def test_layouts_of_torch_alone(engine: fasttrt.Engine, model: Model) -> None:
    framework = _torch_framework()
    row, one = normal(1, 4), normal(1)
    repeated = framework.put(row).expand(9, 4)
    assert repeated.stride() == (0, 1)
    _assert_right(framework, engine.infer(repeated), model.reference(np.repeat(row, 9, 0)))
    single = framework.put(one).expand(9, 4)
    _assert_right(framework, engine.infer(single), model.reference(np.full((9, 4), one[0])))
    images = normal(2, 8, 4)
    last = framework.put(images).permute(1, 0, 2)[:, 1]
    _assert_right(framework, engine.infer(last), model.reference(images[1]))


def test_layouts_of_cupy_alone(engine: fasttrt.Engine, model: Model) -> None:
    cupy, framework = need("cupy"), _cupy_framework()
    host = normal(6, 8)
    whole = framework.put(host)
    backwards = whole[::-1, ::-2]
    assert max(backwards.strides) < 0
    _assert_right(framework, engine.infer(backwards), model.reference(host[::-1, ::-2]))
    repeated = cupy.broadcast_to(whole[:1, :4], (5, 4))
    _assert_right(framework, engine.infer(repeated), model.reference(np.repeat(host[:1, :4], 5, 0)))
    fortran = cupy.asfortranarray(whole[:, :4])
    _assert_right(framework, engine.infer(fortran), model.reference(host[:, :4]))


def _run_or_refusal(engine: fasttrt.Engine, x: Any) -> tuple[Any, str]:
    try:
        return engine.infer(x), ""
    except fasttrt.InputError as error:
        return None, str(error)


def test_strides_without_a_library(engine: fasttrt.Engine, model: Model) -> None:
    """Nobody there can copy them: they are taken as they are meant, or refused by name."""
    host = normal(6, 8)
    strided = Interface(_to_torch(host)[:, ::2])
    y, refusal = _run_or_refusal(engine, strided)
    if refusal:
        assert refusal.startswith("x: ")
    else:
        assert_close(_from_device_array(y), model.reference(host[:, ::2]), ELEMENTWISE)
    plain = Interface(_to_torch(host[:, :4].copy()))
    y = engine.infer(plain)
    assert_close(_from_device_array(y), model.reference(host[:, :4]), ELEMENTWISE)


def test_strides_that_say_c_order(engine: fasttrt.Engine, model: Model) -> None:
    x = normal(6, 4)
    y = engine.infer(Interface(_to_torch(x), strides=(16, 4)))
    assert_close(_from_device_array(y), model.reference(x), ELEMENTWISE)


def test_read_only_arrays(engine: fasttrt.Engine, model: Model) -> None:
    x = normal(6, 4)
    tensor = _to_torch(x)
    locked = Interface(tensor, data=(tensor.data_ptr(), True))
    y = engine.infer(locked)
    assert_close(_from_device_array(y), model.reference(x), ELEMENTWISE)
    with pytest.raises(fasttrt.InputError, match=r"^y: out= must be .*writeable"):
        engine.infer(Interface(_to_torch(normal(6, 4))), out=locked)
    np.testing.assert_array_equal(_from_torch(tensor), x)


# torch


def test_tensors_that_record_gradients(engine: fasttrt.Engine, model: Model) -> None:
    """A run has no gradient: it gives the values, or refuses by name."""
    torch = need_torch()
    x = normal(6, 4)
    for given in (_to_torch(x).requires_grad_(), torch.nn.Parameter(_to_torch(x))):
        y, refusal = _run_or_refusal(engine, given)
        if refusal:
            assert refusal.startswith("x: ")
        else:
            assert not y.requires_grad
            assert_close(y.cpu().numpy(), model.reference(x), ELEMENTWISE)
        assert given.requires_grad
        with torch.no_grad():
            np.testing.assert_array_equal(given.cpu().numpy(), x)
    with torch.inference_mode():
        y = engine.infer(_to_torch(x))
        assert_close(y.cpu().numpy(), model.reference(x), ELEMENTWISE)


def test_tensors_in_host_memory(engine: fasttrt.Engine, model: Model) -> None:
    torch = need_torch()
    for batch in (6, 50_000):
        for pinned in (False, True):
            host = normal(batch, 4)
            x = torch.from_numpy(host.copy())
            if pinned:
                x = x.pin_memory()
            assert_close(engine.infer(x), model.reference(host), ELEMENTWISE)
            turned = torch.from_numpy(np.ascontiguousarray(host.T)).T
            assert not turned.is_contiguous()
            assert_close(engine.infer(turned), model.reference(host), ELEMENTWISE)
            target = torch.full((batch, 4), torch.nan, device="cuda")
            assert engine.infer(x, out=target) is target
            assert_close(target.cpu().numpy(), model.reference(host), ELEMENTWISE)


# page-locked


@pytest.mark.parametrize("batch", [1, 64, 5_000, MOST])
def test_page_locked_arrays(engine: fasttrt.Engine, model: Model, batch: int) -> None:
    x = fasttrt.empty_pinned((batch, 4), np.float32)
    out = fasttrt.empty_pinned((batch, 4), np.float32)
    assert isinstance(x, np.ndarray)
    assert x.shape == (batch, 4)
    assert x.dtype == np.float32
    for _ in range(4):
        host = normal(batch, 4)
        expected = model.reference(host)
        x[...] = host
        y = engine.infer(x)
        assert_close(y, expected, ELEMENTWISE)
        assert engine.infer(x, out=out) is out
        assert_close(out, expected, ELEMENTWISE)
        out[...] = np.nan
        assert engine.infer(host, out=out) is out
        assert_close(out, expected, ELEMENTWISE)
        out[...] = np.nan
        assert_close(y, expected, ELEMENTWISE)


def test_parts_of_page_locked_arrays(engine: fasttrt.Engine, model: Model) -> None:
    x = fasttrt.empty_pinned((9, 8_000, 4), "float32")
    out = fasttrt.empty_pinned((9, 8_000, 4), "float32")
    x[...] = normal(9, 8_000, 4)
    out[...] = np.nan
    for part in (3, 5):
        engine.infer(x[part], out=out[part])
        assert_close(out[part], model.reference(x[part]), ELEMENTWISE)
    assert np.isnan(out[[0, 1, 2, 4, 6, 7, 8]]).all()
    assert_close(engine.infer(x[1:8:2, 0]), model.reference(x[1:8:2, 0]), ELEMENTWISE)


# Refusals

BAD: dict[str, tuple[Callable[[Any], Any], str]] = {
    "float64": (lambda t: t.double(), "^x: expected dtype float32, got float64"),
    "float16": (lambda t: t.half(), "^x: expected dtype float32, got float16"),
    "bfloat16": (lambda t: t.bfloat16(), "^x: expected dtype float32, got bfloat16"),
    "int32": (lambda t: t.int(), "^x: expected dtype float32, got int32"),
    "complex": (lambda t: t.cfloat(), "^x: expected dtype float32, got complex64"),
    "bool": (lambda t: t > 0, "^x: expected dtype float32, got bool"),
    "rank 0": (lambda t: t[0, 0], r"^x: expected shape .*got \(\)"),
    "rank 1": (lambda t: t.reshape(-1), r"^x: expected shape .*got \(24,\)"),
    "rank 3": (lambda t: t[None], r"^x: expected shape .*got \(1, 6, 4\)"),
    "rank 9": (lambda t: t.view(6, *[1] * 7, 4), "^x: expected at most 8 dimensions, got 9"),
    "wide": (lambda t: t.view(4, 6), r"^x: expected shape .*got \(4, 6\)"),
    "too many": (lambda t: t[:1].repeat(MOST + 1, 1), rf"^x: .*max .*got \({MOST + 1}, 4\)"),
    "nowhere": (lambda t: t.to("meta"), "^x: "),
}


@pytest.mark.parametrize("fault", BAD)
def test_refused(engine: fasttrt.Engine, model: Model, fault: str) -> None:
    spoil, message = BAD[fault]
    x = normal(6, 4)
    good = _to_torch(x)
    bad = spoil(good)
    for give in (engine.infer, lambda given: engine.infer({"x": given})):
        with pytest.raises(fasttrt.InputError, match=message):
            give(bad)
        assert_close(engine.infer(good).cpu().numpy(), model.reference(x), ELEMENTWISE)


def test_wrong_type_of_every_framework(
    engine: fasttrt.Engine, model: Model, framework: Framework
) -> None:
    x = normal(6, 4)
    with pytest.raises(fasttrt.InputError, match=r"^x: expected dtype float32, got int32"):
        engine.infer(framework.put(np.zeros((6, 4), np.int32)))
    with pytest.raises(fasttrt.InputError, match=r"^x: expected shape .*got \(6, 5\)"):
        engine.infer(framework.put(normal(6, 5)))
    with pytest.raises(fasttrt.InputError, match=r"^x: .*cast"):
        engine.infer(framework.put(x.astype(np.float16)), cast=True)
    _assert_right(framework, engine.infer(framework.put(x), cast=True), model.reference(x))


BAD_OUT: dict[str, tuple[Callable[[Any], Any], str]] = {
    "type": (lambda t: t.half(), "^y: .*float32.*float16"),
    "shape": (lambda t: t[:5].clone(), r"^y: .*\(6, 4\).*out= has shape \(5, 4\)"),
    "rank": (lambda t: t.reshape(-1).clone(), r"^y: .*\(6, 4\).*out= has shape \(24,\)"),
    "gaps": (lambda t: t.repeat(1, 2)[:, ::2], "^y: out= must be C-contiguous"),
    "order": (lambda t: t.T.contiguous().T, "^y: out= must be C-contiguous"),
    "too many": (lambda t: [t, t.clone()], "out: expected 1 arrays, got 2"),
    "by name": (lambda t: {"y": t}, "out: .* not passed by name"),
}


@pytest.mark.parametrize("fault", BAD_OUT)
def test_refused_targets(engine: fasttrt.Engine, model: Model, fault: str) -> None:
    spoil, message = BAD_OUT[fault]
    x, torch = normal(6, 4), need_torch()
    given = _to_torch(x)
    out = spoil(torch.zeros_like(given))
    for _ in range(2):
        with pytest.raises(fasttrt.InputError, match=message):
            engine.infer(given, out=out)
        assert_close(engine.infer(given).cpu().numpy(), model.reference(x), ELEMENTWISE)
    parts = out.values() if isinstance(out, dict) else out if isinstance(out, list) else [out]
    assert not any(bool(part.any()) for part in parts), "was written to"


def test_a_result_over_its_input_is_refused(engine: fasttrt.Engine, model: Model) -> None:
    """It is read where it is, perhaps after a part of the result has been written."""
    host = normal(9, 4)
    whole = _to_torch(host)
    for x, out in ((whole, whole), (whole[:6], whole[3:]), (whole[3:], whole[:6])):
        with pytest.raises(fasttrt.InputError, match="same memory"):
            engine.infer(x, out=out)
        np.testing.assert_array_equal(_from_torch(whole), host)
    engine.infer(whole[:4], out=whole[5:])  # side by side
    assert_close(_from_torch(whole[5:]), model.reference(host[:4]), ELEMENTWISE)
    np.testing.assert_array_equal(_from_torch(whole[:5]), host[:5])


def test_two_results_in_the_same_memory_are_refused(
    subtractions_engine: fasttrt.Engine, subtractions: Model
) -> None:
    torch = need_torch()
    hosts = [normal(2, 4) for _ in "cab"]
    given = [_to_torch(x) for x in hosts]
    shared = torch.full((6, 4), torch.nan, device="cuda")
    with pytest.raises(fasttrt.InputError, match="same memory"):
        subtractions_engine.infer(*given, out=[shared[:2], shared[1:3], None])
    with pytest.raises(fasttrt.InputError, match="same memory"):
        subtractions_engine.infer(*given, out=[None, given[2], None])  # over another output's input
    assert bool(shared.isnan().all())
    subtractions_engine.infer(*given, out=[shared[:2], shared[2:4], shared[4:]])
    expected = np.concatenate(subtractions.reference(*hosts))
    assert_close(_from_torch(shared), expected, ELEMENTWISE)
    for tensor, host in zip(given, hosts, strict=True):
        np.testing.assert_array_equal(_from_torch(tensor), host)


def test_types_that_are_converted_are_refused() -> None:
    """TensorRT has no float64, and 8.6 no int64: what it has is made of numpy's arrays alone."""
    model = elementwise(("batch", 4), TensorProto.DOUBLE)
    with open_engine(model, shapes={"x": ((1, 4), (4, 4), (16, 4))}) as engine:
        x = new_rng().standard_normal((6, 4))
        for given in (_to_torch(x), _to_torch(x.astype(np.float32))):
            with pytest.raises(fasttrt.InputError, match=r"^x: .*float64"):
                engine.infer(given)
            with pytest.raises(fasttrt.InputError, match=r"^y: "):
                engine.infer(x, out=given)
        np.testing.assert_allclose(engine.infer(x), model.reference(x), rtol=ELEMENTWISE)


def test_another_gpu(plan: fasttrt.Plan, model: Model) -> None:
    torch = need_torch()
    if torch.cuda.device_count() < 2:
        pytest.skip("there is one GPU")
    x = normal(6, 4)
    tensors = [torch.from_numpy(x).to(f"cuda:{ordinal}") for ordinal in (0, 1)]
    for here in (0, 1):
        with fasttrt.Engine(plan, device=f"cuda:{here}") as engine:
            there = 1 - here
            with pytest.raises(fasttrt.InputError, match=rf"^x: .*cuda:{here}.*cuda:{there}"):
                engine.infer(tensors[there])
            with pytest.raises(fasttrt.InputError, match=rf"^y: .*cuda:{here}.*cuda:{there}"):
                engine.infer(tensors[here], out=torch.empty_like(tensors[there]))
            y = engine.infer(tensors[here])
            assert y.device.index == here
            assert_close(y.cpu().numpy(), model.reference(x), ELEMENTWISE)


# Extents that come from values


@pytest.fixture(scope="module")
def by_data() -> Iterator[Pair]:
    model = nonzero() if is_v8() else cut_by_data()
    with open_engine(model, shapes={"x": ((1,), (64,), (512,))}) as engine:
        yield engine, model


def test_extents_that_depend_on_the_data(by_data: Pair, framework: Framework) -> None:
    engine, model = by_data
    for size in (64, 64, 512, 40, 512, 64):
        x = normal(size)
        expected = model.reference(x)
        if any(spec.converted for spec in engine.outputs):
            with pytest.raises(fasttrt.InputError, match=r"^y: "):
                engine.infer(framework.put(x))
            np.testing.assert_array_equal(engine.infer(x), expected)
            continue
        results = engine.infer(framework.put(x))
        for result, right in zip(results, expected, strict=True):
            assert isinstance(result, framework.result)
            assert tuple(result.shape) == right.shape
            np.testing.assert_array_equal(framework.get(result), right)


@pytest.fixture(scope="module")
def reshaping() -> Iterator[Pair]:
    model = reshape(24)
    shapes = {"x": ((1, 24), (3, 24), (8, 24)), "shape": ((2, 12), (6, 12), (8, 24))}
    with open_engine(model, shapes=shapes) as engine:
        yield engine, model


def test_shapes_as_inputs(reshaping: Pair, framework: Framework) -> None:
    """TensorRT reads them on the host, wherever they are given."""
    engine, model = reshaping
    for rows, columns in ((4, 12), (3, 16), (2, 24), (4, 12), (4, 12), (3, 16)) * 2:
        x, shape = normal(2, 24), np.array([rows, columns])
        y = engine.infer(framework.put(x), shape)
        _assert_right(framework, y, model.reference(x, shape))
        if "int64" not in framework.types or engine.inputs[1].converted:
            continue
        y = engine.infer(framework.put(x), framework.put(shape))
        _assert_right(framework, y, model.reference(x, shape))
