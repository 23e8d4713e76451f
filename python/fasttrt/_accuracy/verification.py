"""Verify a new plan for ``Engine(..., verify=True)``, and store the verdict with it."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, TypeAlias

from fasttrt._accuracy.evaluate import compare_runners
from fasttrt._accuracy.runners import OnnxReference, Runner, gpu_label
from fasttrt._accuracy.thresholds import Thresholds, ThresholdsLike, parse_thresholds
from fasttrt._common.optional_packages import require
from fasttrt._graph.model import OnnxModel
from fasttrt._plan.plan_file import Plan
from fasttrt._runtime.backend import Backend
from fasttrt.errors import BuildError, InputError

Verify: TypeAlias = "bool | ThresholdsLike"
"""Whether to verify, or with which thresholds."""
_KEY = "verification"


def check_verify(
    verify: Verify, source: OnnxModel | Plan, on_cpu: bool, weights: OnnxModel | None = None
) -> None:
    """Check the argument before anything that takes time.

    Raises:
        InputError: it is neither a boolean nor valid thresholds, or there is nothing to compare.
    """
    if isinstance(source, Plan):
        raise InputError(
            "verify: expected an ONNX model to compare with, got a plan; the verdict stored with "
            "a plan is Engine.verification"
        )
    if on_cpu:
        raise InputError(
            'verify: compares with ONNX Runtime on the CPU, which is what device="cpu" runs'
        )
    if weights is not None:
        raise InputError(
            "verify: compares with the model that is built, got weights= of another one; pass the "
            "model that has them"
        )
    if verify is None:
        raise InputError("verify: expected True, False or thresholds, got None")
    _thresholds_of(verify, source)


def verify_plan(
    plan: Plan, backend: Backend, ordinal: int, model: OnnxModel, verify: Verify
) -> dict[str, Any] | None:
    """Compare a newly built plan with ONNX Runtime.

    A plan that has a verdict for the same thresholds is not compared again. The inputs are random,
    as in `compare`; the seed is in the verdict.

    Args:
        plan: the plan, which may have a verdict already.
        backend: the plan, loaded.
        ordinal: its GPU.
        model: the model that it was built from.
        verify: True, or thresholds as in `compare`.

    Returns:
        The verdict, for the plan's ``metadata["verification"]``: the content of
        `Comparison.to_json`, and the requested thresholds. None if the plan has it already.

    Raises:
        BuildError: an output fails; the message includes the table.
        InputError: ONNX Runtime rejects the random inputs.
        MissingPackageError: ONNX Runtime or onnx is not installed.
    """
    requested = _thresholds_of(verify, model)
    verdict = plan.metadata.get(_KEY)
    if isinstance(verdict, Mapping) and verdict.get("thresholds") == requested:
        return None
    require("verify=", "onnxruntime")
    reference = OnnxReference(model)
    label = gpu_label(f"cuda:{ordinal}", plan.metadata)
    runner = Runner(label, backend, on_gpu=True)
    thresholds = None if isinstance(verify, bool) else verify
    comparison = compare_runners(runner, reference, model, thresholds=thresholds)
    if not comparison.passed:
        raise BuildError(
            "the engine was built, but its outputs do not match the reference, or prove nothing:\n"
            f"{comparison}\nfasttrt.compare() finds the node where they diverge"
        )
    return comparison.to_json() | {"thresholds": requested}


def _thresholds_of(verify: Verify, model: OnnxModel) -> dict[str, Any]:
    """Return the requested thresholds as JSON values."""
    thresholds = None if isinstance(verify, bool) else verify
    everywhere, by_name = parse_thresholds(thresholds, [tensor.name for tensor in model.outputs])
    if by_name:
        return {name: _to_json(own) for name, own in by_name.items()}
    return _to_json(everywhere)


def _to_json(thresholds: Thresholds) -> dict[str, Any]:
    values = asdict(thresholds)
    if not thresholds.allow_trivial:  # as in verdicts from before this field existed
        del values["allow_trivial"]
    return {
        name: value if isinstance(value, str) else float(value)
        for name, value in values.items()
        if value is not None
    }
