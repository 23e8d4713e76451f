"""What the inspector's JSON proves of an engine's precision.

The layers are written as TensorRT's documentation and its releases write them.
"""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest

import fasttrt
from fasttrt import Plan
from fasttrt._precision.engine_check import check_plan, confirm, layer_types


def layer(kind: str, *formats: str, name: str = "conv0", key: str = "Format/Datatype") -> Any:
    tensors = [{"Name": f"t{i}", "Dimensions": [1, 8], key: f} for i, f in enumerate(formats)]
    return {
        "Name": name, "LayerType": kind, "Inputs": tensors[:-1], "Outputs": tensors[-1:],
        "TacticName": "sm80_xmma_fprop_implicit_gemm_f16f16_f16f16_f16",
    }  # fmt: skip


def text(*layers: Any) -> str:
    return json.dumps({"Layers": list(layers), "Bindings": ["x", "y"]})


HALF = layer("CaskConvolution", "Channel major FP16 format where channel % 8 == 0", "Half")
FLOAT = layer("gemm", "Row major linear FP32", "Float")
BF16 = layer("kgen", "BFloat16", "BFloat16", key="Datatype")
INT8 = layer("CaskConvolution", "Thirty-two wide channel vectorized row major Int8 format", "Int8")
CAST = layer("Reformat", "Row major linear FP32", "Half", name="Reformatting CopyNode")
FOREIGN = layer("Myelin", "Float", "Float", name="{ForeignNode[a...b]}")
NAMES = "conv0 + relu0"  # of a plan that was built with profiling_verbosity="names"


@pytest.mark.parametrize(
    ("layers", "types", "hidden"),
    [
        ([HALF, FLOAT], {"float16": 2, "float32": 2}, 0),
        ([BF16], {"bfloat16": 2}, 0),
        ([INT8], {"int8": 2}, 0),
        ([CAST], {}, 0),
        ([FOREIGN], {"float32": 2}, 1),
        ([NAMES, NAMES], {}, 2),
        ([layer("fc", "Unheard-of", "Half or Float")], {}, 1),
        ([layer("shape", "Int64"), layer("topk", "Int32", "Bool")], {"int32": 1, "bool": 1}, 0),
        ([{"Name": "odd", "Inputs": None, "Outputs": [3]}], {}, 1),
    ],
)
def test_layers_are_read(layers: list[Any], types: dict[str, int], hidden: int) -> None:
    found = layer_types(text(*layers))
    assert (dict(found.types), found.hidden) == (types, hidden)


@pytest.mark.parametrize("information", ["", "Layer 0: conv0", "[]", "{}", '{"Layers": "none"}'])
def test_what_is_no_account_proves_nothing(information: str) -> None:
    found = layer_types(information)
    assert (dict(found.types), found.hidden) == ({}, 1)


def plan(precision: str | None) -> Plan:
    return Plan(b"", {"config": {"precision": precision}})


@pytest.mark.parametrize(
    ("precision", "layers"),
    [
        ("fp16", [HALF, FLOAT, CAST]),
        ("bf16", [BF16, FLOAT]),
        ("fp16", [HALF, FOREIGN]),
        (None, [FLOAT]),
        ("fp32", [FLOAT]),
        ("tf32", [FLOAT]),
    ],
)
def test_an_engine_as_asked_for_passes(
    precision: str | None, layers: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "fasttrt"):
        confirm(plan(precision), lambda: text(*layers), None)
    assert not caplog.records


@pytest.mark.parametrize(
    ("precision", "layers"), [("fp16", [FLOAT, CAST]), ("bf16", [HALF, FLOAT]), ("fp16", [BF16])]
)
def test_a_downgrade_is_an_error(precision: str, layers: list[Any]) -> None:
    wanted = {"fp16": "float16", "bf16": "bfloat16"}[precision]
    with pytest.raises(fasttrt.BuildError, match=f"computes in {wanted}, got one without: .* 2 of"):
        confirm(plan(precision), lambda: text(*layers), None)
    # Also of a plan that does not say what it was built for.
    with pytest.raises(fasttrt.BuildError, match=wanted):
        confirm(Plan(b""), lambda: text(*layers), precision)


@pytest.mark.parametrize("layers", [[NAMES], [FLOAT, FOREIGN], [FLOAT, NAMES], [INT8, FLOAT], []])
def test_what_cannot_be_told_is_a_warning(
    layers: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "fasttrt"):
        confirm(plan("fp16"), lambda: text(*layers), None)
    (record,) = caplog.records
    assert "could not confirm that the engine computes in float16" in record.getMessage()


def test_a_plan_for_another_precision_is_refused() -> None:
    check_plan(plan("fp16"), "fp16")
    check_plan(plan("fp16"), None)
    check_plan(Plan(b""), "fp16")
    with pytest.raises(fasttrt.InputError, match=r"expected 'fp16', with which .*, got 'bf16'"):
        check_plan(plan("fp16"), "bf16")
    with pytest.raises(fasttrt.InputError, match=r"expected None, .*, got 'fp32'"):
        check_plan(plan(None), "fp32")


@pytest.mark.parametrize(
    ("library", "passes"),
    [
        ({"family": "rtx", "version": "1.6.1"}, True),
        ({"family": "tensorrt", "version": "10.16.1"}, True),
        ({"family": "tensorrt", "version": "8.6.0"}, False),  # it chose
        ({}, False),
    ],
)
def test_fused_layers_of_a_converted_network_hide_its_types(
    library: dict[str, str], passes: bool
) -> None:
    about = {"library": library, "config": {"precision": "fp16"}}
    plan = Plan(b"", about | {"conversion": {"kept": {}}})
    for judged in (plan, Plan(b"", about)):
        if passes and judged is plan:
            confirm(judged, lambda: text(FLOAT), None)
        else:
            with pytest.raises(fasttrt.BuildError, match="expected an engine that computes in"):
                confirm(judged, lambda: text(FLOAT), None)


@pytest.mark.parametrize(
    ("about", "says", "says_not"),
    [
        ({"version": "8.6.0"}, ['precision="tf32" or "fp32"', "convert_io=True"], "Larger shapes"),
        (
            {"version": "8.6.1", "convert_io": True},
            ["TensorRT 8.6.1 may, but need not, compute"],
            "convert_io",
        ),
        ({"version": "10.16.1"}, [], "tf32"),
        ({"version": ""}, [], "tf32"),
    ],
)
def test_a_downgrade_by_choice_says_what_to_do(
    about: dict[str, Any], says: list[str], says_not: str
) -> None:
    config = {"precision": "fp16", "convert_io": about.get("convert_io", False)}
    library = {"family": "tensorrt", "version": about["version"]}
    with pytest.raises(fasttrt.BuildError, match="got one without") as caught:
        confirm(Plan(b"", {"library": library, "config": config}), lambda: text(FLOAT), None)
    assert all(part in str(caught.value) for part in says)
    assert says_not not in str(caught.value)


def test_raw_control_characters_are_read() -> None:
    """As TensorRT 8.6 writes them between the ONNX nodes of a layer."""
    told = text(HALF).replace('"TacticName"', '"Metadata": "[ONNX Layer: a]\x1f[b]", "TacticName"')
    assert layer_types(told).types == {"float16": 2}
