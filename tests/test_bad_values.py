"""Every option of the public functions, given what it is not for: always an error of fasttrt's."""

from __future__ import annotations

import inspect
import io
import os
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fasttrt
from fasttrt import Batching, BuildConfig, Engine, InputError, Thresholds
from support import models
from support.process import python_output
from support.quantized import residual_block

MADE = models.mlp()
(X,) = MADE.inputs()
NETWORK = models.elementwise((4,)).proto

BAD: list[Any] = [
    5, -1, 2**70, 1.5, float("nan"), "nosuch", "", "~nosuch", "\0", "a" * 300, b"x", [], {}, (),
    {1}, object(), int, ["a"], [5], [None], {"x": 5}, {5: 5}, {"x": None}, {"x": [1, 2, 3, 4, 5]},
    {"x": "1xq"}, {"x": ((1,), (2, 3), (4,))}, {"x": object()}, [{"x": 5}], [[1]], np.zeros(3),
    np.float32(2), np.array(["a"]), range(3), "cuda:-1", "cuda:0,0", ["cuda:0", "cuda:0"], [2**70],
    {"x": (2**70, 16)}, complex(1), slice(1), io.BytesIO(b"x"),
]  # fmt: skip


@dataclass(frozen=True)
class Call:
    """A function, and which of its parameters to give bad values."""

    function: Callable[..., Any]
    parameters: tuple[str, ...]


def names(function: Any, *without: str) -> tuple[str, ...]:
    return tuple(name for name in inspect.signature(function).parameters if name not in without)


def run_engine(**options: Any) -> None:
    model = options.pop("model", MADE.proto)
    with Engine(model, **{"device": "cpu", **options}) as engine:
        engine.infer(X)


def run_map(**options: Any) -> None:
    with Engine(MADE.proto, device="cpu") as engine:
        list(engine.map([X], **options))


def run_infer(**options: Any) -> None:
    with Engine(MADE.proto, device="cpu") as engine:
        engine.infer(options.pop("value", X), **options)
        engine.submit(X, **options).result(60)


def run_compare(**options: Any) -> None:
    model = options.pop("model", MADE.proto)
    fasttrt.compare(model, **{"device": "cpu", "samples": 1, **options})


def run_quantize(**options: Any) -> None:
    model, data = options.pop("model", residual_block()), options.pop("data", [])
    fasttrt.quantize(model, data, **{"library": None, **options})


CALLS = {
    "Engine": Call(run_engine, names(Engine.__init__, "self")),
    "BuildConfig": Call(BuildConfig, names(BuildConfig)),
    "BuildConfig of 16 bits": Call(
        lambda **options: BuildConfig(**{"precision": "fp16", **options}), names(BuildConfig)
    ),
    "Batching": Call(lambda **options: Batching(**{"max_size": 4, **options}), names(Batching)),
    "Thresholds": Call(Thresholds, names(Thresholds)),
    "build": Call(
        lambda **options: fasttrt.build(**{"model": b"", "library": "nosuch"} | options),
        names(fasttrt.build, "model"),
    ),
    "infer": Call(run_infer, ("value", "out", "cast")),
    "map": Call(run_map, ("in_flight", "errors", "cast")),
    "compare": Call(run_compare, names(fasttrt.compare, "options", "model")),
    "quantize": Call(run_quantize, names(fasttrt.quantize, "force")),
    "library": Call(fasttrt.library, names(fasttrt.library)),
    "load_config": Call(fasttrt.load_config, ("path",)),
    "Plan.load": Call(fasttrt.Plan.load, ("path",)),
    "Plan.from_bytes": Call(fasttrt.Plan.from_bytes, ("content",)),
    "empty_pinned": Call(
        lambda **options: fasttrt.empty_pinned(**{"shape": 2, "dtype": "f4", **options}),
        ("shape", "dtype", "device"),
    ),
    "DeviceArray.empty": Call(
        lambda **options: fasttrt.DeviceArray.empty(**{"shape": 2, "dtype": "f4", **options}),
        ("shape", "dtype", "device"),
    ),
    "DeviceArray.from_numpy": Call(
        lambda **options: fasttrt.DeviceArray.from_numpy(**{"array": X, **options}),
        ("array", "device"),
    ),
    **{
        f"cache.{name}": Call(getattr(fasttrt.cache, name), ("folder",))
        for name in ("entries", "size", "verify", "clear")
    },
}
CASES = [(call, parameter) for call, found in CALLS.items() for parameter in found.parameters]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is written by mistake is not written here, and what is a valid path is of no file."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FASTTRT_CACHE_DIR", os.fspath(tmp_path / "cache"))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("call", "parameter"), CASES)
def test_bad_values_are_errors_of_fasttrt(call: str, parameter: str) -> None:
    wrong = []
    for value in BAD:
        if parameter == "against" and callable(value):
            continue  # a function of the caller's raises what it likes
        try:
            CALLS[call].function(**{parameter: value})
        except fasttrt.Error:
            pass
        except Exception as error:
            wrong.append((value, error))
    assert wrong == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"progress": 5}, "progress: expected True, False, None or a callable, got 5"),
        ({"config": {}}, "config: expected a fasttrt.BuildConfig or None, got {}"),
        ({"shapes": 5}, "shapes: expected a mapping from input names, .* got 5"),
        ({"shapes": ["x"]}, r"shapes: expected a mapping from input names, .* got \['x'\]"),
        ({"shapes": []}, "shapes: expected a mapping or a list of mappings, got an empty list"),
        ({"shapes": {"x": (True, 3)}}, r"x: expected a shape, .* got \(True, 3\)"),
        ({"tuned": "all"}, "tuned: expected .*, got 'all'"),
        ({"tuned": np.array([1, 8])}, "tuned: expected .*, got array"),
        ({"freeze": 5}, "freeze: expected values by input name, .* got 5"),
        ({"dims": [1]}, r"dims: expected sizes by dimension, .* got \[1\]"),
        ({"precision": 16}, r"precision: expected \('fp32', .* got 16"),
        ({"advise": "yes"}, "advise: expected True or False, got 'yes'"),
        ({"device": "gpu"}, "device: expected .*, got 'gpu'"),
        ({"plugins": [5]}, "plugins: expected the path of a library, got 5"),
        ({"library": 5}, "library: expected a path, .* got 5"),
    ],
)
def test_options_of_a_build_are_named(rtx: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        fasttrt.build(NETWORK, **{"library": rtx.path} | options)
    if "library" not in options:
        with pytest.raises(InputError, match=message):
            Engine(NETWORK, **{"device": "cpu"} | options)


@pytest.mark.parametrize(
    ("call", "options", "message"),
    [
        (Engine, {"model": NETWORK, "weights": 3}, "weights: expected a path, .* got int: 3"),
        (fasttrt.compare, {"model": NETWORK, "against": 3}, "against: expected a path, .* int: 3"),
        (fasttrt.BuildConfig, {"max_aux_streams": 1 << 31}, "from 0 to 2147483647, got 2147483648"),
        (fasttrt.BuildConfig, {"workspace": -1}, "0 to 9223372036854775807, bytes, got -1"),
        (fasttrt.Plan, {"data": "m.plan"}, "data: expected bytes, got 'm.plan'"),
        (fasttrt.Plan, {"data": b"", "metadata": []}, r"metadata: expected a dictionary, got \[\]"),
    ],
)
def test_errors_name_the_argument_and_its_limits(
    call: Any, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        call(**options, **{"device": "cpu"} if "model" in options else {})


def test_long_and_odd_values_are_shown_in_short() -> None:
    class Odd:
        def __repr__(self) -> str:
            raise RuntimeError("no")

    for value, shown in (("a" * 1000, "'aaa"), (Odd(), "<Odd>")):
        with pytest.raises(InputError) as caught:
            Batching(max_size=value)  # type: ignore[arg-type]
        assert f"Batching.max_size: expected an integer from 1 to 2147483647, got {shown}" in str(
            caught.value
        )
        assert len(str(caught.value)) < 300


# Devices


def test_devices_are_taken_in_every_form() -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    with Engine(MADE.proto, device=torch.device("cpu")) as engine:
        assert engine.device == "cpu"


def test_a_number_is_a_gpu(no_gpu: str) -> None:
    for device in (0, "0", np.int64(0)):
        with pytest.raises(fasttrt.CudaError):
            Engine(NETWORK, device=device)
        with pytest.raises(fasttrt.CudaError):
            fasttrt.build(NETWORK, device=device)
        assert fasttrt.empty_pinned(2, "f4", device).shape == (2,)
        with pytest.raises(fasttrt.CudaError):
            fasttrt.DeviceArray.empty(2, "f4", device=device)


def test_a_module_is_for_from_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    class Module:
        """As torch.nn.Module is seen from outside."""

    class Torch:
        class nn:  # noqa: N801
            Module = None

    Torch.nn.Module = Module  # type: ignore[assignment]
    monkeypatch.setitem(__import__("sys").modules, "torch", Torch)

    class Linear(Module):
        pass

    with pytest.raises(InputError, match=r"the torch.nn.Module Linear; use fasttrt.from_torch\(\)"):
        Engine(Linear())  # type: ignore[arg-type]


# Memory, dates, files


def test_what_does_not_fit_into_memory_is_said_so(tmp_path: Path) -> None:
    out = python_output("""
        import resource
        import numpy as np
        import fasttrt
        from onnx.parser import parse_model

        def model(text):
            return parse_model('<ir_version: 9, opset_import: ["" : 17]> ' + text)

        neg = fasttrt.Engine(model("g (float[n] x) => (float[n] y) { y = Neg (x) }"), device="cpu")
        fill = fasttrt.Engine(
            model("g (int64[1] n) => (float[k] y) { y = ConstantOfShape (n) }"), device="cpu"
        )
        small = np.zeros(100 << 20, np.int8)
        used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + (200 << 20),) * 2)
        calls = {
            "cast": lambda: neg.infer(small, cast=True),
            "list": lambda: neg.infer([small] * 9),
            "map": lambda: list(neg.map([np.broadcast_to(np.float32(1), (1 << 28,))])),
            "result": lambda: fill.infer(np.array([1 << 30])),
            "empty_pinned": lambda: fasttrt.empty_pinned(1 << 30, "float32"),
            "compare": lambda: fasttrt.compare(
                model("g (float[n] x) => (float[n] y) { y = Neg (x) }"), device="cpu",
                shapes={"x": (1 << 30,)},
            ),
        }
        for name, call in calls.items():
            try:
                call()
            except fasttrt.OutOfMemoryError as error:
                assert isinstance(error, MemoryError)
                print(name)
        assert len(neg.infer(np.ones(3, np.float32))) == 3
    """)
    assert out.split() == ["cast", "list", "map", "result", "empty_pinned", "compare"]


@pytest.mark.parametrize("seconds", [-(10**13), -1, 10**10, 10**12])
def test_files_of_any_date_are_listed(seconds: int) -> None:
    from fasttrt.cache import _moment

    moment = _moment(seconds)
    assert moment.tzinfo is timezone.utc
    if 0 < seconds < 10**11:
        assert moment == datetime.fromtimestamp(seconds, timezone.utc)
    elif seconds > 0:
        assert moment.year == 9999


@pytest.mark.parametrize("folder", ["~nosuch-user", "\0", "", 5, False])
def test_folders_that_are_none(folder: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="folder: expected a folder, got"):
        fasttrt.cache.entries(folder)
    if folder is not False:
        with pytest.raises(InputError, match="cache: expected True, False or a folder, got"):
            Engine(NETWORK, device="cpu", cache=folder)
    monkeypatch.setenv("FASTTRT_CACHE_DIR", "~nosuch-user")
    with pytest.raises(InputError, match="FASTTRT_CACHE_DIR: expected a folder, got"):
        fasttrt.cache.path()


def test_errors_survive_pickling() -> None:
    with pytest.raises(InputError) as caught:
        Batching(max_size=0)
    again = pickle.loads(pickle.dumps(caught.value))
    assert (type(again), str(again)) == (InputError, str(caught.value))
