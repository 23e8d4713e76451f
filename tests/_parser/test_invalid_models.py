"""Models that violate ONNX's definitions, some of which crashed or hung TensorRT, are refused."""

from __future__ import annotations

import onnx
import pytest
from onnx.parser import parse_model

import fasttrt
from fasttrt import _core
from fasttrt._graph.model import OnnxModel
from fasttrt._parser.graph_order import order_nodes
from fasttrt._parser.pipeline import Target, prepare

HEADER = '<ir_version: 9, opset_import: ["" : 21]> g '
IMAGE = HEADER + "(float[1,4,8,8] x) => (float y) "
VECTOR = HEADER + "(float[4] x) => (float y) "
INTEGERS = HEADER + "(int64[2] x) => (int64[2] y) "


def parsed(text: str) -> onnx.ModelProto:
    proto = parse_model(text)
    for output in proto.graph.output:
        output.type.tensor_type.ClearField("shape")
    return proto


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (IMAGE + "{ y = DepthToSpace <blocksize=0> (x) }", "its blocksize=[0] is less than 1"),
        (IMAGE + "{ y = SpaceToDepth <blocksize=0> (x) }", "its blocksize=[0] is less than 1"),
        (IMAGE + "{ y = MaxPool <kernel_shape=[2,2], strides=[0,1]> (x) }", "strides=[0, 1] is"),
        (IMAGE + "{ y = ArgMax <axis=4611686018427387904> (x) }", "exceeds the 32 bits"),
        (IMAGE + "{ y = Split <num_outputs=1000000000> (x) }", "but it has 1 outputs"),
        (IMAGE + "<float[4] s={1,1,1,1}> { y = GroupNormalization <num_groups=0> (x, s, s) }",
         "its num_groups=[0] is less than 1"),
        (IMAGE + "<int64[1,1] i={0}> { y = GatherND <batch_dims=-2> (x, i) }", "batch_dims=[-2]"),
        (IMAGE + "<float[4] k={1,1,-1,1}> { y = Resize (x, , k) }", "are not all positive"),
        (IMAGE + "<float[4] k={1,1,0,1}> { y = Resize (x, , k) }", "are not all positive"),
        (IMAGE + "{ y = TopK (x, x) }", "its input 1 has shape [1, 4, 8, 8], expected [1]"),
        (IMAGE + "<int64[1] k={-1}> { y, i = TopK (x, k) }", "its input 1, [-1], is negative"),
        (IMAGE + "<int64[4] k={1,4611686018427387904,1,1}> { y = Tile (x, k) }", "exceeds 32 bits"),
        (IMAGE + "{ y = Cast (x) }", "its attribute to is missing"),
        (IMAGE + '{ y = Concat <axis="1"> (x) }', "its attribute axis has type STRING"),
        (VECTOR + "{ y = Neg (x)  = Exp (x) }", "it has no outputs"),
        (VECTOR + "{ y = Add (x) }", "its input B is missing"),
        (VECTOR + "{ y = QuantizeLinear () }", "its input x is missing"),
        (VECTOR + "{ y = Clip (x, x, x, x) }", "it has 4 inputs, expected at most 3"),
        (VECTOR + "<int64 k={3}> { a = ConstantOfShape (k) y = Add (a, x) }", "0 axes, expected 1"),
        (VECTOR + "<int64 k={2}> { y, z = Split (x, k) }", "its input 1 has 0 axes, expected 1"),
        (HEADER + "(float x) => (float y) { y = Split <num_outputs=1> (x) }", "input is a scalar"),
        (IMAGE + "{ y = LpPool <kernel_shape=[2,2], p=0> (x) }", "its p=[0] is less than 1"),
        (VECTOR + "<float[0] s={}> { q = QuantizeLinear (x, s) y = Cast <to=1> (q) }",
         "its scale has no elements"),
        (INTEGERS + "<int64[2] a={4,6}, int64[2] b={0,2}> { d = Div (a, b) y = Add (d, x) }",
         "it divides integers by 0"),
        (INTEGERS + "<int64[2] a={4,6}, int64[2] b={0,2}> { d = Mod (a, b) y = Add (d, x) }",
         "it divides integers by 0"),
        (INTEGERS + "<int64[1] a={-9223372036854775808}, int64[1] b={-1}> "
         "{ d = Div (a, b) y = Add (d, x) }", "it divides -9223372036854775808 by -1"),
        (VECTOR + "{ y = Relu (q) }", "its input 'q' is undefined"),
        (VECTOR + "{ a = Add (x, b) b = Neg (a) y = Relu (b) }", "it is part of a cycle: "),
        (VECTOR + "{ a = Neg (x) a = Exp (x) y = Relu (a) }", "its output 'a' is already defined"),
        (VECTOR + "{ z = Relu (x) }", "no node computes the output 'y' of the graph 'g'"),
        (HEADER + "(float[4] x, int64 n, bool c) => (float[4] y) { y = Loop (n, c, x) "
         "<body = b () => (bool d, float[4] z) { d = Not (c) z = Neg (x) }> }",
         "its subgraph 'b' has 0 inputs, expected 3"),
        (HEADER + "(float[4] x, bool c) => (float[4] y) { y = If (c) "
         "<then_branch = t () => () { a = Neg (x) }, else_branch = e () => () { b = Exp (x) }> }",
         "its subgraph 't' has 0 inputs and 0 outputs, expected none and 1"),
    ],
)  # fmt: skip
def test_they_are_refused_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(fasttrt.ParseError) as caught:
        fasttrt.build(parsed(text))
    assert reason in caught.value.issues[0].reason


def test_nodes_out_of_order_are_sorted(rtx_library: _core.Library) -> None:
    """So that ONNX's functions and the passes take them; TensorRT's parser sorts by itself."""
    proto = parse_model(
        HEADER + "(float[4] x, bool c) => (float[4] y) { y = If (c) "
        "<then_branch = t () => (float[4] z) { z = Neg (w) w = Add (v, v) }, "
        "else_branch = e () => (float[4] u) { u = Identity (v) }> v = Exp (x) }"
    )
    model = prepare(OnnxModel(proto), Target(rtx_library))
    assert [node.op_type for node in model.proto.graph.node] == ["Exp", "If"]
    onnx.checker.check_model(model.proto, full_check=True)
    long = parse_model(
        HEADER
        + "(float[4] t0) => (float[4] t4000) {"
        + "".join(f" t{i + 1} = Neg (t{i})" for i in reversed(range(4000)))
        + "}"
    )
    ordered = order_nodes(OnnxModel(long), Target(rtx_library)).proto.graph.node
    assert [node.output[0] for node in ordered] == [f"t{i + 1}" for i in range(4000)]


def test_valid_models_are_left_alone(rtx_library: _core.Library) -> None:
    proto = parse_model(
        HEADER + "(int64[2] x) => (int64[2] y) <int64[2] a={0,6}, int64[2] b={3,-1}> "
        "{ d = Div (a, b) y = Add (d, x) }"
    )
    model = OnnxModel(proto)
    assert prepare(model, Target(rtx_library)) is model


def test_an_issue_of_an_inner_node_names_it() -> None:
    issue = fasttrt.errors.ParseIssue(-1, "inner", "Conv", "no")
    assert str(issue) == "node 'inner' (Conv): no"
