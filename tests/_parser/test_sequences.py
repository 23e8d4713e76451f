"""Sequences of the parts of one tensor are rewritten as slices with the same values."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest

import fasttrt
from fasttrt._graph.model import OnnxModel
from fasttrt._parser.sequences import slice_sequences

TARGET: Any = SimpleNamespace(library="TensorRT")


def _model(split: str, first: int = 1, second: int = 2, weights: str = "") -> onnx.ModelProto:
    return onnx.parser.parse_model(f"""
        <ir_version: 8, opset_import: ["" : 17]>
        g (float[6, 8] x) => (float a, float b)
        <int64 i = {{{first}}}, int64 j = {{{second}}}{weights}>
        {{
            s = SplitToSequence {split}
            a = SequenceAt (s, i)
            c = SequenceAt (s, j)
            b = Neg (c)
        }}
    """)


MODELS = {
    "unbind": _model("<axis: int = 1, keepdims: int = 0> (x)"),
    "unbind from the end": _model("<axis: int = 0, keepdims: int = 0> (x)", -1, -3),
    "one each": _model("<axis: int = 1> (x)"),
    "chunks": _model("<axis: int = 1> (x, n)", weights=", int64 n = {3}"),
    "sizes": _model("<axis: int = 1> (x, n)", 1, -1, ", int64[3] n = {1, 5, 2}"),
    "last axis": _model("<axis: int = -1> (x, n)", 0, 1, ", int64 n = {4}"),
}


@pytest.mark.parametrize("name", MODELS)
def test_elements_are_slices(name: str, rtx: fasttrt.LibraryInfo) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    proto = MODELS[name]
    for output in proto.graph.output:
        output.type.tensor_type.ClearField("shape")
    changed = slice_sequences(OnnxModel(proto), TARGET).proto
    operators = {node.op_type for node in changed.graph.node}
    assert not operators & {"SplitToSequence", "SequenceAt"}
    x = np.random.default_rng(1).standard_normal((6, 8)).astype(np.float32)
    before, after = (
        onnxruntime.InferenceSession(p.SerializeToString()).run(None, {"x": x})
        for p in (proto, changed)
    )
    for expected, actual in zip(before, after, strict=True):
        np.testing.assert_array_equal(actual, expected)
    plan = fasttrt.build(proto, library=rtx.path)
    assert any("is rewritten as a slice" in line for line in plan.metadata["changes"])


@pytest.mark.parametrize(
    "proto",
    [
        _model("<axis: int = 1> (x, n)", -1, 0, ", int64 n = {3}"),
        onnx.parser.parse_model("""
            <ir_version: 8, opset_import: ["" : 17]>
            g (float[6, 8] x, int64 i) => (float a) {
                s = SplitToSequence <axis: int = 1> (x)
                a = SequenceAt (s, i)
            }
        """),
    ],
)
def test_others_stay(proto: onnx.ModelProto) -> None:
    changed = slice_sequences(OnnxModel(proto), TARGET)
    assert "SplitToSequence" in {node.op_type for node in changed.proto.graph.node}
