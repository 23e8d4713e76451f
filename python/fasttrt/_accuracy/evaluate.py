"""Compare a runner's outputs with a reference's."""

import secrets
from collections.abc import Iterator, Sequence
from dataclasses import replace

from fasttrt._accuracy.comparison import Comparison
from fasttrt._accuracy.divergence import MakeRunner, find_divergence
from fasttrt._accuracy.metrics import Sample, combine, measure
from fasttrt._accuracy.random_inputs import InputGenerator, Ranges
from fasttrt._accuracy.repeated_runs import measure_worst, run_repeatedly
from fasttrt._accuracy.runners import Reference, Runner
from fasttrt._accuracy.thresholds import Judge, ThresholdsLike
from fasttrt._common.host_array import Array
from fasttrt._graph.model import OnnxModel
from fasttrt._runtime.samples import Inputs, given_samples
from fasttrt.errors import InputError


def compare_runners(
    candidate: Runner,
    reference: Reference,
    model: OnnxModel,
    inputs: "Inputs | None" = None,
    *,
    make: MakeRunner | None = None,
    samples: int = 4,
    seed: int | None = None,
    ranges: Ranges | None = None,
    thresholds: ThresholdsLike | None = None,
    max_builds: int = 24,
    time_budget: float = 300.0,
) -> Comparison:
    """Compare a runner with a reference; ``make`` is None for no bisection. See `compare`."""
    judge = Judge(model, candidate.precision, thresholds)
    specs = candidate.backend.inputs
    generator = None
    if inputs is None:
        seed = secrets.randbits(32) if seed is None else seed
        generator = InputGenerator(specs, model, ranges, seed)
        fed: Iterator[dict[str, Array]] = generator.samples(samples)
    else:
        if ranges is not None:
            raise InputError("ranges: only for random inputs, not with inputs=")
        if seed is not None:
            raise InputError("seed: only for random inputs, not with inputs=")
        fed = given_samples(inputs, specs, reference.inputs)
    names = [spec.name for spec in candidate.backend.outputs]
    found: dict[str, list[Sample]] = {name: [] for name in names}
    sensitivity = _InputSensitivity(judge)
    failing: dict[str, Array] | None = None
    shapes: dict[str, list[tuple[int, ...]]] = {}
    for feeds in fed:
        for name, array in feeds.items():
            shapes.setdefault(name, []).append(array.shape)
        results = _run_both(candidate, reference, feeds, drawn=generator is not None)
        for name in names:
            measured = measure_worst(*results[name], judge.limits(name))
            found[name].append(measured)
            sensitivity.note(name, feeds, results[name][1])
            if failing is None and measured.failed(judge.limits(name)):
                failing = {name: array.copy() for name, array in feeds.items()}
    if not all(found.values()):
        raise InputError("inputs: expected at least one sample, got none")
    descriptions = {spec.name: generator.describe(spec) for spec in specs} if generator else {}
    comparison = Comparison(
        outputs=tuple(
            combine(
                spec.name,
                judge.limits(spec.name),
                found[spec.name],
                sensitivity.found.get(spec.name),
                must_hold=judge.must_hold(spec.name, spec.shape),
            )
            for spec in candidate.backend.outputs
        ),
        samples=len(found[names[0]]),
        inputs={
            name: f"{_listed(seen)} {descriptions.get(name, 'given')}"
            for name, seen in shapes.items()
        },
        seed=seed,
        engine=candidate.label,
        reference=reference.label,
        precision=judge.precision,
    )
    if comparison.passed or failing is None or make is None:
        return comparison
    divergence, note = find_divergence(
        comparison, reference, model, judge, failing, make, max_builds, time_budget
    )
    return replace(comparison, divergence=divergence, note=note)


def _run_both(
    candidate: Runner, reference: Reference, feeds: dict[str, Array], *, drawn: bool
) -> dict[str, tuple[list[Array], Array]]:
    """Run both sides, and return each output of all runs of the engine with the reference's."""
    # The reference runs first: ONNX Runtime checks indices, TensorRT reads out of bounds.
    try:
        expected = reference.run(feeds)
    except InputError as error:
        if not drawn:
            raise
        raise InputError(
            f"{error}\nThe inputs are random. Pass ranges={{name: (min, max)}}, or your own inputs="
        ) from error
    runs = run_repeatedly(candidate, feeds)
    names = runs[0]
    if missing := names.keys() - expected.keys():
        raise InputError(
            f"against: expected outputs {', '.join(names)}, but the reference lacks "
            f"{', '.join(sorted(missing))}"
        )
    return {name: ([run[name] for run in runs], expected[name]) for name in names}


class _InputSensitivity:
    """Determine whether outputs depend on the inputs by more than the limits."""

    def __init__(self, judge: Judge) -> None:
        self.found: dict[str, bool] = {}
        self._judge = judge
        self._first: dict[tuple[str, object], Array] = {}

    def note(self, name: str, feeds: dict[str, Array], expected: Array) -> None:
        """Compare the reference's output with its first one for inputs of the same shapes."""
        shapes = tuple((given, array.shape) for given, array in feeds.items())
        first = self._first.setdefault((name, shapes), expected)
        if first is not expected:
            limits = self._judge.limits(name)
            differs = measure(expected, first, limits).failed(limits)
            self.found[name] = self.found.get(name, False) or differs


def _listed(shapes: Sequence[tuple[int, ...]]) -> str:
    distinct = list(dict.fromkeys(shapes))
    listed = ", ".join("x".join(map(str, shape)) or "scalar" for shape in distinct[:3])
    return listed + (", ..." if len(distinct) > 3 else "")
