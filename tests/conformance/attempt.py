"""One case through fasttrt: parsed, built, and on a GPU run and compared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import fasttrt
from conformance.cases import Array, Case, difference
from fasttrt._graph.model import OnnxModel
from fasttrt._graph.transforms import transformed
from fasttrt._library.device import default_device
from fasttrt._library.discovery import find
from fasttrt._precision.typed_parse import parse_as_stated

EXACT = fasttrt.BuildConfig(tf32=False)
"""TensorRT-RTX wants NVIDIA_TF32_OVERRIDE=0 in the environment besides."""


@dataclass
class Outcome:
    """How far a model came."""

    stage: str
    """``"refused"`` by the parser, ``"parsed"``, ``"built"``, ``"ran"`` or ``"right"``."""
    problem: str = ""
    """Why not further."""
    frozen: list[str] = field(default_factory=list)
    """The inputs that were made constant."""

    @property
    def is_built(self) -> bool:
        """Whether there is a plan."""
        return self.stage in ("built", "ran", "right")


def attempt(case: Case, device: str, library: str) -> list[Outcome]:
    """The outcome as shipped, and, if that is no plan, with parameters frozen.

    Parameters are inputs of rank 0 or 1: of integers and booleans, and if that is not enough also
    those of floats that are not the first input. Something must be left to feed.
    """
    outcomes = [_attempt(case, {}, device, library)]
    arrays = case.inputs()
    small = [name for name, array in arrays.items() if array.ndim <= 1]
    whole = [name for name in small if arrays[name].dtype.kind in "biu"]
    later = [name for name in small if name != next(iter(arrays))]
    for names in (whole, sorted({*whole, *later})):
        known = any(names == outcome.frozen for outcome in outcomes)
        if not outcomes[-1].is_built and not known and len(names) < len(arrays):
            freeze = {name: arrays[name] for name in names}
            outcomes.append(_attempt(case, freeze, device, library))
    return outcomes


def _attempt(case: Case, freeze: Mapping[str, Array], device: str, library: str) -> Outcome:
    frozen = list(freeze)
    try:
        shapes = _shapes(case, freeze, library)
    except fasttrt.Error as error:
        return Outcome("refused", _told(error), frozen)
    try:
        plan = fasttrt.build(
            case.model, EXACT, shapes=shapes, freeze=freeze, library=library, progress=False,
            device=None if device == "cpu" else device,
        )  # fmt: skip
    except fasttrt.Error as error:
        return Outcome("parsed", _told(error), frozen)
    if device == "cpu":
        return Outcome("built", "", frozen)
    try:
        problem = _run(case, plan, freeze, device, library)
    except fasttrt.Error as error:
        return Outcome("built", _told(error), frozen)
    return Outcome("ran" if problem else "right", problem, frozen)


def _told(error: fasttrt.Error) -> str:
    return f"{type(error).__name__}: {error}"


def _shapes(case: Case, freeze: Mapping[str, Array], library: str) -> dict[str, Any]:
    """The shapes of the case's data, and the values of its shape tensors, as one profile."""
    arrays = case.inputs()
    ordinal = default_device()
    found = find(library, ordinal)
    model = transformed(OnnxModel(case.model), freeze, None)
    shapes: dict[str, Any] = {}
    for name, _, shape, _, is_shape in parse_as_stated(found, ordinal, model).inputs():
        if is_shape:
            shapes[name] = [int(value) for value in arrays[name].ravel()]
        elif -1 in shape:
            shapes[name] = list(arrays[name].shape)
    return shapes


def _run(
    case: Case, plan: fasttrt.Plan, freeze: Mapping[str, Array], device: str, library: str
) -> str:
    """What is wrong with the results; empty if nothing is."""
    feeds = {name: array for name, array in case.inputs().items() if name not in freeze}
    with fasttrt.Engine(plan, device=device, library=library, contexts=1) as engine:
        results = engine.infer(feeds)
    problems = {
        name: difference(results[name], array, case.is_random)
        for name, array in case.outputs().items()
    }
    return "; ".join(f"{name}: {problem}" for name, problem in problems.items() if problem)
