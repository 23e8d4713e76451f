"""The loss by output, against numpy over all values at once."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest

import fasttrt
from fasttrt import OutputLoss, QuantizationReport
from fasttrt._quantization.report import LossMeter
from support import models
from support.models import Array
from support.randomness import new_rng


def measured(pairs: list[tuple[Array, Array]]) -> OutputLoss:
    meter = LossMeter("y")
    for expected, actual in pairs:
        meter.add(expected, actual)
    return meter.result()


def check(loss: OutputLoss, pairs: list[tuple[Array, Array]]) -> None:
    want, got = (np.concatenate([p[i].ravel() for p in pairs]).astype(np.float64) for i in (0, 1))
    error = want - got
    assert loss.values == want.size
    assert loss.max_abs_error == pytest.approx(np.abs(error).max())
    assert loss.mean_abs_error == pytest.approx(np.abs(error).mean())
    assert loss.peak_rel_error == pytest.approx(np.abs(error).max() / np.abs(want).max())
    rms = np.sqrt((error**2).mean()) / np.sqrt((want**2).mean())
    assert loss.rms_rel_error == pytest.approx(rms)
    cosine = want @ got / np.linalg.norm(want) / np.linalg.norm(got)
    assert loss.cosine == pytest.approx(cosine, abs=1e-12)


def test_numbers_are_those_of_numpy() -> None:
    rng = new_rng()
    pairs = []
    for rows in (3, 1, 50):
        want = rng.normal(1, 2, (rows, 4, 10)).astype(np.float32)
        pairs.append((want, want + rng.normal(0, 0.5, want.shape).astype(np.float32)))
    loss = measured(pairs)
    check(loss, pairs)
    same = [(w.argmax(-1) == g.argmax(-1)).ravel() for w, g in pairs]
    assert loss.top1_agreement == pytest.approx(np.concatenate(same).mean())
    assert 0.3 < (loss.top1_agreement or 0) < 1
    assert (loss.not_finite, loss.other_shapes) == (0, 0)


def test_reports_numbers_are_those_of_the_two_models() -> None:
    """The models' outputs on the samples that were held out, computed here once more."""
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    made = models.mlp((16, 32, 8), 4)
    rng = new_rng()
    data = [rng.standard_normal((4, 16)).astype(np.float32) for _ in range(13)]
    result = fasttrt.quantize(made.proto, data, library=None)
    assert (result.report.calibration_samples, result.report.validation_samples) == (11, 2)
    with (
        fasttrt.Engine(made.proto, device="cpu") as exact,
        fasttrt.Engine(result.model, device="cpu") as rounded,
    ):
        pairs = [(exact.infer(data[i]), rounded.infer(data[i])) for i in (4, 9)]
    (loss,) = result.report.outputs
    check(loss, pairs)
    assert loss.name == "y"
    assert loss.max_abs_error > 0


def test_few_samples_are_measured_on_themselves() -> None:
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    made = models.mlp((16, 8), 4)
    rng = new_rng()
    data = [rng.standard_normal((4, 16)).astype(np.float32) for _ in range(4)]
    report = fasttrt.quantize(made.proto, data, library=None).report
    assert (report.calibration_samples, report.validation_samples) == (4, 4)
    assert not report.held_out
    assert "too few to hold out" in str(report)
    report = fasttrt.quantize(made.proto, data, validation=data[:3], library=None).report
    assert (report.calibration_samples, report.validation_samples) == (4, 3)
    assert report.held_out


def test_odd_values() -> None:
    want = np.array([1, 2, np.nan, 4], np.float32)
    got = np.array([1, np.nan, 3, np.inf], np.float32)
    loss = measured([(want, got), (want, np.zeros(3, np.float32))])
    assert (loss.values, loss.not_finite, loss.other_shapes) == (1, 2, 1)
    assert loss.max_abs_error == 0
    assert loss.top1_agreement is None
    empty = measured([])
    assert empty.values == 0
    assert math.isnan(empty.cosine)


def test_integers_and_booleans() -> None:
    loss = measured([(np.array([[1, 2, 3]]), np.array([[3, 2, 1]]))])
    assert (loss.max_abs_error, loss.top1_agreement) == (2, 0)
    assert measured([(np.array([True, False]), np.array([True, True]))]).mean_abs_error == 0.5


def report(**changes: Any) -> QuantizationReport:
    values: dict[str, Any] = {
        "method": "minmax",
        "calibration_samples": 8,
        "validation_samples": 2,
        "held_out": True,
        "opset": (17, 17),
        "quantized": ("conv1", "conv2"),
        "excluded": ("conv3",),
        "outputs": (
            measured([(np.array([[3.0, 1.0]]), np.array([[2.5, 1.0]]))]),
            measured([(np.zeros(3), np.zeros(2))]),
        ),
        "target": "TensorRT-RTX 1.7.1",
    }
    return QuantizationReport(**values | changes)


def test_it_goes_to_json() -> None:
    plain = report().to_json()
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain
    assert plain["opset"] == [17, 17]
    assert plain["quantized"] == ["conv1", "conv2"]
    assert plain["outputs"][0]["max_abs_error"] == 0.5
    assert plain["outputs"][1]["cosine"] is None


def test_it_can_be_read() -> None:
    text = str(report()).splitlines()
    assert text[0] == "int8: 2 nodes quantized, 1 excluded; opset 17"
    assert text[1] == "ranges: minmax over 8 samples; loss: over 2 (held out)"
    assert text[2] == "parser: TensorRT-RTX 1.7.1"
    titles = "output max abs mean abs peak rel rms rel cosine top-1 NaN"
    assert " ".join(text[3].split()) == titles
    assert text[5].split()[:4] == ["y", "0.5", "0.25", "0.167"]
    assert text[5].split()[-2:] == ["100.0%", "0"]
    assert text[7] == "y: 1 samples of different shapes, not compared"
    assert len({len(line) for line in text[3:6]}) == 1
