"""The backend that runs on the CPU, compared with numpy's float64."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper
from onnx.parser import parse_model

import fasttrt
from fasttrt import InputError
from fasttrt._graph.model import OnnxModel
from fasttrt._runtime.reference_backend import ReferenceBackend
from support import models
from support.process import python_output

Array = models.Array


def run(made: models.Model, *inputs: Array, shapes: Any = None) -> list[Array]:
    return ReferenceBackend(OnnxModel(made.proto), shapes).run(inputs, None)


def check(made: models.Model, *inputs: Array, shapes: Any = None, tolerance: float = 1e-5) -> None:
    results = run(made, *inputs, shapes=shapes)
    expected = made.reference(*inputs)
    expected = expected if isinstance(expected, tuple) else (expected,)
    for result, declared, want in zip(results, made.proto.graph.output, expected, strict=True):
        onnx_type = declared.type.tensor_type.elem_type
        assert result.dtype == helper.tensor_dtype_to_np_dtype(onnx_type)
        assert result.shape == np.shape(want)
        exact = np.asarray(want, np.float64)
        largest = np.abs(exact).max(initial=0)
        np.testing.assert_allclose(
            result.astype(np.float64), exact, rtol=tolerance, atol=tolerance * largest
        )


@pytest.mark.parametrize(
    "made",
    [
        models.mlp(),
        models.convolution(),
        models.attention(),
        models.several(),
        models.constant_output(),
        models.loop(),
        models.nonzero(),
        models.same_name("?"),
        models.elementwise(()),
        models.elementwise(dtype=TensorProto.DOUBLE),
        models.elementwise(dtype=TensorProto.INT64),
        models.elementwise(dtype=TensorProto.INT8),
        models.logical_not(),
        models.through_float(TensorProto.UINT8),
    ],
    ids=lambda made: made.proto.graph.node[-1].name,
)
def test_answers_are_right(made: models.Model) -> None:
    check(made, *made.inputs())


@pytest.mark.parametrize("branch", [True, False])
def test_both_branches_are_right(branch: bool) -> None:
    made = models.conditional()
    check(made, np.array(branch), made.inputs()[1])


def test_float16_is_right() -> None:
    made = models.elementwise(dtype=TensorProto.FLOAT16)
    check(made, *made.inputs(), tolerance=2e-3)


@pytest.mark.parametrize("extents", [(7, 3), (0, 3), (1, 1)])
@pytest.mark.parametrize(
    "onnx_type",
    [
        TensorProto.BFLOAT16,
        TensorProto.FLOAT8E4M3FN,
        TensorProto.FLOAT8E5M2,
        TensorProto.INT4,
        TensorProto.UINT4,
    ],
    ids=TensorProto.DataType.Name,
)
def test_types_that_numpy_lacks_go_in_and_come_out(onnx_type: int, extents: Sequence[int]) -> None:
    """Every value of the type is passed through float32 and has to come back."""
    x, y = (models.value(name, onnx_type, ["n", "m"]) for name in "xy")
    nodes = [
        helper.make_node("Cast", ["x"], ["wide"], to=TensorProto.FLOAT),
        helper.make_node("Cast", ["wide"], ["y"], to=onnx_type),
    ]
    made = models.Model(models.make(nodes, [x], [y], opset=models.QUANTIZED_OPSET), lambda x: x)
    dtype = helper.tensor_dtype_to_np_dtype(onnx_type)
    value = models.random_array(dtype, extents)
    (result,) = run(made, value)
    assert result.dtype == dtype
    np.testing.assert_array_equal(result.astype(np.float32), value.astype(np.float32))


_TRANSFORMER_IN_FLOAT16 = """
    import numpy as np
    from onnx import TensorProto, helper
    from fasttrt._graph.model import OnnxModel
    from fasttrt._runtime.reference_backend import ReferenceBackend
    from support import models
    rng = np.random.default_rng(0)
    shapes = {"scale": (8,), "w": (8, 6), "b": (6,)}
    weights = {name: rng.standard_normal(s).astype(np.float16) for name, s in shapes.items()}
    nodes = [
        helper.make_node("LayerNormalization", ["x", "scale"], ["n"], axis=-1),
        helper.make_node("Transpose", ["n"], ["t"], perm=[1, 0, 2]),
        helper.make_node("MatMul", ["t", "w"], ["m"]),
        helper.make_node("Add", ["b", "m"], ["y"]),
    ]
    inputs = [models.value("x", TensorProto.FLOAT16, ["b", 5, 8])]
    outputs = [models.value("y", TensorProto.FLOAT16, [5, "b", 6])]
    backend = ReferenceBackend(OnnxModel(models.make(nodes, inputs, outputs, weights)), None)
    x = rng.standard_normal((2, 5, 8)).astype(np.float16)
    (y,) = backend.run([x], None)
    wide = {name: weight.astype(float) for name, weight in weights.items()}
    centred = x.astype(float) - x.astype(float).mean(-1, keepdims=True)
    normed = centred / np.sqrt(np.square(centred).mean(-1, keepdims=True) + 1e-5) * wide["scale"]
    np.testing.assert_allclose(
        y.astype(float), normed.transpose(1, 0, 2) @ wide["w"] + wide["b"], rtol=1e-2, atol=2e-2
    )
    print("right")
"""


def test_a_transformer_in_float16_loads() -> None:
    """One of ONNX Runtime's optimizations ends the process on it, so it is not asked for."""
    assert python_output(_TRANSFORMER_IN_FLOAT16) == "right"


@pytest.mark.parametrize(
    "onnx_type",
    [TensorProto.INT8, TensorProto.FLOAT8E4M3FN, TensorProto.INT4],
    ids=TensorProto.DataType.Name,
)
def test_quantized_models_are_right(onnx_type: int) -> None:
    for made in (models.dequantize(onnx_type), models.quantize(onnx_type)):
        check(made, *made.inputs())


def test_external_data_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = models.mlp()
    path = models.with_external_data(made.proto, tmp_path / "m.onnx")
    monkeypatch.chdir("/")
    inputs = made.inputs()
    (result,) = ReferenceBackend(OnnxModel(path), None).run(inputs, None)
    np.testing.assert_allclose(result, made.reference(*inputs), rtol=1e-4, atol=1e-5)


def test_specs_are_those_of_the_model() -> None:
    backend = ReferenceBackend(OnnxModel(models.several().proto), {"a": "1x4:2x4:8x4"})
    a, b = backend.inputs
    assert (a.name, a.dtype, a.shape) == ("a", np.dtype("float32"), (-1, 4))
    assert (a.min, a.opt, a.max) == ((1, 4), (2, 4), (8, 4))
    assert a.profiles == (((1, 4), (2, 4), (8, 4)),)
    assert (b.name, b.dtype, b.shape, b.min, b.profiles) == (
        "b",
        np.dtype("int32"),
        (-1, 1),
        None,
        (),
    )
    assert [(s.name, s.dtype, s.shape) for s in backend.outputs] == [
        ("sum", np.dtype("float32"), (-1, 4)),
        ("twice", np.dtype("int32"), (-1, 1)),
    ]


def test_any_extents_will_do_without_shapes() -> None:
    made = models.mlp()
    for batch in (0, 1, 1000):
        check(made, *made.inputs(batch=batch))


def test_shapes_limit_the_extents() -> None:
    made = models.mlp()
    shapes: Any = [{"x": "1x16:2x16:4x16"}, {"x": (9, 16)}]
    backend = ReferenceBackend(OnnxModel(made.proto), shapes)
    for batch in (1, 4, 9):
        assert backend.run(made.inputs(batch=batch), None)[0].shape == (batch, 8)
    for batch in (0, 5, 10):
        with pytest.raises(InputError) as caught:
            backend.run(made.inputs(batch=batch), None)
        assert str(caught.value) == (
            "x: expected shape min (1, 16), opt (2, 16), max (4, 16); or "
            f"min (9, 16), opt (9, 16), max (9, 16), got ({batch}, 16)"
        )


def test_a_shape_tensors_range_is_of_values() -> None:
    """What builds on a GPU has to be taken here too, or device="auto" is no fallback."""
    made = models.reshape()
    shapes = {"x": ((1, 24), (2, 24), (4, 24)), "shape": ((1, 1), (6, 8), (48, 48))}
    x = models.random_array(np.float32, (2, 24))
    check(made, x, np.array([6, 8]), shapes=shapes)
    backend = ReferenceBackend(OnnxModel(made.proto), shapes)
    assert backend.inputs[1].is_shape
    assert backend.inputs[1].max == (48, 48)
    with pytest.raises(InputError, match=r"shape: expected values .*, got \(49, 1\)"):
        backend.run([x, np.array([49, 1])], None)


def test_a_scalars_range_is_of_values() -> None:
    check(models.arange(), np.array(7), shapes={"n": ((1,), (5,), (9,))})
    with pytest.raises(InputError, match=r"n: expected values .*, got \(10,\)"):
        run(models.arange(), np.array(10), shapes={"n": ((1,), (5,), (9,))})


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ({"z": (2, 16)}, "the model has no input 'z'; it has x"),
        ({"x": (2, 17)}, "x: expected a shape like"),
        ([(2, 16)], "expected a mapping"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(shapes: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        ReferenceBackend(OnnxModel(models.mlp().proto), shapes)


def test_weights_that_are_listed_as_inputs_are_not_asked_for() -> None:
    made = models.mlp()
    listed = models.with_initializers_as_inputs(made.proto)
    check(models.Model(listed, made.reference), *made.inputs())


def test_what_onnx_runtime_cannot_load_is_a_parse_error() -> None:
    with pytest.raises(fasttrt.ParseError) as caught:
        ReferenceBackend(OnnxModel(models.unsupported().proto), None)
    (issue,) = caught.value.issues
    assert "Whirl" in issue.reason


@pytest.mark.parametrize(
    ("graph", "reason"),
    [
        (
            "(seq(float[b]) s) => (int64 y) { y = SequenceLength (s) }",
            "input s is a sequence; fasttrt supports only tensors",
        ),
        (
            "(optional(float[b]) s) => (bool y) { y = OptionalHasElement (s) }",
            "input s is an optional; fasttrt supports only tensors",
        ),
        (
            "(float[b] x) => (seq(float[b]) y) { y = SequenceConstruct (x, x) }",
            "output y is a sequence; fasttrt supports only tensors",
        ),
        ("(float[b] x) => () { y = Neg (x) }", "the graph has no outputs: name them in"),
    ],
)
def test_what_no_engine_can_run_is_refused_when_it_is_opened(graph: str, reason: str) -> None:
    proto = parse_model(f'<ir_version: 9, opset_import: ["" : 17]> g {graph}')
    for call in (fasttrt.Engine, fasttrt.compare):
        with pytest.raises(fasttrt.ParseError, match=f"cannot run the model\n  {reason}"):
            call(proto, device="cpu")


def test_sequences_within_a_model_run() -> None:
    proto = parse_model(
        '<ir_version: 9, opset_import: ["" : 17]> g (float[b] x, int64 i) => (float[b] y) '
        "{ n = Neg (x) s = SequenceConstruct (x, n) y = SequenceAt (s, i) }"
    )
    x = models.random_array(np.float32, (5,))
    (result,) = ReferenceBackend(OnnxModel(proto), None).run([x, np.array(1)], None)
    np.testing.assert_array_equal(result, -x)


def test_what_fails_while_it_runs_leaves_it_usable() -> None:
    made = models.reshape()
    backend = ReferenceBackend(OnnxModel(made.proto), None)
    x = models.random_array(np.float32, (2, 24))
    with pytest.raises(InputError, match="ONNX Runtime rejected the inputs"):
        backend.run([x, np.array([5, 7])], None)
    (result,) = backend.run([x, np.array([4, 12])], None)
    np.testing.assert_allclose(result, made.reference(x, (4, 12)))


def test_without_onnx_runtime_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(fasttrt.LibraryNotFoundError, match=r"pip install 'fasttrt\[cpu\]'"):
        fasttrt.Engine(models.mlp().proto, device="cpu")


def test_there_is_no_plan_to_save(tmp_path: Path) -> None:
    with pytest.raises(fasttrt.Error, match="no plan to save"):
        ReferenceBackend(OnnxModel(models.mlp().proto), None).save(tmp_path / "m.plan")
    assert list(tmp_path.iterdir()) == []
