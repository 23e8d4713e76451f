"""The trained models' inputs mean something: ONNX Runtime answers them rightly.

What passes here can be trusted as the reference for TensorRT: agreement on it is no accident.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest

from support.real_models import REAL_MODELS, Arrays, RealModel

pytest.importorskip("onnx", reason="onnx is not installed: it holds the recognizer's characters")
pytest.importorskip("PIL", reason="Pillow is not installed: it renders the text")
onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")


@pytest.fixture(params=REAL_MODELS, ids=lambda model: model.name)
def model(request: pytest.FixtureRequest) -> RealModel:
    """Each trained model that is installed here."""
    found: RealModel = request.param
    if found.missing:
        pytest.skip(found.missing)
    return found


@cache
def _session(model_path: str) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3  # errors: some of these files carry unused initializers
    return onnxruntime.InferenceSession(model_path, options, providers=["CPUExecutionProvider"])


def _infer(model: RealModel, inputs: Arrays) -> Arrays:
    session = _session(str(model.path))
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, inputs), strict=True))


def _run(model: RealModel) -> list[Arrays]:
    return model.run(lambda inputs: _infer(model, inputs))


def test_answers_are_right(model: RealModel) -> None:
    """The model finds what the inputs were made to hold."""
    model.check(_run(model))


def test_outputs_are_far_from_trivial(model: RealModel) -> None:
    """Neither zeros nor a constant pass for the outputs."""
    outputs = _run(model)
    for name in outputs[0]:
        values = np.concatenate([call[name].ravel() for call in outputs]).astype(np.float64)
        assert np.isfinite(values).all()
        allowed = model.tolerance.atol + model.tolerance.rtol * np.abs(values).max()
        assert np.ptp(values) > 100 * allowed, f"{name} hardly varies"
    for share in (0, 1):
        fakes = [{n: np.full_like(v, share * v.mean()) for n, v in c.items()} for c in outputs]
        with pytest.raises(AssertionError):
            model.assert_close(fakes, outputs)
        with pytest.raises(AssertionError):
            model.check(fakes)


def test_inputs_are_the_same_every_time(model: RealModel) -> None:
    """Two backends that ask for the inputs in turn get the same ones."""
    model.assert_close(_run(model), _run(model))
    for first, second in zip(model.make_inputs(), model.make_inputs(), strict=True):
        assert first.keys() == second.keys()
        for name, values in first.items():
            np.testing.assert_array_equal(values, second[name])


def test_inputs_fit_the_declaration_and_the_profile(model: RealModel) -> None:
    """Names, types and shapes are the model's, and the profile admits every one."""
    types = {"tensor(float)": np.float32, "tensor(int32)": np.int32, "tensor(int64)": np.int64}
    declared = {value.name: value for value in _session(str(model.path)).get_inputs()}
    dynamic = {
        name
        for name, value in declared.items()
        if any(not isinstance(extent, int) or extent < 1 for extent in value.shape)
    }
    assert model.shapes.keys() == dynamic
    calls = model.make_inputs()
    for inputs in calls:
        assert inputs.keys() == declared.keys()
        for name, values in inputs.items():
            assert values.dtype == types[declared[name].type]
            assert values.ndim == len(declared[name].shape)
            if name in dynamic:
                low, usual, high = np.array(model.shapes[name])
                assert (low <= usual).all()
                assert (usual <= high).all()
                assert (low <= values.shape).all()
                assert (values.shape <= high).all()
    for name in dynamic:
        assert len({inputs[name].shape for inputs in calls}) > 1, f"{name} never changes its shape"


def test_state_is_handed_on() -> None:
    """A call gets the state that the one before left, unless a new stream begins."""

    def make_inputs() -> list[Arrays]:
        return [{"state": np.zeros(size, np.float32)} for size in (2, 2, 3)]

    counter = RealModel(
        name="counter",
        package="none",
        path=None,
        shapes={},
        make_inputs=make_inputs,
        check=lambda outputs: None,
        tolerance=REAL_MODELS[0].tolerance,
        carry={"next": "state"},
    )
    outputs = counter.run(lambda inputs: {"next": inputs["state"] + 1})
    assert [call["next"].tolist() for call in outputs] == [[1, 1], [2, 2], [1, 1, 1]]
    assert counter.missing == "counter: the package none is not installed"
