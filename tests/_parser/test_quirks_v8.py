"""What TensorRT 8.6 would misinterpret is rewritten for opset 17 with equal results, or refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

import fasttrt
from fasttrt._graph.model import OnnxModel
from fasttrt._parser.exact_forms import write_exact_forms
from fasttrt._parser.pipeline import Target
from fasttrt._parser.quirks_v8 import downgrade_to_v8, warn_of_opset
from fasttrt._precision.conversion import convert_model
from fasttrt._precision.typed_parse import parse
from support import models
from support.assertions import assert_close
from support.newer_operators import NEWER_OPERATORS
from support.randomness import new_rng

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64
NAME = "TensorRT 8.6.0"
TARGET = Target(NAME)  # type: ignore[arg-type]  # of which only the name is asked for


def run(proto: onnx.ModelProto, opset: int, *arrays: Any) -> list[Any]:
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    copy.opset_import[0].version = opset
    session = onnxruntime.InferenceSession(
        copy.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    names = [tensor.name for tensor in session.get_inputs()]
    return list(session.run(None, dict(zip(names, arrays, strict=True))))


@pytest.mark.parametrize("name", NEWER_OPERATORS)
def test_the_older_form_means_the_same(name: str) -> None:
    made = NEWER_OPERATORS[name]()
    model = downgrade_to_v8(write_exact_forms(OnnxModel(made.proto), TARGET), NAME)
    assert model.is_changed
    assert all("TensorRT 8.6.0 " in line for line in model.changes)
    (x,) = models.random_inputs(made.proto)
    expected = made.reference(x)
    (newer,) = run(made.proto, made.proto.opset_import[0].version, x)
    (older,) = run(model.proto, 17, x)  # it is of opset 17 now in all but the number
    for y in (newer, older):
        assert_close(y, expected, 1e-5)


def one_node(node: onnx.NodeProto, opset: int, *inputs: Any, **constants: Any) -> OnnxModel:
    arrays = {name: np.asarray(array) for name, array in constants.items()}
    weights = [numpy_helper.from_array(array, name) for name, array in arrays.items()]
    outputs = [helper.make_tensor_value_info(name, FLOAT, None) for name in node.output]
    graph = helper.make_graph([node], "g", list(inputs), outputs, weights)
    opsets = [helper.make_opsetid("", opset)]
    return OnnxModel(helper.make_model(graph, opset_imports=opsets, ir_version=8))


def conditional_of_two(*, constant: bool) -> OnnxModel:
    """y, z = x, -x or the other way round."""
    branches = []
    for name, (first, second) in (("a", ("Identity", "Neg")), ("b", ("Neg", "Identity"))):
        nodes = [
            helper.make_node(first, ["x"], [f"{name}_first"]),
            helper.make_node(second, ["x"], [f"{name}_second"]),
        ]
        outputs = [
            helper.make_tensor_value_info(f"{name}_{which}", FLOAT, None)
            for which in ("first", "second")
        ]
        branches.append(helper.make_graph(nodes, name, [], outputs))
    node = helper.make_node(
        "If", ["c"], ["y", "z"], "n", then_branch=branches[0], else_branch=branches[1]
    )
    if constant:
        return one_node(node, 17, X, c=np.array(True))
    return one_node(node, 17, models.value("c", TensorProto.BOOL, ()), X)


X = models.value("x", FLOAT, ("batch", 6, 7))
IMAGE = models.value("x", FLOAT, (1, 2, 6, 7))
AXES = models.value("axes", INT64, (1,))


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (
            one_node(helper.make_node("ReduceMean", ["x", "axes"], ["y"], "n"), 18, X, AXES),
            "its axes are not a constant within the model file",
        ),
        (
            one_node(
                helper.make_node("ReduceMax", ["x"], ["y"], "n", noop_with_empty_axes=1), 18, X
            ),
            "noop_with_empty_axes=1",
        ),
        (
            one_node(
                helper.make_node("Split", ["x"], ["y", "z"], "n", axis=0, num_outputs=2), 18, X
            ),
            "the size of the split axis must be known",
        ),
        (
            one_node(
                helper.make_node("Resize", ["x", "", "scales"], ["y"], "n", antialias=1),
                18, IMAGE, scales=np.array([1, 1, 0.5, 0.5], np.float32),
            ),
            "antialias=1 would be ignored",
        ),
        (
            one_node(
                helper.make_node("Resize", ["x", "", "scales"], ["y"], "n", axes=[2, 3]),
                18, IMAGE, scales=np.array([2, 2], np.float32),
            ),
            "axes would be ignored",
        ),
        (
            one_node(
                helper.make_node(
                    "Resize", ["x", "", "", "sizes"], ["y"], "n",
                    keep_aspect_ratio_policy="not_larger",
                ),
                18, IMAGE, sizes=np.array([1, 2, 9, 9]),
            ),
            "keep_aspect_ratio_policy would be ignored",
        ),
        (
            one_node(
                helper.make_node("ScatterND", ["x", "i", "u"], ["y"], "n", reduction="add"),
                16, X, i=np.array([[0]]), u=np.ones((1, 6, 7), np.float32),
            ),
            'reduction="add" would be ignored',
        ),
        (
            one_node(
                helper.make_node(
                    "LpPool", ["x"], ["y"], "n", kernel_shape=[2, 2], dilations=[2, 1]
                ),
                18, IMAGE,
            ),
            "dilations would be ignored",
        ),
        (
            one_node(
                helper.make_node("GridSample", ["x", "grid"], ["y"], "n"), 20,
                models.value("x", FLOAT, (1, 1, 4, 5, 6)),
                grid=np.zeros((1, 2, 2, 2, 3), np.float32),
            ),
            "its input has rank 5",
        ),
        (
            one_node(helper.make_node("GlobalLpPool", ["x"], ["y"], "n", p=1), 17, IMAGE),
            "for an odd p",
        ),
        (
            one_node(
                helper.make_node("InstanceNormalization", ["x", "s", "b"], ["y"], "n"), 17,
                models.value("x", TensorProto.FLOAT16, (1, 2, 6, 7)),
                s=np.ones(2, np.float16), b=np.ones(2, np.float16),
            ),
            "float16 weights would be read as float32",
        ),
        (
            one_node(
                helper.make_node(
                    "GRU", ["x", "w", "r"], ["y"], "n", hidden_size=3,
                    activations=["Sigmoid", "LeakyRelu"], activation_alpha=[0.5],
                ),
                17, models.value("x", FLOAT, (4, 1, 2)),
                w=np.ones((1, 9, 2), np.float32), r=np.ones((1, 9, 3), np.float32),
            ),
            "activation_alpha would be applied to the wrong activations",
        ),
        (
            one_node(
                helper.make_node("ReduceSum", ["x"], ["y"], "n", noop_with_empty_axes=1), 13, X
            ),
            "noop_with_empty_axes=1",
        ),
        (
            one_node(
                helper.make_node("Split", ["x"], list("abcd"), "n", axis=0, num_outputs=4), 18,
                models.value("x", FLOAT, (5, 2)),
            ),
            "a size of 5 cannot be split into 4 parts of 2",
        ),
        (
            one_node(
                helper.make_node("LpPool", ["x"], ["y"], "n", kernel_shape=[2, 2], ceil_mode=1),
                18, IMAGE,
            ),
            "ceil_mode=1 would be ignored",
        ),
        (
            one_node(
                helper.make_node("SpaceToDepth", ["x"], ["y"], "n", blocksize=1, mode="CRD"),
                13, IMAGE,
            ),
            'mode="CRD" would be ignored',
        ),
        (conditional_of_two(constant=False), "its 2 outputs would be in arbitrary order"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_what_has_no_older_form_is_refused(model: OnnxModel, reason: str) -> None:
    with pytest.raises(fasttrt.ParseError) as caught:
        downgrade_to_v8(model, NAME)
    (issue,) = caught.value.issues
    assert (issue.node, issue.name) == (0, "n")
    assert reason in issue.reason


def test_constants_of_the_same_name_are_not_mixed_up() -> None:
    """Two branches may use a name for different values."""

    def branch(name: str, axis: int) -> onnx.GraphProto:
        value = numpy_helper.from_array(np.array([axis]), "axes")
        nodes = [
            helper.make_node("Constant", [], ["axes"], value=value),
            helper.make_node("ReduceMean", ["x", "axes"], [name], name, keepdims=1),
        ]
        return helper.make_graph(
            nodes, name, [], [helper.make_tensor_value_info(name, FLOAT, None)]
        )

    def chosen(first: int, second: int) -> OnnxModel:
        node = helper.make_node(
            "If", ["c"], ["y"], then_branch=branch("a", first), else_branch=branch("b", second)
        )
        return one_node(node, 18, models.value("c", TensorProto.BOOL, ()), X)

    with pytest.raises(fasttrt.ParseError, match="not a constant within the model file"):
        downgrade_to_v8(chosen(0, 1), NAME)
    changed = downgrade_to_v8(chosen(1, 1), NAME).proto.graph.node[0]
    for attribute in changed.attribute:
        reduction = attribute.g.node[1]
        assert list(reduction.input) == ["x"]
        assert [list(a.ints) for a in reduction.attribute if a.name == "axes"] == [[1]]


def test_a_name_of_a_constant_and_of_something_else() -> None:
    """In one branch the axes are a constant, in the other a result."""

    def branch(name: str, node: onnx.NodeProto) -> onnx.GraphProto:
        nodes = [node, helper.make_node("ReduceMean", ["x", "axes"], [name], name)]
        outputs = [helper.make_tensor_value_info(name, FLOAT, None)]
        return helper.make_graph(nodes, name, [], outputs)

    value = numpy_helper.from_array(np.array([1]), "axes")
    fixed = branch("a", helper.make_node("Constant", [], ["axes"], value=value))
    moving = branch("b", helper.make_node("Identity", ["k"], ["axes"]))
    node = helper.make_node("If", ["c"], ["y"], then_branch=fixed, else_branch=moving)
    inputs = [models.value("c", TensorProto.BOOL, ()), X, models.value("k", INT64, (1,))]
    with pytest.raises(fasttrt.ParseError) as caught:
        downgrade_to_v8(one_node(node, 18, *inputs), NAME)
    assert {issue.name for issue in caught.value.issues} == {"a", "b"}


def test_names_that_are_taken() -> None:
    """The tensors that come in between are named after the output."""
    nodes = [
        helper.make_node("Neg", ["x"], ["b_sizes"]),
        helper.make_node("Split", ["b_sizes"], ["b", "a"], "split", axis=2, num_outputs=2),
        helper.make_node("Concat", ["a", "b"], ["y"], axis=2),
    ]
    graph = helper.make_graph(nodes, "g", [X], [models.value("y", FLOAT, ("batch", 6, 7))])
    opsets = [helper.make_opsetid("", 18)]
    proto = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    model = downgrade_to_v8(OnnxModel(proto), NAME)
    assert model.is_changed
    x = new_rng().standard_normal((2, 6, 7)).astype(np.float32)
    (y,) = run(model.proto, 17, x)
    np.testing.assert_array_equal(y, -np.roll(x, 3, axis=-1))


def test_a_conversion_comes_first() -> None:
    """It may raise the opset, and then axes are an input again."""
    scale = numpy_helper.from_array(np.array(0.05, np.float32), "scale")
    zero = numpy_helper.from_array(np.array(0, np.int8), "zero")
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["d"]),
        helper.make_node("ReduceMean", ["d"], ["m"], "mean", axes=[-1]),
        helper.make_node("Relu", ["m"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes, "g", [X], [helper.make_tensor_value_info("y", FLOAT, None)], [scale, zero]
    )
    opsets = [helper.make_opsetid("", 17)]
    proto = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    result, _ = convert_model(OnnxModel(proto), "fp16")

    def mean(model: OnnxModel) -> onnx.NodeProto:
        nodes: list[onnx.NodeProto] = list(model.proto.graph.node)
        (found,) = (node for node in nodes if node.op_type == "ReduceMean")
        return found

    assert len(mean(result).input) == 2  # else the conversion is no longer what it was
    older = mean(downgrade_to_v8(result, NAME))
    assert len(older.input) == 1
    assert [list(a.ints) for a in older.attribute if a.name == "axes"] == [[-1]]


class Version8:
    """What is asked of TensorRT 8.6, which cannot be had for a machine without a GPU."""

    generation, family, version = "v8", "tensorrt", "8.6.0"

    def __str__(self) -> str:
        return NAME


def test_a_build_gives_the_parser_the_older_form() -> None:
    made = NEWER_OPERATORS["ReduceMean in rows"]()
    given: list[OnnxModel] = []
    library: Any = Version8()
    parsed = parse(OnnxModel(made.proto), fasttrt.BuildConfig(), Target(library), given.append)  # type: ignore[arg-type]
    assert given == [parsed.model]
    (reduction, _) = parsed.model.proto.graph.node
    assert list(reduction.input) == ["x"]
    assert parsed.model.changes


def test_shapes_that_cannot_be_inferred() -> None:
    """A Split whose extent cannot be told is refused, whatever else the model has."""
    nodes = [
        helper.make_node("Unknown", ["x"], ["a"], domain="somewhere"),
        helper.make_node("Split", ["a"], ["y", "z"], "n", axis=0, num_outputs=2),
    ]
    graph = helper.make_graph(nodes, "g", [X], [helper.make_tensor_value_info("y", FLOAT, None)])
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("somewhere", 1)]
    proto = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    with pytest.raises(fasttrt.ParseError, match="must be known"):
        downgrade_to_v8(OnnxModel(proto), NAME)


def test_what_8_6_reads_stays() -> None:
    scatter = helper.make_node("ScatterND", ["x", "i", "u"], ["y"], "n", reduction="none")
    constants = {"i": np.array([[0]]), "u": np.ones((1, 6, 7), np.float32)}
    even = helper.make_node("Split", ["x"], ["y", "z"], "n", axis=1, num_outputs=2)
    for model in (
        OnnxModel(models.mlp().proto),
        one_node(scatter, 18, X, **constants),
        one_node(even, 18, X),
        one_node(helper.make_node("ReduceSum", ["x", "axes"], ["y"]), 18, X, axes=np.array([1])),
        one_node(helper.make_node("ReduceMean", ["x"], ["y"], axes=[1]), 17, X),
        one_node(helper.make_node("ReduceMean", ["x"], ["y"]), 18, X),
        one_node(helper.make_node("GridSample", ["x", "x"], ["y"]), 17, IMAGE),
        conditional_of_two(constant=True),
    ):
        assert downgrade_to_v8(model, NAME) is model


def test_a_newer_opset_is_told(caplog: pytest.LogCaptureFixture) -> None:
    warn_of_opset(one_node(helper.make_node("Relu", ["x"], ["y"]), 17, X), NAME)
    assert not caplog.records
    warn_of_opset(one_node(helper.make_node("Relu", ["x"], ["y"]), 20, X), NAME)
    assert "opset 20, and TensorRT 8.6.0 supports up to 17" in caplog.text
