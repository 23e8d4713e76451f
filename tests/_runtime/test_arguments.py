"""What `Engine.infer` does with arrays of other frameworks. tests/gpu has real ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from fasttrt import Engine, InputError
from fasttrt._runtime.arguments import as_array
from fasttrt._runtime.arrays import is_gpu_array
from support import models
from support.assertions import close_to
from support.device_arrays import CPU, CUDA, MANAGED, PINNED, CudaArray, DlpackArray, HostArray

ON_GPU = [DlpackArray(CUDA), DlpackArray(PINNED), DlpackArray(MANAGED), CudaArray()]
NOT_ON_GPU = [
    np.zeros(3),
    np.float32(3),
    [1.0],
    3.0,
    None,
    "text",
    DlpackArray(CPU),
    DlpackArray(10),  # of ROCm
    HostArray(np.zeros(3)),
]


@pytest.mark.parametrize("value", ON_GPU)
def test_a_gpus_arrays_are_known(value: Any) -> None:
    assert is_gpu_array(value)


@pytest.mark.parametrize("value", NOT_ON_GPU, ids=lambda value: type(value).__name__)
def test_others_are_not_taken_for_a_gpus(value: Any) -> None:
    assert not is_gpu_array(value)


@pytest.mark.parametrize("value", ON_GPU)
def test_a_gpus_arrays_reach_the_backend_as_they_are(engine: Engine, value: Any) -> None:
    seen: list[Any] = []
    result = object()

    def run(arrays: Sequence[Any], out: Any, stream: Any = None) -> Sequence[Any]:
        seen.extend([*arrays, *(out or ()), stream])
        return [result]

    engine._run = run
    target, stream = DlpackArray(CUDA), object()
    assert engine.infer(value, out=target, stream=stream) is result
    assert seen[0] is value
    assert seen[1] is target
    assert seen[2] is stream
    assert engine.infer({"x": value}, out={"y": target}, stream=stream) == {"y": result}
    assert seen[3:] == [value, target, stream]


def test_a_stream_reaches_the_backend_with_numpy_arrays_too(
    engine: Engine, mlp_model: models.Model
) -> None:
    seen: list[Any] = []

    def run(arrays: Sequence[Any], out: Any, stream: Any = None) -> Sequence[Any]:
        seen.append(stream)
        return arrays

    engine._run = run
    (x,) = mlp_model.inputs()
    assert engine.infer(x, stream=7) is x
    assert engine.infer(x) is x
    assert seen == [7, None]


def test_tensors_of_the_host_are_read(engine: Engine, mlp_model: models.Model) -> None:
    (x,) = mlp_model.inputs()
    assert engine.infer(HostArray(x)) == close_to(mlp_model.reference(x))
    half = x.astype(np.float16)
    assert engine.infer(HostArray(half), cast=True) == close_to(mlp_model.reference(half))


def test_pinned_memory_is_the_hosts_too(engine: Engine, mlp_model: models.Model) -> None:
    (x,) = mlp_model.inputs()
    assert engine.infer(HostArray(x, PINNED)) == close_to(mlp_model.reference(x))


@pytest.mark.parametrize(
    "value", [DlpackArray(CUDA), DlpackArray(MANAGED), CudaArray()], ids=["CUDA", "managed", "CAI"]
)
def test_the_cpu_refuses_a_gpus_arrays(engine: Engine, mlp_model: models.Model, value: Any) -> None:
    (x,) = mlp_model.inputs()
    with pytest.raises(InputError, match=r"^x: expected an array in host memory.* on a GPU"):
        engine.infer(value)
    with pytest.raises(InputError, match=r"^x: expected an array in host memory.* on a GPU"):
        engine.submit({"x": value}).result(60)
    with pytest.raises(InputError, match=r"^y: out= must be a numpy array, got "):
        engine.infer(x, out=value)
    assert engine.infer(x) == close_to(mlp_model.reference(x))


def test_the_cpu_has_no_streams(engine: Engine, mlp_model: models.Model) -> None:
    (x,) = mlp_model.inputs()
    for inputs in (x, {"x": x}):
        with pytest.raises(InputError, match="stream= needs a GPU"):
            engine.infer(inputs, stream=0)
    assert engine.infer(x) == close_to(mlp_model.reference(x))


@pytest.mark.parametrize(
    ("value", "got"),
    [
        (DlpackArray(CUDA, dtype="torch.float16"), "float16"),
        (DlpackArray(CUDA, dtype=np.dtype("int32")), "int32"),
        (CudaArray("<f8"), "float64"),
    ],
)
def test_a_gpus_arrays_are_not_cast(engine: Engine, value: Any, got: str) -> None:
    with pytest.raises(InputError) as caught:
        as_array(engine.inputs[0], value, cast=True)
    message = str(caught.value)
    assert message.startswith(f"x: expected dtype float32, got {got}; ")
    assert "convert it in its framework" in message
    assert as_array(engine.inputs[0], value, cast=False) is value  # the backend's to check


@pytest.mark.parametrize(
    "value",
    [DlpackArray(CUDA), DlpackArray(CUDA, dtype=np.dtype("float32")), CudaArray()],
)
def test_a_cast_to_the_same_type_is_none(engine: Engine, value: Any) -> None:
    assert as_array(engine.inputs[0], value, cast=True) is value


def test_what_does_not_tell_where_it_is_is_no_array(engine: Engine) -> None:
    class Meta(DlpackArray):
        def __dlpack_device__(self) -> tuple[int, int]:
            raise ValueError("on no device")

    with pytest.raises(InputError, match=r"^x: expected an array, got Meta: on no device"):
        engine.infer(Meta(CPU))
