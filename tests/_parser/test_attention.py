"""ONNX's Attention is written out where TensorRT has no kernel for it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import onnx
import onnxruntime
import pytest

import fasttrt
from fasttrt import _core
from fasttrt._graph.model import OnnxModel
from fasttrt._parser.attention import write_attention
from fasttrt._parser.pipeline import Target
from support.attention_models import CASES, WITHOUT_KERNEL, attention, expected_of, inputs_of

Array: TypeAlias = "np.ndarray[Any, Any]"


def written(proto: onnx.ModelProto, library: _core.Library) -> onnx.ModelProto:
    return write_attention(OnnxModel(proto), Target(library)).proto


def operators(proto: onnx.ModelProto) -> set[str]:
    return {node.op_type for node in proto.graph.node}


@pytest.mark.parametrize("name", CASES)
def test_written_out_it_computes_the_same(name: str, rtx_library: _core.Library) -> None:
    proto = attention(name, "float")
    inputs = inputs_of(proto, name)
    result = written(proto, rtx_library)
    assert "Attention" not in operators(result)
    onnx.checker.check_model(result, full_check=True)
    session = onnxruntime.InferenceSession(
        result.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    wanted = {value.name for value in session.get_inputs()}
    outputs = session.run(None, {k: v for k, v in inputs.items() if k in wanted})
    for ours, theirs in zip(outputs, expected_of(name, inputs), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_what_has_a_kernel_keeps_it(dtype: str, rtx_library: _core.Library) -> None:
    fused = {
        name for name in CASES if operators(attention(name, dtype)) & operators(
            written(attention(name, dtype), rtx_library)) & {"Attention"}
    }  # fmt: skip
    shared = {name for name in CASES if name.startswith(("queries", "equal", "two with"))}
    assert fused == CASES.keys() - WITHOUT_KERNEL - (shared if dtype == "bfloat16" else set())


BUILD = """
import logging, sys
import fasttrt
from support.attention_models import attention
library, dtype, precision, *names = sys.argv[1:]
logging.disable()
for name in names:
    plan = fasttrt.build(attention(name, dtype), library=library, precision=precision or None)
    print(name, [output["name"] for output in plan.metadata["outputs"]], flush=True)
"""


def built(library: Path, dtype: str, precision: str, *names: str) -> list[str]:
    """Give a line for each that was built, in a process that may die of it."""
    return subprocess.run(
        [sys.executable, "-c", BUILD, str(library), dtype, precision, *names],
        cwd=Path(__file__).parents[1], capture_output=True, text=True, timeout=300, check=True,
    ).stdout.splitlines()  # fmt: skip


@pytest.mark.parametrize("dtype", ["float", "float16", "bfloat16"])
def test_tensorrt_builds_what_it_died_of(dtype: str, rtx: fasttrt.LibraryInfo) -> None:
    """In bfloat16 and float32 TensorRT-RTX 1.6.1 ended the process at the first five."""
    names = (
        "queries, keys and values one tensor",
        "equal nodes give queries and keys",
        "queries, scaled, are the keys",
        "two with the same keys",
        "two with the same queries",
        "in a branch",
        "rows without keys",
    )
    assert built(rtx.path, dtype, "", *names) == [f"{name} ['y']" for name in names]


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_tensorrt_builds_what_is_converted(precision: str, rtx: fasttrt.LibraryInfo) -> None:
    names = ("two with the same keys", "softcap", "rows without keys")
    assert built(rtx.path, "float", precision, *names) == [f"{name} ['y']" for name in names]


def test_what_is_not_known_is_refused(rtx_library: _core.Library) -> None:
    proto = attention("plain", "float")
    for value in proto.graph.input:
        value.type.tensor_type.ClearField("shape")
    with pytest.raises(fasttrt.ParseError, match=r"node 0 \(Attention\): .* number of heads"):
        written(proto, rtx_library)
    odd = attention("one head of keys", "float")
    odd.graph.input[1].type.tensor_type.shape.dim[1].dim_value = 3
    with pytest.raises(fasttrt.ParseError, match="its 4 query heads are not a multiple"):
        written(odd, rtx_library)
