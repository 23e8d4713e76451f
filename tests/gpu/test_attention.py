"""ONNX's Attention, fused and written out: the answers are those of ONNX's reference."""

from __future__ import annotations

import numpy as np
import pytest

import fasttrt
from fasttrt._plan.build_config import Precision
from support.attention_models import CASES, attention, expected_of, inputs_of
from support.gpu import is_v8

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(is_v8(), reason="ONNX's opset 23, of which TensorRT 8.6 knows nothing"),
]
# Measured on an H200: 4e-3 in float16 and 2e-2 in bfloat16 at most.
TOLERANCE = {"float": 1e-4, "float16": 8e-3, "bfloat16": 4e-2}
CONVERTED = ["plain", "softcap", "two with the same keys", "rows without keys", "in a branch"]


def check(name: str, dtype: str, precision: Precision | None, limit: float) -> None:
    proto = attention(name, dtype)
    inputs = inputs_of(proto, name)
    shapes = {k: x.shape for k, x in inputs.items()} if name.startswith("dynamic") else None
    plan = fasttrt.build(proto, precision=precision, shapes=shapes, device="cuda", progress=False)
    with fasttrt.Engine(plan, device="cuda", contexts=1) as engine:
        answers = engine.infer({tensor.name: inputs[tensor.name] for tensor in engine.inputs})
    for value, expected in zip(proto.graph.output, expected_of(name, inputs), strict=True):
        answer = np.asarray(answers[value.name]).astype(np.float32)
        np.testing.assert_allclose(answer, expected, rtol=0, atol=limit)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("name", CASES)
def test_the_answers_are_onnxs(name: str, dtype: str) -> None:
    check(name, dtype, None, TOLERANCE[dtype])


@pytest.mark.parametrize(("precision", "dtype"), [("fp16", "float16"), ("bf16", "bfloat16")])
@pytest.mark.parametrize("name", CONVERTED)
def test_converted_they_are_too(name: str, precision: Precision, dtype: str) -> None:
    check(name, "float", precision, TOLERANCE[dtype])
