"""Refusals by TensorRT's parser are explained: which node or tensor, why, and what to do."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from onnx import TensorProto, helper
from onnx.parser import parse_model

import fasttrt
from fasttrt import _core
from fasttrt._parser.reasons import explain

Build = Callable[..., fasttrt.Plan]
_MICROSOFT = '<ir_version: 9, opset_import: ["" : 17, "com.microsoft" : 1]>'
_CASES = {
    "no operator": (
        "(float[2,2] m) => (float d) { n = Neg (m) d = Det (n) }",
        "node 1 (Det): {library} has no Det. Do it outside",
    ),
    "a result whose size depends on the data": (
        "(float[3,4] x) => (int64[2,n] y) { y = NonZero (x) }",
        "node 0 (NonZero): the size of its output depends on the data",
    ),
    "a condition that is computed": (
        "(float[3,4] x, bool[4] c) => (float[3,n] y) { y = Compress <axis=1> (x, c) }",
        "node 0 (Compress): its condition is not a constant",
    ),
    "sequences": (
        "(float[2] x, int64 i) => (float[2] y) "
        "{ s = SequenceConstruct (x, x) y = SequenceAt (s, i) }",
        "node 0 (SequenceConstruct): {library} supports neither sequences",
    ),
    "a reduction of scattered values, in the second node": (
        "(float[4,5] x, int64[1,5] i, float[1,5] u) => (float[4,5] y) { a = Neg (x) "
        'y = ScatterElements <axis=0, reduction="add"> (a, i, u) }',
        "node 1 (ScatterElements): {library} supports scatters without a reduction only",
    ),
    "bits of integers": (
        "(int32[4] x, int32[4] y) => (int32[4] z) { z = BitwiseAnd (x, y) }",
        "node 0 (BitwiseAnd): {library} has no bitwise operators",
    ),
    "an input of another type": (
        "(float[2] a, int16[2] b) => (float[2] y) { f = Cast <to=1> (b) y = Add (a, f) }",
        "input b is int16, a type that {library} does not support; declare it as int32",
    ),
    "an input of strings": (
        "(float[2] a, string[2] b) => (float[2] y) { y = Neg (a) }",
        "input b is string, a type that {library} does not support",
    ),
    "an input that is an optional": (
        "(optional(float[2]) s) => (bool y) { y = OptionalHasElement (s) }",
        "input s is an optional; {library} supports only tensors",
    ),
    "a product of integers": (
        "(int32[2,3] a, int32[3,2] b) => (int32[2,2] y) { y = MatMul (a, b) }",
        "node 0 (MatMul): {library} does not support it for int32; cast its inputs",
    ),
    "nine axes": (
        "(float[1,1,1,1,1,1,1,1,2] x) => (float[1,1,1,1,1,1,1,1,2] y) { y = Neg (x) }",
        "input x has 9 axes; {library} supports 8 at most",
    ),
    "no outputs": ("(float[2] x) => () { y = Neg (x) }", "the graph has no outputs"),
    "an operator that is none": (
        "(float[2] x) => (float[2] y) { y = Foo (x) }", "node 0 (Foo): ONNX has no operator Foo",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", _CASES)
def test_the_reason_is_told(case: str, build: Build) -> None:
    graph, expected = _CASES[case]
    model = parse_model(f'<ir_version: 9, opset_import: ["" : 18]> g {graph}')
    with pytest.raises(fasttrt.ParseError) as caught:
        build(model)
    library = str(caught.value).partition(" cannot")[0]
    assert library.startswith("TensorRT-RTX 1.")
    issues = list(map(str, caught.value.issues))
    assert any(issue.startswith(expected.format(library=library)) for issue in issues), issues
    assert not any("false" in issue or "Assertion" in issue for issue in issues)
    if _core.driver_problem():
        assert "cudaError 35" not in str(caught.value)


def test_a_build_that_finds_no_kernel_names_the_operator(build: Build) -> None:
    model = parse_model(
        '<ir_version: 9, opset_import: ["" : 18]> g (float[1,10,4] b, float[1,2,10] s) => '
        "(int64[n,3] y) { k = Constant <value_int=5> () t = Constant <value_float=0.5> () "
        "y = NonMaxSuppression (b, s, k, t, t) }"
    )
    with pytest.raises(
        fasttrt.BuildError, match=r"\ny \(NonMaxSuppression\): the size .*torchvision\.ops\.nms"
    ):
        build(model)


@pytest.mark.parametrize(
    ("node", "reason"),
    [
        (
            "RotaryEmbedding (x, p, c, c)",
            "its domain is com.microsoft: it is an operator of ONNX Runtime",
        ),
        ("BiasGelu (x, x)", "an operator of ONNX Runtime, which no TensorRT has"),
    ],
)
def test_onnx_runtimes_operators_are_not_functions(node: str, reason: str, build: Build) -> None:
    graph = (
        "g (float[1,2,4,8] x, int64[1,4] p, float[9,4] c) => (float[1,2,4,8] y) "
        f"{{ y = com.microsoft.{node} }}"
    )
    with pytest.raises(fasttrt.ParseError, match=reason) as caught:
        build(parse_model(f"{_MICROSOFT} {graph}"))
    assert "inline" not in str(caught.value)
    assert "without" in str(caught.value)


def test_a_constant_of_another_type_is_named(build: Build) -> None:
    big = helper.make_tensor("big", TensorProto.UINT64, [9000], [1] * 9000)
    nodes = [
        helper.make_node("Cast", ["big"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("Add", ["x", "f"], ["y"]),
    ]
    ends = [[helper.make_tensor_value_info(name, TensorProto.FLOAT, [9000])] for name in ("x", "y")]
    graph = helper.make_graph(nodes, "g", ends[0], ends[1], [big])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    with pytest.raises(fasttrt.ParseError, match=r"the constant big is uint64, a type"):
        build(model)


@pytest.mark.parametrize(("dtype", "is_reason"), [("float", False), ("uint64", True)])
def test_only_unsupported_types_of_constants_are_reasons(dtype: str, is_reason: bool) -> None:
    weights = f"{dtype}[2] w = {{1, 2}}"
    model = parse_model(
        f'<ir_version: 9, opset_import: ["" : 18]> g (float[2] x) => (float[2] y) <{weights}> '
        "{ f = Cast <to=1> (w) y = Add (x, f) }"
    )
    reason = "Failed to import initializer: w"
    (found,) = explain(fasttrt.ParseIssue(-1, "", "", reason), None, model, "TensorRT 10.3")
    assert ("does not support" in found.reason, reason in found.reason) == (
        is_reason,
        not is_reason,
    )
