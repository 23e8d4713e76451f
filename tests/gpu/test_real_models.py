"""Trained models: right answers, and the same numbers as ONNX Runtime's."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

import fasttrt
from support.gpu import errors, is_rtx, is_v8, library, need, report
from support.real_models import REAL_MODELS, Array, Arrays, RealModel

# TensorRT 8.6 measures its kernels while it builds: minutes, where other processes use the GPU.
pytestmark = [pytest.mark.gpu, pytest.mark.timeout(600)]


def _config() -> fasttrt.BuildConfig:
    """All of float32, which the tolerances of `RealModel` are for: TF32, emulated in ONNX Runtime,
    moved the outputs by up to 29 times as much. Where kernels are chosen by measuring them, a quick
    choice is good enough here."""
    return fasttrt.BuildConfig(tf32=False, optimization_level=1 if is_v8() else None)


def _expected(model: RealModel) -> list[Arrays]:
    """ONNX Runtime's outputs."""
    onnxruntime = need("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors: some of these files carry unused initializers
    session = onnxruntime.InferenceSession(
        str(model.path), options, providers=["CPUExecutionProvider"]
    )
    names = [output.name for output in session.get_outputs()]
    return model.run(lambda inputs: dict(zip(names, session.run(names, inputs), strict=True)))


def _joined(calls: Sequence[Arrays], name: str) -> Array:
    return np.concatenate([call[name].ravel() for call in calls])


def _open(model: RealModel) -> fasttrt.Engine:
    assert model.path is not None
    return fasttrt.Engine(model.path, device="cuda", shapes=model.shapes or None, config=_config())


@pytest.mark.parametrize("model", REAL_MODELS, ids=lambda model: model.name)
def test_real_model(model: RealModel) -> None:
    if model.missing:
        pytest.skip(model.missing)
    need("PIL")
    if not model.builds and is_rtx():
        with pytest.raises(fasttrt.BuildError, match=library().version):
            _open(model)
        return
    try:
        engine = _open(model)
    except (fasttrt.ParseError, fasttrt.BuildError) as error:
        report("real_models", model=model.name, refused=str(error))
        if model.builds and not is_v8():
            raise
        pytest.xfail(f"{library()} refuses it: {error}")
    with engine:
        try:
            actual = model.run(engine.infer)
        except fasttrt.Error as error:
            report("real_models", model=model.name, failed=str(error))
            if model.runs_on_rtx or not is_rtx():
                raise
            pytest.xfail(f"{library()} cannot run it: {error}")
        specs = {spec.name: spec for spec in engine.outputs}
    expected = _expected(model)
    for name in expected[0]:
        assert specs[name].dtype == actual[0][name].dtype == expected[0][name].dtype
        measured = errors(_joined(actual, name), _joined(expected, name))
        report("real_models", model=model.name, output=name, **measured)
    model.check(actual)
    model.assert_close(actual, expected)
