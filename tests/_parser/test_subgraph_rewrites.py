"""What passes write within branches and loop bodies is part of the final model."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from onnx.parser import parse_model
from onnx.reference import ReferenceEvaluator

import fasttrt
from fasttrt._graph.model import OnnxModel
from fasttrt._graph.traversal import with_inner
from fasttrt._parser.pipeline import Target, finish, prepare

RNG = np.random.default_rng(11)
X = RNG.uniform(0.5, 2, (3, 3)).astype(np.float32)


def branches(opset: int, then: str, other: str, constants: str = "") -> str:
    return (
        f'<ir_version: 8, opset_import: ["" : {opset}]> g (float[3,3] x, bool c) => '
        f"(float[3,3] y) {constants} {{ y = If (c) <then_branch = t () => (float[3,3] a) "
        f"{{ {then} }}, else_branch = e () => (float[3,3] b) {{ {other} }}> }}"
    )


MODELS = {
    "an odd product": (
        branches(17, "l = Log(x) a = MatMul(l, x)", "m = Exp(x) n = Exp(x) b = MatMul(m, n)"),
        {"Pad"},
    ),
    "uint8 with a zero point": (
        branches(
            21,
            "q = QuantizeLinear(x, s, z) a = DequantizeLinear(q, s, z)",
            "b = Neg(x)",
            "<float s = {0.02}, uint8 z = {3}>",
        ),
        {"Round"},
    ),
    "parts of one name": (
        branches(
            17,
            "s = SplitToSequence<axis=0>(x, n) p = SequenceAt(s, i) a = Add(x, p)",
            "m = Neg(x) s = SplitToSequence<axis=0>(m, n) p = SequenceAt(s, i) b = Add(x, p)",
            "<int64[3] n = {1, 1, 1}, int64 i = {1}>",
        ),
        set(),
    ),
}


def answers(proto: onnx.ModelProto, chosen: bool) -> Any:
    feeds = {"x": X, "c": np.array(chosen)}
    return ReferenceEvaluator(proto).run(None, feeds)


@pytest.mark.parametrize("chosen", [True, False])
@pytest.mark.parametrize(("text", "written"), MODELS.values(), ids=MODELS)
def test_branches_are_rewritten_and_mean_the_same(
    text: str, written: set[str], chosen: bool, target: Target
) -> None:
    proto = parse_model(text)
    model = finish(prepare(OnnxModel(proto), target), target)
    assert written <= {node.op_type for node in with_inner(model.proto.graph.node)}
    for found, expected in zip(answers(model.proto, chosen), answers(proto, chosen), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_old_operators_in_branches(target: Target) -> None:
    """In opset 6 ``axis`` says where the smaller operand stands."""
    proto = parse_model(
        '<ir_version: 3, opset_import: ["" : 6]> g (float[2,3,3] x, float[3] v, bool c) => '
        "(float[2,3,3] y) { y = If (c) <then_branch = t () => (float[2,3,3] a) "
        "{ a = Add<axis=1, broadcast=1>(x, v) }, else_branch = e () => (float[2,3,3] b) "
        "{ b = Neg(x) }> }"
    )
    model = prepare(OnnxModel(proto), target)
    x = RNG.standard_normal((2, 3, 3)).astype(np.float32)
    v = RNG.standard_normal(3).astype(np.float32)
    feeds: dict[str, Any] = {"x": x, "v": v, "c": np.array(True)}
    found: Any = ReferenceEvaluator(model.proto).run(None, feeds)
    np.testing.assert_allclose(found[0], x + v[:, None], rtol=1e-6)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            "g (float[1] x) => (float[1] y) <int64[1] z = {0}> "
            "{ s = Shape(x) d = Div(s, z) f = Cast<to=1>(d) y = Add(x, f) }",
            r"node 1 \(Div\): it divides integers by 0",
        ),
        (
            "g (int64[2] x) => (int64[2] y) <int64[2] z = {1, 0}> { y = Mod(x, z) }",
            r"node 0 \(Mod\): it divides integers by 0",
        ),
        (
            "g (float[4,4] x) => (float[4] y) <int64 i = {0}> { y = GatherND(x, i) }",
            r"node 0 \(GatherND\): its indices are a scalar",
        ),
        (
            "g (float[4,4] x) => (float[4] y) <int64[1] i = {0}> { y = GatherElements(x, i) }",
            r"its data has rank 2 and its indices rank 1",
        ),
        (
            "g (float[4611686018427387904] x) => (float[4611686018427387904] y) { y = Neg(x) }",
            r"input x: its shape .* exceeds 32 bits",
        ),
    ],
    ids=["shape by 0", "by 0", "scalar indices", "axes of indices", "a size"],
)
def test_what_would_end_the_process_is_refused(
    text: str, reason: str, build: Callable[..., fasttrt.Plan]
) -> None:
    with pytest.raises(fasttrt.ParseError, match=reason):
        build(parse_model(f'<ir_version: 8, opset_import: ["" : 17]> {text}'))


@pytest.mark.parametrize(
    "text",
    [
        'g (float[3,3] x) => (float[3] y) { l = Log(x) y = Einsum<equation="ii->i">(l) }',
        "g (int32[3] x) => (int32[3] y) <float e = {inf}> { y = Pow(x, e) }",
        "g (float[1,1,4,4] x) => (float[1,1,2,2] y) "
        "{ y = MaxPool<kernel_shape=[2,2], strides=[2], ceil_mode=1>(x) }",
        "g (float[1,1,4,4] x, float[1,1,3,3] w) => (float[n,m,k,l] y) "
        '{ y = ConvTranspose<strides=[2], auto_pad="SAME_UPPER">(x, w) }',
        "g (float[4,2] x) => (float[n,2] y) <int64[2] s = {2, 2}, int64 i = {5}> "
        "{ p = SplitToSequence(x, s) y = SequenceAt(p, i) }",
        "g (float[4] x) => (float[4] y) <float[4] z = {0, 0, 0, 0}> "
        "{ m = Mul(x, z) y = LayerNormalization<epsilon=0.0>(m, z) }",
    ],
)
def test_odd_models_build_or_are_refused(text: str, build: Callable[..., fasttrt.Plan]) -> None:
    proto = parse_model(f'<ir_version: 8, opset_import: ["" : 17]> {text}')
    for precision in (None, "fp16"):
        with contextlib.suppress(fasttrt.Error):  # and nothing else
            assert build(proto, precision=precision).data


def test_recurrent_layers_of_old_opsets_stay_operators(target: Target) -> None:
    proto = parse_model(
        '<ir_version: 6, opset_import: ["" : 11]> g (float[3,1,2] x) => (float[3,1,1,2] y) '
        "<float[1,8,2] w = {1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16}, "
        "float[1,8,2] r = {1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16}> "
        "{ y = LSTM<hidden_size=2>(x, w, r) }"
    )
    model = prepare(OnnxModel(proto), target)
    onnx.checker.check_model(model.proto)
    assert "LSTM" in {node.op_type for node in model.proto.graph.node}
