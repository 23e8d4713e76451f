"""Cases through fasttrt: parsed, built, and on a GPU run and compared."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import onnx
from onnx import compose

import fasttrt
from fasttrt._graph.model import OnnxModel
from fasttrt._library.device import default_device
from fasttrt._library.discovery import find
from fasttrt._precision.typed_parse import parse_as_stated
from operators.case import Array, Case
from operators.check import NAN_LOST, problems
from operators.models import extra_feeds, model
from operators.reference import by_onnxruntime, expected

EXACT = fasttrt.BuildConfig(tf32=False)
"""TensorRT-RTX wants NVIDIA_TF32_OVERRIDE=0 in the environment besides."""


NAN_LOSING = {
    "Max", "Min", "Clip", "Relu", "HardSigmoid", "HardSwish", "MaxPool", "GlobalMaxPool",
    "ReduceMax", "ReduceMin", "ArgMax", "ArgMin", "TopK", "LogSoftmax",
}  # fmt: skip
"""Of which docs/support.md says so, and what to do where NaN must stay."""


@dataclass
class Outcome:
    """How far a case came."""

    name: str
    stage: str
    """``"unknown"`` (no reference), ``"refused"``, ``"built"``, ``"failed"`` (at run time),
    ``"wrong"``, ``"NaN lost"``, ``"as ONNX Runtime"`` (and not as the reference) or ``"right"``."""
    problem: str = ""
    packed: int = 1
    """How many cases shared the engine."""
    seconds: float = 0.0


def shapes(case: Case) -> dict[str, Any]:
    """The profile of a case with dynamic dimensions: from its own shape up."""
    if case.placement != "dynamic":
        return {}
    return {
        name: (array.shape, array.shape, tuple(2 * d for d in array.shape))
        for name, array in case.feeds.items()
        if array.ndim and array.size
    }


def build(
    proto: onnx.ModelProto, profile: dict[str, Any], feeds: dict[str, Array], library: str
) -> fasttrt.Plan:
    """Build a model; values of shape tensors are those of the feeds.

    Raises:
        fasttrt.Error: where it cannot be built.
    """
    ordinal = default_device()
    found = find(library, ordinal)
    rank_one = {n: a for n, a in feeds.items() if a.ndim <= 1 and a.dtype.kind in "iub"}
    profile = dict(profile)
    if rank_one:
        for name, _, _, _, is_shape in parse_as_stated(found, ordinal, OnnxModel(proto)).inputs():
            if is_shape and name in rank_one:
                profile[name] = [int(value) for value in rank_one[name].ravel()]
    return fasttrt.build(proto, EXACT, shapes=profile or None, library=library, progress=False)


def attempt(cases: list[Case], device: str, library: str = "auto") -> list[Outcome]:
    """The outcome of each of several cases, which share an engine if there are more than one."""
    begin = time.monotonic()
    outcomes = []
    known = []
    for case in cases:
        try:
            known.append((case, expected(case)))
        except Exception as error:
            problem = f"{type(error).__name__}: {error}"[:300]
            outcomes.append(Outcome(case.name, "unknown", problem))
    if known:
        outcomes += _together(known, device, library)
    for outcome in outcomes:
        outcome.seconds = time.monotonic() - begin
    return outcomes


def _together(
    known: list[tuple[Case, dict[str, Array]]], device: str, library: str
) -> list[Outcome]:
    names = [case.name for case, _ in known]

    def all_of(stage: str, problem: str) -> list[Outcome]:
        return [Outcome(name, stage, problem[:600], len(known)) for name in names]

    try:
        proto, feeds, profile = merged([case for case, _ in known])
        plan = build(proto, profile, feeds, library)
    except fasttrt.Error as error:
        return all_of("refused", f"{type(error).__name__}: {error}")
    if device == "cpu":
        return [_of_shapes(plan, index, pair, len(known)) for index, pair in enumerate(known)]
    try:
        with fasttrt.Engine(plan, device=device, library=library, contexts=1) as engine:
            results = engine.infer(feeds)
    except fasttrt.Error as error:
        return all_of("failed", f"{type(error).__name__}: {error}")
    outcomes = []
    for index, (case, right) in enumerate(known):
        prefix = f"c{index}_" if len(known) > 1 else ""
        given = {name: results[prefix + name] for name in right}
        problem = problems(given, right)
        stage = "wrong" if problem else "right"
        if problem == NAN_LOST and case.operator in NAN_LOSING:
            stage = "NaN lost"
        elif problem and _is_as_onnxruntime(case, given):
            stage = "as ONNX Runtime"
        outcomes.append(Outcome(case.name, stage, problem[:600], len(known)))
    return outcomes


def _of_shapes(
    plan: fasttrt.Plan, index: int, pair: tuple[Case, dict[str, Array]], count: int
) -> Outcome:
    """What can be told without a GPU: whether the engine's shapes are as expected."""
    case, right = pair
    prefix = f"c{index}_" if count > 1 else ""
    shapes = {output["name"]: output["shape"] for output in plan.metadata["outputs"]}
    wrong = [
        f"{name}: expected shape {list(array.shape)}, got {shapes[prefix + name]}"
        for name, array in right.items()
        if not _is_of_shape(array, shapes[prefix + name])
    ]
    return Outcome(case.name, "wrong" if wrong else "built", "; ".join(wrong), count)


def _is_of_shape(array: Array, shape: list[int]) -> bool:
    return array.ndim == len(shape) and all(
        b in (-1, a) for a, b in zip(array.shape, shape, strict=True)
    )


def _is_as_onnxruntime(case: Case, given: dict[str, Any]) -> bool:
    try:
        return not problems(given, by_onnxruntime(case.placed("alone")))
    except Exception:
        return False


def merged(cases: list[Case]) -> tuple[onnx.ModelProto, dict[str, Array], dict[str, Any]]:
    """One model of several cases side by side, with its feeds and its profile."""
    if len(cases) == 1:
        (case,) = cases
        return model(case), case.feeds | extra_feeds(case), shapes(case)
    graphs = []
    feeds: dict[str, Array] = {}
    profile: dict[str, Any] = {}
    for index, case in enumerate(cases):
        prefix = f"c{index}_"
        proto = compose.add_prefix(model(case), prefix)
        for value in proto.graph.input:
            for dim in value.type.tensor_type.shape.dim:
                if dim.dim_param:
                    dim.dim_param = prefix + dim.dim_param
        graphs.append(proto.graph)
        feeds |= {prefix + n: a for n, a in (case.feeds | extra_feeds(case)).items()}
        profile |= {prefix + n: s for n, s in shapes(case).items()}
    whole = onnx.helper.make_graph(
        [node for graph in graphs for node in graph.node],
        "cases",
        [value for graph in graphs for value in graph.input],
        [value for graph in graphs for value in graph.output],
        [tensor for graph in graphs for tensor in graph.initializer],
    )
    opsets = [onnx.helper.make_opsetid("", cases[0].opset)]
    return onnx.helper.make_model(whole, opset_imports=opsets, ir_version=10), feeds, profile
