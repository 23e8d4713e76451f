"""Inputs made constant and dimensions fixed: the same answers as of the model that was given."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

import fasttrt
from fasttrt._graph.model import OnnxModel
from fasttrt._graph.transforms import transformed
from support import models
from support.models import Array

Build = Callable[..., fasttrt.Plan]


def reduction() -> models.Model:
    """y = the sum of x over axes, which TensorRT must know before it parses."""
    x = models.value("x", TensorProto.FLOAT, ["n", 3, 4])
    axes = models.value("axes", TensorProto.INT64, ["m"])
    y = models.value("y", TensorProto.FLOAT, ["a", "b", "c"])
    node = helper.make_node("ReduceSum", ["x", "axes"], ["y"], keepdims=1)
    proto = models.make([node], [x, axes], [y])
    return models.Model(proto, lambda x, axes: x.astype(float).sum(tuple(axes), keepdims=True))


def squeeze() -> models.Model:
    """y = x without its axes of one element, which nobody can tell of a dynamic shape."""
    x = models.value("x", TensorProto.FLOAT, ["n", 4, "m", 2])
    y = models.value("y", TensorProto.FLOAT, ["n", 4, 2])
    proto = models.make([helper.make_node("Squeeze", ["x"], ["y"])], [x], [y])
    return models.Model(proto, np.squeeze)


def by_onnx_runtime(proto: onnx.ModelProto, feeds: dict[str, Array]) -> list[Array]:
    session = onnxruntime.InferenceSession(
        proto.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return [np.asarray(result) for result in session.run(None, feeds)]


# Freezing


@pytest.mark.parametrize("axes", [[1], [0, 2], [-1], []])
def test_a_frozen_input_is_as_if_it_were_fed(axes: list[int]) -> None:
    made = reduction()
    x = models.random_array(np.float32, [5, 3, 4])
    (expected,) = by_onnx_runtime(made.proto, {"x": x, "axes": np.asarray(axes, np.int64)})
    for value in (axes, tuple(axes), np.asarray(axes, np.int64)):
        with fasttrt.Engine(made.proto, device="cpu", freeze={"axes": value}) as engine:
            assert [spec.name for spec in engine.inputs] == ["x"]
            np.testing.assert_array_equal(engine.infer(x), expected)


def test_what_is_frozen_parses_with_tensorrt(build: Build) -> None:
    made = reduction()
    with pytest.raises(fasttrt.ParseError):
        build(made.proto, shapes={"x": (5, 3, 4), "axes": (1,)})
    plan = build(made.proto, shapes={"x": (5, 3, 4)}, freeze={"axes": [1]})
    assert [tensor["name"] for tensor in plan.metadata["inputs"]] == ["x"]
    assert plan.metadata["outputs"][0]["shape"] == [-1, 1, 4]
    assert plan.metadata["changes"] == ["axes: the input is a constant, int64[1] = [1]"]


def test_a_weight_may_be_frozen_into_float_types() -> None:
    for onnx_type in (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE):
        made = models.elementwise((2,), onnx_type)
        (declared,) = OnnxModel(made.proto).inputs
        value = models.random_array(declared.dtype, [2])
        (frozen,) = by_onnx_runtime(
            transformed(OnnxModel(made.proto), {"x": value}, None).proto, {}
        )
        np.testing.assert_array_equal(frozen, by_onnx_runtime(made.proto, {"x": value})[0])


@pytest.mark.parametrize(
    ("onnx_type", "value", "kept"),
    [
        (TensorProto.INT32, 7, np.int32(7)),
        (TensorProto.UINT8, 255, np.uint8(255)),
        (TensorProto.INT64, -(2**63), np.int64(-(2**63))),
        (TensorProto.UINT64, 2**64 - 1, np.uint64(2**64 - 1)),
        (TensorProto.INT64, True, np.int64(1)),
        (TensorProto.FLOAT, 3, np.float32(3)),
        (TensorProto.FLOAT, 0.1, np.float32(0.1)),
        (TensorProto.FLOAT16, float("inf"), np.float16("inf")),
        (TensorProto.BFLOAT16, 0.1, np.asarray(0.1, ml_dtypes.bfloat16)),
        (TensorProto.BOOL, False, np.bool_(False)),
    ],
)
def test_pythons_numbers_take_the_declared_type(onnx_type: int, value: Any, kept: Any) -> None:
    x, y = (models.value(name, onnx_type, []) for name in "xy")
    proto = models.make([helper.make_node("Identity", ["x"], ["y"])], [x], [y])
    changed = transformed(OnnxModel(proto), {"x": value}, None)
    (tensor,) = changed.proto.graph.initializer
    array = onnx.numpy_helper.to_array(tensor)
    assert (array.dtype, array.shape) == (kept.dtype, ())
    assert array.tobytes() == kept.tobytes()


@pytest.mark.parametrize(
    ("onnx_type", "shape", "value", "message"),
    [
        (TensorProto.INT64, [2], np.zeros(2, np.int32), "expected dtype int64, got int32"),
        (TensorProto.FLOAT, [2], np.zeros(2), "expected dtype float32, got float64"),
        (TensorProto.INT64, [], 1.5, r"expected dtype int64, got 1\.5"),
        (TensorProto.INT64, [], 1.0, r"expected dtype int64, got 1\.0"),
        (TensorProto.INT8, [], 200, "expected dtype int8, got 200"),
        (TensorProto.UINT8, [1], [-1], r"expected dtype uint8, got \[-1\]"),
        (TensorProto.BOOL, [], 1, "expected dtype bool, got 1"),
        (TensorProto.FLOAT16, [], 1e6, "expected dtype float16, got 1000000"),
        (TensorProto.INT64, [], "one", "expected dtype int64, got 'one'"),
        (TensorProto.INT64, [], 2**70, "expected dtype int64, got 1180591620717411303424"),
        (TensorProto.INT64, [], 2**63, "expected dtype int64, got 9223372036854775808"),
        (TensorProto.INT64, [1], [2**63 + 1], r"expected dtype int64, got \[9223372036854775809\]"),
        (TensorProto.UINT64, [], -1, "expected dtype uint64, got -1"),
        (TensorProto.UINT64, [2], [1, -1], r"expected dtype uint64, got \[1, -1\]"),
        (TensorProto.FLOAT16, [], 70000, "expected dtype float16, got 70000"),
        (TensorProto.INT64, [2], [[1], [1, 2]], "expected an array"),
        (TensorProto.INT64, [2], [1], r"expected shape \(2\), got \(1,\)"),
        (TensorProto.INT64, [], [1], r"expected shape \(\), got \(1,\)"),
        (TensorProto.INT64, ["n", 2], [[1, 2, 3]], r"expected shape \(n, 2\), got \(1, 3\)"),
        (TensorProto.STRING, [], "a", "only tensors of numbers"),
    ],
)
def test_what_does_not_fit_is_not_frozen(
    onnx_type: int, shape: list[Any], value: Any, message: str
) -> None:
    x, y = (models.value(name, onnx_type, shape) for name in "xy")
    proto = models.make([helper.make_node("Identity", ["x"], ["y"])], [x], [y])
    with pytest.raises(fasttrt.InputError, match=f"freeze: x: {message}"):
        fasttrt.build(proto, freeze={"x": value})
    with pytest.raises(fasttrt.InputError, match=f"freeze: x: {message}"):
        fasttrt.Engine(proto, device="cpu", freeze={"x": value})


def test_wrong_names_are_told_what_there_is() -> None:
    with pytest.raises(fasttrt.InputError, match="freeze: the model has no input 'c'; it has a, b"):
        fasttrt.build(models.several().proto, freeze={"c": 1})
    proto = models.with_initializers_as_inputs(models.mlp().proto)
    with pytest.raises(fasttrt.InputError, match="the model has no input 'w0'; it has x"):
        fasttrt.build(proto, freeze={"w0": 1})


def test_a_plan_is_not_changed(build: Build) -> None:
    plan = build(models.mlp(batch=2).proto)
    with pytest.raises(fasttrt.InputError, match="a plan is already built"):
        fasttrt.Engine(plan, device="cuda", freeze={"x": 1})
    with pytest.raises(fasttrt.InputError, match="a plan is already built"):
        fasttrt.Engine(plan, device="cuda", dims={"batch": 1})


# Dimensions


def test_a_dimension_is_fixed_wherever_it_is_named(build: Build) -> None:
    made = models.several()
    names = {e for t in OnnxModel(made.proto).inputs for e in t.shape or () if isinstance(e, str)}
    dims = dict.fromkeys(names, 4)
    plan = build(made.proto, dims=dims)
    assert plan.metadata["profiles"] == []
    for tensor in (*plan.metadata["inputs"], *plan.metadata["outputs"]):
        assert -1 not in tensor["shape"]
    assert sorted(plan.metadata["changes"]) == sorted(
        f"{name}: the dimension is fixed to 4" for name in names
    )
    inputs = made.inputs(**dims)
    with fasttrt.Engine(made.proto, device="cpu", dims=dims) as engine:
        assert [spec.shape for spec in engine.inputs] == [array.shape for array in inputs]
        for actual, expected in zip(engine.infer(*inputs), made.reference(*inputs), strict=True):
            np.testing.assert_allclose(actual, expected, 1e-5, 1e-5)
        with pytest.raises(fasttrt.InputError, match="expected shape"):
            engine.infer(*made.inputs(**dict.fromkeys(names, 5)))


def test_what_is_fixed_parses_with_tensorrt(build: Build) -> None:
    made = squeeze()
    with pytest.raises(fasttrt.ParseError):
        build(made.proto, shapes={"x": (3, 4, 1, 2)})
    plan = build(made.proto, dims={"n": 3, "m": 1})
    assert plan.metadata["outputs"][0]["shape"] == [3, 4, 2]


def test_one_axis_may_be_fixed_alone(build: Build) -> None:
    made = models.same_name("?")
    plan = build(made.proto, shapes={"x": (1, 3, 4, 5)}, dims={"x.2": 4, "x.3": 5})
    assert plan.metadata["inputs"][0]["shape"] == [-1, 3, 4, 5]
    assert plan.metadata["changes"] == [
        "x.2: the dimension is fixed to 4",
        "x.3: the dimension is fixed to 5",
    ]
    unnamed = models.elementwise((None, 4)).proto
    assert build(unnamed, dims={"x.0": 2}).metadata["inputs"][0]["shape"] == [2, 4]


def test_names_within_subgraphs_are_fixed_too() -> None:
    proto = models.conditional().proto
    branches = [a.g for node in proto.graph.node for a in node.attribute if a.HasField("g")]
    proto.graph.value_info.append(models.value("outer", TensorProto.FLOAT, [4, "m"]))
    branches[0].value_info.append(models.value("inner", TensorProto.FLOAT, [4]))
    graphs = (proto.graph, *branches)
    values = [v for g in graphs for v in (*g.input, *g.output, *g.value_info) if v.name != "c"]
    for value in values:
        value.type.tensor_type.shape.dim[0].dim_param = "n"
    assert len(values) == 6
    changed = transformed(OnnxModel(proto), None, {"n": 7}).proto
    assert (str(proto).count('dim_param: "n"'), str(changed).count('dim_param: "n"')) == (6, 0)
    assert (str(changed).count("dim_value: 7"), str(changed).count('dim_param: "m"')) == (6, 1)
    x = models.random_array(np.float32, [7])
    for flag in (True, False):
        feeds = {"c": np.asarray(flag), "x": x}
        np.testing.assert_array_equal(
            by_onnx_runtime(changed, feeds)[0], by_onnx_runtime(proto, feeds)[0]
        )


def test_zero_is_an_extent() -> None:
    changed = transformed(OnnxModel(models.mlp().proto), None, {"batch": np.int64(0)})
    assert changed.inputs[0].shape == (0, 16)


@pytest.mark.parametrize("value", [-1, 1.0, "1", None, True])
def test_an_extent_is_an_integer(value: Any) -> None:
    with pytest.raises(fasttrt.InputError, match="dims: batch: expected an integer >= 0, got"):
        fasttrt.build(models.mlp().proto, dims={"batch": value})


def test_wrong_dimensions_are_told_what_there_is() -> None:
    proto = models.convolution().proto
    for name in ("bath", "x.1", "y.0", ""):
        with pytest.raises(fasttrt.InputError) as caught:
            fasttrt.build(proto, dims={name: 1})
        assert f"dims: the model has no dimension {name!r} to fix" in str(caught.value)
        assert "'batch', 'height', 'width', 'x.0', 'x.2', 'x.3'" in str(caught.value)


@pytest.mark.parametrize("dims", [{"x.0": 3, "batch": 4}, {"batch": 4, "x.0": 3}])
def test_dimensions_that_contradict_each_other_are_refused(dims: dict[str, int]) -> None:
    proto = models.mlp().proto
    message = r"dims: x\.0 is 'batch': expected one size for both, got x\.0=3 and batch=4"
    for call in (fasttrt.build, lambda proto, dims: fasttrt.Engine(proto, device="cpu", dims=dims)):
        with pytest.raises(fasttrt.InputError, match=message):
            call(proto, dims=dims)
    changed = transformed(OnnxModel(proto), None, dict.fromkeys(dims, 4))
    assert (changed.inputs[0].shape, changed.outputs[0].shape) == ((4, 16), (4, 8))


# Both, and what stays as it is


def test_a_frozen_input_may_have_a_fixed_dimension(build: Build) -> None:
    plan = build(reduction().proto, dims={"n": 5, "m": 2}, freeze={"axes": [0, 1]})
    assert plan.metadata["outputs"][0]["shape"] == [1, 1, 4]
    with pytest.raises(fasttrt.InputError, match=r"axes: expected shape \(1\), got \(2,\)"):
        build(reduction().proto, dims={"n": 5, "m": 1}, freeze={"axes": [0, 1]})


def test_changes_are_logged_and_the_hash_is_the_files(
    build: Build, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = reduction().save(tmp_path / "m.onnx")
    with caplog.at_level(logging.INFO, logger="fasttrt"):
        plan = build(path, dims={"n": 5}, freeze={"axes": [1]})
    lines = [record.message for record in caplog.records if record.name == "fasttrt"]
    assert lines == plan.metadata["changes"] != []
    assert plan.metadata["model_sha256"] == OnnxModel(path).sha256()


def test_models_before_ir_version_4(build: Build) -> None:
    """They list initializers among the inputs."""
    proto = models.with_initializers_as_inputs(models.mlp().proto)
    proto.ir_version = 3
    proto.opset_import[0].version = 11
    x = models.random_array(np.float32, [2, 16])
    (expected,) = by_onnx_runtime(proto, {"x": x})
    changed = transformed(OnnxModel(proto), {"x": x}, None)
    assert changed.inputs == ()
    np.testing.assert_array_equal(by_onnx_runtime(changed.proto, {})[0], expected)
    assert build(proto, dims={"batch": 2}).data


def test_external_data_is_referred_to_and_not_read(
    build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = models.mlp()
    path = models.with_external_data(made.proto, tmp_path / "m.onnx")
    data = tmp_path / "m.onnx.data"
    x = made.inputs(batch=2)
    with fasttrt.Engine(made.proto, device="cpu") as engine:
        expected = engine.infer(*x)
    monkeypatch.chdir("/")
    with fasttrt.Engine(path, device="cpu", dims={"batch": 2}) as engine:
        np.testing.assert_array_equal(engine.infer(*x), expected)
    assert build(path, dims={"batch": 2}).data == build(made.proto, dims={"batch": 2}).data
    before = transformed(OnnxModel(path), None, {"batch": 2})
    hashed = before.sha256()
    content = bytearray(data.read_bytes())
    content[10] ^= 1
    data.write_bytes(content)
    assert before.sha256() != hashed
    model = OnnxModel(path)
    data.unlink()
    changed = transformed(model, None, {"batch": 2})
    assert changed.inputs[0].shape == (2, 16)
    assert len(changed.to_bytes()) < 2000


def test_weights_of_more_than_2_gib_survive(
    build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is sparse; its last weight, past 2 GiB, is the one that counts."""
    monkeypatch.setattr(OnnxModel, "sha256", lambda _: "0" * 64)  # which takes long to compute
    x, y = (models.value(name, TensorProto.FLOAT, ["n", 4]) for name in "xy")
    weight = models.random_array(np.float32, [4])
    proto = models.make([helper.make_node("Add", ["x", "w"], ["y"])], [x], [y], {"w": weight})
    tensor = proto.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    offset = 2**31 + 4096
    for key, value in (("location", "w"), ("offset", str(offset)), ("length", "16")):
        tensor.external_data.add(key=key, value=value)
    with (tmp_path / "w").open("wb") as stream:
        stream.seek(offset)
        stream.write(weight.tobytes())
    path = tmp_path / "m.onnx"
    path.write_bytes(proto.SerializeToString())
    given = models.random_array(np.float32, [3, 4])
    with fasttrt.Engine(path, device="cpu", dims={"n": 3}) as engine:
        np.testing.assert_array_equal(engine.infer(given), given + weight)
    assert build(path, dims={"n": 3}).metadata["inputs"][0]["shape"] == [3, 4]


def test_compare_takes_them_too() -> None:
    """The reference is the changed model as well."""
    made = reduction()
    comparison = fasttrt.compare(made.proto, device="cpu", freeze={"axes": [1]}, dims={"n": 5})
    assert comparison.passed
