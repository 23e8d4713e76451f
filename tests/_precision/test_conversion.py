"""Models converted to 16 bits answer as numpy's float64 says, on two other runtimes.

ONNX's own evaluator rounds after every operator; ONNX Runtime computes float16 its own way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

import fasttrt
from fasttrt._graph.model import OnnxModel
from fasttrt._precision.conversion import convert_model
from fasttrt._precision.rewriter import Rewriter
from fasttrt._precision.rules import Sensitivity
from support import models
from support.models import Array, Model, make, value
from support.precision_models import TRAPS, quantized, quantized_range
from support.randomness import new_rng
from support.real_models import REAL_MODELS, Arrays, RealModel

onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")

Precision = Literal["fp16", "bf16"]
PRECISIONS: tuple[Precision, ...] = ("fp16", "bf16")
# Of the largest result: a dozen roundings, each by up to 2^-11 or 2^-8.
BOUNDS = {"fp16": 12 * 2.0**-11, "bf16": 12 * 2.0**-8}
TYPES = {"fp16": TensorProto.FLOAT16, "bf16": TensorProto.BFLOAT16}


def convert(
    proto: onnx.ModelProto, precision: Precision = "fp16", **options: Any
) -> onnx.ModelProto:
    return convert_model(OnnxModel(proto), precision, **options)[0].proto


def evaluate(proto: onnx.ModelProto, *inputs: Array) -> list[Array]:
    """By ONNX's evaluator."""
    given = {tensor.name for tensor in proto.graph.initializer}
    names = [v.name for v in proto.graph.input if v.name not in given]
    results = ReferenceEvaluator(proto).run(None, dict(zip(names, inputs, strict=True)))
    assert isinstance(results, list)
    return results


def run(proto: onnx.ModelProto, *inputs: Array) -> list[Array]:
    """By ONNX Runtime."""
    with fasttrt.Engine(proto, device="cpu") as engine:
        result = engine.infer(*inputs)
    return list(result) if isinstance(result, tuple) else [result]


def errors(actual: list[Array], expected: Any, inputs: Sequence[Array] = ()) -> float:
    """The largest, as a share of the largest expected value; inf for what is no number.

    Integers have to be the same. Where terms may cancel, the share is of the largest of the inputs
    as well.
    """
    wanted = expected if isinstance(expected, tuple) else (expected,)
    worst = 0.0
    for ours, theirs in zip(actual, wanted, strict=True):
        assert ours.shape == np.shape(theirs)
        if ours.dtype.kind == "i":
            np.testing.assert_array_equal(ours, theirs)
            continue
        terms = [theirs, *(x for x in inputs if x.dtype.kind == "f")]
        error = np.abs(ours.astype(np.float64) - theirs).max() / max(np.abs(t).max() for t in terms)
        worst = max(worst, float(error) if np.isfinite(error) else np.inf)
    return worst


def within_range(actual: list[Array], model: Model, x: Array, bound: float) -> None:
    """Of a quantized model; x, s and their quotient are rounded before x is quantized."""
    (y,) = actual
    low, high = quantized_range(model.proto, x, off=bound / 4)
    slack = bound * np.abs(model.reference(x)).max()
    assert ((low - slack < y) & (y < high + slack)).all(), (y - low, y - high, slack)


def types_of(proto: onnx.ModelProto) -> dict[str, int]:
    """The type of each initializer and, by inference, of each tensor."""
    graph = onnx.shape_inference.infer_shapes(proto).graph
    values = (*graph.value_info, *graph.input, *graph.output)
    found = {v.name: v.type.tensor_type.elem_type for v in values}
    return found | {t.name: t.data_type for t in graph.initializer}


NETS: dict[str, Callable[[], Model]] = {
    "mlp": lambda: models.mlp((64, 48, 32, 8)),
    "convolution": models.convolution,
    "attention": models.attention,
    "if": models.conditional,
    "loop": models.loop,
    "several": models.several,
    "constant output": models.constant_output,
}


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", NETS)
def test_answers_are_those_of_float64(name: str, precision: Precision) -> None:
    model = NETS[name]()
    proto = convert(model.proto, precision)
    onnx.checker.check_model(proto, full_check=True)
    largest = 0.0
    for _ in range(4):  # one sample of four values may by chance be nearly right
        inputs = model.inputs(batch=5, height=9, width=7, sequence=6)
        expected = model.reference(*inputs)
        largest = max(largest, errors(evaluate(proto, *inputs), expected, inputs))
    assert 2.0**-17 < largest < BOUNDS[precision]  # float32 would be closer: it is 16 bits indeed
    if precision == "fp16":
        assert errors(run(proto, *inputs), expected, inputs) < BOUNDS[precision]


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", TRAPS)
def test_what_does_not_fit_stays_in_float32(name: str, precision: Precision) -> None:
    model, inputs = TRAPS[name]()
    proto = convert(model.proto, precision)
    expected = model.reference(*inputs)
    assert errors(evaluate(proto, *inputs), expected) < BOUNDS[precision]
    if precision == "fp16":
        assert errors(run(proto, *inputs), expected) < BOUNDS[precision]


@pytest.mark.parametrize("name", TRAPS)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # numpy's, of overflows
def test_each_trap_snaps_without_the_rules(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fate(rewriter: Rewriter, *rest: Any) -> tuple[bool, Sensitivity]:
        *_, slots, _ = rest
        rewriter.changes.converted += 1
        return slots is not None, Sensitivity.NONE

    monkeypatch.setattr(Rewriter, "_choose_precision", fate)
    model, inputs = TRAPS[name]()
    proto = convert(model.proto)
    assert errors(evaluate(proto, *inputs), model.reference(*inputs)) > 4 * BOUNDS["fp16"]


def test_open_bounds_stay_open() -> None:
    most = np.finfo(np.float32).max
    nodes = [helper.make_node("Clip", ["x", "zero", "most"], ["y"], "clip")]
    weights = {"zero": np.array(0, np.float32), "most": np.array(most)}
    proto = make(nodes, [value("x", 1, [64])], [value("y", 1, [64])], weights)
    result, changes = convert_model(OnnxModel(proto), "fp16")
    assert (changes.converted, changes.kept) == (1, {})
    x = new_rng().standard_normal(64).astype(np.float32) * 1000
    (y,) = evaluate(result.proto, x)
    np.testing.assert_array_equal(y, np.maximum(x.astype(np.float16), 0).astype(np.float32))


def test_the_reasons_are_told() -> None:
    model, _ = TRAPS["layer_norm"]()
    _, changes = convert_model(OnnxModel(model.proto), "fp16")
    assert changes.kept["safe"] == "Add: a constant of 1e-12 is too small for float16"
    assert changes.kept["squares"].startswith("Pow: ")
    assert "normal" in changes.kept
    assert changes.converted == 1  # the MatMul
    model, _ = TRAPS["large_constants"]()
    _, changes = convert_model(OnnxModel(model.proto), "fp16")
    why = "Mul: a constant of 1e+06 is beyond float16, whose maximum is 65504"
    assert changes.kept["large"] == why
    assert changes.kept["positive"] == "Relu: an input may need float32 (overflow)"


@pytest.mark.parametrize("operator", ["Add", "Sub", "Sum"])
def test_small_addends_are_converted(operator: str) -> None:
    """A learned bias of 3e-5 between two products: float16 rounds the sum as coarsely."""
    rng = np.random.default_rng(11)
    w, v = (rng.standard_normal((16, 16)).astype(np.float32) / 4 for _ in range(2))
    small = np.float32(3e-5)
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["product"]),
        helper.make_node(operator, ["product", "small"], ["sum"]),
        helper.make_node("MatMul", ["sum", "v"], ["y"]),
    ]
    weights = {"w": w, "v": v, "small": np.array(small)}
    proto = make(nodes, [value("x", 1, [4, 16])], [value("y", 1, [4, 16])], weights)
    result, changes = convert_model(OnnxModel(proto), "fp16")
    assert (changes.converted, changes.kept) == (3, {})
    x = rng.standard_normal((4, 16)).astype(np.float32)
    addend = -small if operator == "Sub" else small
    expected = (x.astype(float) @ w + addend) @ v
    for how in (run, evaluate):
        assert errors(how(result.proto, x), expected) < BOUNDS["fp16"]


def _with_guard(use: str, epsilon: float) -> onnx.ModelProto:
    """max(x, 0) + epsilon, and what needs it to be above zero; x ``[4, 8]``."""
    nodes = [
        helper.make_node("Relu", ["x"], ["positive"], "relu"),
        helper.make_node("Add", ["positive", "epsilon"], ["safe"], "guard"),
    ]
    shape, weights = [4, 8], {"epsilon": np.array(epsilon, np.float32)}
    if use == "divisor":  # not at once
        weights |= {"turn": np.array([8, 4]), "two": np.array(2, np.float32)}
        nodes += [
            helper.make_node("Reshape", ["safe", "turn"], ["turned"]),
            helper.make_node("Mul", ["turned", "two"], ["twice"]),
            helper.make_node("Div", ["two", "twice"], ["y"]),
        ]
        shape = [8, 4]
    elif use == "inner graph":
        branches = {
            f"{name}_branch": helper.make_graph(
                [helper.make_node("Log", ["safe"], [name])], name, [], [value(name, 1, shape)]
            )
            for name in ("then", "else")
        }
        nodes.append(helper.make_node("If", ["yes"], ["y"], "if", **branches))
        weights["yes"] = np.array(True)
    else:
        nodes.append(helper.make_node(use, ["safe"], ["y"]))
    return make(nodes, [value("x", 1, [4, 8])], [value("y", 1, shape)], weights)


@pytest.mark.parametrize("use", ["Log", "Sqrt", "Reciprocal", "divisor", "inner graph"])
def test_small_addends_that_guard_stay_in_float32(use: str) -> None:
    epsilon = 1e-8  # zero in float16
    result, changes = convert_model(OnnxModel(_with_guard(use, epsilon)), "fp16")
    assert changes.kept["guard"] == "Add: a constant of 1e-08 is too small for float16"
    x = np.random.default_rng(12).standard_normal((4, 8)).astype(np.float32)
    safe = np.maximum(x, 0).astype(float) + np.float32(epsilon)
    functions: dict[str, Callable[[Any], Any]] = {
        "Sqrt": np.sqrt, "Log": np.log, "inner graph": np.log
    }  # fmt: skip
    expected = functions.get(use, np.reciprocal)(safe)
    for how in (run, evaluate):
        (y,) = how(result.proto, x)
        assert errors([y.reshape(4, 8)], expected) < BOUNDS["fp16"]


def test_elements_that_vanish_among_large_ones_are_counted() -> None:
    model = models.mlp((16, 8))
    (w,) = (t for t in model.proto.graph.initializer if t.name == "w0")
    values = numpy_helper.to_array(w).copy()
    values[:3, 0] = 1e-9
    w.CopyFrom(numpy_helper.from_array(values, "w0"))
    _, changes = convert_model(OnnxModel(model.proto), "fp16")
    assert changes.zeroed == {"w0": 3}
    assert convert_model(OnnxModel(model.proto), "bf16")[1].zeroed == {}


@pytest.mark.parametrize("precision", PRECISIONS)
def test_inputs_and_outputs_keep_their_types_unless_asked(precision: Precision) -> None:
    model = models.several()
    kept, asked = (convert(model.proto, precision, convert_io=io) for io in (False, True))

    def io(proto: onnx.ModelProto) -> list[tuple[str, int]]:
        return [
            (v.name, v.type.tensor_type.elem_type)
            for v in (*proto.graph.input, *proto.graph.output)
        ]

    assert io(kept) == io(model.proto)
    low = TYPES[precision]
    assert io(asked) == [("a", low), ("b", 6), ("sum", low), ("twice", 6)]
    a, b = model.inputs()
    numpy_type = helper.tensor_dtype_to_np_dtype(low)
    results = evaluate(asked, a.astype(numpy_type), b)
    assert results[0].dtype == numpy_type
    assert errors(results, model.reference(a, b)) < BOUNDS[precision]


@pytest.mark.parametrize(
    ("entry", "kept"),
    [("Relu", {"relu0", "relu1"}), ("gemm1", {"gemm1", "relu1"}), ("sum1", {"gemm1", "relu1"})],
)
def test_the_keep_list_takes_operators_nodes_and_tensors(entry: str, kept: set[str]) -> None:
    model = models.mlp((16, 8, 8, 4))
    result, changes = convert_model(OnnxModel(model.proto), "fp16", keep_fp32=[entry])
    assert changes.kept.keys() == kept  # what follows a node that overflows stays, too
    assert "keep_fp32 names it" in changes.kept[min(kept)]
    types = types_of(result.proto)
    wide = {name: types.get(name) == TensorProto.FLOAT for name in ("sum0", "sum1", "hidden1")}
    assert wide == {"sum0": False, "sum1": "gemm1" in kept, "hidden1": True}
    inputs = model.inputs()
    assert errors(run(result.proto, *inputs), model.reference(*inputs)) < BOUNDS["fp16"]


def test_a_keep_list_that_names_nothing_is_refused() -> None:
    model = OnnxModel(models.mlp().proto)
    with pytest.raises(fasttrt.InputError, match=r"keep_fp32: .* named Sofmax, gemm9"):
        convert_model(model, "fp16", keep_fp32=["Sofmax", "Gemm", "gemm9"])


def test_nothing_to_convert_is_an_error() -> None:
    for model in (models.arange(), models.logical_not()):
        with pytest.raises(fasttrt.BuildError, match="nothing in the model can compute in float16"):
            convert_model(OnnxModel(model.proto), "fp16")
    whole = OnnxModel(models.mlp().proto)
    with pytest.raises(fasttrt.BuildError, match=r"gemm0 \(Gemm: keep_fp32 names it\)"):
        convert_model(whole, "fp16", keep_fp32=["Gemm", "Relu"])


def test_what_is_of_16_bits_already_stays() -> None:
    half = models.elementwise((3, 5), TensorProto.FLOAT16)
    result, changes = convert_model(OnnxModel(half.proto), "fp16")
    assert changes.converted == 0
    assert types_of(result.proto) == types_of(half.proto)


def test_one_weight_may_be_there_in_both_types() -> None:
    nodes = [
        helper.make_node("Mul", ["x", "w"], ["scaled"], "low"),
        helper.make_node("Pow", ["scaled", "w"], ["y"], "high"),
    ]
    w = new_rng().random(4).astype(np.float32) + 1
    proto = make(nodes, [value("x", 1, [4])], [value("y", 1, [4])], {"w": w})
    result = convert(proto)
    types = types_of(result)
    assert (types["w"], types["w_float16"]) == (TensorProto.FLOAT, TensorProto.FLOAT16)
    x = new_rng().random(4).astype(np.float32)
    assert errors(run(result, x), (x.astype(float) * w) ** w) < BOUNDS["fp16"]


def test_constants_of_inner_graphs_and_values_from_around_them() -> None:
    """``then`` scales an outer float16 value, ``else`` takes its power; both have constants."""

    def branch(name: str, operator: str) -> onnx.GraphProto:
        nodes = [
            helper.make_node("Constant", [], [f"{name}_c"], value_floats=[1.5, 2.0, 2.5, 3.0]),
            helper.make_node(operator, ["outer", f"{name}_c"], [f"{name}_y"]),
        ]
        return helper.make_graph(nodes, name, [], [value(f"{name}_y", 1, [4])])

    nodes = [
        helper.make_node("Abs", ["x"], ["outer"]),
        helper.make_node(
            "If", ["c"], ["y"], then_branch=branch("then", "Mul"), else_branch=branch("else", "Pow")
        ),
    ]
    inputs = [value("c", TensorProto.BOOL, []), value("x", 1, [4])]
    proto = make(nodes, inputs, [value("y", 1, [4])])
    result = convert(proto)
    c = np.array([1.5, 2.0, 2.5, 3.0])
    x = new_rng().standard_normal(4).astype(np.float32)
    wide = np.abs(x.astype(float))
    for flag, expected in ((True, wide * c), (False, wide**c)):
        for how in (run, evaluate):
            assert errors(how(result, np.array(flag), x), expected) < BOUNDS["fp16"]


@pytest.mark.parametrize("how", ["external", "inputs", "both"])
def test_weights_wherever_they_are(how: str, tmp_path: Path) -> None:
    model = models.mlp((64, 48, 8))
    proto = model.proto if how == "external" else models.with_initializers_as_inputs(model.proto)
    path = tmp_path / "m.onnx"
    if how == "inputs":
        path.write_bytes(proto.SerializeToString())
    else:
        models.with_external_data(proto, path)
    before = path.read_bytes()
    source = OnnxModel(path)
    untouched = source.proto.SerializeToString()
    result, _ = convert_model(source, "fp16", keep_fp32=["gemm1"])
    assert source.proto.SerializeToString() == untouched
    assert path.read_bytes() == before
    (tmp_path / "m.onnx.data").unlink(missing_ok=True)
    inputs = model.inputs()
    assert errors(run(result.proto, *inputs), model.reference(*inputs)) < BOUNDS["fp16"]
    assert types_of(result.proto)["w1"] == TensorProto.FLOAT


def test_new_names_avoid_those_that_are_taken() -> None:
    nodes = [
        helper.make_node("Relu", ["x"], ["y"], "cast_x_float16"),
        helper.make_node("Neg", ["x"], ["x_float16"], "y_float16"),
    ]
    outputs = [value("y", 1, [4]), value("x_float16", 1, [4])]
    result = convert(make(nodes, [value("x", 1, [4])], outputs))
    x = new_rng().standard_normal(4).astype(np.float32)
    half = x.astype(np.float16).astype(np.float32)
    run(result, x)  # ONNX Runtime wants names to be unique
    for actual, expected in zip(evaluate(result, x), (np.maximum(half, 0), -half), strict=True):
        np.testing.assert_array_equal(actual, expected)


def test_float64_and_unknown_operators_are_left_alone() -> None:
    double = models.elementwise((3, 5), TensorProto.DOUBLE)
    with pytest.raises(fasttrt.BuildError, match="nothing in the model"):
        convert_model(OnnxModel(double.proto), "fp16")
    nodes = [
        helper.make_node("Relu", ["x"], ["a"], "before"),
        helper.make_node("Whirl", ["a"], ["b"], "whirl", domain="com.example"),
        helper.make_node("Relu", ["b"], ["y"], "after"),
    ]
    declared = [value("x", 1, [4])], [value("y", 1, [4])]
    proto = make(nodes, *declared, domains=["com.example"])
    result, changes = convert_model(OnnxModel(proto), "fp16")
    (whirl,) = (n for n in result.proto.graph.node if n.op_type == "Whirl")
    assert (types_of(result.proto)[whirl.input[0]], whirl.output[0]) == (TensorProto.FLOAT, "b")
    assert (changes.converted, set(changes.kept)) == (1, {"whirl", "after"})


def test_what_onnx_cannot_check_is_converted_all_the_same() -> None:
    """Plugins are often written without a domain, and outputs without a shape."""
    nodes = [
        helper.make_node("Relu", ["x"], ["a"], "before"),
        helper.make_node("Whirl_TRT", ["a"], ["b"], "whirl", domain="com.example"),
        helper.make_node("Relu", ["b"], ["y"], "after"),
        helper.make_node("Reshape", ["a", "shape"], ["z"], "reshaped"),
    ]
    inputs = [value("x", 1, [4]), value("shape", TensorProto.INT64, ["rank"])]
    proto = make(nodes, inputs, [value("y", 1, [4]), value("z", 1, ["n"])], domains=["com.example"])
    proto.graph.node[1].ClearField("domain")
    proto.graph.output[1].type.tensor_type.ClearField("shape")
    result, changes = convert_model(OnnxModel(proto), "fp16")
    assert (changes.converted, set(changes.kept)) == (1, {"whirl", "after"})
    (whirl,) = (n for n in result.proto.graph.node if n.op_type == "Whirl_TRT")
    (relu,) = (n for n in result.proto.graph.node if n.name == "before")
    assert whirl.input[0] != relu.output[0]  # of float32, which the plugin was given before


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize(("kind", "opset"), [("int8", 13), ("int8", 21), ("fp8", 19), ("int8", 23)])
def test_explicit_quantization_stays(kind: str, opset: int, precision: Precision) -> None:
    model = quantized(kind, opset)
    proto = convert(model.proto, precision)
    onnx.checker.check_model(proto, full_check=True)
    before, after = (
        [n for n in p.graph.node if n.op_type.endswith("Linear")] for p in (model.proto, proto)
    )
    assert [(n.op_type, n.name) for n in after] == [(n.op_type, n.name) for n in before]
    old, new = (
        {t.name: numpy_helper.to_array(t) for t in p.graph.initializer}
        for p in (model.proto, proto)
    )
    for name in ("w", "z", "wz"):
        np.testing.assert_array_equal(new[name].view(np.uint8), old[name].view(np.uint8))
    suffix = {"fp16": "float16", "bf16": "bfloat16"}[precision]
    for name in ("s", "ws"):
        half = BOUNDS[precision] / 12
        rounded = new[f"{name}_{suffix}"].astype(float)
        np.testing.assert_allclose(rounded, old[name].astype(float), rtol=half)
    assert types_of(proto)["d"] == TYPES[precision]
    (x,) = model.inputs()
    within_range(evaluate(proto, x), model, x, BOUNDS[precision])
    if precision == "fp16":
        within_range(run(proto, x), model, x, BOUNDS[precision])


def test_scales_that_do_not_fit_keep_the_pair_in_float32() -> None:
    model = quantized(scale=1e-6)
    proto = convert(model.proto)
    types = types_of(proto)
    assert (types["s"], types["d"]) == (TensorProto.FLOAT, TensorProto.FLOAT)
    x = new_rng().standard_normal((4, 32)).astype(np.float32) * np.float32(5e-5)
    within_range(run(proto, x), model, x, BOUNDS["fp16"])


@pytest.mark.parametrize("real", REAL_MODELS, ids=lambda model: model.name)
def test_trained_models_give_the_right_answers(real: RealModel) -> None:
    if real.missing:
        pytest.skip(real.missing)
    assert real.path is not None
    result, changes = convert_model(OnnxModel(real.path), "fp16")
    assert changes.converted > len(changes.kept)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(
        result.to_bytes(), options, providers=["CPUExecutionProvider"]
    )
    names = [output.name for output in session.get_outputs()]

    def infer(inputs: Arrays) -> Arrays:
        return dict(zip(names, session.run(names, inputs), strict=True))

    real.check(real.run(infer))


def test_bfloat16_is_exact_to_8_bits() -> None:
    model = models.elementwise((64,))
    (x,) = model.inputs()
    (y,) = evaluate(convert(model.proto, "bf16"), x)
    rounded = x.astype(ml_dtypes.bfloat16)
    scaled = (rounded * ml_dtypes.bfloat16(3)).astype(ml_dtypes.bfloat16)
    np.testing.assert_array_equal(y, (scaled + rounded).astype(np.float32))
