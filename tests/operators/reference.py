"""What a case should give: by onnx.reference in float64, by ONNX Runtime, or by numpy."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto
from onnx.reference import ReferenceEvaluator

from operators.case import Array, Case, Parameter
from operators.corrections import CORRECTIONS
from operators.models import model

_NARROW = ("float32", "float16", "bfloat16")
_FLOAT_TYPES = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16)
_OPSET_OF_REFERENCE = {"DequantizeLinear": 19, "QuantizeLinear": 19, "BatchNormalization": 15}
"""Where onnx.reference lacks earlier versions, or has them wrong, that mean the same."""


def expected(case: Case) -> dict[str, Array]:
    """The outputs by name, of the types that the case's model has.

    Those of onnx.reference; of ONNX Runtime where it has none.

    Raises:
        Exception: of any kind, if neither has any.
    """
    alone = case.placed("alone")
    try:
        return by_onnx(alone)
    except Exception as error:
        try:
            return by_onnxruntime(alone)
        except Exception as other:
            raise RuntimeError(f"{error} | {other}") from other


def by_onnx(case: Case) -> dict[str, Array]:
    """The outputs of onnx.reference, or of `CORRECTIONS` where that is wrong.

    Raises:
        Exception: of any kind, the reference's own.
    """
    types = _types(case)
    wide = case if case.is_exact else _of_floats(case, "float64")
    correct = CORRECTIONS.get(case.operator)
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = correct(wide) if correct is not None else None
        if results is None:
            opset = max(case.opset, _OPSET_OF_REFERENCE.get(case.operator, 0))
            wide = replace(wide, opset=opset)
            session = ReferenceEvaluator(model(wide))
            given: Any = session.run(None, wide.feeds)
            results = dict(zip(session.output_names, given, strict=True))
        return _typed(results, types)


def by_onnxruntime(case: Case) -> dict[str, Array]:
    """The outputs of ONNX Runtime on the CPU; floats of 16 bits are computed in float32.

    Raises:
        Exception: of any kind, ONNX Runtime's own.
    """
    if case.operator == "Split" and not all(case.outputs):
        raise NotImplementedError("ONNX Runtime 1.32 dies of a Split with an output left out")
    types = _types(case)
    case = case if case.is_exact else _of_floats(case, "float32")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        model(case).SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    names = [output.name for output in session.get_outputs()]
    with np.errstate(all="ignore"):
        return _typed(dict(zip(names, session.run(names, case.feeds), strict=True)), types)


def _types(case: Case) -> dict[str, int]:
    return {value.name: value.type.tensor_type.elem_type for value in model(case).graph.output}


def _typed(results: dict[str, Any], types: dict[str, int]) -> dict[str, Array]:
    return {
        name: np.asarray(results[name]).astype(onnx.helper.tensor_dtype_to_np_dtype(kind))
        for name, kind in types.items()
    }


def _of_floats(case: Case, dtype: str) -> Case:
    """The same with floats of another type, of which there are none in integer cases."""
    convert: Callable[[Array], Array] = lambda a: a.astype(dtype) if a.dtype.name in _NARROW else a  # noqa: E731
    inputs = tuple(
        Parameter(convert(value.value))
        if isinstance(value, Parameter)
        else value
        if value is None
        else convert(value)
        for value in case.inputs
    )
    kind = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    attributes = {
        name: kind if name in ("to", "dtype") and value in _FLOAT_TYPES else value
        for name, value in case.attributes.items()
    }
    return replace(case, inputs=inputs, attributes=attributes)
