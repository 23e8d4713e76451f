"""Activated products that are multiplied are right on the GPU, at each batch size."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

import fasttrt
from support.exact_forms import run
from support.gpu import EXACT, is_v8, need_precision, report
from support.models import Array
from support.multiplied_activations import CASES, Form

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(is_v8(), reason="ONNX's opset 20, of which TensorRT 8.6 knows nothing"),
]

LIMITS = {"fp32": 1e-4, "fp16": 1e-2, "bf16": 8e-2}
"""Root of the mean squared error, as a share of y's own. Without the bias it exceeds 0.3."""


def _error(found: Array, expected: Array) -> float:
    wrong = np.square(found.astype(np.float64) - expected).mean()
    return float(np.sqrt(wrong / np.square(expected.astype(np.float64)).mean()))


@pytest.mark.parametrize("precision", LIMITS)
@pytest.mark.parametrize("batches", [(1,), (1, 2, 4, 3)], ids=["1", "dynamic"])
@pytest.mark.parametrize("form", CASES, ids=str)
def test_every_batch_is_right(form: Form, batches: tuple[int, ...], precision: Any) -> None:
    need_precision(precision)
    is_dynamic = len(batches) > 1
    proto = form.proto("batch" if is_dynamic else batches[0])
    ends = [form.feeds(size, seed=0) for size in (1, 2, 4)]
    shapes = {name: tuple(end[name].shape for end in ends) for name in ends[0]}
    config = fasttrt.BuildConfig(precision=precision)
    with fasttrt.Engine(
        proto, device="cuda", config=config, shapes=shapes if is_dynamic else None
    ) as engine:
        for seed, batch in enumerate(batches):
            feeds = form.feeds(batch, seed)
            if form.form == "a mask":  # no value of r that rounds to another sign
                feeds["r"] = np.sign(feeds["r"])
            error = _error(engine.infer(feeds)["y"], run(proto, feeds)[0])
            report("multiplied", form=str(form), batch=batch, precision=precision, error=error)
            assert error < LIMITS[precision]


def test_the_bias_is_that_of_a_refit() -> None:
    form = Form("two products", "relu")
    proto, other = form.proto(1), form.proto(1)
    (bias,) = (tensor for tensor in other.graph.initializer if tensor.name == "C")
    values = 2 * np.frombuffer(bias.raw_data, np.float32) + 1
    bias.raw_data = values.tobytes()
    feeds = form.feeds(1, seed=3)
    config = dataclasses.replace(EXACT, refit=True)
    with fasttrt.Engine(proto, device="cuda", config=config) as engine:
        for given in (proto, other):
            engine.refit(given)
            assert _error(engine.infer(feeds)["y"], run(given, feeds)[0]) < LIMITS["fp32"]
