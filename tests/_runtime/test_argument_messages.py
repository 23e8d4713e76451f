"""What is wrong with a call's arrays is told with the way to put it right."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from onnx.parser import parse_model

import fasttrt
from support.process import python_output


@pytest.fixture
def engine() -> Iterator[fasttrt.Engine]:
    text = (
        '<ir_version: 9, opset_import: ["" : 17]> g (float[2,3] a, float[2,3] b) => (float[2,3] y) '
        "{ y = Sub (a, b) }"
    )
    with fasttrt.Engine(parse_model(text), device="cpu") as engine:
        yield engine


def test_float64_is_told_the_conversion(engine: fasttrt.Engine) -> None:
    x = np.ones((2, 3))
    with pytest.raises(fasttrt.InputError) as caught:
        engine.infer(x, x)
    assert str(caught.value) == (
        "a: expected dtype float32, got float64; convert it, as in x.astype(np.float32)"
    )


@pytest.mark.parametrize("kind", [list, tuple])
def test_arrays_in_a_list_are_told_the_two_ways(engine: fasttrt.Engine, kind: type) -> None:
    x = np.ones((2, 3), np.float32)
    with pytest.raises(fasttrt.InputError) as caught:
        engine.infer(kind([x, x]))
    message = str(caught.value)
    assert message.startswith(f"expected 2 inputs (a, b), got 1, a {kind.__name__}; pass each")
    assert "infer(*arrays)" in message
    assert 'infer({"a": ..., "b": ...})' in message


def test_without_a_gpu_and_onnx_runtime_both_are_named() -> None:
    code = """
        import sys
        sys.modules["onnxruntime"] = None
        import fasttrt
        from fasttrt._engine import backend_factory
        from onnx.parser import parse_model
        model = parse_model(
            '<ir_version: 9, opset_import: ["" : 17]> g (float[2] x) => (float[2] y) '
            "{ y = Neg (x) }"
        )
        backend_factory._find_gpu = lambda library, source: (None, "no driver")
        for device in ("auto", "cpu"):
            try:
                fasttrt.Engine(model, device=device)
            except fasttrt.LibraryNotFoundError as error:
                print(error)
    """
    unasked, asked = python_output(code).splitlines()
    assert unasked == (
        "nothing can run the model: running on the CPU needs ONNX Runtime, which is not installed: "
        "pip install 'fasttrt[cpu]'; and TensorRT cannot be used: no driver"
    )
    assert asked == (
        "running on the CPU needs ONNX Runtime, which is not installed: pip install 'fasttrt[cpu]'"
    )
