"""Arrays that fasttrt makes, alone and in the hands of the array libraries of the GPU."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import fasttrt
from fasttrt import _core
from fasttrt._runtime import arrays as arrays
from support.gpu import Array, need
from support.randomness import new_rng

pytestmark = pytest.mark.gpu
PLAIN = ("float32", "float16", "int8", "int32", "bool", "uint8", "int64")  # that numpy itself has
SMALL = ("bfloat16", "float8_e4m3fn", "float8_e8m0fnu")
PACKED = ("int4", "float4_e2m1fn")
SHAPES = [(), (0, 3), (1,), (5, 3), (2, 3, 4, 5)]


def random(name: str, shape: tuple[int, ...]) -> Array:
    """New values of any bits that the dtype has."""
    rng = new_rng()
    dtype = np.dtype(getattr(ml_dtypes, name, name))
    if name == "bool":
        return rng.integers(0, 2, shape).astype(bool)
    if name == "int4":
        return rng.integers(-8, 8, shape).astype(dtype)
    if name == "float4_e2m1fn":
        return np.asarray(rng.integers(0, 16, shape), np.uint8).view(dtype)
    count = int(np.prod(shape)) * dtype.itemsize
    return np.frombuffer(rng.bytes(count), dtype).reshape(shape)


def same(actual: Any, expected: Array) -> bool:
    """The same bits: NaN included."""
    assert isinstance(actual, np.ndarray)
    assert actual.dtype == expected.dtype
    assert actual.shape == expected.shape
    if expected.dtype.name in PACKED:  # the upper half of their bytes says nothing
        return bool((actual.view(np.uint8) & 15 == expected.view(np.uint8) & 15).all())
    return actual.tobytes() == expected.tobytes()


@pytest.fixture(scope="module")
def torch() -> Any:
    torch = need("torch")
    if not torch.cuda.is_available():
        pytest.skip("this torch has no CUDA")
    return torch


@pytest.fixture(scope="module")
def cupy() -> Any:
    return need("cupy")


@pytest.fixture(scope="module")
def jax() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # not all of the memory at once
        jax = need("jax")
        if jax.default_backend() != "gpu":
            pytest.skip("this JAX has no GPU")
        jax.config.update("jax_enable_x64", True)
        need("jax.dlpack")
        return jax


def see(array: Any, consumer: int | None = None) -> Any:
    return _core.describe_array("x", array, consumer)


# On their own


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", PLAIN + SMALL + PACKED)
def test_there_and_back(name: str, shape: tuple[int, ...]) -> None:
    array = random(name, shape)
    there = fasttrt.DeviceArray.from_numpy(array)
    assert there.shape == shape
    assert there.dtype == array.dtype
    assert there.nbytes == ((array.size + 1) // 2 if name in PACKED else array.nbytes)
    assert there.device == 0
    assert there.ptr % 256 == 0
    assert same(there.numpy(), array)


def test_any_strides_go_there() -> None:
    array = random("float32", (4, 6, 5))
    for odd in (array.T, array[::-1, ::2], array[:, 1], np.broadcast_to(array[0], (3, 6, 5))):
        assert same(fasttrt.DeviceArray.from_numpy(odd).numpy(), np.ascontiguousarray(odd))


def test_empty() -> None:
    array = fasttrt.DeviceArray.empty((2, 3), "bfloat16")
    assert repr(array) == "<fasttrt.DeviceArray bfloat16 (2, 3) on cuda:0>"
    assert len(array) == 2
    assert array.numpy().shape == (2, 3)
    assert fasttrt.DeviceArray.empty(7, np.int8).shape == (7,)
    with pytest.raises(TypeError, match="no length"):
        len(fasttrt.DeviceArray.empty((), np.int8))
    with pytest.raises(TypeError, match="numpy"):
        np.asarray(array)


def test_errors() -> None:
    with pytest.raises(fasttrt.CudaError, match="no CUDA device 99"):
        fasttrt.DeviceArray.empty((2,), "int8", device=99)
    with pytest.raises(fasttrt.OutOfMemoryError):
        fasttrt.DeviceArray.empty((2**50,), "int8")
    with pytest.raises(fasttrt.InputError, match="float64"):
        fasttrt.DeviceArray.from_numpy(np.zeros(3))


def test_a_run_sees_them() -> None:
    array = fasttrt.DeviceArray.from_numpy(random("float16", (2, 3)))
    place = ("device", 0, True, False, None)
    assert see(array) == ("dlpack", array.ptr, (2, 3), array.dtype, *place)


def test_threads() -> None:
    failures: list[BaseException] = []

    def work() -> None:
        try:
            for _ in range(20):
                array = random("int32", (100, 50))
                assert same(fasttrt.DeviceArray.from_numpy(array).numpy(), array)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


# The protocols


def test_dlpack_devices() -> None:
    array = fasttrt.DeviceArray.from_numpy(random("int32", (3, 2)))
    assert array.__dlpack_device__() == (2, 0)
    assert "dltensor_versioned" in repr(array.__dlpack__(max_version=(1, 1)))
    assert '"dltensor"' in repr(array.__dlpack__())
    assert '"dltensor"' in repr(array.__dlpack__(max_version=(0, 8)))
    for device in ((2, 1), (7, 0)):
        with pytest.raises(BufferError):
            array.__dlpack__(dl_device=device)
    with pytest.raises(BufferError, match="copied"):
        array.__dlpack__(dl_device=(1, 0), copy=False)


def test_numpy_may_ask_for_a_copy_on_the_host() -> None:
    array = random("float32", (3, 2))
    there = fasttrt.DeviceArray.from_numpy(array)

    class OnHost:
        def __dlpack_device__(self) -> tuple[int, int]:
            return (1, 0)

        def __dlpack__(self, **_: Any) -> Any:
            return there.__dlpack__(dl_device=(1, 0))

    assert same(np.from_dlpack(OnHost()), array)


def test_cuda_array_interface() -> None:
    array = fasttrt.DeviceArray.from_numpy(random("float16", (3, 2)))
    assert array.__cuda_array_interface__ == {
        "version": 3, "shape": (3, 2), "typestr": "<f2", "data": (array.ptr, False),
        "strides": None, "stream": None,
    }  # fmt: skip


@pytest.mark.parametrize("name", SMALL + PACKED)
def test_the_interface_has_no_name_for_the_small_types(name: str) -> None:
    array = fasttrt.DeviceArray.empty((3,), name)
    assert not hasattr(array, "__cuda_array_interface__")
    with pytest.raises(AttributeError, match=f"{name}; use DLPack"):
        _ = array.__cuda_array_interface__


# PyTorch


def to_host(tensor: Any) -> Array:
    """The bits of a tensor."""
    torch = need("torch")
    flat = tensor.detach().contiguous().cpu().reshape(-1).view(torch.uint8)
    return np.asarray(flat.numpy())


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", PLAIN + SMALL)
def test_torch_takes_them(torch: Any, name: str, shape: tuple[int, ...]) -> None:
    array = random(name, shape)
    there = fasttrt.DeviceArray.from_numpy(array)
    tensor = torch.from_dlpack(there)
    assert str(tensor.dtype) == f"torch.{name}"
    assert tuple(tensor.shape) == shape
    assert tensor.device == torch.device("cuda:0")
    if array.size:
        assert tensor.data_ptr() == there.ptr
    del there
    gc.collect()
    fasttrt.DeviceArray.from_numpy(random("uint8", (array.nbytes + 1,)))  # may take freed memory
    assert to_host(tensor).tobytes() == array.tobytes()


def test_torch_may_write_into_them(torch: Any) -> None:
    there = fasttrt.DeviceArray.from_numpy(np.zeros((2, 3), np.float32))
    torch.from_dlpack(there).fill_(4.5)
    assert (there.numpy() == 4.5).all()


def test_torch_may_ask_for_a_copy(torch: Any) -> None:
    there = fasttrt.DeviceArray.from_numpy(np.zeros((2, 3), np.float32))
    copy = torch.from_dlpack(there, copy=True)
    copy.fill_(1)
    torch.cuda.synchronize()
    assert copy.data_ptr() != there.ptr
    assert (there.numpy() == 0).all()


def test_the_last_owner_may_be_on_another_thread(torch: Any) -> None:
    array = random("float32", (1000,))
    held = [torch.from_dlpack(fasttrt.DeviceArray.from_numpy(array))]
    seen: list[bytes] = []

    def work() -> None:
        tensor = held.pop()
        seen.append(to_host(tensor).tobytes())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [array.tobytes()]


@pytest.mark.parametrize("name", PLAIN + SMALL)
def test_a_run_sees_tensors(torch: Any, name: str) -> None:
    tensor = torch.empty(4, 6, dtype=getattr(torch, name), device="cuda")
    side = torch.cuda.Stream()
    for stream in (torch.cuda.default_stream(), side):
        with torch.cuda.stream(stream):
            seen = see(tensor[1:], 77)
        assert seen[1:3] == (tensor[1:].data_ptr(), (3, 6))
        assert seen[3].name == name
        assert seen[4:8] == ("device", 0, True, False)
        assert seen[8] == stream.cuda_stream
    assert see(tensor[:, ::2])[6] is False


def test_pinned_tensors_are_host_memory(torch: Any) -> None:
    tensor = torch.zeros(3, pin_memory=True)
    assert see(tensor)[1] == tensor.data_ptr()
    assert see(tensor)[4:6] == ("host", -1)


def test_the_older_way_to_tensors(torch: Any) -> None:
    """As PyTorch before 2.10 gives them: __dlpack__ with the consumer's stream."""

    class Older:
        def __init__(self, tensor: Any) -> None:
            self.__dlpack__, self.__dlpack_device__ = tensor.__dlpack__, tensor.__dlpack_device__

    tensor = torch.zeros(4, 6, device="cuda")
    stream = torch.cuda.Stream()
    for consumer in (None, 0, stream.cuda_stream):
        seen = see(Older(tensor), consumer)
        assert seen[0] == "dlpack"
        assert seen[1:3] == (tensor.data_ptr(), (4, 6))
        assert seen[8] is None


# CuPy


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", PLAIN)
def test_cupy_takes_them(cupy: Any, name: str, shape: tuple[int, ...]) -> None:
    array = random(name, shape)
    for take in (cupy.from_dlpack, cupy.asarray):
        there = fasttrt.DeviceArray.from_numpy(array)
        taken = take(there)
        assert isinstance(taken, cupy.ndarray)
        if array.size:
            assert taken.data.ptr == there.ptr
        del there
        gc.collect()
        assert same(cupy.asnumpy(taken), array)


@pytest.mark.parametrize("name", PLAIN)
def test_a_run_sees_cupys(cupy: Any, name: str) -> None:
    array = cupy.asarray(random(name, (4, 6)))
    seen = see(array[1:], 0)
    assert seen == (
        "dlpack",
        array[1:].data.ptr,
        (3, 6),
        array.dtype,
        "device",
        0,
        True,
        False,
        None,
    )
    assert see(array[:, ::2])[6] is False
    assert see(array.T)[6] is False


def test_a_run_sees_cuda_array_interfaces(cupy: Any) -> None:
    array = cupy.zeros((4, 6), np.float32)

    class Interface:
        def __init__(self, of: Any) -> None:
            self.__cuda_array_interface__ = of.__cuda_array_interface__

    assert see(Interface(array))[:3] == ("cuda_interface", array.data.ptr, (4, 6))
    assert see(Interface(array))[6] is True
    assert see(Interface(array[:, ::2]))[6] is False
    stream = cupy.cuda.Stream(non_blocking=True)
    with stream:
        assert see(Interface(array))[8] == stream.ptr


# JAX


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", [*PLAIN, "bfloat16"])
def test_jax_takes_them(jax: Any, name: str, shape: tuple[int, ...]) -> None:
    array = random(name, shape)
    there = fasttrt.DeviceArray.from_numpy(array)
    taken = jax.dlpack.from_dlpack(there)
    if array.size:
        assert taken.unsafe_buffer_pointer() == there.ptr
    del there
    gc.collect()
    assert same(np.asarray(taken), array)


@pytest.mark.parametrize("name", [*PLAIN, "bfloat16"])
def test_a_run_sees_jaxs(jax: Any, name: str) -> None:
    array = jax.device_put(random(name, (4, 6)))
    for consumer in (None, 0):
        seen = see(array, consumer)
        assert seen[:3] == ("dlpack", array.unsafe_buffer_pointer(), (4, 6))
        assert seen[3].name == name
        assert seen[4:7] == ("device", 0, True)


# The helpers


def _libraries() -> list[tuple[str, Callable[[Array], Any]]]:
    return [
        ("torch", lambda array: need("torch").from_numpy(array).cuda()),
        ("cupy", lambda array: need("cupy").asarray(array)),
        ("jax", lambda array: need("jax").device_put(array)),
    ]


@pytest.mark.parametrize(("name", "make"), _libraries(), ids=["torch", "cupy", "jax"])
def test_results_in_the_callers_library(
    name: str, make: Callable[[Array], Any], request: pytest.FixtureRequest
) -> None:
    request.getfixturevalue(name)
    like = make(np.zeros(3, np.float32))
    assert arrays.is_device_array(like)
    array = random("float32", (5, 3))
    there = fasttrt.DeviceArray.from_numpy(array)
    result = arrays.to_framework(there, like)
    assert type(result) is type(like)
    assert see(result)[1] == there.ptr
    for dtype in PLAIN + SMALL:
        results = arrays.to_framework(fasttrt.DeviceArray.empty((2,), dtype), like)
        assert type(results) in (type(like), fasttrt.DeviceArray)
    new = arrays.empty_like_framework(like, (2, 3), np.dtype(np.float16), 0)
    if name == "jax":
        assert new is None
        assert arrays.current_stream(like, 0) is None
    else:
        assert type(new) is type(like)
        assert see(new)[2:6] == ((2, 3), np.float16, "device", 0)
        assert arrays.current_stream(like, 0) == 0
        strided = make(np.arange(6, dtype=np.float32).reshape(2, 3)).T
        copy = arrays.contiguous(strided)
        assert see(copy)[2:7] == ((3, 2), np.float32, "device", 0, True)
        assert bool((copy == strided).all())
    assert arrays.empty_like_framework(like, (2, 3), np.dtype(ml_dtypes.int4), 0) is None


def test_current_streams(torch: Any, cupy: Any) -> None:
    side = torch.cuda.Stream()
    with torch.cuda.stream(side):
        assert arrays.current_stream(torch.zeros(1, device="cuda"), 0) == side.cuda_stream
    assert arrays.stream_handle(side) == side.cuda_stream
    own = cupy.cuda.Stream(non_blocking=True)
    with own:
        assert arrays.current_stream(cupy.zeros(1), 0) == own.ptr
    assert arrays.stream_handle(own) == own.ptr


# Page-locked


@pytest.mark.parametrize("name", ["float32", "uint8", "int64", "bool"])
def test_empty_pinned(torch: Any, name: str) -> None:
    array = fasttrt.empty_pinned((3, 5), name)
    assert array.flags.c_contiguous
    assert array.flags.writeable
    tensor = torch.from_numpy(array)
    assert tensor.is_pinned()
    array[...] = random(name, (3, 5))
    assert same(tensor.cuda().cpu().numpy(), array)
    view = array[1:]
    expected = view.copy()
    del array, tensor
    gc.collect()
    assert same(view, expected)


def test_pinned_memory_is_given_back() -> None:
    for _ in range(200):
        fasttrt.empty_pinned((2**26,), "uint8")[::4096] = 1
    with pytest.raises(fasttrt.CudaError, match="no CUDA device 99"):
        fasttrt.empty_pinned((3,), "int8", device=99)
