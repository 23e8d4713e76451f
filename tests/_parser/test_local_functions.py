"""Local functions, inlined before TensorRT's parser sees them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any, TypeAlias, cast

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper
from onnx.parser import parse_model

import fasttrt
from fasttrt import _core
from fasttrt._graph.model import OnnxModel
from fasttrt._parser.local_functions import MAX_DEPTH, MAX_NODES, inline_functions
from fasttrt._parser.pipeline import Target

IMPORTS = '<ir_version: 10, opset_import: ["" : 17, "l" : 1, "m" : 1]>'
GRAPH = IMPORTS + " g (float[2,3] x) => (float[2,3] y) "
L, M = '<domain: "l", opset_import: ["" : 17]>', '<domain: "m", opset_import: ["" : 17]>'

CASES = {
    "an optional input left out": f"""{GRAPH} {{ y = l.f (x, ) }}
        {L} f (x, lo) => (y) {{ k = Constant <value_float=0.5> () y = Clip (x, lo, k) }}""",
    "trailing inputs left out": f"""{GRAPH} {{ y = l.f (x) }}
        {L} f (x, lo, hi) => (y) {{ y = Clip (x, lo, hi) }}""",
    "a result not wanted": f"""{GRAPH} {{ , y = l.f (x) }}
        {L} f (x) => (p, q) {{ p = Exp (x) q = Neg (x) }}""",
    "named like an operator of ONNX": f"""{GRAPH} {{ y = l.Relu (x) }}
        {L} Relu (a) => (b) {{ c = Abs (a) b = Relu (c) d = Neg (b) }}""",
    "one name in two domains": f"""{GRAPH} {{ a = l.f (x) y = m.f (a) }}
        {L} f (x) => (y) {{ y = Neg (x) }}
        {M} f (x) => (y) {{ y = Exp (x) }}""",
    "nested, the names of tensors the same everywhere": f"""{GRAPH} {{ t = l.f (x) y = l.f (t) }}
        {L} f (x) => (y) {{ t = m.h (x, x) y = Neg (t) }}
        {M} h (x, t) => (y) {{ a = Exp (x) y = Add (a, t) }}""",
    "results that are inputs, and the same one twice": f"""{GRAPH} {{
            a, b, c = l.f (x) d = Add (a, b) y = Add (d, c) }}
        {L} f (x) => (x, y, y) {{ y = Neg (x) }}""",
    "attributes: given, by default, left out": f"""{GRAPH} {{
            a = l.f <alpha: float = 0.3> (x) b = l.f (a) c = l.e (b)
            y = l.n <beta: float = 2.0> (c) }}
        {L} f <alpha: float = 0.1> (x) => (y) {{ y = LeakyRelu <alpha: float = @alpha> (x) }}
        {L} n <beta> (x) => (y) {{ y = l.e <alpha: float = @beta> (x) }}
        {L} e <alpha> (x) => (y) {{ y = Elu <alpha: float = @alpha> (x) }}""",
    "called in the branches of an If, with one within": f"""{GRAPH} {{
            s = ReduceSum <keepdims=0> (x) z = Constant <value_float=0.0> () c = Greater (s, z)
            y = If (c) <then_branch = t () => (float[2,3] ty) {{ ty = l.f (x, c) }},
                        else_branch = e () => (float[2,3] ey) {{ ey = Neg (x) }}> }}
        {L} f <alpha: float = 0.2> (x, c) => (y) {{ u = Exp (x)
            y = If (c) <then_branch = t () => (ty) {{ ty = LeakyRelu <alpha: float = @alpha> (u) }},
                        else_branch = e () => (ey) {{ ey = Neg (x) }}> }}""",
    "of an older opset": f"""{GRAPH} {{ y = l.f (x) }}
        <domain: "l", opset_import: ["" : 11]> f (x) => (y) {{
            a = Unsqueeze <axes=[0]> (x) b = Squeeze <axes=[0]> (a) y = Neg (b) }}""",
    "of a newer opset": f"""{GRAPH.replace("17", "12")} {{
            a = Unsqueeze <axes=[0]> (x) b = Squeeze <axes=[0]> (a) y = l.f (b) }}
        <domain: "l", opset_import: ["" : 18]> f (x) => (y) {{
            k = Constant <value_ints=[1]> () m = ReduceMax (x, k) y = Sub (x, m) }}""",
    "of a domain that the model does not import": f"""{GRAPH.replace(', "m" : 1', "")} {{
            y = l.f (x) }}
        <domain: "l", opset_import: ["" : 17, "m" : 1]> f (x) => (y) {{ y = m.h (x) }}
        {M} h (x) => (y) {{ y = Neg (x) }}""",
    "of an exporter": f"""{GRAPH.replace('"l"', '"pkg.onnxscript.torch_lib"')} {{
            y = pkg.onnxscript.torch_lib.aten_relu (x) }}
        <domain: "pkg.onnxscript.torch_lib", opset_import: ["" : 18]> aten_relu (x) => (y) {{
            y = Relu (x) }}""",
    "that nothing calls": f"""{GRAPH} {{ y = Neg (x) }}
        {L} f (x) => (y) {{ y = l.f (x) }}""",
}  # fmt: skip


Array: TypeAlias = "np.ndarray[Any, Any]"


def leaky(x: Array, alpha: float) -> Array:
    return np.where(x < 0, alpha * x, x)


def minus_exp_plus(x: Array) -> Array:
    return -(np.exp(x) + x)


def elu(x: Array, alpha: float) -> Array:
    return np.where(x < 0, alpha * np.expm1(x), x)


EXPECTED: dict[str, Callable[[Array], Array]] = {
    "an optional input left out": lambda x: np.minimum(x, 0.5),
    "trailing inputs left out": lambda x: x,
    "a result not wanted": lambda x: -x,
    "named like an operator of ONNX": np.abs,
    "one name in two domains": lambda x: np.exp(-x),
    "nested, the names of tensors the same everywhere": lambda x: minus_exp_plus(minus_exp_plus(x)),
    "results that are inputs, and the same one twice": lambda x: -x,
    "attributes: given, by default, left out": (
        lambda x: elu(elu(leaky(leaky(x, 0.3), 0.1), 1.0), 2.0)
    ),
    "called in the branches of an If, with one within": (
        lambda x: leaky(np.exp(x), 0.2) if x.sum() > 0 else -x
    ),
    "of an older opset": lambda x: -x,
    "of a newer opset": lambda x: x - x.max(1, keepdims=True),
    "of a domain that the model does not import": lambda x: -x,
    "of an exporter": lambda x: np.maximum(x, 0),
    "that nothing calls": lambda x: -x,
    "overloads": lambda x: np.exp(-x),
    "a graph as an attribute": lambda x: np.exp(-x) if x.sum() > 0 else -x,
    "a hundred deep": lambda x: -x,
    "a thousand nodes": lambda x: x,
}


def inlined(proto: onnx.ModelProto) -> OnnxModel:
    return inline_functions(OnnxModel(proto), Target(cast(_core.Library, None)))


def overloaded() -> onnx.ModelProto:
    proto = parse_model(f"""{GRAPH} {{ a = l.f (x) y = l.f (a) }}
        {L} f (x) => (y) {{ y = Neg (x) }}
        {L} f (x) => (y) {{ y = Exp (x) }}""")
    for entry, overload in ((proto.functions[1], "exp"), (proto.graph.node[1], "exp")):
        entry.overload = overload
    return proto


def with_a_graph_given() -> onnx.ModelProto:
    """A call that gives a graph, which itself calls the function, for its If."""
    proto = parse_model(f"""{GRAPH} {{
            s = ReduceSum <keepdims=0> (x) z = Constant <value_float=0.0> () c = Greater (s, z)
            y = l.f <branch = t () => (float[2,3] x2) {{ x1 = l.n (x) x2 = Exp (x1) }}> (x, c) }}
        {L} f <branch> (x, c) => (y) {{
            y = If (c) <then_branch = e () => (ey) {{ ey = l.n (x) }},
                        else_branch = d () => (dy) {{ dy = l.n (x) }}> }}
        {L} n (x) => (y) {{ y = Neg (x) }}""")  # fmt: skip
    branch = next(a for a in proto.functions[0].node[0].attribute if a.name == "then_branch")
    branch.ClearField("g")
    branch.ref_attr_name = "branch"
    return proto


def nested(depth: int, calls: int) -> onnx.ModelProto:
    """Functions that call the next one so often."""
    functions = []
    for level in range(depth):
        names = ["x", *(f"t{i}" for i in range(calls - 1)), "y"]
        kind, domain = ("Neg", "") if level == depth - 1 else (f"f{level + 1}", "l")
        body = [helper.make_node(kind, [a], [b], domain=domain) for a, b in pairwise(names)]
        opsets = [helper.make_opsetid("", 17), helper.make_opsetid("l", 1)]
        functions.append(helper.make_function("l", f"f{level}", ["x"], ["y"], body, opsets))
    proto = parse_model(f"{GRAPH} {{ y = l.f0 (x) }}")
    proto.graph.node[0].name = "the call"
    proto.functions.extend(functions)
    return proto


MODELS: dict[str, Callable[[], onnx.ModelProto]] = {
    **{name: partial(parse_model, text) for name, text in CASES.items()},
    "overloads": overloaded,
    "a graph as an attribute": with_a_graph_given,
    "a hundred deep": lambda: nested(MAX_DEPTH, 1),
    "a thousand nodes": lambda: nested(3, 10),
}


@pytest.mark.parametrize("name", MODELS)
def test_written_out_it_computes_the_same(name: str, build: Callable[..., fasttrt.Plan]) -> None:
    proto = MODELS[name]()
    before = proto.SerializeToString()
    model = inlined(proto)
    assert proto.SerializeToString() == before
    assert not model.proto.functions
    assert model.changes
    onnx.checker.check_model(model.proto, full_check=True)
    x = np.random.default_rng(7).uniform(-2, 2, (2, 3)).astype(np.float32)
    expected = EXPECTED[name](x)
    session = onnxruntime.InferenceSession(
        model.proto.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    np.testing.assert_allclose(session.run(None, {"x": x})[0], expected, rtol=1e-5)
    if name != "a thousand nodes":  # which take TensorRT a while
        (output,) = build(proto).metadata["outputs"]
        assert (output["name"], output["shape"]) == ("y", [2, 3])


def refusal(proto: onnx.ModelProto) -> fasttrt.ParseIssue:
    with pytest.raises(fasttrt.ParseError) as caught:
        fasttrt.build(proto)
    (issue,) = caught.value.issues
    return issue


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("y = l.f (x)", "the function l.f calls itself (l.f calls l.f)"),
        ("y = l.g (x)", "the function l.f calls itself (l.f calls l.g calls l.f)"),
        (
            "c = Constant <value_int=1> () d = Cast <to=9> (c) y = If (d) <"
            "then_branch = t () => (a) { a = l.f (x) }, else_branch = e () => (b) { b = Neg (x) }>",
            "the function l.f calls itself (l.f calls l.f)",
        ),
    ],
)
def test_functions_that_call_themselves_are_refused(body: str, reason: str) -> None:
    """TensorRT-RTX 1.6.1 follows them until the process ends."""
    proto = parse_model(f"""{GRAPH} {{ a = Neg (x) y = l.f (a) }}
        {L} f (x) => (y) {{ {body} }} {L} g (x) => (y) {{ y = l.f (x) }}""")
    proto.graph.node[1].name = "the call"
    assert refusal(proto) == (1, "the call", "f", reason)


def test_nested_functions_are_bounded() -> None:
    """A file of 3 kB, with which TensorRT-RTX 1.6.1 never ends."""
    issue = refusal(nested(40, 2))
    assert issue[:3] == (0, "the call", "f0")
    assert issue.reason == f"inlined, the model's functions have more than {MAX_NODES} nodes"
    assert "calls of functions are nested" in refusal(nested(MAX_DEPTH + 1, 1)).reason
    empty = nested(40, 2)
    del empty.functions[-1].node[:]
    empty.functions[-1].output[0] = "x"
    assert refusal(empty).reason == issue.reason


@pytest.mark.parametrize(
    ("call", "function", "reason"),
    [
        ("y = l.f (x, x)", "f (x) => (y) { y = Neg (x) }", "has 1 inputs, got 2"),
        ("y, z = l.f (x)", "f (x) => (y) { y = Neg (x) }", "has 1 outputs, got 2"),
        ("y = l.f ()", "f (x) => (x) { y = Neg (x) }", "returns its input x, which the call omits"),
        (
            "y = l.f (x)",
            "f (x) => (y) { y = GroupNormalization <num_groups=1> (x, x, x) }",
            "has opset 18, and ONNX cannot convert it to 21: the meaning of GroupNorm",
        ),
    ],
)
def test_calls_that_do_not_fit_are_refused(call: str, function: str, reason: str) -> None:
    header = GRAPH.replace("17", "21") if "18" in reason else GRAPH
    proto = parse_model(f"{header} {{ {call} }} {L.replace('17', '18')} {function}")
    assert reason in refusal(proto).reason


def test_two_functions_of_one_name_are_refused() -> None:
    proto = overloaded()
    proto.functions[1].overload = ""
    assert refusal(proto) == (-1, "", "", "the model has two functions named l.f")


def test_issues_name_the_call(build: Callable[..., fasttrt.Plan]) -> None:
    """Of what a function computes, the call is what the caller's model has."""
    proto = parse_model(f"""{GRAPH} {{ a = Neg (x) y = l.f (a) }}
        {L} f (x) => (y) {{ t = Exp (x) r = Erff (t) y = Neg (r) }}""")
    proto.graph.node[1].name = "the call"
    with pytest.raises(fasttrt.ParseError) as caught:
        build(proto)
    assert caught.value.issues[0][:3] == (1, "the call/Erff", "Erff")


def test_a_model_without_functions_is_left_alone() -> None:
    model = OnnxModel(parse_model(f"{GRAPH} {{ y = Neg (x) }}"))
    assert inline_functions(model, Target(cast(_core.Library, None))) is model


def test_functions_in_half_precision(build: Callable[..., fasttrt.Plan]) -> None:
    plan = build(parse_model(CASES["one name in two domains"]), precision="fp16")
    assert plan.metadata["conversion"]["converted"] == 1
    assert list(plan.metadata["conversion"]["kept"]) == ["y/Exp"]
