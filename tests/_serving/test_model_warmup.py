"""``model_warmup``: requests that run before a model is ready."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fasttrt
from fasttrt._serving.engine_settings import EngineDefaults
from fasttrt._serving.model_source import open_source
from fasttrt._serving.models import Models
from support.models import mlp
from support.randomness import new_rng


def load(tmp_path: Path, warmup: str, values: bytes = b"") -> Models:
    folder = tmp_path / "net" / "1"
    folder.mkdir(parents=True)
    mlp().save(folder / "model.onnx")
    (tmp_path / "net" / "warmup").mkdir()
    (tmp_path / "net" / "warmup" / "values").write_bytes(values)
    (tmp_path / "net" / "config.pbtxt").write_text(f"max_batch_size: 8 model_warmup {{ {warmup} }}")
    models = Models(open_source(tmp_path), defaults=EngineDefaults({"device": "cpu"}))
    for error in models.start().values():
        raise error
    return models


def recorded(monkeypatch: pytest.MonkeyPatch) -> list[np.ndarray[Any, Any]]:
    """Return a list to which the inputs of all runs are added."""
    seen: list[np.ndarray[Any, Any]] = []
    infer = fasttrt.Engine.infer

    def record(self: fasttrt.Engine, inputs: Any, **named: Any) -> Any:
        seen.append(inputs["x"])
        return infer(self, inputs, **named)

    monkeypatch.setattr(fasttrt.Engine, "infer", record)
    return seen


@pytest.mark.parametrize("source", ["zero_data: true", "random_data: true"])
def test_generated_inputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str) -> None:
    seen = recorded(monkeypatch)
    load(
        tmp_path,
        'batch_size: 3 count: 2 inputs { key: "x" value '
        f"{{ data_type: TYPE_FP32 dims: 16 {source} }} }}",
    ).close()
    assert [(x.shape, str(x.dtype)) for x in seen] == [((3, 16), "float32")] * 2
    assert np.any(seen[0]) == (source == "random_data: true")


def test_inputs_from_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = recorded(monkeypatch)
    values = new_rng().standard_normal(16).astype(np.float32)
    warmup = (
        'batch_size: 2 inputs { key: "x" value '
        '{ data_type: TYPE_FP32 dims: 16 input_data_file: "values" } }'
    )
    load(tmp_path, warmup, values.tobytes()).close()
    np.testing.assert_array_equal(seen[0], np.stack([values, values]))


@pytest.mark.parametrize(
    ("warmup", "message"),
    [
        ("batch_size: 1", r"net: model_warmup\[0\]: inputs: expected x, got none"),
        (
            'inputs { key: "x" value { data_type: TYPE_FP16 zero_data: true dims: 16 } }',
            r"input 'x': data_type: expected FP32, got FP16",
        ),
        (
            'inputs { key: "x" value { data_type: TYPE_FP32 zero_data: true dims: 16 } }',
            r"input 'x': dims: expected 2 with the batch_size, .* got \[16\] and batch_size 0",
        ),
        (
            'batch_size: 1 inputs { key: "x" value '
            '{ data_type: TYPE_FP32 input_data_file: "values" dims: 16 } }',
            r"input 'x': values: expected 64 bytes, got 5",
        ),
        (
            'batch_size: 1 inputs { key: "x" value '
            '{ data_type: TYPE_FP32 input_data_file: "none" dims: 16 } }',
            r"net/warmup/none: expected a file, which does not exist",
        ),
        (
            'batch_size: 9 inputs { key: "x" value '
            "{ data_type: TYPE_FP32 zero_data: true dims: 16 } }",
            r"x: ",
        ),
    ],
)
def test_requests_that_do_not_fit_are_refused(tmp_path: Path, warmup: str, message: str) -> None:
    with pytest.raises(fasttrt.Error, match=message):
        load(tmp_path, warmup, b"short")
