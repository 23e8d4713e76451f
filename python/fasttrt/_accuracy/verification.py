"""``Engine(..., verify=True)``: a verdict that goes along with the plan."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, TypeAlias

from fasttrt._accuracy.evaluate import compare_runners
from fasttrt._accuracy.runners import OnnxReference, Runner, gpu_label
from fasttrt._accuracy.thresholds import Thresholds, ThresholdsLike, parse_thresholds
from fasttrt._graph.model import OnnxModel
from fasttrt._plan.plan_file import Plan
from fasttrt._runtime.backend import Backend
from fasttrt.errors import BuildError, InputError, LibraryNotFoundError

Verify: TypeAlias = "bool | ThresholdsLike"
"""Whether to verify, or with which thresholds."""
_KEY = "verification"


def check_verify(
    verify: Verify, source: OnnxModel | Plan, on_cpu: bool, weights: OnnxModel | None = None
) -> None:
    """Check the argument before anything takes time.

    Raises:
        InputError: it is neither a boolean nor thresholds that fit, or nothing can be compared.
    """
    if isinstance(source, Plan):
        raise InputError(
            "verify: expected an ONNX model to compare with, got a plan; the verdict that a plan "
            "carries is Engine.verification"
        )
    if on_cpu:
        raise InputError(
            'verify: compares with ONNX Runtime on the CPU, which is what device="cpu" runs'
        )
    if weights is not None:
        raise InputError(
            "verify: compares with the model that is built, got weights= of another besides; give "
            "the model that has them"
        )
    if verify is None:
        raise InputError("verify: expected True, False or thresholds, got None")
    _asked(verify, source)


def verify_plan(
    plan: Plan, backend: Backend, ordinal: int, model: OnnxModel, verify: Verify
) -> dict[str, Any] | None:
    """Run a plan that has just been built against ONNX Runtime.

    A plan that has a verdict for the same thresholds is taken at its word. The inputs are random,
    as `compare` draws them; the seed is in the verdict.

    Args:
        plan: what is looked at for a verdict.
        backend: the plan, loaded.
        ordinal: the GPU where it is.
        model: what it was built from.
        verify: True, or thresholds as `compare` takes them.

    Returns:
        The verdict, for the plan's ``metadata["verification"]``: what `Comparison.to_json` gives,
        and the thresholds that were asked for. None if the plan has it already.

    Raises:
        BuildError: an output fails; quotes the table.
        InputError: ONNX Runtime refuses the inputs that were drawn.
        LibraryNotFoundError: ONNX Runtime is not installed.
    """
    wanted = _asked(verify, model)
    verdict = plan.metadata.get(_KEY)
    if isinstance(verdict, Mapping) and verdict.get("thresholds") == wanted:
        return None
    try:
        held = OnnxReference(model)
    except LibraryNotFoundError:
        raise LibraryNotFoundError(
            "verify= compares with ONNX Runtime: pip install 'fasttrt[cpu]'"
        ) from None
    label = gpu_label(f"cuda:{ordinal}", plan.metadata)
    runner = Runner(label, backend, on_gpu=True)
    thresholds = None if isinstance(verify, bool) else verify
    comparison = compare_runners(runner, held, model, thresholds=thresholds)
    if not comparison.passed:
        raise BuildError(
            "the engine was built, but its answers are not the model's, or prove nothing:\n"
            f"{comparison}\nfasttrt.compare() finds the node where they part"
        )
    return comparison.to_json() | {"thresholds": wanted}


def _asked(verify: Verify, model: OnnxModel) -> dict[str, Any]:
    """The thresholds as JSON gives them back."""
    given = None if isinstance(verify, bool) else verify
    everywhere, by_name = parse_thresholds(given, [tensor.name for tensor in model.outputs])
    if by_name:
        return {name: _given(thresholds) for name, thresholds in by_name.items()}
    return _given(everywhere)


def _given(thresholds: Thresholds) -> dict[str, Any]:
    given = asdict(thresholds)
    if not thresholds.allow_trivial:  # as verdicts had it before there was such a field
        del given["allow_trivial"]
    return {
        name: value if isinstance(value, str) else float(value)
        for name, value in given.items()
        if value is not None
    }
