"""What is seen of an array of any library; those in GPU memory are made by hand here."""

from __future__ import annotations

import gc
import importlib
import sys
import types
import warnings
import weakref
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np
import pytest

import fasttrt
from fasttrt import _core
from fasttrt._runtime import arrays as arrays
from support.free_threading import IS_FIRST
from support.threads import at_once

DTYPES = (
    "float32", "float16", "int8", "int32", "bool", "uint8", "float8_e4m3fn", "bfloat16", "int64",
    "int4", "float4_e2m1fn", "float8_e8m0fnu",
)  # fmt: skip


class Seen(NamedTuple):
    framework: str
    address: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    place: str
    device: int
    contiguous: bool
    read_only: bool
    stream: int | None


def see(array: Any, consumer: int | None = None) -> Seen:
    return Seen(*_core.describe_array("x", array, consumer))


def dtype(name: str) -> np.dtype[Any]:
    return np.dtype(getattr(ml_dtypes, name, name))


@pytest.fixture(scope="module")
def torch() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return importlib.import_module("torch")
        except ImportError:
            pytest.skip("there is no torch")


# numpy


@pytest.mark.parametrize("name", DTYPES)
def test_numpy(name: str) -> None:
    array = np.zeros((2, 3), dtype(name))
    seen = see(array)
    assert seen == (
        "numpy",
        array.ctypes.data,
        array.shape,
        array.dtype,
        "host",
        -1,
        True,
        False,
        None,
    )


def test_numpy_layouts() -> None:
    array = np.zeros((4, 6), np.float32)
    assert not see(array.T).contiguous
    assert not see(array[:, ::2]).contiguous
    assert not see(array[::-1]).contiguous
    assert see(array[2:]).contiguous
    assert see(array[2:]).address == array.ctypes.data + 48
    assert see(array[:, :1].T[:1, :1]).contiguous
    assert see(np.zeros((), np.int8)).shape == ()
    unaligned = np.frombuffer(bytes(9), np.float32, offset=1)
    assert not see(unaligned).contiguous
    assert see(np.frombuffer(bytes(8), np.float32)).read_only


def test_numpys_long_long_is_int64() -> None:
    assert see(np.zeros(3, np.longlong)).dtype == np.int64


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.zeros(3), "float64"),
        (np.zeros(3, ">f4"), ">f4"),
        (np.zeros(3, "datetime64[s]"), "datetime64"),
        (np.array([None]), "object"),
        (np.zeros(3, ml_dtypes.float8_e5m2), "float8_e5m2"),
        (np.zeros((1,) * 9, np.float32), "at most 8 dimensions, got 9"),
        ([1, 2], "expected an array .* got list"),
        (None, "got NoneType"),
        (3.5, "got float"),
        (object(), "got object"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_refusals_name_the_tensor(array: Any, words: str) -> None:
    with pytest.raises(fasttrt.InputError, match=f"^x: .*{words}"):
        see(array)


# DLPack


class Exporter:
    """Hands on a numpy array, and remembers how it was asked."""

    def __init__(self, array: Any, *, old: bool = False, device: Any = None) -> None:
        self.array = array
        self.old = old
        self.device = device
        self.calls: list[dict[str, Any]] = []

    def __dlpack_device__(self) -> Any:
        return self.device or self.array.__dlpack_device__()

    def __dlpack__(self, **options: Any) -> Any:
        self.calls.append(options)
        if self.old:
            if "max_version" in options:
                raise TypeError("__dlpack__() got an unexpected keyword argument 'max_version'")
            return self.array.__dlpack__()
        return self.array.__dlpack__(**options | {"stream": None})


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("name", ["float32", "float16", "int8", "int32", "bool", "uint8", "int64"])
def test_dlpack(name: str, old: bool) -> None:
    array = np.zeros((2, 3), name)
    seen = see(Exporter(array, old=old))
    assert seen == ("dlpack", array.ctypes.data, (2, 3), array.dtype, "host", -1, True, False, None)


def test_dlpack_is_asked_for_version_1_and_host_arrays_without_a_stream() -> None:
    exporter = Exporter(np.zeros(3, np.int8), old=True)
    see(exporter, 7)
    assert exporter.calls == [{"stream": None, "max_version": (1, 0)}, {"stream": None}]


@pytest.mark.parametrize(("consumer", "stream"), [(None, None), (0, 1), (77, 77)])
def test_dlpack_is_told_the_consumers_stream(consumer: int | None, stream: int | None) -> None:
    exporter = Exporter(np.zeros(3, np.int8), device=(2, 0))
    see(exporter, consumer)
    assert exporter.calls[0]["stream"] == stream


def test_dlpack_layouts() -> None:
    array = np.zeros((4, 6), np.float32)
    assert not see(Exporter(array.T)).contiguous
    assert see(Exporter(array[:, :1].T[:1, :1])).contiguous
    assert see(Exporter(np.zeros((0, 3), np.float32)[:, ::2])).contiguous
    frozen = np.zeros(3, np.float32)
    frozen.flags.writeable = False
    assert see(Exporter(frozen)).read_only


@pytest.mark.parametrize("old", [False, True])
def test_dlpack_lets_go_of_the_memory(old: bool) -> None:
    array = np.zeros(3, np.float32)
    before = sys.getrefcount(array)
    exporter = Exporter(array, old=old)
    see(exporter)
    with pytest.raises(fasttrt.InputError):
        see(Exporter(np.zeros((1,) * 9, np.float32), old=old))
    del exporter
    gc.collect()
    assert sys.getrefcount(array) == before


def test_a_used_capsule_is_refused() -> None:
    capsule = np.zeros(3, np.float32).__dlpack__()
    again = Exporter(None, device=(1, 0))
    again.array = types.SimpleNamespace(__dlpack__=lambda **_: capsule)
    assert see(again).shape == (3,)
    with pytest.raises(fasttrt.InputError, match=r"^x: .*unused"):
        see(again)


@pytest.mark.parametrize("version", [{}, {"max_version": (1, 0)}])
def test_of_threads_with_the_same_capsule_one_gets_it(version: dict[str, Any]) -> None:
    def take() -> bool:
        try:
            see(shared)
        except fasttrt.InputError as error:
            if "unused" not in str(error):
                raise
            return False
        return True

    for _ in range(50):
        capsule = np.zeros(3, np.float32).__dlpack__(**version)
        shared = Exporter(None, device=(1, 0))
        shared.array = types.SimpleNamespace(__dlpack__=lambda capsule=capsule, **_: capsule)
        assert at_once(4, take).count(True) == 1


def _raise(error: BaseException) -> Callable[..., Any]:
    def method(*_: Any, **__: Any) -> Any:
        raise error

    return method


def make(**members: Any) -> Any:
    return type("Odd", (), members)()


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (Exporter(np.zeros(3, np.int8), device=(7, 0)), "Vulkan"),
        (Exporter(np.zeros(3, np.int8), device=(10, 0)), "ROCm"),
        (Exporter(np.zeros(3, np.int8), device=(99, 0)), "99"),
        (Exporter(np.zeros(3)), "float64"),
        (Exporter(np.zeros(3, np.complex64)), "complex64"),
        (Exporter(np.zeros(3, np.uint16)), "uint16"),
        (Exporter(np.zeros((1,) * 9, np.int8)), "at most 8 dimensions, got 9"),
        (Exporter(np.zeros(3, ml_dtypes.bfloat16)), "BufferError"),
        (make(__dlpack_device__=lambda _: None, __dlpack__=None), "wrong type"),
        (make(__dlpack_device__=lambda _: ("a", "b"), __dlpack__=None), "wrong type"),
        (make(__dlpack_device__=lambda _: (1, 2, 3), __dlpack__=None), "wrong type"),
        (make(__dlpack_device__=lambda _: (1, 0), __dlpack__=lambda _, **__: 3), "capsule"),
        (make(__dlpack_device__=lambda _: (1, 0), __dlpack__=5), "not callable"),
        (make(__dlpack_device__=_raise(OSError("gone")), __dlpack__=None), "OSError: gone"),
    ],
)
def test_dlpack_refusals(array: Any, words: str) -> None:
    with pytest.raises(fasttrt.InputError, match=f"^x: .*{words}"):
        see(array)


@pytest.mark.parametrize("kind", [KeyboardInterrupt, MemoryError, SystemExit])
def test_what_is_not_about_the_array_passes(kind: type[BaseException]) -> None:
    with pytest.raises(kind):
        see(make(__dlpack_device__=_raise(kind()), __dlpack__=None))


@pytest.mark.skipif(IS_FIRST, reason="free-threaded Python 3.13 never frees a class")
def test_classes_may_come_and_go() -> None:
    gone = []
    for _ in range(50):
        odd = type("Odd", (np.ndarray,), {})
        assert see(np.zeros(3, np.int8).view(odd)).framework == "numpy"
        gone.append(weakref.ref(odd))
    del odd
    gc.collect()
    assert [found for found in gone if found() is not None] == []


# __cuda_array_interface__


def interface(**entries: Any) -> Any:
    given = {"shape": (2, 3), "typestr": "<f4", "data": (4096, False), "version": 3} | entries
    return make(__cuda_array_interface__=given)


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        ({}, {}),
        ({"version": 2}, {}),
        ({"strides": None, "mask": None, "stream": None, "descr": [("", "<f4")]}, {}),
        ({"strides": (12, 4)}, {}),
        ({"strides": (4, 8)}, {"contiguous": False}),
        ({"strides": (24, 4)}, {"contiguous": False}),
        ({"strides": (99, 4), "shape": (1, 3)}, {"shape": (1, 3)}),
        ({"strides": (1, 1), "shape": (0, 3)}, {"shape": (0, 3)}),
        ({"data": (0, False), "shape": (0, 3)}, {"shape": (0, 3), "address": 0}),
        ({"data": (4096, True)}, {"read_only": True}),
        ({"data": (4097, False)}, {"address": 4097, "contiguous": False}),
        ({"shape": ()}, {"shape": ()}),
        ({"typestr": "|b1"}, {"dtype": np.dtype(np.bool_)}),
        ({"typestr": "<i8"}, {"dtype": np.dtype(np.int64)}),
        ({"stream": 1}, {"stream": 0}),
        ({"stream": 2}, {"stream": 2}),
        ({"stream": 4711}, {"stream": 4711}),
    ],
)
def test_cuda_array_interface(entries: dict[str, Any], expected: dict[str, Any]) -> None:
    plain = Seen(
        "cuda_interface", 4096, (2, 3), np.dtype(np.float32), "device", -1, True, False, None
    )
    assert see(interface(**entries)) == plain._replace(**expected)


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ({"version": 1}, "2 or 3, got 1"),
        ({"version": 4}, "2 or 3, got 4"),
        ({"version": None}, "wrong type"),
        ({"mask": [1]}, "mask"),
        ({"stream": 0}, "stream 0"),
        ({"stream": -5}, "wrong type"),
        ({"data": (0, False)}, r"no data for the shape \(2, 3\)"),
        ({"data": None}, "wrong type"),
        ({"typestr": "<V2"}, "V2"),
        ({"typestr": ">f4"}, ">f4"),
        ({"typestr": "zz"}, "zz"),
        ({"typestr": 3}, "data type|dtype"),
        ({"shape": (-1, 2)}, "impossible"),
        ({"shape": (2**62, 8)}, "impossible"),
        ({"shape": (2**62, 8, 0)}, "impossible"),
        ({"shape": (2**80,)}, "wrong type"),
        ({"shape": (1,) * 9}, "at most 8 dimensions, got 9"),
        ({"shape": "ab"}, "wrong type"),
        ({"strides": (4,)}, "stride"),
    ],
)
def test_cuda_array_interface_refusals(entries: dict[str, Any], words: str) -> None:
    with pytest.raises(fasttrt.InputError, match=f"^x: .*({words})"):
        see(interface(**entries))


@pytest.mark.parametrize("value", [None, [1], {}, {"version": 3}])
def test_cuda_array_interface_of_another_kind(value: Any) -> None:
    with pytest.raises(fasttrt.InputError, match=r"^x: "):
        see(make(__cuda_array_interface__=value))


# PyTorch, in host memory


@pytest.mark.parametrize("name", [name for name in DTYPES if name not in ("int4", "float4_e2m1fn")])
def test_torch(torch: Any, name: str) -> None:
    own = getattr(torch, name, None)
    if own is None:
        pytest.skip("this torch lacks the type")
    tensor = torch.empty(2, 3, dtype=own)
    seen = see(tensor)
    kind = "exchange" if hasattr(torch.Tensor, "__dlpack_c_exchange_api__") else "dlpack"
    place = ("host", -1, True, False, None)
    assert seen == (kind, tensor.data_ptr(), (2, 3), dtype(name), *place)


def test_torch_layouts(torch: Any) -> None:
    tensor = torch.zeros(4, 6)
    assert not see(tensor.t()).contiguous
    assert not see(tensor[:, ::2]).contiguous
    assert see(tensor[1:]).address == tensor.data_ptr() + 24
    assert see(tensor[:, :1].t()[:1, :1]).contiguous
    assert see(torch.zeros(())).shape == ()
    assert see(torch.zeros(0, 3)).contiguous
    assert see(tensor.expand(2, 4, 6)).contiguous is False


def test_torch_kinds_of_tensor(torch: Any) -> None:
    class Own(torch.Tensor):  # type: ignore[misc]
        pass

    tensor = torch.zeros(4, 6)
    for kind in (torch.nn.Parameter(tensor), tensor.as_subclass(Own)):
        assert see(kind)[:3] == see(tensor)[:3]


def test_torch_refusals(torch: Any) -> None:
    tensor = torch.randn(3, 4)
    number = torch.randn(1, dtype=torch.complex64)
    odd: list[tuple[Any, str]] = [
        (tensor.double(), "float64"),
        (number, "complex64"),
        (number.conj(), "complex64|conjugate"),
        (tensor.to_sparse(), "storage|layout"),
        (tensor.to("meta"), "meta"),
        (torch.zeros((1,) * 9), "at most 8 dimensions, got 9"),
    ]
    if hasattr(torch.Tensor, "__dlpack_c_exchange_api__"):
        odd.append((number.conj().imag, "resolve_neg"))
    for array, words in odd:
        with pytest.raises(fasttrt.InputError, match=f"^x: .*({words})") as caught:
            see(array)
        assert "\n" not in str(caught.value)


# The helpers in Python


def test_is_device_array(torch: Any) -> None:
    assert arrays.is_device_array(interface())
    assert arrays.is_device_array(Exporter(None, device=(2, 0)))
    assert arrays.is_device_array(Exporter(None, device=(13, 0)))
    for other in (np.zeros(3), [1], None, torch.zeros(3), Exporter(None, device=(3, 0)), Exporter):
        assert not arrays.is_device_array(other)
    assert not arrays.is_device_array(make(__dlpack_device__=_raise(OSError())))


def test_contiguous(torch: Any) -> None:
    tensor = torch.randn(3, 4).t()
    copy = arrays.contiguous(tensor)
    assert isinstance(copy, torch.Tensor)
    assert see(copy).contiguous
    assert bool((copy == tensor).all())
    array = np.arange(6, dtype=np.int32).reshape(2, 3).T
    np.testing.assert_array_equal(arrays.contiguous(Exporter(array)), array)
    assert arrays.contiguous(interface(strides=(4, 8))) is None


class Stream:
    def __init__(self, **members: Any) -> None:
        self.__dict__.update(members)


class Protocol:
    def __cuda_stream__(self) -> tuple[int, int]:
        return (0, 64)


@pytest.mark.parametrize(
    ("stream", "handle"),
    [
        (0, 0),
        (np.int64(5), 5),
        (Stream(cuda_stream=7), 7),
        (Stream(ptr=8), 8),
        (Protocol(), 64),
    ],
)
def test_stream_handle(stream: Any, handle: int) -> None:
    assert arrays.stream_handle(stream) == handle


@pytest.mark.parametrize("stream", [None, "0", 1.5, True, -1, object(), Stream(ptr="x"), (0, 1)])
def test_what_is_no_stream_is_refused(stream: Any) -> None:
    with pytest.raises(fasttrt.InputError, match="stream: expected"):
        arrays.stream_handle(stream)


def test_unknown_libraries_have_nothing() -> None:
    odd = interface()
    shape = (2,)
    assert arrays.current_stream(odd, 0) is None
    assert arrays.empty_like_framework(odd, shape, np.dtype(np.float32), 0) is None
    result = object()
    assert arrays.to_framework(result, odd) is result


@pytest.fixture
def jax() -> Iterator[Any]:
    """A module by that name that gives back what it is asked to convert."""
    with pytest.MonkeyPatch.context() as patch:
        module, dlpack = types.ModuleType("jax"), types.ModuleType("jax.dlpack")
        dlpack.from_dlpack = lambda array: [array]  # type: ignore[attr-defined]
        patch.setitem(sys.modules, "jax", module)
        patch.setitem(sys.modules, "jax.dlpack", dlpack)
        yield dlpack


def test_the_library_is_that_of_the_class(jax: Any) -> None:
    base = type("Array", (), {"__module__": "jaxlib.xla_extension"})
    own = type("Own", (base,), {"__module__": "mine"})
    result = object()
    assert arrays.to_framework(result, own()) == [result]
    jax.from_dlpack = _raise(ValueError("no such dtype"))
    assert arrays.to_framework(result, own()) is result


# What fasttrt makes, without a GPU


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (((2,), "float64"), "dtype: TensorRT has no float64"),
        (((2,), "foo"), "dtype: .*'foo'"),
        (((-2,), "int8"), "shape: "),
        (("ab", "int8"), "shape: expected integers"),
        (((2.5,), "int8"), "shape: expected integers"),
        ((None, "int8"), "shape: expected integers"),
        (((1,) * 9, "int8"), "shape: expected up to 8"),
        (((2**40, 2**40), "int8"), "shape: "),
    ],
)
def test_arguments_of_a_device_array(arguments: Any, words: str) -> None:
    with pytest.raises(fasttrt.InputError, match=f"^{words}"):
        _core.DeviceArray.empty(*arguments)


def test_a_device_array_needs_a_gpu(no_gpu: str) -> None:
    with pytest.raises(fasttrt.CudaError):
        _core.DeviceArray.empty((2, 3), "bfloat16")
    with pytest.raises(fasttrt.CudaError):
        _core.DeviceArray.from_numpy(np.zeros(3, np.float32))


@pytest.mark.parametrize("name", ["float32", "bfloat16", "int4", "float64", "bool"])
@pytest.mark.parametrize("shape", [(2, 3), 5, (), (0, 4)])
def test_empty_pinned_runs_everywhere(name: str, shape: Any) -> None:
    array = _core.empty_pinned(shape, name)
    assert array.shape == np.empty(shape).shape
    assert array.dtype == dtype(name)
    assert array.flags.c_contiguous
    assert array.flags.writeable
    array[...] = 1
    assert (array.astype(np.float32) == 1).all()


@pytest.mark.parametrize("kind", [object, "foo", [("a", object)]])
def test_empty_pinned_refuses(kind: Any) -> None:
    with pytest.raises(fasttrt.InputError, match="dtype: "):
        _core.empty_pinned((2,), kind)
