"""``nan="propagate"``: operators in which TensorRT drops NaN propagate it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from onnx.reference import ReferenceEvaluator

import fasttrt
from fasttrt._cache.key import key_parts
from fasttrt._graph.model import OnnxModel
from fasttrt._library.discovery import find
from fasttrt._parser.nan_propagation import propagate_nan
from fasttrt._parser.pipeline import Target
from support.nan_cases import NAN_CASES, nan_inputs

PROPAGATE = fasttrt.BuildConfig(nan="propagate")
TARGET = Target("TensorRT", propagate_nan=True)  # type: ignore[arg-type]  # only named


@pytest.mark.filterwarnings("ignore:invalid value")
@pytest.mark.parametrize("dtype", ["float", "float16", "bfloat16"])
@pytest.mark.parametrize("name", NAN_CASES)
def test_what_is_written_keeps_nan(
    name: str, dtype: str, build: Callable[..., fasttrt.Plan]
) -> None:
    case, inputs = NAN_CASES[name], nan_inputs(dtype)
    model = propagate_nan(OnnxModel(case.proto(dtype)), TARGET)
    (result,) = ReferenceEvaluator(model.proto).run(None, inputs)
    expected = case.reference(*(array.astype(np.float64) for array in inputs.values()))
    np.testing.assert_allclose(np.asarray(result, np.float64), expected, rtol=1e-2)
    assert np.isnan(expected).any()
    plan = build(case.proto(dtype), PROPAGATE)
    assert any(line.endswith(f"its {name.split()[0]} propagates NaN")
               for line in plan.metadata["changes"])  # fmt: skip
    assert plan.metadata["config"]["nan"] == "propagate"


def test_nothing_is_added_unless_it_is_asked_for(build: Callable[..., fasttrt.Plan]) -> None:
    plan = build(NAN_CASES["Max"].proto("float"))
    assert plan.metadata["config"]["nan"] == "ignore"
    assert not any("NaN" in line for line in plan.metadata["changes"])


def test_integers_stay_as_they_are() -> None:
    proto = NAN_CASES["Max"].proto("int64")
    model = OnnxModel(proto)
    assert propagate_nan(model, TARGET) is model


def test_it_counts_for_the_cache(rtx: fasttrt.LibraryInfo) -> None:
    library = find(str(rtx.path), None)
    keys = [
        key_parts("0" * 64, config, None, library, None, {})
        for config in (PROPAGATE, fasttrt.BuildConfig())
    ]
    assert keys[0] != keys[1]


def test_other_values_are_refused() -> None:
    with pytest.raises(fasttrt.InputError, match=r"BuildConfig.nan: expected .*'propagate'"):
        fasttrt.BuildConfig(nan="keep")  # type: ignore[arg-type]


def test_it_is_an_option_of_the_command(tmp_path: Path, rtx: fasttrt.LibraryInfo) -> None:
    from typer.testing import CliRunner

    from fasttrt._cli import app

    path = tmp_path / "m.onnx"
    path.write_bytes(NAN_CASES["Relu"].proto("float").SerializeToString())
    command = ["build", str(path), "--nan", "propagate", "--library", str(rtx.path)]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    assert fasttrt.Plan.load(tmp_path / "m.plan").metadata["config"]["nan"] == "propagate"
