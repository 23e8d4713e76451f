"""The node where two sides part, looked for in copies of the model with more outputs."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from fasttrt.comparing.bisection import Bisection, Divergence
from fasttrt.comparing.comparison import Comparison
from fasttrt.comparing.graphs import self_contained, tensor_types, with_outputs
from fasttrt.comparing.metrics import Array, OutputComparison, combine, measure
from fasttrt.comparing.subjects import OnnxReference, Reference, subject
from fasttrt.comparing.thresholds import Judge
from fasttrt.model import OnnxModel

if TYPE_CHECKING:
    from fasttrt.engine import Engine

Make: TypeAlias = Callable[[Any], "Engine"]
"""Makes an engine of an ONNX model."""


def search(
    comparison: Comparison,
    held: Reference,
    model: OnnxModel,
    judge: Judge,
    feeds: dict[str, Array],
    make: Make,
    max_builds: int,
    time_budget: float,
) -> tuple[Divergence | None, str]:
    """The first node that differs, or why none is known."""
    if held.model is None:
        return None, f"no node was looked for: {held.label} gives no tensors from within"
    try:
        ours, theirs = self_contained(model), self_contained(held.model)
        types, their_types = tensor_types(ours), tensor_types(theirs)
    except Exception as error:  # ONNX Runtime's, whose classes it does not export, and ours
        return None, f"no node was looked for: the types of the tensors are not known: {error}"

    def probe(names: Sequence[str]) -> Mapping[str, OutputComparison]:
        with make(with_outputs(ours, names, types)) as engine:
            actual = subject(engine).run(feeds)
        copy = OnnxModel(with_outputs(theirs, names, their_types))
        expected = OnnxReference(copy).run(feeds)
        found = {}
        for name in names:
            limits = judge.limits(name)
            found[name] = combine(name, limits, [measure(actual[name], expected[name], limits)])
        return found

    failed = {output.name: output for output in comparison.outputs if not output.passed}
    bisection = Bisection(
        judge.graph, probe, frozenset(types) & frozenset(their_types), max_builds, time_budget
    )
    found = bisection.find(failed)
    return found, "" if found else "no node makes what differs: an output is an input or a weight"
