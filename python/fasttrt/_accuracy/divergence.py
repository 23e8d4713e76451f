"""Search for the node at which two runners diverge, in copies of the model with more outputs."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, TypeAlias

from fasttrt._accuracy.bisection import Bisection, Divergence
from fasttrt._accuracy.comparison import Comparison
from fasttrt._accuracy.dataflow import self_contained, tensor_types, with_outputs
from fasttrt._accuracy.metrics import OutputComparison, combine
from fasttrt._accuracy.repeated_runs import measure_worst, run_repeatedly
from fasttrt._accuracy.runners import OnnxReference, Reference, Runner
from fasttrt._accuracy.thresholds import Judge
from fasttrt._common.host_array import Array
from fasttrt._graph.model import OnnxModel

MakeRunner: TypeAlias = Callable[[Any], AbstractContextManager[Runner]]
"""A function that opens a runner for an ONNX model, as a context manager."""


def find_divergence(
    comparison: Comparison,
    reference: Reference,
    model: OnnxModel,
    judge: Judge,
    feeds: dict[str, Array],
    make: MakeRunner,
    max_builds: int,
    time_budget: float,
) -> tuple[Divergence | None, str]:
    """Return the first node that differs, or why it is unknown."""
    if reference.model is None:
        note = f"{reference.label} has no intermediate tensors"
        return None, f"the first differing node was not searched for: {note}"
    try:
        ours, theirs = self_contained(model), self_contained(reference.model)
        types, their_types = tensor_types(ours), tensor_types(theirs)
    except Exception as error:  # ONNX Runtime's, whose classes it does not export, and ours
        return (
            None,
            f"the first differing node was not searched for: tensor types are unknown: {error}",
        )

    def probe(names: Sequence[str]) -> Mapping[str, OutputComparison]:
        with make(with_outputs(ours, names, types)) as runner:
            runs = run_repeatedly(runner, feeds)
        copy = OnnxModel(with_outputs(theirs, names, their_types))
        expected = OnnxReference(copy).run(feeds)
        found = {}
        for name in names:
            limits = judge.limits(name)
            worst = measure_worst([run[name] for run in runs], expected[name], limits)
            found[name] = combine(name, limits, [worst])
        return found

    failed = {output.name: output for output in comparison.outputs if not output.passed}
    bisection = Bisection(
        judge.graph, probe, frozenset(types) & frozenset(their_types), max_builds, time_budget
    )
    found = bisection.find(failed)
    if found:
        return found, ""
    return None, "no node is at fault: the differing output is a graph input or an initializer"
