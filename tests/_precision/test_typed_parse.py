"""`precision=` up to the plan: options, the library's means, and what the network then says."""

from __future__ import annotations

import logging
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, Literal

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import fasttrt
from fasttrt import BuildConfig, _core
from fasttrt._graph.fingerprint import check_same, structure
from fasttrt._graph.model import OnnxModel
from fasttrt._parser.model_source import parse_network
from fasttrt._parser.pipeline import Target
from fasttrt._precision import DTYPES
from fasttrt._precision import conversion as conversion
from fasttrt._precision import rules as rules
from fasttrt._precision import typed_parse as applying
from fasttrt._runtime.refit import as_built
from support import models
from support.models import make, value
from support.precision_models import TRAPS, quantized
from support.real_models import REAL_MODELS, RealModel

Precision = Literal["fp16", "bf16"]
Build = Callable[..., fasttrt.Plan]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"precision": "half"}, "precision: expected .*'fp16'.*got 'half'"),
        (
            {"precision": "fp32", "tf32": True},
            r"tf32: expected False or None.*'fp32', got True",
        ),
        (
            {"precision": "tf32", "tf32": False},
            r"tf32: expected True or None.*'tf32', got False",
        ),
        ({"keep_fp32": ("Softmax",)}, 'keep_fp32: expected precision="fp16" or "bf16" with it'),
        ({"precision": "tf32", "convert_io": True}, "convert_io: expected precision="),
        ({"conversion": "graph"}, "conversion: expected precision="),
        ({"precision": "fp16", "conversion": "cast"}, "conversion: expected .*got 'cast'"),
        ({"precision": "fp16", "keep_fp32": "Softmax"}, "keep_fp32: expected a sequence"),
        ({"precision": "fp16", "keep_fp32": ("",)}, "keep_fp32: expected a sequence"),
        ({"precision": "bf16", "profiling_verbosity": "none"}, "profiling_verbosity: expected"),
    ],
)
def test_options_that_contradict_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(fasttrt.InputError, match=f"BuildConfig.{message}"):
        BuildConfig(**options)


@pytest.mark.parametrize(
    ("options", "tf32"),
    [
        ({}, True),
        ({"precision": "tf32"}, True),
        ({"precision": "fp32"}, False),
        ({"precision": "fp32", "tf32": False}, False),
        ({"precision": "fp16"}, True),
        ({"precision": "fp16", "tf32": False}, False),
    ],
)
def test_tf32_follows_from_the_precision(
    options: dict[str, Any], tf32: bool, rtx_library: _core.Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "0")
    config = BuildConfig(**options)
    assert config.to_core(rtx_library).tf32 is tf32
    assert config.to_json()["tf32"] is tf32


def test_a_call_names_the_precision_as_the_config_does() -> None:
    config = BuildConfig(refit=True)
    assert config.with_precision("fp16") == BuildConfig(refit=True, precision="fp16")
    assert config.with_precision(None) is config
    half = BuildConfig(precision="fp16")
    assert half.with_precision("fp16") is half
    model = models.mlp().proto
    for call in (fasttrt.build, fasttrt.Engine):
        with pytest.raises(fasttrt.InputError, match=r"precision: expected 'fp16'.*got 'bf16'"):
            call(model, config=half, precision="bf16")


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_the_network_is_of_the_precision(
    precision: Precision, build: Build, rtx_library: _core.Library
) -> None:
    model = models.mlp((64, 32, 8))
    assert "float32" in parse_network(rtx_library, None, OnnxModel(model.proto)).tensor_types()
    config = BuildConfig(precision=precision)
    network = applying.parse(
        OnnxModel(model.proto),
        config,
        Target(rtx_library),
        lambda m: parse_network(rtx_library, None, m),
    )
    types = network.builder.tensor_types()
    assert types["float32"] <= 2  # the output's cast, and what the parser adds to it
    assert types[DTYPES[precision]] > 3
    plan = build(model.proto, precision=precision)
    assert plan.metadata["config"]["precision"] == precision
    assert plan.metadata["conversion"] == {
        "opset": {"fp16": 17, "bf16": 22}[precision], "converted": 3, "kept": {}, "zeroed": {},
        "faint": {}, "placement": "by operator",
    }  # fmt: skip
    assert [t["dtype"] for t in plan.metadata["inputs"]] == ["float32"]
    assert plan.metadata["model_sha256"] == build(model.proto).metadata["model_sha256"]
    assert "conversion" not in build(model.proto).metadata


def test_the_plan_tells_what_stayed(build: Build) -> None:
    model, _ = TRAPS["layer_norm"]()
    config = BuildConfig(precision="fp16", keep_fp32=["MatMul"], convert_io=True)
    with pytest.raises(fasttrt.BuildError, match="nothing in the model can compute in float16"):
        build(model.proto, config)
    plan = build(model.proto, precision="fp16")
    assert plan.metadata["conversion"]["kept"]["safe"].startswith("Add: a constant of 1e-12")


def test_inputs_and_outputs_change_on_request(build: Build) -> None:
    config = BuildConfig(precision="fp16", convert_io=True)
    plan = build(models.several().proto, config)
    types = {t["name"]: t["dtype"] for t in (*plan.metadata["inputs"], *plan.metadata["outputs"])}
    assert types == {"a": "float16", "b": "int32", "sum": "float16", "twice": "int32"}


def test_a_network_without_it_is_a_downgrade(rtx_library: _core.Library) -> None:
    model = OnnxModel(models.mlp().proto)
    with pytest.raises(
        fasttrt.BuildError, match=r'"fp16": expected a network with float16, .*made'
    ):
        applying.parse(
            model,
            BuildConfig(precision="fp16"),
            Target(rtx_library),
            lambda _: parse_network(rtx_library, None, model),
        )


def test_fp32_of_a_model_of_16_bits_is_refused(
    build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "0")
    half = models.elementwise((3, 5), TensorProto.FLOAT16).proto
    with pytest.raises(fasttrt.BuildError, match=r'"fp32": expected a float32 model.*float16'):
        build(half, precision="fp32")
    nodes = [
        helper.make_node("Cast", ["x"], ["wide"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["wide", "wide"], ["square"]),
        helper.make_node("Cast", ["square"], ["y"], to=TensorProto.FLOAT16),
    ]
    x, y = (value(name, TensorProto.FLOAT16, [4]) for name in "xy")
    build(make(nodes, [x], [y]), precision="fp32")  # at its edges it may have what it likes


def test_fp32_on_rtx_needs_the_environment(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NVIDIA_TF32_OVERRIDE", raising=False)
    with pytest.raises(fasttrt.BuildError, match=r'precision="fp32".*NVIDIA_TF32_OVERRIDE=0'):
        build(models.mlp().proto, precision="fp32")


def test_flags_are_for_libraries_that_choose_types(
    build: Build, rtx_library: _core.Library
) -> None:
    with pytest.raises(fasttrt.BuildError, match='conversion="flags" is not an option of TensorRT'):
        build(models.mlp().proto, BuildConfig(precision="fp16", conversion="flags"))
    # The flag gets as far as the builder's config, which has none here.
    builder = parse_network(rtx_library, None, OnnxModel(models.mlp(batch=2).proto))
    options = BuildConfig(precision="fp16").to_core(rtx_library)
    assert options.profiling_verbosity == "detailed"
    options.fp16 = True
    with pytest.raises(fasttrt.BuildError, match="fp16 is not an option of TensorRT-RTX"):
        builder.build(options, [], lambda events, done: None)


def test_new_weights_are_converted_as_the_old_ones_were(rtx_library: _core.Library) -> None:
    model, other, wrong = models.mlp(), models.mlp(), models.mlp()
    config = BuildConfig(precision="fp16", keep_fp32=["gemm1"], refit=True)
    network = applying.parse(
        OnnxModel(model.proto),
        config,
        Target(rtx_library),
        lambda m: parse_network(rtx_library, None, m),
    )
    # The plan's, whose build would need a GPU.
    metadata: dict[str, Any] = {"config": config.to_json(), **network.metadata()}
    metadata["structure"] = structure(network.model)
    assert "w0_float16" in metadata["structure"]["weights"]
    assert "w1" in metadata["structure"]["weights"]
    metadata["changes"] = list(network.model.changes)
    _, new = as_built(OnnxModel(other.proto), metadata, rtx_library)
    assert new not in (None, metadata["structure"])
    (w,) = (t for t in wrong.proto.graph.initializer if t.name == "w0")
    w.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(w) * np.float32(1e6), "w0"))
    with pytest.raises(fasttrt.InputError, match="it has no weight w0_float16") as caught:
        as_built(OnnxModel(wrong.proto), metadata, rtx_library)
    lines = str(caught.value).splitlines()
    assert lines[1].startswith('The engine was built with precision="fp16"')
    assert lines[2].startswith("  gemm0 (Gemm: a constant of ")
    assert lines[2].endswith(" is beyond float16, whose maximum is 65504)")
    with pytest.raises(fasttrt.InputError) as caught:  # another model, whose weights do fit
        as_built(OnnxModel(models.mlp((16, 24, 4)).proto), metadata, rtx_library)
    assert len(str(caught.value).splitlines()) == 1


def test_what_was_kept_for_its_weights_stays_so_with_others(rtx_library: _core.Library) -> None:
    """A constant that does not fit, and what follows from it; and a node that moves values."""
    new, old = models.mlp(), models.mlp()
    (w,) = (t for t in old.proto.graph.initializer if t.name == "w0")
    w.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(w) * np.float32(1e6), "w0"))
    for proto in (new.proto, old.proto):
        proto.graph.node[-1].output[0] = "last"
        proto.graph.node.append(helper.make_node("Identity", ["last"], ["y"], "moved"))
    built, changes = conversion.convert_model(OnnxModel(old.proto), "fp16", refused=["moved"])
    assert {"gemm0", "moved"} <= changes.kept.keys()
    config = BuildConfig(precision="fp16", refit=True)
    metadata = {"config": config.to_json(), "conversion": vars(changes)}
    other, wide = applying.convert_as_built(OnnxModel(new.proto), metadata)
    assert not wide
    assert parse_network(rtx_library, None, other).outputs()
    check_same(structure(built), other)


class Version8(SimpleNamespace):
    """All that is asked of TensorRT 8.6, which does not load without a GPU."""

    generation = "v8"

    def __str__(self) -> str:
        return "TensorRT 8.6.1"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"precision": "bf16"}, 'precision="bf16" is not an option of TensorRT 8.6.1'),
        ({"precision": "fp16", "keep_fp32": ["Exp"]}, "keep_fp32 is not an option of TensorRT 8"),
        ({"precision": "fp16", "convert_io": True}, "convert_io is not an option of flags"),
    ],
)
def test_what_version_8_lacks_is_refused_by_name(options: dict[str, Any], message: str) -> None:
    version8: Any = Version8()
    with pytest.raises(fasttrt.BuildError, match=message):
        applying.check_library(BuildConfig(**options), version8)
    applying.check_library(BuildConfig(precision="fp16"), version8)
    graph = BuildConfig(precision="fp16", convert_io=True, conversion="graph")
    applying.check_library(graph, version8)


def test_a_node_that_the_parser_refuses_is_kept(
    build: Build, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(rules, "UNSUPPORTED_OPS", {})
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["product"], "product"),
        helper.make_node("HardSwish", ["product"], ["y"]),
    ]
    w = models.random_array("float32", [16, 16])
    proto = make(nodes, [value("x", 1, [4, 16])], [value("y", 1, [4, 16])], {"w": w})
    with caplog.at_level(logging.WARNING, "fasttrt"):
        plan = build(proto, precision="bf16")
    assert plan.metadata["conversion"] == {
        "opset": 22,
        "converted": 1,
        "kept": {"y": "HardSwish: TensorRT does not parse it in 16 bits"},
        "zeroed": {},
        "faint": {},
        "placement": "by operator",
    }
    (record,) = (r for r in caplog.records if r.name == "fasttrt")  # besides TensorRT's own
    assert record.getMessage().startswith("y is kept in float32: TensorRT-RTX")


def test_a_node_that_the_parser_lacks_altogether_is_reported(build: Build) -> None:
    model = models.nonzero()
    with pytest.raises(fasttrt.ParseError) as caught:
        build(model.proto, precision="fp16", shapes={"x": (8,)})
    assert "NonZero" in str(caught.value)


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
@pytest.mark.parametrize("kind", ["int8", "fp8"])
def test_quantized_models_build(kind: str, precision: Precision, build: Build) -> None:
    plan = build(quantized(kind).proto, precision=precision)
    assert plan.metadata["conversion"]["converted"] > 0


@pytest.mark.parametrize("make_model", [models.conditional, models.loop, models.attention])
def test_control_flow_and_dynamic_shapes_build(
    make_model: Callable[[], models.Model], build: Build
) -> None:
    for precision in DTYPES:
        assert len(build(make_model().proto, precision=precision, shapes={}).data) > 1000


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_a_scan_stays_in_float32_within(precision: Precision, build: Build) -> None:
    """TensorRT-RTX 1.6.1 does not build it otherwise."""
    body = helper.make_graph(
        [
            helper.make_node("Add", ["sum", "row"], ["next"], "running"),
            helper.make_node("Identity", ["next"], ["out"]),
        ],
        "body",
        [value("sum", 1, [4]), value("row", 1, [4])],
        [value("next", 1, [4]), value("out", 1, [4])],
    )
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["rows"], "product"),
        helper.make_node("Scan", ["start", "rows"], ["last", "y"], body=body, num_scan_inputs=1),
    ]
    weights = {
        "w": models.random_array("float32", [8, 4]),
        "start": models.random_array("float32", [4]),
    }
    outputs = [value("last", 1, [4]), value("y", 1, [3, 4])]
    plan = build(make(nodes, [value("x", 1, [3, 8])], outputs, weights), precision=precision)
    changes = plan.metadata["conversion"]
    assert (changes["converted"], changes["kept"]) == (1, {"running": "Add: it is in a Scan"})


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_a_cache_that_is_updated_stays_an_input(precision: Precision, build: Build) -> None:
    """TensorRT wants the network's own input there, without a Cast; ONNX has it from opset 24."""
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["new"], "product"),
        helper.make_node("TensorScatter", ["cache", "new", "at"], ["y"], axis=2),
    ]
    inputs = [
        value("cache", 1, [1, 2, 16, 8]),
        value("x", 1, [1, 2, 1, 8]),
        value("at", TensorProto.INT64, [1]),
    ]
    w = {"w": models.random_array("float32", [8, 8])}
    proto = make(nodes, inputs, [value("y", 1, [1, 2, 16, 8])], w, opset=24)
    for convert_io in (False, True):
        plan = build(proto, BuildConfig(precision=precision, convert_io=convert_io))
        assert plan.metadata["conversion"]["converted"] == 1


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
@pytest.mark.parametrize("real", REAL_MODELS, ids=lambda model: model.name)
def test_trained_models_build(real: RealModel, precision: Precision, build: Build) -> None:
    if real.missing or not real.builds:
        pytest.skip(real.missing or "TensorRT-RTX does not build it in float32 either")
    plan = build(real.path, precision=precision, shapes=real.shapes)
    changes = plan.metadata["conversion"]
    assert changes["converted"] > len(changes["kept"])


def test_options_of_builds_that_do_not_count_are_told(
    build: Build, caplog: pytest.LogCaptureFixture
) -> None:
    model = models.mlp()
    config = BuildConfig(refit=True, workspace=1 << 20, engine_host_code=True)
    with caplog.at_level(logging.INFO, "fasttrt"):
        fasttrt.Engine(model.proto, device="cpu", config=config).close()
        fasttrt.Engine(model.proto, device="cpu", config=BuildConfig()).close()
    told = [r.getMessage() for r in caplog.records if "have no effect" in r.getMessage()]
    assert told == [
        "nothing is built on the CPU, so these options have no effect: workspace, refit"
    ]
    plan = build(model.proto, shapes={"x": (2, 16)}, precision="fp16")
    config = BuildConfig(precision="fp16", refit=True, workspace=1 << 20)  # the first is checked
    with caplog.at_level(logging.INFO, "fasttrt"), pytest.raises(fasttrt.Error):
        fasttrt.Engine(plan, device="cuda:999", shapes={"x": (3, 16)}, config=config)
    assert "a plan is already built, so these options have no effect: workspace, refit, s" in (
        caplog.text
    )


def test_the_cpu_says_that_it_has_none(caplog: pytest.LogCaptureFixture) -> None:
    pytest.importorskip("onnxruntime")
    with (
        caplog.at_level(logging.WARNING, "fasttrt"),
        fasttrt.Engine(models.mlp().proto, device="cpu", precision="fp16") as engine,
    ):
        assert str(engine.inputs[0].dtype) == "float32"
    (record,) = caplog.records
    assert record.getMessage().startswith('precision="fp16" applies to GPUs')
