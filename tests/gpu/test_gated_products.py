"""Gates of one product with a bias are right on the GPU, at each batch size."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

import fasttrt
from support.gated_products import GATES, Gate
from support.gpu import EXACT, is_v8, need_precision, report

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(is_v8(), reason="ONNX's opset 20, of which TensorRT 8.6 knows nothing"),
]

LIMITS = {"fp32": 1e-4, "fp16": 1e-2, "bf16": 8e-2}
"""Root of the mean squared error, as a share of y's own. Without the bias it exceeds 0.5."""


@pytest.mark.parametrize("precision", LIMITS)
@pytest.mark.parametrize("batches", [(1,), (2,), (1, 2, 4, 3)], ids=["1", "2", "dynamic"])
@pytest.mark.parametrize("gate", GATES, ids=str)
def test_every_batch_is_right(gate: Gate, batches: tuple[int, ...], precision: Any) -> None:
    need_precision(precision)
    is_dynamic = len(batches) > 1
    proto = gate.proto("batch" if is_dynamic else batches[0])
    ends = tuple(gate.feeds(size, seed=0)["x"].shape for size in (1, 2, 4))
    shapes = {"x": ends} if is_dynamic else None
    with fasttrt.Engine(proto, device="cuda", precision=precision, shapes=shapes) as engine:
        for seed, batch in enumerate(batches):
            feeds = gate.feeds(batch, seed)
            expected = gate.expected(feeds)
            wrong = np.square(engine.infer(feeds)["y"].astype(np.float64) - expected).mean()
            error = float(np.sqrt(wrong / np.square(expected).mean()))
            report("gated", gate=str(gate), batch=batch, precision=precision, error=error)
            assert error < LIMITS[precision]


@pytest.mark.parametrize("product", ["MatMul", "Gemm"])
def test_they_have_the_weights_of_a_refit(product: str) -> None:
    gate, other = Gate(product=product), Gate(product=product, seed=12)
    config = dataclasses.replace(EXACT, refit=True)
    feeds = gate.feeds(1, seed=3)
    with fasttrt.Engine(gate.proto(1), device="cuda", config=config) as engine:
        for given in (gate, other):
            engine.refit(given.proto(1))
            expected = given.expected(feeds)
            wrong = np.square(engine.infer(feeds)["y"].astype(np.float64) - expected).mean()
            assert np.sqrt(wrong / np.square(expected).mean()) < LIMITS["fp32"]
