"""Casts about attention: where TensorRT fuses them, and elsewhere where it fails to."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import onnx
import pytest

import fasttrt
from fasttrt import BuildConfig
from fasttrt._builder import build as building
from fasttrt._graph.model import OnnxModel
from fasttrt._precision import rules as rules
from fasttrt._precision.conversion import convert_model
from fasttrt._precision.placements import (
    AROUND_ATTENTION,
    AROUND_PRODUCTS,
    DEFAULT,
    PLACEMENTS,
    REASON,
)
from fasttrt._precision.typed_parse import convert_as_built
from support.attention_spellings import SPELLINGS, attention
from support.models import Model, make, mlp, value

Precision = Literal["fp16", "bf16"]
PRECISIONS: tuple[Precision, ...] = ("fp16", "bf16")
BOUNDS = {"fp16": 5e-3, "bf16": 4e-2}
FLOAT = onnx.TensorProto.FLOAT


def _placement(plan: fasttrt.Plan) -> str:
    return str(plan.metadata["conversion"]["placement"])


def _run(proto: onnx.ModelProto, *inputs: Any) -> Any:
    pytest.importorskip("onnxruntime")
    with fasttrt.Engine(proto, device="cpu") as engine:
        return engine.infer(*inputs)


def _users(proto: onnx.ModelProto, operator: str) -> set[str]:
    """The operators that take what nodes of one give."""
    given = {o for node in proto.graph.node if node.op_type == operator for o in node.output}
    return {node.op_type for node in proto.graph.node if not given.isdisjoint(node.input)}


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("spelling", SPELLINGS)
def test_attention_builds(spelling: str, precision: Precision, rtx: fasttrt.LibraryInfo) -> None:
    for options in ({"groups": 2}, {"guarded": False}):
        plan = fasttrt.build(
            attention(spelling, **options).proto,
            precision=precision,
            library=rtx.path,
        )
        assert _placement(plan) == DEFAULT


@pytest.mark.parametrize("keep", ["Softmax", "matmul_9", "matmul_14", "IsNaN", "Where"])
@pytest.mark.parametrize("level", [0, 5])
def test_attention_builds_with_operators_kept(
    keep: str, level: int, rtx: fasttrt.LibraryInfo
) -> None:
    config = BuildConfig(precision="fp16", keep_fp32=[keep], optimization_level=level)
    assert _placement(fasttrt.build(_projected().proto, config, library=rtx.path)) == DEFAULT


def test_probabilities_are_rounded_before_they_are_guarded() -> None:
    proto = convert_model(OnnxModel(attention().proto), "fp16", keep_fp32=["Softmax"])[0].proto
    assert _users(proto, "Softmax") == {"Cast"}
    assert "IsNaN" in _users(proto, "Cast")


def test_probabilities_that_are_returned_are_not_rounded() -> None:
    """Where nothing computes with them, what was kept in float32 is given so."""
    nodes = [
        onnx.helper.make_node("MatMul", ["x", "w"], ["s"]),
        onnx.helper.make_node("Softmax", ["s"], ["p"]),
        onnx.helper.make_node("Reshape", ["p", "to"], ["y"]),
    ]
    weights = {"w": np.eye(8, dtype=np.float32), "to": np.array([2, 2, 4])}
    proto = make(
        nodes, [value("x", FLOAT, [2, 8])], [value("y", FLOAT, [2, 2, 4])], weights, opset=20
    )
    low = convert_model(OnnxModel(proto), "fp16", keep_fp32=["Softmax"])[0].proto
    assert _users(low, "Softmax") == {"Reshape"}


@pytest.mark.parametrize("precision", PRECISIONS)
def test_casts_are_placed_elsewhere_where_a_fusion_fails(
    precision: Precision, rtx: fasttrt.LibraryInfo
) -> None:
    config = BuildConfig(precision=precision, keep_fp32=["Where", "IsNaN"])
    model = _projected()
    plan = fasttrt.build(model.proto, config, library=rtx.path)
    assert _placement(plan) == AROUND_ATTENTION
    assert any(AROUND_ATTENTION in line and REASON in line for line in plan.metadata["changes"])


def test_the_last_placement_keeps_all_but_products(
    rtx: fasttrt.LibraryInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[int] = []
    run = building._run

    def fail(*arguments: Any) -> Any:
        tried.append(len(tried))
        if len(tried) < 3:
            raise fasttrt.BuildError("Myelin: some_fusion.cpp: CHECK(x) failed")
        return run(*arguments)

    monkeypatch.setattr(building, "_run", fail)
    plan = fasttrt.build(_projected().proto, precision="fp16", library=rtx.path)
    assert _placement(plan) == AROUND_PRODUCTS
    kept = plan.metadata["conversion"]["kept"]
    assert sum(why.startswith("MatMul") for why in kept.values()) == 2
    assert any(why.startswith("Relu") for why in kept.values())


def test_the_first_failure_is_told(
    rtx: fasttrt.LibraryInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[str] = []

    def fail(*arguments: Any) -> Any:
        tried.append(f"fusion {len(tried)}")
        raise fasttrt.BuildError(tried[-1])

    monkeypatch.setattr(building, "_run", fail)
    monkeypatch.setattr("fasttrt._builder.advice.advise", lambda *arguments: "")
    with pytest.raises(fasttrt.BuildError, match="fusion 0"):
        fasttrt.build(_projected().proto, precision="fp16", library=rtx.path)
    assert len(tried) == len(PLACEMENTS)
    tried.clear()
    with pytest.raises(fasttrt.BuildError):
        fasttrt.build(mlp().proto, library=rtx.path, shapes={"x": (2, 16)})
    assert len(tried) == 1  # there are no casts to be placed elsewhere


@pytest.mark.parametrize("placement", PLACEMENTS)
@pytest.mark.parametrize("spelling", SPELLINGS)
def test_values(spelling: str, placement: str) -> None:
    model = _projected(spelling)
    rng = np.random.default_rng(3)
    inputs = [
        rng.standard_normal([d.dim_value for d in i.type.tensor_type.shape.dim]).astype(np.float32)
        for i in model.proto.graph.input
    ]
    proto = convert_model(OnnxModel(model.proto), "fp16", placement=placement)[0].proto
    expected = model.reference(*inputs)
    error = np.abs(_run(proto, *inputs) - expected).max() / np.abs(expected).max()
    assert error < BOUNDS["fp16"]


def test_new_weights_are_converted_by_the_same_placement(rtx: fasttrt.LibraryInfo) -> None:
    config = BuildConfig(precision="fp16", keep_fp32=["Where", "IsNaN"])
    plan = fasttrt.build(_projected().proto, config, library=rtx.path)
    again, new = convert_as_built(OnnxModel(_projected().proto), plan.metadata)
    assert not new
    assert any(AROUND_ATTENTION in line for line in again.changes)
    metadata = {**plan.metadata, "conversion": {"kept": {}}}  # of a plan from before placements
    again, _ = convert_as_built(OnnxModel(_projected().proto), metadata)
    assert not any(AROUND_ATTENTION in line for line in again.changes)


def test_other_failures_are_not_tried_again(
    rtx: fasttrt.LibraryInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[int] = []

    def fail(*arguments: Any) -> Any:
        tried.append(0)
        raise fasttrt.BuildError("Myelin: graph_jit.cpp:272: CHECK(status == CUDA_SUCCESS) failed")

    monkeypatch.setattr(building, "_run", fail)
    monkeypatch.setattr("fasttrt._builder.advice.advise", lambda *arguments: "")
    with pytest.raises(fasttrt.BuildError):
        fasttrt.build(_projected().proto, precision="fp16", library=rtx.path)
    assert len(tried) == 1


def test_bounded_operators_are_in_range() -> None:
    """Each of them, over a wide range of arguments."""
    x = np.concatenate([-np.logspace(-3, 30, 50), np.logspace(-3, 30, 50)]).astype(np.float32)
    for operator in sorted(rules.BOUNDED_OPS):
        node = onnx.helper.make_node(operator, ["x"], ["y"])
        shape = [1, len(x)]
        proto = make([node], [value("x", FLOAT, shape)], [value("y", FLOAT, shape)], opset=17)
        assert np.abs(_run(proto, x[None])).max() < 4, operator


def _projected(spelling: str = "lowest float32 added") -> Model:
    """Attention behind a product and an activation, which computes in 16 bits by any placement."""
    model = attention(spelling, groups=2)
    proto, graph = model.proto, model.proto.graph
    for node in graph.node:
        node.input[:] = ["hidden" if name == "q" else name for name in node.input]
    weights = np.random.default_rng(5).standard_normal((64, 64)).astype(np.float32) / 8
    graph.initializer.append(onnx.numpy_helper.from_array(weights, "w"))
    graph.node.insert(0, onnx.helper.make_node("MatMul", ["q", "w"], ["product"], "first"))
    graph.node.insert(1, onnx.helper.make_node("Relu", ["product"], ["hidden"], "relu"))

    def reference(q: Any, k: Any, v: Any) -> Any:
        return model.reference(np.maximum(q.astype(np.float64) @ weights, 0), k, v)

    return Model(proto, reference)
