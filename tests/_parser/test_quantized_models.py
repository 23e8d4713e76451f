"""Models by ONNX Runtime's quantizer build, and compute the same values when rewritten."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from onnx.parser import parse_model

import fasttrt
from fasttrt import _core
from fasttrt._graph.model import OnnxModel
from fasttrt._parser.pipeline import Target, prepare
from support.form_cases import run
from support.models import Array

pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
from onnxruntime import quantization
from onnxruntime.quantization import QuantFormat, QuantType

Build = Callable[..., fasttrt.Plan]
_CONVOLUTIONS = """<ir_version: 8, opset_import: ["" : 17]>
g (float[1,3,16,16] x) => (float[1,10] y) {
    a = Conv <pads=[1,1,1,1]> (x, w1, b1) r = Relu (a)
    p = MaxPool <kernel_shape=[2,2], strides=[2,2]> (r)
    c = Conv <pads=[1,1,1,1]> (p, w2, b2) s = Relu (c) t = Add (s, s) k = Concat <axis=1> (t, s)
    g = GlobalAveragePool (k) f = Flatten (g) y = Gemm <transB=1> (f, w3, b3)
}"""
_ATTENTION = """<ir_version: 8, opset_import: ["" : 17]>
g (int64[1,12] x) => (float[1,12,32] y) {
    e = Gather (table, x) n = LayerNormalization (e, gain, bias)
    q = MatMul (n, wq) k = MatMul (n, wk) v = MatMul (n, wv) b = Add (q, bq)
    s = Constant <value_ints=[0,0,4,8]> () m = Constant <value_ints=[0,0,32]> ()
    q4 = Reshape (b, s) k4 = Reshape (k, s) v4 = Reshape (v, s)
    qt = Transpose <perm=[0,2,1,3]> (q4) kt = Transpose <perm=[0,2,3,1]> (k4)
    vt = Transpose <perm=[0,2,1,3]> (v4) w = MatMul (qt, kt) p = Softmax <axis=-1> (w)
    o = MatMul (p, vt) ot = Transpose <perm=[0,2,1,3]> (o) o3 = Reshape (ot, m)
    z = MatMul (o3, wo) h = Add (z, e) u = MatMul (h, w1) a = Sigmoid (u) d = MatMul (a, w2)
    y = Add (d, h)
}"""
_SHAPES = {
    "conv": {"w1": (8, 3, 3, 3), "b1": (8,), "w2": (16, 8, 3, 3), "b2": (16,), "w3": (10, 32),
             "b3": (10,)},
    "attention": {"table": (50, 32), "gain": (32,), "bias": (32,), "bq": (32,),
                  **dict.fromkeys(("wq", "wk", "wv", "wo"), (32, 32)), "w1": (32, 64),
                  "w2": (64, 32)},
}  # fmt: skip


def model(network: str) -> onnx.ModelProto:
    rng = np.random.default_rng(1)
    proto = parse_model(_CONVOLUTIONS if network == "conv" else _ATTENTION)
    for name, shape in _SHAPES[network].items():
        scale = np.sqrt(np.prod(shape[1:])) if len(shape) > 1 else 1
        weights = (rng.standard_normal(shape) / scale).astype(np.float32)
        proto.graph.initializer.append(numpy_helper.from_array(weights, name))
    return proto


def sample(network: str, seed: int) -> dict[str, Array]:
    rng = np.random.default_rng(seed)
    if network == "conv":
        return {"x": rng.standard_normal((1, 3, 16, 16)).astype(np.float32)}
    return {"x": rng.integers(0, 50, (1, 12))}


class Samples(quantization.CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, network: str) -> None:
        self._samples: Iterator[dict[str, Array]] = (sample(network, i) for i in range(4))

    def get_next(self) -> dict[str, Array] | None:
        return next(self._samples, None)


def check(path: Path, network: str, build: Build, library: _core.Library) -> None:
    proto = onnx.load(path)
    written = prepare(OnnxModel(proto), Target(library)).proto
    feeds = sample(network, 77)
    (result,), (expected,) = run(written, feeds), run(proto, feeds)
    # A value at the border between two steps may fall to either side.
    assert np.median(abs(result - expected)) < 1e-4 * abs(expected).max()
    assert abs(result - expected).max() < 2e-2 * abs(expected).max()
    plan = build(proto, progress=False)
    assert [list(output["shape"]) for output in plan.metadata["outputs"]] == [list(expected.shape)]


_U8, _S8, _S16 = QuantType.QUInt8, QuantType.QInt8, QuantType.QInt16
_SYMMETRIC = {"ActivationSymmetric": True, "WeightSymmetric": True}


@pytest.mark.parametrize("network", ["conv", "attention"])
@pytest.mark.parametrize(
    "options",
    [
        {"activation_type": _U8, "weight_type": _S8},
        {"activation_type": _S8, "weight_type": _S8, "per_channel": True},
        {"activation_type": _U8, "weight_type": _U8, "quant_format": QuantFormat.QOperator},
        {"activation_type": _S16, "weight_type": _S8},
        {"activation_type": _S8, "weight_type": _S8, "extra_options": _SYMMETRIC},
    ],
    ids=["uint8", "int8 by channels", "operators of uint8", "int16", "symmetric"],
)
def test_static(
    network: str, options: dict[str, Any], tmp_path: Path, build: Build, rtx_library: _core.Library
) -> None:
    onnx.save(model(network), tmp_path / "m.onnx")
    quantization.quantize_static(
        tmp_path / "m.onnx", tmp_path / "q.onnx", Samples(network), **options
    )
    check(tmp_path / "q.onnx", network, build, rtx_library)


@pytest.mark.parametrize("network", ["conv", "attention"])
def test_dynamic(network: str, tmp_path: Path, build: Build, rtx_library: _core.Library) -> None:
    onnx.save(model(network), tmp_path / "m.onnx")
    quantization.quantize_dynamic(tmp_path / "m.onnx", tmp_path / "q.onnx", per_channel=True)
    check(tmp_path / "q.onnx", network, build, rtx_library)
