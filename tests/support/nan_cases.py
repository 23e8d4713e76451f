"""Nodes that lose a NaN on TensorRT, each with what numpy makes of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import onnx
from onnx.parser import parse_model

from support.exact_forms import DTYPES
from support.models import Array

_NAN = np.nan


class NanCase(NamedTuple):
    """A graph, with {t} for its type, of x ``[4, 4]`` and z ``[4]``."""

    body: str
    output: str
    reference: Callable[[Array, Array], Array]
    opset: int = 17

    def proto(self, dtype: str) -> onnx.ModelProto:
        """The model of a type."""
        text = (
            f'<ir_version: 8, opset_import: ["" : {self.opset}]> g ({dtype}[4,4] x, {dtype}[4] z) '
            f"=> ({dtype}[{self.output}] y) {{ {self.body} }}"
        )
        return parse_model(text.replace("{t}", dtype))


def nan_inputs(dtype: str) -> dict[str, Array]:
    """Numbers, infinities and NaN."""
    x = [[1, _NAN, -2, 3], [4, -np.inf, _NAN, _NAN], [0, -1, 2, 5], [np.inf, 1, -1, -3]]
    z = [2, 0, _NAN, -1]
    return {"x": np.array(x, DTYPES[dtype]), "z": np.array(z, DTYPES[dtype])}


def _pooled(x: Array) -> Array:
    parts = x.reshape(2, 2, 2, 2).swapaxes(1, 2).reshape(2, 2, 4)
    return np.asarray(parts.max(axis=-1)[None, None])


_IMAGE = "s = Constant <value_ints=[1,1,4,4]> () i = Reshape (x, s) "
NAN_CASES = {
    "Max": NanCase("y = Max (x, z)", "4,4", np.maximum),
    "Max of three": NanCase(
        "n = Neg (x) y = Max (x, z, n)", "4,4", lambda x, z: np.maximum(np.maximum(x, z), -x)
    ),
    "Min": NanCase("y = Min (z, x)", "4,4", np.minimum),
    "Relu": NanCase("a = Add (x, z) y = Relu (a)", "4,4", lambda x, z: np.maximum(x + z, 0)),
    "HardSigmoid": NanCase(
        "y = HardSigmoid (x)", "4,4", lambda x, z: np.clip(0.2 * x + 0.5, 0, 1), 22
    ),
    "Clip": NanCase(
        "a = Add (x, z) l = Constant <value_float=-1.0> () h = Constant <value_float=1.5> () "
        "m = CastLike (l, x) n = CastLike (h, x) y = Clip (a, m, n)",
        "4,4", lambda x, z: np.clip(x + z, -1, 1.5),
    ),
    "ReduceMax": NanCase(
        "r = ReduceMax <axes=[1], keepdims=0> (x) y = Add (r, r)", "4", lambda x, z: 2 * x.max(1)
    ),
    "ReduceMin": NanCase(
        "a = Constant <value_ints=[0]> () r = ReduceMin (x, a) y = Neg (r)", "1,4",
        lambda x, z: -x.min(0, keepdims=True), 18,
    ),
    "MaxPool": NanCase(
        _IMAGE + "y = MaxPool <kernel_shape=[2,2], strides=[2,2]> (i)", "1,1,2,2",
        lambda x, z: _pooled(x),
    ),
    "GlobalMaxPool": NanCase(
        _IMAGE + "y = GlobalMaxPool (i)", "1,1,1,1", lambda x, z: x.max().reshape(1, 1, 1, 1)
    ),
}  # fmt: skip
