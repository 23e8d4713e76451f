"""From models to plans, through the installed TensorRT-RTX, which needs no GPU for it."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.numpy_helper
import pytest
from onnx import TensorProto, helper

import fasttrt
from fasttrt import BuildConfig, BuildProgress, Plan
from fasttrt._builder import build as build_module
from support import models
from support.process import python_output, run_python

Build = Callable[..., Plan]
FIXED = {"x": (2, 16)}


def tensors(plan: Plan, which: str) -> dict[str, tuple[str, tuple[int, ...]]]:
    return {t["name"]: (t["dtype"], tuple(t["shape"])) for t in plan.metadata[which]}


@pytest.fixture(scope="module")
def deep() -> onnx.ModelProto:
    """A build of a few seconds and some thousand steps."""
    return models.deep(120).proto


# Where models come from


def test_a_path_bytes_and_a_proto_build_the_same_plan(build: Build, tmp_path: Path) -> None:
    made = models.mlp()
    path = made.save(tmp_path / "m.onnx")
    sources = [path, str(path), path.read_bytes(), made.proto]
    first, *others = [build(source, shapes=FIXED) for source in sources]
    assert len(first.data) > 5000
    assert all(other.data == first.data for other in others)
    assert all(other.metadata == first.metadata for other in others)


def test_external_data_is_found_beside_the_file(
    build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = models.mlp()
    path = models.with_external_data(made.proto, tmp_path / "m.onnx")
    monkeypatch.chdir("/")  # not what it is relative to
    plan = build(path, shapes=FIXED)
    assert plan.data == build(made.proto, shapes=FIXED).data


@pytest.mark.parametrize("name", ["m.onnx", "./m.onnx", "ein Netz für 日本.onnx", "no suffix"])
def test_any_name_in_the_working_folder_will_do(
    build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    made = models.mlp()
    models.with_external_data(made.proto, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    assert build(name, shapes=FIXED).data == build(made.proto, shapes=FIXED).data


def test_external_data_that_is_missing_is_named(build: Build, tmp_path: Path) -> None:
    path = models.with_external_data(models.mlp().proto, tmp_path / "m.onnx")
    (tmp_path / "m.onnx.data").unlink()
    with pytest.raises(fasttrt.InputError) as caught:
        build(path, shapes=FIXED)
    assert "w0" in str(caught.value)
    assert "m.onnx.data" in str(caught.value)


def test_external_data_is_found_when_axes_are_told_apart(build: Build, tmp_path: Path) -> None:
    made = models.same_name("?")
    weight = models.random_array(np.float32, (1,))
    made.proto.graph.initializer.append(onnx.numpy_helper.from_array(weight, "w"))
    made.proto.graph.node[0].input[1] = "w"
    shapes = {"x": ((1, 3, 3, 4), (1, 3, 4, 5), (2, 3, 9, 10))}
    path = models.with_external_data(made.proto, tmp_path / "m.onnx")
    assert build(path, shapes=shapes).data == build(made.proto, shapes=shapes).data


def test_weights_that_are_listed_as_inputs_stay_weights(build: Build) -> None:
    proto = models.with_initializers_as_inputs(models.mlp().proto)
    plan = build(proto, shapes=FIXED)
    assert tensors(plan, "inputs") == {"x": ("float32", (-1, 16))}


# Shapes


def test_static_models_need_no_shapes(build: Build) -> None:
    plan = build(models.mlp(batch=3).proto)
    assert plan.metadata["profiles"] == []
    assert tensors(plan, "inputs") == {"x": ("float32", (3, 16))}
    assert tensors(plan, "outputs") == {"y": ("float32", (3, 8))}


@pytest.mark.parametrize(
    "given", [((1, 16), (4, 16), (9, 16)), [[1, 16], [4, 16], [9, 16]], "1x16:4x16:9x16"]
)
def test_one_profile_in_any_spelling(build: Build, given: Any) -> None:
    plan = build(models.mlp().proto, shapes={"x": given}, tuned=None)
    assert plan.metadata["profiles"] == [{"x": [[1, 16], [4, 16], [9, 16]]}]
    assert tensors(plan, "outputs") == {"y": ("float32", (-1, 8))}


def test_several_profiles(build: Build) -> None:
    made = models.attention()
    shapes = [{"x": (1, 4, 8)}, {"x": "2x1x8:4x16x8:8x64x8"}]
    plan = build(made.proto, shapes=shapes)
    assert plan.metadata["profiles"] == [
        {"x": [[1, 4, 8]] * 3},
        {"x": [[2, 1, 8], [4, 16, 8], [8, 64, 8]]},
    ]
    assert len(plan.data) > len(build(made.proto, shapes=shapes[0]).data)


def test_batch_sizes_are_tuned_besides_the_range(build: Build) -> None:
    plan = build(models.mlp().proto, shapes={"x": ((1, 16), (3, 16), (9, 16))})
    assert plan.metadata["tuned"] == {"batch": [1, 2, 3, 4, 8, 9]}
    assert plan.metadata["profiles"] == [
        {"x": [[1, 16], [3, 16], [9, 16]]},
        *({"x": [[n, 16]] * 3} for n in (1, 2, 3, 4, 8, 9)),
    ]
    again = Plan.from_bytes(plan.to_bytes())
    assert again.metadata["tuned"] == plan.metadata["tuned"]


def test_sizes_of_other_dimensions_are_tuned_on_request(build: Build) -> None:
    plan = build(models.attention().proto, tuned={"sequence": [16, 64], "batch": [1, 8]})
    assert plan.metadata["tuned"] == {"sequence": [16, 64], "batch": [1, 8]}
    fixed = [profile["x"][0] for profile in plan.metadata["profiles"][1:]]
    assert fixed == [[1, 16, 8], [8, 16, 8], [1, 64, 8], [8, 64, 8]]
    with pytest.raises(fasttrt.InputError, match="tuned: batch: expected sizes from 1 to 32"):
        build(models.attention().proto, tuned=[64])


def test_without_tuned_sizes_if_tensorrt_fails_with_them(
    build: Build, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def run(builder: Any, options: Any, profiles: list[Any], progress: Any) -> Any:
        if len(profiles) > 1:
            raise fasttrt.BuildError("no kernel for these")
        return original(builder, options, profiles, progress)

    original = build_module._run
    monkeypatch.setattr(build_module, "_run", run)
    plan = build(models.mlp().proto)
    assert plan.metadata["profiles"] == [{"x": [[1, 16], [8, 16], [32, 16]]}]
    assert "tuned" not in plan.metadata
    assert "without tuned sizes, as TensorRT failed with them: no kernel for these" in caplog.text
    with pytest.raises(fasttrt.BuildError, match="no kernel for these"):
        build(models.mlp().proto, tuned=[4])  # as asked, or not at all


def test_static_inputs_may_be_given_with_dynamic_ones(build: Build) -> None:
    x, z = (models.value(name, TensorProto.FLOAT, ["n", 4]) for name in "xz")
    y = models.value("y", TensorProto.FLOAT, [1, 4])
    proto = models.make([helper.make_node("Add", ["x", "y"], ["z"])], [x, y], [z])
    plan = build(proto, shapes={"x": ((1, 4), (2, 4), (3, 4)), "y": (1, 4)})
    assert tensors(plan, "inputs") == {"x": ("float32", (-1, 4)), "y": ("float32", (1, 4))}


def test_defaults_are_derived_and_logged(build: Build, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="fasttrt"):
        plan = build(models.attention().proto)
    assert plan.metadata["profiles"] == [{"x": [[1, 1, 8], [8, 128, 8], [32, 512, 8]]}]
    messages = [r.message for r in caplog.records if r.name == "fasttrt"]
    assert messages == [
        "no shapes= passed; building for x min (1, 1, 8) opt (8, 128, 8) max (32, 512, 8)"
    ]


def test_names_are_text(build: Build) -> None:
    """ONNX wants UTF-8, and neither protobuf nor TensorRT looks."""
    content = models.mlp().to_bytes()
    assert content.count(b"batch") > 0
    with pytest.raises(fasttrt.ParseError, match=r"the name b'b\\xfftch' is not UTF-8"):
        build(content.replace(b"batch", b"b\xfftch"), shapes=FIXED)


def test_what_cannot_be_derived_is_asked_for_exactly(build: Build) -> None:
    with pytest.raises(fasttrt.InputError) as caught:
        build(models.convolution().proto)
    shape = "(batch, 4, height, width)"
    assert f'pass shapes={{"x": (min {shape}, opt {shape}, max {shape})}}' in str(caught.value)


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ({"x": (2, 17)}, r"x: expected a shape like (-1, 16)"),
        ({"x": (2,)}, r"x: expected a shape like (-1, 16)"),
        ({"z": (2, 16)}, "the model has no input 'z'; it has x"),
        ({"x": "2by16"}, "x: expected a shape"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(build: Build, shapes: Any, message: str) -> None:
    with pytest.raises(fasttrt.InputError) as caught:
        build(models.mlp().proto, shapes=shapes)
    assert message in str(caught.value)


def test_a_shape_tensors_range_is_of_values(build: Build) -> None:
    shapes = {"x": ((1, 24), (2, 24), (4, 24)), "shape": ((1, 1), (6, 8), (48, 48))}
    plan = build(models.reshape().proto, shapes=shapes)
    assert plan.metadata["profiles"] == [
        {"x": [[1, 24], [2, 24], [4, 24]], "shape": [[1, 1], [6, 8], [48, 48]]}
    ]
    assert tensors(plan, "inputs") == {"x": ("float32", (-1, 24)), "shape": ("int64", (2,))}
    with pytest.raises(fasttrt.InputError, match='"shape": \\(min values, opt values, max values'):
        build(models.reshape().proto, shapes={"x": (2, 24)})


def test_a_scalar_may_be_a_shape(build: Build) -> None:
    plan = build(models.arange().proto, shapes={"n": ((1,), (5,), (9,))})
    assert plan.metadata["profiles"] == [{"n": [[1], [5], [9]]}]
    assert tensors(plan, "outputs") == {"y": ("int64", (-1,))}


@pytest.mark.parametrize("values", [((1,), (6,), (48,)), ((1, 1, 1), (6, 8, 1), (48, 48, 1))])
def test_a_shape_tensor_takes_as_many_values_as_it_has(build: Build, values: Any) -> None:
    with pytest.raises(fasttrt.InputError, match="shape: "):
        build(models.reshape().proto, shapes={"x": (2, 24), "shape": values})


@pytest.mark.parametrize("name", ["?", "side"])
def test_axes_of_one_name_and_two_extents_are_told_apart(
    build: Build, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    shapes = {"x": ((1, 3, 3, 4), (1, 3, 4, 5), (2, 3, 9, 10))}
    with caplog.at_level(logging.INFO, logger="fasttrt"):
        plan = build(models.same_name(name).proto, shapes=shapes)
    assert plan.metadata["profiles"][0] == {"x": [list(s) for s in shapes["x"]]}
    assert [r.message for r in caplog.records if r.name == "fasttrt"] == [
        "x: axis 2 is renamed, as its name is ambiguous",
        "x: axis 3 is renamed, as its name is ambiguous",
    ]


# Types


@pytest.mark.parametrize(
    ("made", "name"),
    [
        (models.elementwise(dtype=TensorProto.FLOAT16), "float16"),
        (models.elementwise(dtype=TensorProto.BFLOAT16), "bfloat16"),
        (models.elementwise(dtype=TensorProto.INT32), "int32"),
        (models.elementwise(dtype=TensorProto.INT64), "int64"),
        (models.logical_not(), "bool"),
        (models.through_float(TensorProto.UINT8), "uint8"),
        (models.through_float(TensorProto.INT8), "int8"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_types_are_those_of_the_model(build: Build, made: models.Model, name: str) -> None:
    plan = build(made.proto, shapes={"x": (2, 4)})
    for tensor in (*plan.metadata["inputs"], *plan.metadata["outputs"]):
        assert (tensor["dtype"], tensor["engine_dtype"]) == (name, name)


@pytest.mark.parametrize(
    ("onnx_type", "name"),
    [
        (TensorProto.INT8, "int8"),
        (TensorProto.FLOAT8E4M3FN, "float8_e4m3fn"),
        (TensorProto.INT4, "int4"),
        (TensorProto.FLOAT4E2M1, "float4_e2m1fn"),
    ],
)
def test_quantized_types(build: Build, onnx_type: int, name: str) -> None:
    taken = build(models.dequantize(onnx_type).proto)
    given = build(models.quantize(onnx_type).proto)
    assert tensors(taken, "inputs") == {"x": (name, (2, 16))}
    assert tensors(given, "outputs") == {"y": (name, (2, 16))}


def test_float64_is_remembered(build: Build) -> None:
    plan = build(models.elementwise(dtype=TensorProto.DOUBLE).proto, shapes={"x": (2, 4)})
    for tensor in (*plan.metadata["inputs"], *plan.metadata["outputs"]):
        assert (tensor["dtype"], tensor["engine_dtype"]) == ("float64", "float32")


@pytest.mark.parametrize(
    "made",
    [
        models.several(),
        models.convolution(),
        models.conditional(),
        models.loop(),
        models.constant_output(),
        models.elementwise(()),
    ],
    ids=["several", "convolution", "if", "loop", "constant output", "scalar"],
)
def test_all_inputs_and_outputs_are_there(build: Build, made: models.Model) -> None:
    spatial = {"x": ((1, 4, 3, 3), (1, 4, 8, 8), (2, 4, 9, 9))}
    is_image = len(made.proto.graph.input[0].type.tensor_type.shape.dim) == 4
    plan = build(made.proto, shapes=spatial if is_image else None)
    assert list(tensors(plan, "inputs")) == [value.name for value in made.proto.graph.input]
    assert list(tensors(plan, "outputs")) == [value.name for value in made.proto.graph.output]


# Options


@pytest.mark.parametrize(
    ("options", "changes_the_plan"),
    [
        ({"workspace": 1 << 30}, True),
        ({"workspace": np.int64(1 << 30)}, True),
        ({"optimization_level": 0}, False),
        ({"optimization_level": 5}, False),
        ({"profiling_verbosity": "none"}, True),
        ({"profiling_verbosity": "detailed"}, True),
        ({"max_aux_streams": 3}, False),
        ({"version_compatible": True, "exclude_lean_runtime": True}, True),
        ({"compute_capabilities": ("12.0", 8.9)}, True),
        ({"engine_host_code": True}, False),
    ],
    ids=str,
)
def test_an_option_is_taken(build: Build, options: dict[str, Any], changes_the_plan: bool) -> None:
    made = models.mlp(batch=2)
    plan, plain = build(made.proto, BuildConfig(**options)), build(made.proto)
    assert plan.metadata["config"] == BuildConfig(**options).to_json()
    assert (plan.data != plain.data) is changes_the_plan


@pytest.mark.parametrize(
    ("options", "name", "reason"),
    [
        ({"compute_capabilities": ("9.0",)}, "compute_capabilities", "Compute capability"),
        ({"compute_capabilities": ("8.6", "current")}, "compute_capabilities", "kCURRENT"),
        ({"tf32": False}, "tf32=False", "NVIDIA_TF32_OVERRIDE=0"),
        ({"hardware_compatibility": "ampere_plus"}, "hardware_compatibility", "is not an option"),
        ({"version_compatible": True}, "version_compatible", "exclude_lean_runtime=True"),
        ({"workspace": 0}, "", "workspace"),
    ],
    ids=str,
)
def test_what_rtx_refuses_is_a_build_error(
    build: Build,
    options: dict[str, Any],
    name: str,
    reason: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("NVIDIA_TF32_OVERRIDE", raising=False)
    with pytest.raises(fasttrt.BuildError) as caught:
        build(models.mlp(batch=2).proto, BuildConfig(**options))
    assert name in str(caught.value)
    assert reason in str(caught.value)


def test_refitting_needs_a_gpu_on_rtx(build: Build, no_gpu: str) -> None:
    with pytest.raises(fasttrt.BuildError, match="CUDA"):
        build(models.mlp(batch=2).proto, BuildConfig(refit=True))


def test_tf32_is_off_where_the_environment_says_so(rtx: fasttrt.LibraryInfo) -> None:
    code = """
        import fasttrt
        from support.models import mlp
        proto = mlp(batch=2).proto
        exact = fasttrt.build(proto, fasttrt.BuildConfig(tf32=False))
        print(exact.metadata["config"]["tf32"])
    """
    printed = python_output(code, NVIDIA_TF32_OVERRIDE="0", FASTTRT_LIBRARY=str(rtx.path))
    assert printed == "False"


def test_a_timing_cache_is_written_and_read(
    build: Build, tmp_path: Path, no_gpu: str, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "timing.cache"
    proto = models.mlp(batch=2).proto

    def messages() -> str:
        caplog.clear()
        with caplog.at_level(logging.DEBUG, logger="fasttrt.tensorrt"):
            build(proto, BuildConfig(timing_cache=file))
        return "\n".join(record.message for record in caplog.records)

    assert "deserialize timing cache" not in messages()
    assert file.stat().st_size > 0
    # Without a GPU TensorRT-RTX gives up on what it is handed; with one tests/gpu sees it used.
    assert "deserialize timing cache" in messages()
    assert [path.name for path in tmp_path.iterdir()] == ["timing.cache"]


def test_a_timing_cache_in_no_folder_is_refused_before_the_build(
    build: Build, tmp_path: Path
) -> None:
    steps: list[BuildProgress] = []
    config = BuildConfig(timing_cache=tmp_path / "missing" / "timing.cache")
    with pytest.raises(fasttrt.InputError, match=r"BuildConfig\.timing_cache"):
        build(models.mlp(batch=2).proto, config, progress=steps.append)
    assert steps == []


def test_there_is_no_building_for_the_cpu(build: Build) -> None:
    for device in ("cpu", "auto", "cuda:x", "gpu", ""):
        with pytest.raises(fasttrt.InputError, match="device: expected"):
            build(models.mlp(batch=2).proto, device=device)


def test_building_for_a_gpu_needs_one(build: Build, no_gpu: str) -> None:
    for device in ("cuda", "cuda:3"):
        with pytest.raises(fasttrt.CudaError, match="driver"):
            build(models.mlp(batch=2).proto, device=device)


# Failures


def test_every_node_that_cannot_be_parsed_is_listed(build: Build) -> None:
    with pytest.raises(fasttrt.ParseError) as caught:
        build(models.unsupported().proto)
    listed = [(issue.node, issue.name, issue.operator) for issue in caught.value.issues]
    assert listed == [(0, "first", "Whirl"), (2, "second", "Twirl")]
    for issue in caught.value.issues:
        assert issue.operator in issue.reason
        assert str(issue) in str(caught.value)
    assert "TensorRT-RTX" in str(caught.value).splitlines()[0]


def test_a_model_that_parses_and_does_not_build_says_why(build: Build) -> None:
    with pytest.raises(fasttrt.BuildError) as caught:
        build(models.unbuildable().proto, shapes={"x": (2, 4)})
    first, *lines = str(caught.value).splitlines()
    assert first.startswith("TensorRT-RTX ")
    assert first.endswith(" could not build the engine:")
    assert any("Error Code" in line and "factor" in line for line in lines)


def test_an_error_quotes_its_own_build_only(build: Build) -> None:
    with pytest.raises(fasttrt.BuildError):
        build(models.unbuildable().proto, shapes={"x": (2, 4)})
    with pytest.raises(fasttrt.BuildError) as caught:
        build(models.mlp(batch=2).proto, BuildConfig(compute_capabilities=("9.0",)))
    assert "factor" not in str(caught.value)


def test_after_a_failure_the_next_build_works(build: Build) -> None:
    proto = models.mlp(batch=2).proto
    expected = build(proto).data
    for failing in (models.unsupported(), models.unbuildable()):
        with pytest.raises(fasttrt.Error):
            build(failing.proto, shapes={"x": (2, 4)})
        assert build(proto).data == expected


# Progress and stopping


def test_progress_tells_phases_and_steps(build: Build, deep: onnx.ModelProto) -> None:
    seen: list[BuildProgress] = []
    build(deep, shapes=FIXED, progress=seen.append)
    assert len(seen) > 100
    phases = {step.phase for step in seen}
    done: dict[str, list[int]] = {}
    for step in seen:
        assert 0 <= step.step <= step.steps
        assert step.parent == "" or step.parent in phases
        done.setdefault(step.phase, []).append(step.step)
    (root,) = {step.phase for step in seen if step.parent == ""}
    assert done[root] == sorted(done[root])
    assert (seen[0].phase, seen[0].step) == (root, 0)
    assert (seen[-1].phase, seen[-1].step) == (root, seen[-1].steps)


def test_an_exception_in_the_callback_stops_the_build(build: Build, deep: onnx.ModelProto) -> None:
    class Stopped(Exception):  # noqa: N818
        pass

    calls: list[BuildProgress] = []

    def stop(step: BuildProgress) -> None:
        calls.append(step)
        if len(calls) == 3:
            raise Stopped("enough")

    with pytest.raises(Stopped, match="enough"):
        build(deep, shapes=FIXED, progress=stop)
    assert len(calls) == 3  # it is not called again
    assert build(models.mlp(batch=2).proto).data


@pytest.mark.parametrize("sender", ["callback", "thread"])
def test_ctrl_c_stops_a_build_and_leaves_the_process_usable(
    rtx: fasttrt.LibraryInfo, sender: str
) -> None:
    code = """
        import os, signal, sys, threading
        import fasttrt
        from support.models import deep, mlp
        # Python leaves it out where the parent ignores it, as shells do for background jobs.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        started = threading.Event()

        def interrupt():
            os.kill(os.getpid(), signal.SIGINT)

        def from_thread():
            started.wait()
            interrupt()

        thread = threading.Thread(target=from_thread)
        if sys.argv[1] == "thread":
            thread.start()
        else:
            started.set = interrupt
        shapes = {"x": (2, 16)}
        try:
            fasttrt.build(deep(200).proto, shapes=shapes, progress=lambda step: started.set())
        except KeyboardInterrupt:
            print("interrupted")
        print(len(fasttrt.build(mlp().proto, shapes=shapes).data) > 5000)
    """
    printed = python_output(code, sender, FASTTRT_LIBRARY=str(rtx.path))
    assert printed.splitlines() == ["interrupted", "True"]


@pytest.mark.parametrize("end", ["", "sys.exit(0)", "os.fork() and os.wait()"], ids=repr)
def test_the_process_may_end_while_daemon_threads_build(rtx: fasttrt.LibraryInfo, end: str) -> None:
    """TensorRT would crash: what it has of static objects goes while its threads use it."""
    code = """
        import os, sys, threading, warnings
        import fasttrt
        from support.models import deep
        warnings.simplefilter("ignore")  # forking with threads
        proto = deep(40).proto  # its builds end soon, which the exit waits for
        started = threading.Semaphore(0)

        def run():
            options = {"shapes": {"x": (2, 16)}, "progress": lambda step: started.release()}
            while True:
                try:
                    fasttrt.build(proto, **options)
                except fasttrt.Error:
                    pass

        for _ in range(2):
            threading.Thread(target=run, daemon=True).start()
        for _ in range(100):
            started.acquire()
        print("ending", flush=True)
    """
    code = f"{textwrap.dedent(code)}\n{end}"
    for _ in range(3):  # it did so in one of three
        done = run_python(code, FASTTRT_LIBRARY=str(rtx.path))
        assert (done.returncode, done.stdout, done.stderr) == (0, "ending\n", "")


def test_signal_handlers_run_during_a_build(build: Build, deep: onnx.ModelProto) -> None:
    received: list[int] = []
    before = signal.signal(signal.SIGUSR1, lambda number, frame: received.append(number))
    try:
        build(deep, shapes=FIXED, progress=lambda step: os.kill(os.getpid(), signal.SIGUSR1))
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert received


# Many builds


def test_threads_build_at_once(build: Build) -> None:
    protos = [models.mlp(batch=n).proto for n in (1, 2, 3, 4)]
    alone = [build(proto).data for proto in protos]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda proto: build(proto).data, protos * 2))
    assert together == alone * 2


def test_threads_get_their_own_errors(build: Build) -> None:
    def attempt(i: int) -> str:
        made = (models.unbuildable(), models.unsupported(), models.mlp(batch=2))[i % 3]
        try:
            build(made.proto, shapes={"x": (2, 4)} if i % 3 < 2 else None)
        except fasttrt.Error as error:
            return f"{type(error).__name__} {'Whirl' in str(error)} {'factor' in str(error)}"
        return "built"

    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(attempt, range(12)))
    assert results == ["BuildError False True", "ParseError True False", "built"] * 4


def test_other_threads_run_while_one_builds(build: Build, deep: onnx.ModelProto) -> None:
    with ThreadPoolExecutor(1) as pool:
        building = pool.submit(build, deep, shapes=FIXED)
        turns = 0
        while not building.done():
            turns += 1
    assert building.result().data
    assert turns > 1000


def test_memory_does_not_grow_with_builds(rtx: fasttrt.LibraryInfo) -> None:
    code = """
        import fasttrt, resource
        from pathlib import Path
        from support.models import mlp, unbuildable

        def resident():
            return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()

        proto, failing = mlp([256, 512, 256], batch=2).proto, unbuildable().proto
        for i in range(36):
            if i == 6:
                before = resident()
            plan = fasttrt.build(proto)
            try:
                fasttrt.build(failing, shapes={"x": (2, 4)})
            except fasttrt.BuildError:
                pass
        print((resident() - before) >> 20)
    """
    grown = int(python_output(code, FASTTRT_LIBRARY=str(rtx.path)))
    assert grown < 30  # MiB; each model has 1, each plan as much


def test_a_long_chain_of_nodes_builds(rtx: fasttrt.LibraryInfo) -> None:
    """TensorRT's builder recurses along it: 4,000 nodes end 8 MiB of stack, 400 end 512 KiB."""
    code = """
import sys
import fasttrt
from onnx.parser import parse_model
nodes = " ".join(f"t{i + 1} = Exp (t{i})" for i in range(400))
text = '<ir_version: 8, opset_import: ["" : 17]> g (float[8] t0) => (float[8] t400) '
fasttrt.build(parse_model(text + "{" + nodes + "}"), library=sys.argv[1], progress=False)
"""
    command = ["sh", "-c", 'ulimit -s 512 && exec "$0" "$@"', sys.executable, "-c", code]
    done = subprocess.run([*command, str(rtx.path)], check=False, timeout=120)
    assert done.returncode == 0
