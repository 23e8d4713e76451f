"""`Engine`, on the CPU: choosing a device, forms of calls, what arrays are taken, lifetime.

tests/gpu has the same for the GPU.
"""

from __future__ import annotations

import gc
import threading
import warnings
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto
from onnx.parser import parse_model

import fasttrt
from fasttrt import Engine, InputError
from support import models
from support.assertions import close_to
from support.process import python_output, run_python

Array = models.Array


@pytest.fixture
def two_io_engine() -> Iterator[tuple[Engine, models.Model]]:
    """An engine with two inputs and two outputs, and its model."""
    mlp_model = models.several()
    with Engine(mlp_model.proto, device="cpu") as engine:
        yield engine, mlp_model


# Where models come from, and where they run


def test_models_come_as_paths_bytes_and_protos(mlp_model: models.Model, tmp_path: Path) -> None:
    path = mlp_model.save(tmp_path / "m.onnx")
    unnamed = mlp_model.save(tmp_path / "model")
    (x,) = mlp_model.inputs()
    for source in (path, str(path), unnamed, path.read_bytes(), mlp_model.proto):
        assert Engine(source, device="cpu").infer(x) == close_to(mlp_model.reference(x))


@pytest.mark.parametrize("call", [Engine, fasttrt.build, fasttrt.compare])
def test_an_empty_path_is_not_the_current_folder(call: Callable[[str], Any]) -> None:
    with pytest.raises(InputError, match=r"^expected the path of a file, got ''$"):
        call("")


def test_the_cpu_is_named(engine: Engine) -> None:
    assert engine.device == "cpu"
    assert repr(engine) == ("<fasttrt.Engine on cpu: (x: float32[-1, 16]) -> (y: float32[-1, 8])>")


def test_auto_falls_back_to_the_cpu_and_says_why_once(
    mlp_model: models.Model, no_gpu: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fasttrt._engine.backend_factory._warned", set())
    with pytest.warns(RuntimeWarning) as caught:
        engine = Engine(mlp_model.proto)
    (warning,) = caught
    assert Engine(mlp_model.proto, device="auto").device == "cpu"  # warnings are errors here
    assert no_gpu in str(warning.message)
    assert "on the CPU through ONNX Runtime" in str(warning.message)
    assert warning.filename == __file__
    assert engine.device == "cpu"
    (x,) = mlp_model.inputs()
    assert engine.infer(x) == close_to(mlp_model.reference(x))


def test_the_cpu_on_request_is_no_surprise(mlp_model: models.Model) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with Engine(mlp_model.proto, device="cpu") as engine:
            assert engine.device == "cpu"
    assert caught == []


@pytest.mark.parametrize("device", ["cuda", "cuda:0", "cuda:7"])
def test_cuda_never_falls_back(mlp_model: models.Model, no_gpu: str, device: str) -> None:
    with pytest.raises(fasttrt.CudaError) as caught:
        Engine(mlp_model.proto, device=device)
    assert str(caught.value) == no_gpu


@pytest.mark.parametrize("device", ["", "gpu", "cuda:", "cuda:x", "cuda:-1", "CPU", "cpu:0"])
def test_other_devices_are_refused(mlp_model: models.Model, device: str) -> None:
    with pytest.raises(InputError, match=f"device: expected .* got {device!r}"):
        Engine(mlp_model.proto, device=device)


@pytest.mark.parametrize("contexts", [0, -1, 1025, 1.5])
def test_the_number_of_contexts_is_checked(mlp_model: models.Model, contexts: Any) -> None:
    expected = f"contexts: expected an integer from 1 to 1024, got {contexts}"
    with pytest.raises(InputError, match=expected):
        Engine(mlp_model.proto, device="cpu", contexts=contexts)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("cuda_graph", "yes"),
        ("cuda_graph", None),
        ("cuda_graph", 1),
        ("wait", "sleep"),
        ("wait", None),
        ("specialization", "never"),
    ],
)
def test_options_of_the_gpu_are_checked_on_the_cpu_too(
    mlp_model: models.Model, name: str, value: Any
) -> None:
    with pytest.raises(InputError) as caught:
        Engine(mlp_model.proto, device="cpu", **{name: value})
    message = str(caught.value)
    assert message.startswith(f"{name}: expected ")
    assert message.endswith(f", got {value!r}")


@pytest.mark.parametrize(
    "options",
    [
        *({"cuda_graph": value} for value in ("auto", False)),
        *({"wait": value} for value in ("auto", "spin", "yield", "block")),
        *({"specialization": value} for value in ("auto", "eager", "lazy", "none")),
    ],
    ids=str,
)
def test_options_of_the_gpu_do_nothing_on_the_cpu(
    mlp_model: models.Model, options: dict[str, Any]
) -> None:
    (x,) = mlp_model.inputs()
    with Engine(mlp_model.proto, device="cpu", **options) as engine:
        assert engine.infer(x) == close_to(mlp_model.reference(x))


def test_a_plan_does_not_run_on_the_cpu(
    build: Callable[..., fasttrt.Plan], mlp_model: models.Model, tmp_path: Path
) -> None:
    plan = build(mlp_model.proto, shapes={"x": (2, 16)})
    plan.save(tmp_path / "m.plan")
    for source in (plan, plan.to_bytes(), plan.data, tmp_path / "m.plan"):
        with pytest.raises(fasttrt.EngineLoadError, match='a plan does not run on device="cpu"'):
            Engine(source, device="cpu")


def test_a_plan_without_a_gpu_says_what_it_needs(
    build: Callable[..., fasttrt.Plan], mlp_model: models.Model, no_gpu: str
) -> None:
    plan = build(mlp_model.proto, shapes={"x": (2, 16)})
    with pytest.raises(fasttrt.EngineLoadError) as caught:
        Engine(plan)
    assert no_gpu in str(caught.value)


@pytest.mark.parametrize("name", ["m.plan", "m.engine", "m.trt"])
def test_a_damaged_plan_is_not_taken_for_a_model(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"garbage" * 50)
    with pytest.raises(fasttrt.EngineLoadError, match=f"{name} is not a plan"):
        Engine(tmp_path / name, device="cpu")


@pytest.mark.parametrize("name", ["m.onnx", "model"])
def test_garbage_is_no_model(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"garbage" * 50)
    with pytest.raises(fasttrt.ParseError, match=name):
        Engine(tmp_path / name, device="cpu")


def test_a_missing_file_is_missing(tmp_path: Path) -> None:
    for name in ("m.onnx", "m.plan"):
        with pytest.raises(FileNotFoundError, match=name):
            Engine(tmp_path / name, device="cpu")


# Forms of calls


def test_an_array_gives_an_array(engine: Engine, mlp_model: models.Model) -> None:
    (x,) = mlp_model.inputs()
    y = engine.infer(x)
    assert isinstance(y, np.ndarray)
    assert y.dtype == np.float32
    assert y == close_to(mlp_model.reference(x))


def test_a_mapping_gives_a_mapping(engine: Engine, mlp_model: models.Model) -> None:
    (x,) = mlp_model.inputs()
    result = engine.infer({"x": x})
    assert list(result) == ["y"]
    assert result["y"] == close_to(mlp_model.reference(x))


def test_several_arrays_give_a_tuple(two_io_engine: tuple[Engine, models.Model]) -> None:
    engine, mlp_model = two_io_engine
    a, b = mlp_model.inputs()
    total, twice = engine.infer(a, b)
    assert total == close_to(mlp_model.reference(a, b)[0])
    np.testing.assert_array_equal(twice, b * 2)


def test_a_mapping_may_have_any_order(two_io_engine: tuple[Engine, models.Model]) -> None:
    engine, mlp_model = two_io_engine
    a, b = mlp_model.inputs()
    result = engine.infer({"b": b, "a": a})
    assert list(result) == ["sum", "twice"]
    assert result["sum"] == close_to(mlp_model.reference(a, b)[0])


@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_wrong_number_of_inputs_is_told(
    two_io_engine: tuple[Engine, models.Model], count: int
) -> None:
    engine, mlp_model = two_io_engine
    a, _ = mlp_model.inputs()
    with pytest.raises(InputError) as caught:
        engine.infer(*[a] * count)
    assert str(caught.value) == f"expected 2 inputs (a, b), got {count}"


@pytest.mark.parametrize("names", [[], ["a"], ["a", "b", "c"], ["a", "B"]])
def test_wrong_names_are_told(two_io_engine: tuple[Engine, models.Model], names: list[str]) -> None:
    engine, mlp_model = two_io_engine
    a, _ = mlp_model.inputs()
    with pytest.raises(InputError) as caught:
        engine.infer(dict.fromkeys(names, a))
    assert str(caught.value) == f"expected inputs named ['a', 'b'], got {sorted(names)}"


def test_lists_are_taken_where_their_type_fits() -> None:
    engine = Engine(models.elementwise(("n", 2), TensorProto.INT64).proto, device="cpu")
    np.testing.assert_array_equal(engine.infer([[1, 2], [3, 4]]), [[4, 8], [12, 16]])


def test_lists_of_arrays_are_taken(engine: Engine, mlp_model: models.Model) -> None:
    (x,) = mlp_model.inputs(batch=4)
    assert engine.infer(list(x)) == close_to(mlp_model.reference(x))


@pytest.mark.parametrize(
    ("value", "got"),
    [
        ([[1.0] * 16], "x: expected dtype float32, got float64"),
        (None, "x: expected dtype float32, got object"),
        ("text", "x: expected dtype float32, got <U4"),
        ([[1.0] * 16, [1.0] * 15], "x: expected an array, got list"),
    ],
    ids=["floats", "None", "text", "ragged"],
)
def test_what_is_no_fitting_array_is_told(engine: Engine, value: Any, got: str) -> None:
    with pytest.raises(InputError) as caught:
        engine.infer(value)
    assert str(caught.value).startswith(got)


# Arrays


def layouts(x: Array) -> dict[str, Array]:
    """The same values in memory of many kinds."""
    doubled = np.repeat(np.repeat(x, 2, 0), 2, 1)
    unaligned = np.frombuffer(b"\0" + x.tobytes(), np.uint8)[1:].view(x.dtype).reshape(x.shape)
    read_only = x.copy()
    read_only.flags.writeable = False
    return {
        "strided": doubled[::2, ::2],
        "reversed": np.ascontiguousarray(x[::-1, ::-1])[::-1, ::-1],
        "Fortran": np.asfortranarray(x),
        "transposed": np.ascontiguousarray(x.T).T,
        "unaligned": unaligned,
        "read-only": read_only,
        "a view": np.concatenate([x, x])[len(x) :],
    }


@pytest.mark.parametrize("kind", layouts(np.zeros((1, 1), np.float32)))
def test_any_layout_is_taken(engine: Engine, mlp_model: models.Model, kind: str) -> None:
    (x,) = mlp_model.inputs(batch=5)
    array = layouts(x)[kind]
    np.testing.assert_array_equal(array, x)
    assert engine.infer(array) == close_to(mlp_model.reference(x))


def test_a_broadcast_array_is_taken(engine: Engine, mlp_model: models.Model) -> None:
    (x,) = mlp_model.inputs(batch=1)
    assert engine.infer(np.broadcast_to(x, (6, 16))) == close_to(
        mlp_model.reference(np.repeat(x, 6, axis=0))
    )


def test_a_subclass_is_taken(engine: Engine, mlp_model: models.Model) -> None:
    (x,) = mlp_model.inputs()
    assert engine.infer(x.view(np.matrix)) == close_to(mlp_model.reference(x))


def test_inputs_are_not_changed(engine: Engine, mlp_model: models.Model) -> None:
    (x,) = mlp_model.inputs()
    before = x.copy()
    engine.infer(x)
    np.testing.assert_array_equal(x, before)


def test_another_byte_order_is_refused_or_cast(engine: Engine, mlp_model: models.Model) -> None:
    (x,) = mlp_model.inputs()
    swapped = x.astype(">f4")
    with pytest.raises(InputError, match=r"x: expected dtype float32, got >f4"):
        engine.infer(swapped)
    assert engine.infer(swapped, cast=True) == close_to(mlp_model.reference(x))


def test_scalars_are_arrays_without_extents() -> None:
    mlp_model = models.elementwise(())
    engine = Engine(mlp_model.proto, device="cpu")
    x = models.random_array(np.float32, ())
    y = engine.infer(x)
    assert isinstance(y, np.ndarray)
    assert y.shape == ()
    assert y == close_to(mlp_model.reference(x))
    assert engine.infer(np.float32(x)) == close_to(mlp_model.reference(x))


def test_empty_arrays_are_arrays(engine: Engine) -> None:
    y = engine.infer(np.empty((0, 16), np.float32))
    assert (y.dtype, y.shape) == (np.float32, (0, 8))


@pytest.mark.parametrize("name", ["float64", "float16", "int32", "int64", "bool", "complex64"])
def test_another_type_is_refused(engine: Engine, name: str) -> None:
    with pytest.raises(InputError) as caught:
        engine.infer(np.ones((2, 16), name))
    cure = "" if name == "complex64" else "; convert it, as in x.astype(np.float32)"
    assert str(caught.value) == f"x: expected dtype float32, got {name}{cure}"


@pytest.mark.parametrize("shape", [(), (16,), (2, 15), (2, 16, 1), (16, 2), (2, 0)])
def test_another_shape_is_refused(engine: Engine, shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError) as caught:
        engine.infer(np.ones(shape, np.float32))
    assert str(caught.value) == f"x: expected shape (-1, 16) (-1 is any), got {shape}"


def test_a_refusal_names_the_right_input_and_leaves_the_engine_usable(
    two_io_engine: tuple[Engine, models.Model],
) -> None:
    engine, mlp_model = two_io_engine
    a, b = mlp_model.inputs()
    with pytest.raises(InputError, match=r"^b: expected dtype int32, got int64"):
        engine.infer(a, b.astype(np.int64))
    with pytest.raises(ValueError, match=r"^b: "):  # InputError is one
        engine.infer({"a": a, "b": b[:, 0]})
    assert engine.infer(a, b)[0] == close_to(mlp_model.reference(a, b)[0])


# Casts


@pytest.mark.parametrize("name", ["bool", "int8", "uint8", "int16", "float16"])
def test_casts_that_lose_nothing_are_made_on_request(
    engine: Engine, mlp_model: models.Model, name: str
) -> None:
    x = models.random_array(name, (3, 16))
    assert engine.infer(x, cast=True) == close_to(mlp_model.reference(x))


@pytest.mark.parametrize("name", ["float64", "int32", "int64", "complex64", "object", "<U3"])
def test_casts_that_may_lose_something_are_refused(engine: Engine, name: str) -> None:
    x = np.ones((3, 16)).astype(name)
    with pytest.raises(InputError) as caught:
        engine.infer(x, cast=True)
    hint = '; cast="lossy" rounds' if x.dtype.kind in "fi" else ""
    message = f"x: cannot cast {x.dtype} to float32 without changing values{hint}"
    assert str(caught.value) == message


def test_integers_are_not_rounded_to_float64() -> None:
    engine = Engine(models.elementwise((1,), TensorProto.DOUBLE).proto, device="cpu")
    with pytest.raises(InputError, match="x: cannot cast int64 to float64"):
        engine.infer(np.array([2**53 + 1]), cast=True)
    np.testing.assert_array_equal(engine.infer(np.array([2**30 + 1], "i4"), cast=True), 2.0**32 + 4)


# Memory of the caller's


def test_results_go_where_they_are_asked_for(engine: Engine, mlp_model: models.Model) -> None:
    (x,) = mlp_model.inputs()
    target = np.full((3, 8), np.nan, np.float32)
    assert engine.infer(x, out=target) is target
    assert target == close_to(mlp_model.reference(x))
    by_name = np.full((3, 8), np.nan, np.float32)
    assert engine.infer({"x": x}, out={"y": by_name})["y"] is by_name
    np.testing.assert_array_equal(by_name, target)


def test_some_results_may_go_elsewhere(two_io_engine: tuple[Engine, models.Model]) -> None:
    engine, mlp_model = two_io_engine
    a, b = mlp_model.inputs()
    target = np.zeros((3, 1), np.int32)
    total, twice = engine.infer(a, b, out=[None, target])
    assert twice is target
    assert total == close_to(mlp_model.reference(a, b)[0])
    np.testing.assert_array_equal(target, b * 2)
    again = np.zeros((3, 1), np.int32)
    assert engine.infer({"a": a, "b": b}, out={"twice": again})["twice"] is again
    np.testing.assert_array_equal(again, b * 2)


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (np.empty((3, 8), np.float64), "y: out= must have dtype float32"),
        (np.empty((3, 7), np.float32), "y: the result has shape (3, 8), but out= has shape (3, 7)"),
        (np.empty((4, 8), np.float32), "y: the result has shape (3, 8), but out= has shape (4, 8)"),
        (np.empty((3, 8), ">f4"), "y: out= must have dtype float32"),
        ([[[0.0] * 8] * 3], "y: out= must be a numpy array"),
        ([], "out: expected 1 arrays, got 0"),
        ([None, None], "out: expected 1 arrays, got 2"),
        (
            {"y": np.empty((3, 8), np.float32)},
            "out: expected an array or a sequence, as the inputs are not passed by name, got a "
            "mapping of ['y']",
        ),
        ("abc", "out: expected an array, a sequence or a mapping of arrays, got 'abc'"),
    ],
)
def test_memory_that_does_not_fit_is_refused(
    engine: Engine, mlp_model: models.Model, target: Any, message: str
) -> None:
    (x,) = mlp_model.inputs(batch=3)
    with pytest.raises(InputError) as caught:
        engine.infer(x, out=target)
    assert message in str(caught.value)
    assert engine.infer(x) == close_to(mlp_model.reference(x))


def test_unknown_outputs_are_refused(engine: Engine, mlp_model: models.Model) -> None:
    (x,) = mlp_model.inputs()
    with pytest.raises(InputError, match=r"out: expected outputs of \['y'\]"):
        engine.infer({"x": x}, out={"z": np.empty((3, 8), np.float32)})


def test_memory_that_cannot_be_written_is_refused(engine: Engine, mlp_model: models.Model) -> None:
    target = np.zeros((3, 8), np.float32)
    target.flags.writeable = False
    with pytest.raises(InputError, match="C-contiguous, aligned and writeable"):
        engine.infer(mlp_model.inputs()[0], out=target)
    with pytest.raises(InputError, match="C-contiguous, aligned and writeable"):
        engine.infer(mlp_model.inputs()[0], out=np.zeros((8, 3), np.float32).T)


@pytest.mark.parametrize("start", [0, 3])
def test_two_results_do_not_go_to_the_same_memory(start: int) -> None:
    proto = parse_model(
        '<ir_version: 9, opset_import: ["" : 17]> g (float[2,3] x) => (float[2,3] y, float[2,3] z) '
        "{ y = Neg(x)\n z = Abs(x) }"
    )
    x = models.random_array(np.float32, [2, 3])
    memory = np.zeros(12, np.float32)
    first, apart = memory[:6].reshape(2, 3), memory[6:].reshape(2, 3)
    with Engine(proto, device="cpu") as engine:
        shared = memory[start : start + 6].reshape(2, 3)
        with pytest.raises(InputError, match="out= gives y and z the same memory"):
            engine.infer(x, out=(first, shared))
        assert not memory.any()
        engine.infer(x, out=(first, apart))
    np.testing.assert_array_equal(first, -x)
    np.testing.assert_array_equal(apart, np.abs(x))


# Lifetime


def test_a_closed_engine_is_closed(mlp_model: models.Model) -> None:
    (x,) = mlp_model.inputs()
    with Engine(mlp_model.proto, device="cpu") as engine:
        y = engine.infer(x)
    engine.close()
    engine.close()
    with pytest.raises(fasttrt.Error, match="the engine is closed"):
        engine.infer(x)
    assert y == close_to(mlp_model.reference(x))  # results stay
    assert engine.inputs[0].name == "x"


def test_an_exception_in_a_with_block_passes(mlp_model: models.Model) -> None:
    with pytest.raises(KeyError), Engine(mlp_model.proto, device="cpu") as engine:
        raise KeyError
    with pytest.raises(fasttrt.Error, match="closed"):
        engine.infer(*mlp_model.inputs())


def test_an_engine_is_collected_when_nobody_holds_it(mlp_model: models.Model) -> None:
    engine = Engine(mlp_model.proto, device="cpu")
    gone = weakref.ref(engine)
    y = engine.infer(*mlp_model.inputs())
    del engine
    gc.collect()
    assert gone() is None
    assert np.isfinite(y).all()


def test_many_engines_live_side_by_side() -> None:
    several = [models.mlp() for _ in range(10)]
    engines = [Engine(mlp_model.proto, device="cpu") for mlp_model in several]
    for mlp_model, engine in reversed(list(zip(several, engines, strict=True))):
        (x,) = mlp_model.inputs()
        assert engine.infer(x) == close_to(mlp_model.reference(x))


def test_an_engine_that_is_open_at_the_end_of_the_process_is_closed() -> None:
    code = """
        import fasttrt
        from support.models import mlp
        made = mlp()
        engine = fasttrt.Engine(made.proto, device="cpu")
        print(engine.infer(*made.inputs()).shape)
    """
    assert python_output(code) == "(3, 8)"


def test_a_failed_construction_leaves_nothing_behind() -> None:
    code = """
        import fasttrt
        from support.models import unsupported
        try:
            fasttrt.Engine(unsupported().proto, device="cpu")
        except fasttrt.ParseError:
            print("refused")
    """
    done = run_python(code)
    assert (done.returncode, done.stdout, done.stderr) == (0, "refused\n", "")


def test_threads_share_an_engine(engine: Engine, mlp_model: models.Model) -> None:
    batches = [mlp_model.inputs(batch=n)[0] for n in range(1, 41)]
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(engine.infer, batches))
    for x, y in zip(batches, results, strict=True):
        assert y == close_to(mlp_model.reference(x))


def test_closing_while_others_run_is_an_error_of_theirs_at_most(mlp_model: models.Model) -> None:
    engine = Engine(mlp_model.proto, device="cpu")
    (x,) = mlp_model.inputs()
    expected = mlp_model.reference(x)
    errors: list[Exception] = []
    running = threading.Event()

    def run() -> None:
        try:
            while True:
                assert engine.infer(x) == close_to(expected)
                running.set()
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    running.wait()
    engine.close()
    for thread in threads:
        thread.join()
    assert [str(error) for error in errors] == ["the engine is closed"] * 4


def test_a_forked_process_leaves_the_engine_to_its_parent() -> None:
    code = """
        import asyncio, os, sys, warnings
        import fasttrt
        from support.gate import PATIENCE, Gate
        from support.models import mlp
        made = mlp()
        (x,) = made.inputs()
        expected = made.reference(x)
        engine = fasttrt.Engine(made.proto, device="cpu")
        gate = Gate(engine)
        running = engine.submit(x)
        gate.await_arrivals(1)
        warnings.simplefilter("ignore")  # forking with threads
        if os.fork() == 0:
            calls = {
                "infer": lambda: engine.infer(x),
                "submit": lambda: engine.submit(x).result(PATIENCE),
                "ainfer": lambda: asyncio.run(engine.ainfer(x)),
                "map": lambda: list(engine.map([x])),
                "refit": lambda: engine.refit(made.proto),
                "save": lambda: engine.save("m.plan"),
            }
            for name, call in calls.items():
                try:
                    call()
                except fasttrt.Error as error:
                    message = f"belongs to process {os.getppid()}, from which this one was forked"
                    assert message in str(error), error
                    print(name, flush=True)
            engine.close()  # and does not wait for the run that is under way in the parent
            print(repr(fasttrt.Engine(made.proto, device="cpu").infer(x) is None), flush=True)
            os._exit(0)  # as multiprocessing ends; ONNX Runtime hangs in sys.exit()
        assert os.wait()[1] == 0
        gate.open()
        assert abs(running.result(PATIENCE) - expected).max() < 1e-4
        assert abs(engine.infer(x) - expected).max() < 1e-4
        engine.close()
        print("parent")
    """
    names = ["infer", "submit", "ainfer", "map", "refit", "save"]
    assert python_output(code).split("\n") == [*names, "False", "parent"]
