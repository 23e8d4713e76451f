"""ONNX's Attention in all its forms, of queries [2, 4, 16, 64] and 24 keys by default."""

from __future__ import annotations

from typing import Any, TypeAlias

import ml_dtypes
import numpy as np
import onnx
import onnxruntime
from onnx.parser import parse_model
from onnx.reference import ReferenceEvaluator

Array: TypeAlias = "np.ndarray[Any, Any]"

DTYPES = {"float": np.float32, "float16": np.float16, "bfloat16": ml_dtypes.bfloat16}
KINDS = {"float": 1, "float16": 10, "bfloat16": 16}
EXTENTS = {"b": 2, "s": 16, "t": 24}

_Q, _K = "T[2,4,16,64]", "T[2,4,24,64]"
_MASKED, _PAST = "q, k, v, mask", "q, k, v, , past_k, past_v"
_PAST_INPUTS = "T[2,4,8,64] past_k, T[2,4,8,64] past_v"
_PRESENT = "y, present_k, present_v = Attention"
_PRESENT_OUTPUTS = "T[?,?,?,?] y, T[?,?,?,?] present_k, T[?,?,?,?] present_v"


def _case(
    call: str = "y = Attention (q, k, v)",
    more: str = "",
    q: str = _Q,
    k: str = _K,
    v: str = "",
    outputs: str = "",
    opset: int = 23,
) -> str:
    inputs = ", ".join(filter(None, (f"{q} q", f"{k} k", f"{v or k} v", more)))
    outputs = outputs or f"T[{','.join('?' * len(q.split(',')))}] y"
    imports = f'<ir_version: 11, opset_import: ["" : {opset}]>'
    return f"{imports} g ({inputs}) => ({outputs}) {{ {call} }}"


CASES = {
    "plain": _case(),
    "scale": _case("y = Attention <scale=0.3> (q, k, v)"),
    "causal": _case("y = Attention <is_causal=1> (q, k, v)"),
    "causal, more queries than keys": _case(
        "y = Attention <is_causal=1> (q, k, v)", q="T[2,4,24,64]", k="T[2,4,16,64]"
    ),
    "grouped": _case(k="T[2,2,24,64]"),
    "one head of keys": _case(k="T[2,1,24,64]"),
    "three axes, grouped, causal": _case(
        "y = Attention <q_num_heads=4, kv_num_heads=2, is_causal=1> (q, k, v)",
        q="T[2,16,256]", k="T[2,24,128]",
    ),
    "values of another size": _case(v="T[2,4,24,32]"),
    **{
        f"mask {kind}[{shape}]": _case(f"y = Attention ({_MASKED})", f"{kind}[{shape}] mask")
        for kind in ("T", "bool")
        for shape in ("16,24", "4,16,24", "2,1,16,24", "2,4,16,24")
    },
    "a mask of no rows": _case(f"y = Attention ({_MASKED})", "bool[2,1,1,24] mask"),
    "a short mask": _case(f"y = Attention ({_MASKED})", "T[16,20] mask"),
    "a short mask of bool": _case(f"y = Attention ({_MASKED})", "bool[16,20] mask"),
    "rows without keys": _case(f"y = Attention ({_MASKED})", "bool[2,1,16,24] mask"),
    **{
        f"causal and a mask of {kind}": _case(
            f"y = Attention <is_causal=1> ({_MASKED})", f"{kind}[16,24] mask"
        )
        for kind in ("T", "bool")
    },
    "softcap": _case("y = Attention <softcap=1.5> (q, k, v)"),
    "softmax in float": _case("y = Attention <softmax_precision=1> (q, k, v)"),
    "after earlier keys": _case(
        f"{_PRESENT} ({_PAST})", _PAST_INPUTS, outputs=_PRESENT_OUTPUTS
    ),
    "after earlier keys, causal": _case(
        f"{_PRESENT} <is_causal=1> ({_PAST})", _PAST_INPUTS, outputs=_PRESENT_OUTPUTS
    ),
    "keys and values given on": _case(f"{_PRESENT} (q, k, v)", outputs=_PRESENT_OUTPUTS),
    **{
        f"scores of mode {mode}": _case(
            f"y, , , s = Attention <qk_matmul_output_mode={mode}, softcap=2.0> ({_MASKED})",
            "T[16,24] mask", outputs="T[?,?,?,?] y, T[?,?,?,?] s",
        )
        for mode in range(4)
    },
    "some keys valid": _case("y = Attention (q, k, v, , , , n)", "int64[2] n", opset=24),
    "some keys valid, causal": _case(
        "y = Attention <is_causal=1> (q, k, v, , , , n)", "int64[2] n", opset=24
    ),
    **{
        f"heads of {size}": _case(q=f"T[2,4,16,{size}]", k=f"T[2,4,24,{size}]")
        for size in (8, 9, 12, 17, 96, 256, 320)
    },
    "queries, keys and values one tensor": _case("y = Attention (q, q, q) a = Add (k, v)"),
    "equal nodes give queries and keys": _case(
        "a = Relu (q) b = Relu (q) y = Attention (a, b, v) c = Relu (k)", v=_Q
    ),
    "queries, scaled, are the keys": _case(
        "h = Constant <value_float=0.5> () c = CastLike (h, q) b = Mul (q, c) "
        "y = Attention <scale=0.25> (q, b, v) r = Relu (k)", v=_Q,
    ),
    "two with the same keys": _case(
        "a = Attention (q, k, v) r = Relu (a) y = Attention (r, k, v)"
    ),
    "two with the same queries": _case("a = Attention (q, k, v) y = Attention (q, a, v)", k=_Q),
    "in a branch": _case(
        f"y = If (c) <then_branch = t () => ({_Q} ty) {{ ty = Attention (q, k, v) }}, "
        f"else_branch = e () => ({_Q} ey) {{ ey = Neg (q) }}>", "bool c",
    ),
    "dynamic": _case(q="T[b,4,s,64]", k="T[b,4,t,64]"),
    "dynamic, three axes, grouped, causal": _case(
        "y = Attention <q_num_heads=4, kv_num_heads=2, is_causal=1> (q, k, v)",
        q="T[b,s,256]", k="T[b,t,128]",
    ),
}  # fmt: skip
"""By what is special about them: models in ONNX's text form, ``T`` for the type."""

_UNFUSED = (
    "a short mask",
    "causal and",
    "softcap",
    "softmax",
    "after",
    "keys and",
    "scores",
    "some",
)
WITHOUT_KERNEL = {name for name in CASES if name.startswith(_UNFUSED)} | {
    "values of another size", "heads of 8", "heads of 320", "in a branch"
}  # fmt: skip
"""Of these TensorRT-RTX 1.6.1 has no fused kernel in any type."""


def attention(name: str, dtype: str) -> onnx.ModelProto:
    """Give the model of a case in ``"float"``, ``"float16"`` or ``"bfloat16"``."""
    return parse_model(CASES[name].replace("T[", f"{dtype}["))


def inputs_of(proto: onnx.ModelProto, name: str) -> dict[str, Array]:
    """Give inputs for a case's model."""
    rng = np.random.default_rng(len(name))
    kinds = {KINDS[dtype]: DTYPES[dtype] for dtype in KINDS}
    found: dict[str, Array] = {}
    for value in proto.graph.input:
        tensor = value.type.tensor_type
        shape = [EXTENTS.get(dim.dim_param, dim.dim_value) for dim in tensor.shape.dim]
        if value.name == "c":
            found[value.name] = np.array(True)
        elif value.name == "n":  # the second is less than the queries are
            found[value.name] = np.array([20, 9])
        elif tensor.elem_type == onnx.TensorProto.BOOL:
            found[value.name] = rng.random(shape) < 0.7
            found[value.name][..., 0] = True
        else:
            array = rng.standard_normal(shape)
            if value.name == "mask":
                array = np.where(rng.random(shape) < 0.2, -np.inf, array)
                array[..., 0] = 0
            found[value.name] = array.astype(kinds[tensor.elem_type])
        if name == "rows without keys" and value.name == "mask":
            found[value.name][..., 3, :] = False
    return found


def expected_of(name: str, inputs: dict[str, Array]) -> list[Array]:
    """Give what a case computes in float32, by ONNX's reference."""
    proto = attention(name, "float")
    wide = {k: v.astype(np.float32) if v.dtype.kind not in "bi" else v for k, v in inputs.items()}
    if name == "scores of mode 0":  # onnx 1.23's reference gives them after the softcap
        session = onnxruntime.InferenceSession(
            proto.SerializeToString(), providers=["CPUExecutionProvider"]
        )
        return list(session.run(None, wide))
    return list(ReferenceEvaluator(proto).run(None, wide))
