"""Sweeps: each model in each precision, with all contexts, batch sizes and threads."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from fasttrt._bench.inputs import draw, network_inputs, onnx_model, shapes_for
from fasttrt._bench.measurement import LATENCY, TERMS, WALL, Budget, Case, measure
from fasttrt._common.tables import Column, Row, number, render, wrap
from fasttrt._common.tensor_spec import Range
from fasttrt._engine.engine import Engine
from fasttrt._plan.plan_file import Plan
from fasttrt._plan.profiles import NetworkInput, check_profile
from fasttrt._precision.engine_check import check_plan
from fasttrt.errors import InputError

_ON_CPU = (
    "ONNX Runtime ran these on the CPU: precision and contexts have no effect there, and only "
    f"{WALL} is measured"
)
_STATISTICS = ("min", "max", "mean", "median", "90 %", "95 %", "99 %")


def sweep(
    models: Sequence[Path], *, precisions: Sequence[str | None], batches: Sequence[int],
    contexts: Sequence[int], concurrency: Sequence[int], options: dict[str, Any], budget: Budget,
    seed: int,
) -> Iterator[Case]:  # fmt: skip
    """Measure every combination, one engine at a time.

    Args:
        models: ONNX models or plans.
        precisions: the precisions; None for that of ``options``.
        batches: the batch sizes; empty for the shapes that the engine is optimized for.
        contexts: the numbers of contexts.
        concurrency: the numbers of calling threads.
        options: other options of `Engine`.
        budget: how long to measure.
        seed: the seed of the inputs' values.

    Raises:
        InputError: the model does not support a batch size, or options contradict each other.
        Error: as `Engine`.
    """
    for path in models:
        model = onnx_model(path, options)
        given = dict(options)
        if model is not None and "shapes" not in given and batches:
            given["shapes"] = shapes_for(model, batches)
        for precision in precisions:
            if precision is not None:
                given["precision"] = precision
            for count in contexts:
                with Engine(path, **given | {"contexts": count}) as engine:
                    for batch in batches or (None,):
                        inputs = draw(engine, model, batch, seed)
                        for threads in concurrency:
                            yield measure(
                                engine, inputs, budget, model=str(path),
                                precision=given.get("precision") or "as stated",
                                contexts=count, concurrency=threads,
                                wait=given.get("wait", "auto"),
                            )  # fmt: skip


def check(
    models: Sequence[Path], batches: Sequence[int], precisions: Sequence[str | None],
    options: dict[str, Any],
) -> None:  # fmt: skip
    """Check all models, and that the options match them, before anything is built.

    Raises:
        InputError: a model does not support a shape, a batch size or a precision; the message names
            the model.
        ParseError, EngineLoadError: a file is not a model, or not a plan.
    """
    if "," in options.get("device", ""):
        raise InputError(f"device: expected one GPU or the CPU, got {options['device']!r}")
    for path in models:
        model = onnx_model(path, options)
        if model is None:
            plan = Plan.load(path)
            for precision in precisions:
                check_plan(plan, precision)
            if options.get("freeze") or options.get("dims"):
                raise InputError(f"freeze and dims modify ONNX models; {path} is a plan")
            continue
        # TensorRT may treat the others as shape tensors, for which profiles give values.
        inputs = [t for t in network_inputs(model) if len(t.shape) > 1 or "int" not in t.dtype]
        names = {tensor.name for tensor in model.inputs} - {tensor.name for tensor in inputs}
        given = {k: v for k, v in (options.get("shapes") or {}).items() if k not in names}
        ranges = check_profile(inputs, given) if given else shapes_for(model, batches) or {}
        for tensor in inputs:
            _check_batches(path, tensor, ranges.get(tensor.name), batches)


def _check_batches(
    path: Path, tensor: NetworkInput, built_for: Range | None, batches: Sequence[int]
) -> None:
    min_, _, max_ = built_for or (tensor.shape,) * 3
    for batch in batches:
        if tensor.shape and min_[0] >= 0 and not min_[0] <= batch <= max_[0]:
            limits = str(min_[0]) if min_[0] == max_[0] else f"{min_[0]} to {max_[0]}"
            raise InputError(
                f"batch: {tensor.name} expected {limits}, got {batch} (in {path.name})"
            )


def table(cases: Sequence[Case], width: int | None = None) -> list[str]:
    """Format a table in trtexec's terms: each case with its conditions, and a row for each term."""
    columns = [Column("times in us"), *map(number, _STATISTICS)]
    rows: list[Row] = []
    for case in cases:
        shown = "" if case.throughput is None else f"Throughput {case.throughput:.1f} qps, "
        rows += [
            _titled(case),
            f"  {shown}infer() {case.rate:.1f} calls/s; transfers yes, CUDA graph "
            f"{case.cuda_graph}, wait {case.wait}",
        ]
        for term in (LATENCY, *TERMS.values(), WALL):
            if (stats := case.times.get(term)) is not None:
                rows.append([f"  {term}", *map(_microseconds, stats[1:])])
    lines = render(columns, rows, width)
    if any(case.device == "cpu" for case in cases):
        lines += wrap([_ON_CPU], width)
    return lines


def _microseconds(value: float) -> str:
    """Format a time with tenths only below 10 ms, so that a row fits into 80 columns."""
    return f"{value:.1f}" if value < 10_000 else f"{value:.0f}"


def check_swept(*axes: Sequence[int]) -> None:
    """Raise an InputError unless one of the axes has several values."""
    if all(len(set(values)) < 2 for values in axes):
        raise InputError("--plot: expected several values of --batch, --concurrency or --contexts")


def plotted(cases: Sequence[Case]) -> tuple[dict[str, list[tuple[float, float]]], str]:
    """Return lines of the median wall time over the swept option, and that option's name.

    Raises:
        InputError: no option was swept.
    """
    for axis in ("batch", "concurrency", "contexts"):
        values = {getattr(case, axis) for case in cases}
        if len(values) > 1 and None not in values:
            lines: dict[str, list[tuple[float, float]]] = {}
            for case in cases:
                point = (float(getattr(case, axis)), case.times[WALL].median)
                lines.setdefault(_titled(case, but=axis), []).append(point)
            return lines, axis
    raise InputError("--plot: expected several values of --batch, --concurrency or --contexts")


def _titled(case: Case, but: str = "") -> str:
    parts = [case.model, case.precision]
    for name in ("batch", "contexts", "concurrency"):
        if name != but and getattr(case, name) is not None:
            parts.append(f"{name} {getattr(case, name)}")
    return ", ".join(parts)
