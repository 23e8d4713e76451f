"""`compare`: an engine's answers held against a reference's."""

import os
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

from fasttrt._checks import check_mapping, refuse
from fasttrt._samples import Inputs, given_samples
from fasttrt.comparing.comparison import Comparison
from fasttrt.comparing.drawing import Drawing, Ranges
from fasttrt.comparing.graphs import self_contained
from fasttrt.comparing.metrics import Array, Sample, combine, measure
from fasttrt.comparing.searching import Make, search
from fasttrt.comparing.subjects import Against, Reference, Subject, reference, subject
from fasttrt.comparing.thresholds import Judge, ThresholdsLike, parse_thresholds
from fasttrt.errors import InputError
from fasttrt.model import OnnxModel
from fasttrt.transforms import transformed

if TYPE_CHECKING:
    import onnx

    from fasttrt.engine import Engine


_MOST_SAMPLES = 1_000_000


def compare(
    model: "str | os.PathLike[str] | bytes | onnx.ModelProto",
    inputs: "Inputs | None" = None,
    *,
    engine: "Engine | Callable[[onnx.ModelProto], Engine] | None" = None,
    against: "Against | None" = None,
    samples: int = 4,
    seed: int | None = None,
    ranges: Ranges | None = None,
    thresholds: ThresholdsLike | None = None,
    bisect: bool = True,
    max_builds: int = 24,
    time_budget: float = 300.0,
    **options: Any,
) -> Comparison:
    """Hold an engine's answers against ONNX Runtime's on the CPU, or another reference's.

    Where an output fails, the first node of the model at which the two part is looked for:
    tensors within are made outputs of copies of the model, and the copies are built and run on
    both sides, about ``log2(nodes)`` times. An engine with more outputs is another engine, as
    layers that were fused before may no longer be; `Divergence` says what was confirmed. A node
    with subgraphs (If, Loop, Scan) counts as a whole.

    Args:
        model: an ONNX model: a path, bytes, or a ModelProto.
        inputs: what to run. One sample: a mapping from names, an array, or a tuple of arrays.
            Several: an iterable of these. Saved ones: the path of a ``.npz`` (an array for each
            input), of a ``.npy``, or of a folder of such files; pickled objects are refused. None:
            random ones. A mapping may hold more than the engine takes, for ``against``.
        engine: what to judge, if it is not to be built here: an engine, which is left open, or a
            function that makes one of an ONNX model and is called again for each copy.
        against: the reference. None: ONNX Runtime with the same model. Another ONNX model (as
            before a conversion), run by ONNX Runtime; tensors within are compared where both have
            them by one name. An engine, or a function of arrays in the order of the model's inputs
            (which gives an array, a sequence in the outputs' order, or a mapping): no tensors
            within can be had of these.
        samples: how many random ones. They take turns in the extents of each profile's opt, min
            and max.
        seed: of the random ones; None: a new one. `Comparison` tells it.
        ranges: ``{"input": (least, most)}``, most excluded: where random values come from.
            Else floats are normally distributed, with variance 1; integers that are used as indices
            stay below the extent of what they are looked up in, where the graph tells it; those of
            8 bits and less take all values; other integers and booleans are 0 or 1.
        thresholds: what passes, see `Thresholds`, also as a mapping of its fields, or of outputs'
            names to such. None: limits that follow from the engine's precision and the model's
            depth, derived in `fasttrt.comparing.thresholds`.
        bisect: whether to look for the node.
        max_builds: at most so many engines are built to find it.
        time_budget: and none is begun after so many seconds.
        options: of `Engine`: device, shapes, config, library, ... Of these ``freeze`` and ``dims``
            may come with ``engine``, too, for a model that was changed for it.

    Returns:
        A verdict for each output, and the first node that differs. Nothing is raised if they do.

    Raises:
        InputError: an argument or an input does not fit.
        ParseError, BuildError, LibraryNotFoundError, ...: see `Engine`.
    """
    from fasttrt.engine import Engine

    changes = {name: options.pop(name) for name in ("freeze", "dims") if name in options}
    if isinstance(engine, Engine) and options:
        raise InputError(
            f"engine: an engine takes no options of a build, got {', '.join(sorted(options))} too"
        )
    if engine is not None and options:
        raise InputError(
            "engine: a function that makes the engine is what takes its options, got "
            f"{', '.join(sorted(options))} too"
        )
    source = transformed(OnnxModel(model), **changes)
    # Before a build, which may take long.
    _check(samples, seed, bisect, max_builds, time_budget, ranges, thresholds, source)
    held = reference(against, source, changes.get("freeze"))
    with ExitStack() as stack:
        if isinstance(engine, Engine):
            make: Make | None = None
            judged = engine
        elif engine is None:

            def make(proto: Any) -> Engine:
                # Nobody wants the copies again, and they are of the changed model.
                kept = changes if proto is model else {"cache": False, "advise": False}
                return Engine(proto, **(options | kept))

            judged = stack.enter_context(make(model))
        else:
            make = engine
            judged = stack.enter_context(make(self_contained(source)))
        comparison = held_against(
            subject(judged), held, source, inputs, make=make if bisect else None, samples=samples,
            seed=seed, ranges=ranges, thresholds=thresholds, max_builds=max_builds,
            time_budget=time_budget,
        )  # fmt: skip
    if bisect and make is None and not comparison.passed:
        why = (
            "no node was looked for: that takes a function for engine=, which makes one of a model"
        )
        return replace(comparison, note=why)
    return comparison


def held_against(
    judged: Subject,
    held: Reference,
    model: OnnxModel,
    inputs: "Inputs | None" = None,
    *,
    make: Make | None = None,
    samples: int = 4,
    seed: int | None = None,
    ranges: Ranges | None = None,
    thresholds: ThresholdsLike | None = None,
    max_builds: int = 24,
    time_budget: float = 300.0,
) -> Comparison:
    """`compare` for an engine and a reference that are there; ``make`` is None for no bisection."""
    judge = Judge(model, judged.precision, thresholds)
    specs = judged.backend.inputs
    drawing = None
    if inputs is None:
        seed = secrets.randbits(32) if seed is None else seed
        drawing = Drawing(specs, model, ranges, seed)
        fed: Iterator[dict[str, Array]] = drawing.samples(samples)
    else:
        if ranges is not None:
            raise InputError("ranges: is for random inputs, but inputs are given")
        seed, fed = None, given_samples(inputs, specs)
    names = [spec.name for spec in judged.backend.outputs]
    found: dict[str, list[Sample]] = {name: [] for name in names}
    telling = _Telling(judge)
    failing: dict[str, Array] | None = None
    shapes: dict[str, list[tuple[int, ...]]] = {}
    for feeds in fed:
        for name, array in feeds.items():
            shapes.setdefault(name, []).append(array.shape)
        results = _run_both(judged, held, feeds, drawn=drawing is not None)
        for name in names:
            measured = measure(*results[name], judge.limits(name))
            found[name].append(measured)
            telling.note(name, feeds, results[name][1])
            if failing is None and measured.failed(judge.limits(name)):
                failing = {name: array.copy() for name, array in feeds.items()}
    if not all(found.values()):
        raise InputError("inputs: expected at least one sample, got none")
    described = {spec.name: drawing.described(spec) for spec in specs} if drawing else {}
    comparison = Comparison(
        outputs=tuple(
            combine(
                spec.name,
                judge.limits(spec.name),
                found[spec.name],
                telling.found.get(spec.name),
                must_hold=judge.must_hold(spec.name, spec.shape),
            )
            for spec in judged.backend.outputs
        ),
        samples=len(found[names[0]]),
        inputs={
            name: f"{_listed(seen)} {described.get(name, 'given')}" for name, seen in shapes.items()
        },
        seed=seed,
        engine=judged.label,
        reference=held.label,
        precision=judge.precision,
    )
    if comparison.passed or failing is None or make is None:
        return comparison
    divergence, note = search(
        comparison, held, model, judge, failing, make, max_builds, time_budget
    )
    return replace(comparison, divergence=divergence, note=note)


def _is_integer(value: object) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def _check(
    samples: int,
    seed: int | None,
    bisect: bool,
    max_builds: int,
    time_budget: float,
    ranges: Ranges | None,
    thresholds: ThresholdsLike | None,
    model: OnnxModel,
) -> None:
    """Check what nothing else checks before the build."""
    if not (_is_integer(samples) and 1 <= samples <= _MOST_SAMPLES):
        refuse("samples", f"an integer from 1 to {_MOST_SAMPLES}", samples)
    if not (seed is None or (_is_integer(seed) and seed >= 0)):
        refuse("seed", "an integer >= 0 or None", seed)
    if not isinstance(bisect, bool):
        refuse("bisect", "True or False", bisect)
    if not (_is_integer(max_builds) and max_builds >= 0):
        refuse("max_builds", "an integer >= 0", max_builds)
    if not (isinstance(time_budget, Real) and float(time_budget) >= 0):
        refuse("time_budget", "seconds >= 0", time_budget)
    check_mapping("ranges", ranges, "(least, most) by input name")
    parse_thresholds(thresholds, [tensor.name for tensor in model.outputs])


def _run_both(
    judged: Subject, held: Reference, feeds: dict[str, Array], *, drawn: bool
) -> dict[str, tuple[Array, Array]]:
    """Each output of the engine, with the reference's."""
    # The reference comes first: ONNX Runtime checks indices, TensorRT reads past the end.
    try:
        expected = held.run(feeds)
    except InputError as error:
        if not drawn:
            raise
        raise InputError(
            f"{error}\nThe inputs were drawn at random. Give ranges={{name: (least, most)}}, or "
            "inputs= of your own"
        ) from error
    actual = judged.run(feeds)
    if missing := actual.keys() - expected.keys():
        raise InputError(
            f"against: expected outputs {', '.join(actual)}, the reference lacks "
            f"{', '.join(sorted(missing))}"
        )
    return {name: (array, expected[name]) for name, array in actual.items()}


class _Telling:
    """Whether answers depend on the inputs by more than the limits."""

    def __init__(self, judge: Judge) -> None:
        self.found: dict[str, bool] = {}
        self._judge = judge
        self._first: dict[tuple[str, object], Array] = {}

    def note(self, name: str, feeds: dict[str, Array], expected: Array) -> None:
        """Compare the reference's answer with its first one to inputs of the same shapes."""
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
