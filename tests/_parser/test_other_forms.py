"""Operators that TensorRT's parser refuses are rewritten in equivalent forms, which build."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pytest
from onnx import numpy_helper
from onnx.parser import parse_model

import fasttrt
from fasttrt import _core
from fasttrt._graph.fingerprint import structure
from fasttrt._graph.model import OnnxModel
from fasttrt._parser.model_source import parse_network
from fasttrt._parser.other_forms import parse_in_other_forms
from fasttrt._parser.pipeline import Target, finish, prepare
from fasttrt._runtime.refit import as_built
from support.form_cases import CASES, FormCase, run

Build = Callable[..., fasttrt.Plan]


def written(model: OnnxModel, library: _core.Library) -> OnnxModel:
    """The model as it is parsed in the end."""
    target = Target(library)
    last = [model]

    def parse(model: OnnxModel) -> _core.PlanBuilder:
        last[0] = model
        return parse_network(library, None, model)

    parse_in_other_forms(prepare(last[0], target), target, parse)
    return last[0]


@pytest.mark.parametrize("name", CASES)
def test_the_form_means_the_same_and_builds(
    name: str, rtx_library: _core.Library, build: Build
) -> None:
    case = CASES[name]
    form, expected = written(OnnxModel(case.model), rtx_library), case.expected()
    results = run(form.proto, case.inputs())
    for result, wanted in zip(results, expected, strict=True):
        assert result.dtype == wanted.dtype
        assert result.shape == wanted.shape
        np.testing.assert_allclose(
            result.astype(np.float64), wanted.astype(np.float64), rtol=1e-5, atol=1e-6
        )
    plan = build(case.model, progress=False)
    shapes = [tuple(output["shape"]) for output in plan.metadata["outputs"]]
    assert shapes == [wanted.shape for wanted in expected]
    assert plan.metadata["changes"] == list(finish(form, Target(rtx_library)).changes)


def test_what_has_no_other_form_is_told_as_the_parser_told_it(build: Build) -> None:
    case = FormCase(
        "",
        '<ir_version: 8, opset_import: ["" : 17]> g (float[3] x, float[2,2] m) => '
        "(float[3] y, float d) { y = Softmax (x) d = Det (m) }",
    )
    with pytest.raises(fasttrt.ParseError) as caught:
        build(case.model)
    assert [issue.operator for issue in caught.value.issues] == ["Det"]


def test_new_weights_take_the_forms_of_the_old(rtx_library: _core.Library) -> None:
    def model(seed: int) -> OnnxModel:
        proto = parse_model(
            '<ir_version: 8, opset_import: ["" : 17]> g (float[4] x) => (float[5] y) '
            "{ p = MatMul (x, w) y = Softmax (p) }"
        )
        weights = np.random.default_rng(seed).standard_normal((4, 5)).astype(np.float32)
        proto.graph.initializer.append(numpy_helper.from_array(weights, "w"))
        return OnnxModel(proto)

    first = written(model(1), rtx_library)
    assert first.rewritten == (("y",),)
    metadata = {
        "changes": first.changes,
        "structure": structure(first),
        "rewritten": json.loads(json.dumps(first.rewritten)),
    }
    again, _ = as_built(model(2), metadata, rtx_library)
    assert again.rewritten == (("y",),)
    assert [node.op_type for node in again.proto.graph.node][-1] == "Reshape"
    with pytest.raises(fasttrt.InputError):
        as_built(OnnxModel(CASES["ArgMax of one axis, keepdims 1"].model), metadata, rtx_library)
