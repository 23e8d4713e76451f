"""Operators whose results in TensorRT differ from ONNX's are rewritten in others that agree."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from onnx.reference import ReferenceEvaluator

import fasttrt
from fasttrt._graph.model import OnnxModel
from fasttrt._parser.branch_outputs import write_branch_outputs
from fasttrt._parser.exact_forms import write_exact_forms
from fasttrt._parser.group_normalization import write_group_normalization
from fasttrt._parser.pipeline import Target
from support.exact_forms import CASES, Case, assert_same, run
from support.randomness import new_rng
from support.swept_forms import SWEPT

ALL = CASES | SWEPT
TARGET = Target("TensorRT")  # type: ignore[arg-type]  # of which only the name is asked for


@pytest.mark.parametrize("name", ALL)
def test_what_is_written_means_the_same(
    name: str, rtx: fasttrt.LibraryInfo, build: Callable[..., fasttrt.Plan]
) -> None:
    case = ALL[name]
    model = write_exact_forms(OnnxModel(case.proto()), TARGET)
    model = write_group_normalization(write_branch_outputs(model, TARGET), TARGET)
    proto = model.proto
    assert model.changes or name in CASES
    inputs, expected = case.inputs(), case.expected()
    if not case.dtype.endswith("float16"):
        results = run(proto, inputs)
    else:  # ONNX Runtime lacks many operators of 16 bits
        results = [np.asarray(result) for result in ReferenceEvaluator(proto).run(None, inputs)]
    for result, wanted in zip(results, expected, strict=True):
        assert_same(result, wanted, case.tolerance)
    plan = build(case.proto(), shapes=case.shapes, progress=False)
    for output, wanted in zip(plan.metadata["outputs"], expected, strict=True):
        pairs = zip(output["shape"], wanted.shape, strict=True)
        assert all(extent in (-1, known) for extent, known in pairs)


@pytest.mark.parametrize(
    ("graph", "opset"),
    [
        ("g (float[2,3] a, float[2,3] b) => (float[2,3] y) { y = Max (a, b) }", 17),
        ("g (float[1,1,8,8] x) => (float[1,1,4,4] y) { y = MaxPool <kernel_shape=[2,2], "
         "strides=[2,2]> (x) }", 17),
        ("g (float[2,3] a, float[2,3] b) => (float[2,3] y) { y = Pow (a, b) }", 17),
        ("g (float[5] x) => (float[5] y) { z = Constant <value=int8 {0}> () "
         "s = Constant <value_float=0.5> () q = QuantizeLinear (x, s, z) "
         "y = DequantizeLinear (q, s, z) }", 17),
    ],
)  # fmt: skip
def test_what_is_right_stays_as_it_is(graph: str, opset: int) -> None:
    model = OnnxModel(Case(graph, opset=opset).proto())
    assert write_exact_forms(model, TARGET) is model


def test_indices_that_are_known_not_to_be_negative_stay() -> None:
    graph = (
        "g (float[2,5] d, float[2,3] u) => (float[2,5] y) "
        "{ y = ScatterElements <axis=1> (d, i, u) }"
    )
    model = OnnxModel(Case(graph, weights={"i": np.array([[0, 1, 2], [4, 3, 2]])}).proto())
    assert write_exact_forms(model, TARGET) is model


@pytest.mark.parametrize(
    ("graph", "reason"),
    [
        ("g (int32[4] x) => (int32[1] y) { y = ReduceLogSumExp (x) }", "exponentials overflow"),
        ('g (float[2,1,3] x, float[2,8,3] w, float[2,8,2] r) => (float[2,2,1,2] y) { y = LSTM '
         '<hidden_size=2, direction="bidirectional", clip=0.5> (x, w, r) }', "each direction"),
        ('g (float[1,1,4,4] x) => (float[1,1,8,8] y) { s = Constant <value=float[4] {1,1,2,2}> () '
         'y = Resize <mode="linear", coordinate_transformation_mode="tf_half_pixel_for_nn"> '
         '(x, , s) }', "different coordinates"),
        ('g (float[1,1,8,8] x) => (float[1,1,a,b] y) { y = MaxPool <kernel_shape=[3,3], '
         'strides=[2,2], auto_pad="VALID", ceil_mode=1> (x) }', "one window less"),
        ("g (int32[4] x) => (int32[4] y) { e = Constant <value_float=0.5> () y = Pow (x, e) }",
         "not whole"),
        ('g (float[1,1,4,4] x, float[1,1,2,2] w) => (float[1,1,12,12] y) { y = ConvTranspose '
         '<strides=[3,3], auto_pad="SAME_UPPER"> (x, w) }', "larger than it is without padding"),
    ],
)  # fmt: skip
def test_what_has_no_exact_form_is_refused(
    graph: str, reason: str, build: Callable[..., fasttrt.Plan]
) -> None:
    proto = Case(graph, opset=22).proto()
    proto.graph.node[-1].name = "this one"
    with pytest.raises(fasttrt.ParseError, match=rf"node . 'this one'.*{reason}"):
        build(proto)


def test_each_is_told_among_the_changes(build: Callable[..., fasttrt.Plan]) -> None:
    plan = build(CASES["Mean of 3 float16"].proto())
    (line,) = plan.metadata["changes"]
    assert line.startswith("y: Mean is rewritten in other operators, since TensorRT-RTX")


@pytest.mark.parametrize(
    ("outputs", "names"),
    [
        ("float[2,3] y, float[2,3] y", ["y", "y_2"]),
        ("float[2,3] y, float[2,3] x", ["y", "x_2"]),
        ("float[2,3] x", ["x_2"]),
    ],
)
def test_outputs_get_names_of_their_own(
    outputs: str, names: list[str], build: Callable[..., fasttrt.Plan]
) -> None:
    plan = build(Case(f"g (float[2,3] x) => ({outputs}) {{ y = Neg (x) }}").proto())
    assert [output["name"] for output in plan.metadata["outputs"]] == names
    assert plan.metadata["inputs"][0]["name"] == "x"
    (line,) = plan.metadata["changes"]
    assert line.endswith(f"as an output it is named {names[-1]}")


@pytest.mark.parametrize(
    ("inputs", "going", "is_refused"),
    [
        ("trips, begin, x", "Identity (go)", False),
        ("trips, begin, x", "Less (t, ten)", True),
        (", begin, x", "Identity (go)", True),
        ("trips, , x", "Less (t, ten)", False),  # which by ONNX's text does not count
        ("trips, start, x", "Identity (go)", True),
    ],
)
def test_loops_that_collect(inputs: str, going: str, is_refused: bool) -> None:
    """What a Loop collects is as long as its trip count, so nothing may end it earlier."""
    proto = Case(
        "g (float x, bool start) => (float last, float[n] all) "
        f"{{ last, all = Loop <body = body (int64 i, bool go, float s) => "
        f"(bool going, float t, float u) {{ t = Add (s, one) u = Neg (t) going = {going} }}> "
        f"({inputs}) }}",
        weights={
            "trips": np.array(4), "begin": np.array(True), "one": np.float32(1),
            "ten": np.float32(10),
        },
    ).proto()  # fmt: skip
    model = OnnxModel(proto)
    if is_refused:
        with pytest.raises(fasttrt.ParseError, match="would be as long as its trip count"):
            write_exact_forms(model, TARGET)
    else:
        assert write_exact_forms(model, TARGET) is model


def test_loops_that_collect_nothing_may_end_earlier() -> None:
    proto = Case(
        "g (float x, bool start) => (float last) { last = Loop <body = body (int64 i, bool go, "
        "float s) => (bool going, float t) { t = Add (s, one) going = Less (t, one) }> "
        "(, start, x) }",
        weights={"one": np.float32(1)},
    ).proto()
    model = OnnxModel(proto)
    assert write_exact_forms(model, TARGET) is model


def test_the_reference_has_the_same_names() -> None:
    proto = Case("g (float[2,3] x) => (float[2,3] y, float[2,3] y) { y = Neg (x) }").proto()
    x = new_rng().standard_normal((2, 3)).astype(np.float32)
    with fasttrt.Engine(proto, device="cpu") as engine:
        assert [spec.name for spec in engine.outputs] == ["y", "y_2"]
        results = engine.infer({"x": x})
    np.testing.assert_array_equal(results["y"], -x)
    np.testing.assert_array_equal(results["y_2"], -x)
