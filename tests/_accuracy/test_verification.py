"""``Engine(..., verify=...)`` as far as it goes without a GPU: ONNX Runtime stands in for it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import fasttrt
from fasttrt import BuildError, InputError, Plan
from fasttrt._accuracy.verification import verify_plan
from fasttrt._graph.model import OnnxModel
from fasttrt._runtime.reference_backend import ReferenceBackend
from support import models
from support.perturbed import perturbed

METADATA: dict[str, Any] = {"library": {"family": "rtx", "version": "1.6.1"}, "config": {}}


def verified(made: models.Model, verify: Any, factor: float = 1, plan: Plan | None = None) -> Plan:
    """A plan after it was verified as if ONNX Runtime were the GPU, off by a factor."""
    plan = plan or Plan(b"plan", dict(METADATA))
    backend = ReferenceBackend(OnnxModel(perturbed(made.proto, "y", factor)), None)
    backend.metadata = plan.metadata
    before = plan.metadata.get("verification")
    verdict = verify_plan(plan, backend, 0, OnnxModel(made.proto), verify)
    if verdict is None:
        assert before is not None
    else:
        plan.metadata["verification"] = verdict
    return plan


def test_the_verdict_stays_with_the_plan(tmp_path: Path) -> None:
    plan = verified(models.mlp(), True)
    verdict = plan.metadata["verification"]
    assert verdict["passed"] is True
    assert verdict["engine"] == "cuda:0 (rtx 1.6.1)"
    assert verdict["reference"] == "ONNX Runtime"
    assert verdict["precision"] == "tf32"
    assert verdict["outputs"][0]["name"] == "y"
    assert isinstance(verdict["seed"], int)
    plan.save(tmp_path / "m.plan")
    assert Plan.load(tmp_path / "m.plan").metadata["verification"] == verdict
    assert json.loads(json.dumps(verdict)) == verdict


def test_the_precision_is_the_one_of_the_plan() -> None:
    for config, precision in (
        ({"tf32": False}, "fp32"),
        ({"tf32": True}, "tf32"),
        ({"tf32": True, "precision": "bf16"}, "bf16"),
    ):
        plan = Plan(b"", {**METADATA, "config": config})
        verdict = verified(models.mlp(), True, plan=plan).metadata["verification"]
        assert verdict["precision"] == precision


def test_wrong_answers_are_a_build_error_with_the_table() -> None:
    plan = Plan(b"plan", dict(METADATA))
    with pytest.raises(BuildError) as caught:
        verified(models.mlp(), True, 1.5, plan)
    message = str(caught.value)
    assert "its outputs do not match the reference" in message
    assert "FAILED" in message
    assert "max abs" in message
    assert "elements are off by more than" in message
    assert "fasttrt.compare()" in message
    assert "verification" not in plan.metadata


def test_thresholds_decide() -> None:
    made = models.mlp()
    assert verified(made, {"rtol": 0.6}, 1.5).metadata["verification"]["thresholds"] == {
        "rtol": 0.6, "equal": 1.0,
    }  # fmt: skip
    by_name = verified(made, {"y": {"rtol": 0.6}}, 1.5).metadata["verification"]
    assert by_name["thresholds"] == {"y": {"rtol": 0.6, "equal": 1.0}}
    with pytest.raises(BuildError, match=r"off by more than 0\.4 \|reference\|"):
        verified(made, fasttrt.Thresholds(rtol=0.4), 1.5)


def test_a_verdict_holds_for_its_own_thresholds_only() -> None:
    made = models.mlp()
    plan = verified(made, {"rtol": 0.6}, 1.5)
    before = plan.metadata["verification"]
    verified(made, {"rtol": 0.6}, 9, plan)  # not run again
    assert plan.metadata["verification"] is before
    with pytest.raises(BuildError):
        verified(made, True, 1.5, plan)


def test_what_cannot_be_verified_is_refused(tmp_path: Path) -> None:
    made = models.mlp()
    with pytest.raises(InputError, match='device="cpu" runs'):
        fasttrt.Engine(made.proto, device="cpu", verify=True)
    path = tmp_path / "m.plan"
    Plan(b"plan", METADATA).save(path)
    with pytest.raises(InputError, match="expected an ONNX model to compare with, got a plan"):
        fasttrt.Engine(path, device="cuda", verify=True)
    with pytest.raises(InputError, match="the model has no output z; it has y"):
        fasttrt.Engine(made.proto, device="cuda", verify={"z": {"atol": 1}})
    with pytest.raises(InputError, match=r"expected fasttrt\.Thresholds"):
        fasttrt.Engine(made.proto, device="cuda", verify=1)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="expected True, False or thresholds, got None"):
        fasttrt.Engine(made.proto, device="cuda", verify=None)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="got weights= of another one"):
        fasttrt.Engine(made.proto, device="cuda", weights=models.mlp().to_bytes(), verify=True)


def test_where_auto_falls_back_the_warning_says_so(no_gpu: str) -> None:
    # A process of its own: the warning comes once.
    from support.process import python_output

    code = """
        import warnings
        import fasttrt
        from support import models
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            engine = fasttrt.Engine(models.mlp().proto, verify=True)
        print(engine.verification, "|", caught[0].message)
    """
    assert no_gpu
    printed = python_output(code)
    assert printed.startswith("None | running on the CPU")
    assert printed.endswith("verify= is skipped")


def test_plans_of_the_real_library_keep_it(build: Callable[..., Plan], tmp_path: Path) -> None:
    made = models.mlp()
    plan = build(made.proto, shapes={"x": (4, 16)})
    verified(made, True, plan=plan)
    plan.save(tmp_path / "m.plan")
    loaded = Plan.load(tmp_path / "m.plan")
    assert loaded.data == plan.data
    assert loaded.metadata["verification"]["passed"] is True
    assert loaded.metadata["verification"]["engine"].startswith("cuda:0 (rtx ")
