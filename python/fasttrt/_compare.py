"""`compare`: an engine's answers compared with ONNX Runtime's, or another reference's."""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from numbers import Real
from typing import TYPE_CHECKING, Any, TypeAlias

from fasttrt._accuracy.comparison import Comparison
from fasttrt._accuracy.dataflow import self_contained
from fasttrt._accuracy.divergence import MakeRunner
from fasttrt._accuracy.evaluate import compare_runners
from fasttrt._accuracy.random_inputs import Ranges
from fasttrt._accuracy.runners import (
    FunctionReference,
    Named,
    OnnxReference,
    Reference,
    Runner,
    gpu_label,
)
from fasttrt._accuracy.thresholds import ThresholdsLike, parse_thresholds
from fasttrt._common.checks import check_mapping, is_integer, refuse
from fasttrt._common.host_array import Array
from fasttrt._engine.engine import Engine, backend_of
from fasttrt._graph.model import OnnxModel
from fasttrt._graph.transforms import Freeze, transformed
from fasttrt._runtime.samples import Inputs
from fasttrt.errors import InputError

if TYPE_CHECKING:
    import onnx
    from typing_extensions import Unpack

    from fasttrt._engine.engine_options import EngineOptions

_MAX_SAMPLES = 1_000_000

Against: TypeAlias = (
    "Engine | Callable[..., Any] | str | os.PathLike[str] | bytes | onnx.ModelProto"
)
"""An engine, a function of arrays in the order of the model's inputs, or another ONNX model."""


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
    **options: "Unpack[EngineOptions]",
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
            depth, derived in `fasttrt._accuracy.thresholds`.
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
    build_options: dict[str, Any] = {**options}
    changes = {n: build_options.pop(n) for n in ("freeze", "dims") if n in build_options}
    if isinstance(engine, Engine) and build_options:
        raise InputError(
            "engine: an engine takes no options of a build, got "
            f"{', '.join(sorted(build_options))} too"
        )
    if engine is not None and build_options:
        raise InputError(
            "engine: a function that makes the engine is what takes its options, got "
            f"{', '.join(sorted(build_options))} too"
        )
    source = transformed(OnnxModel(model), **changes)
    # Before a build, which may take long.
    _check(samples, seed, bisect, max_builds, time_budget, ranges, thresholds, source)
    expected = _reference(against, source, changes.get("freeze"))
    with ExitStack() as stack:
        if isinstance(engine, Engine):
            make: Callable[[Any], Engine] | None = None
            candidate = engine
        elif engine is None:

            def make(proto: Any) -> Engine:
                # Nobody wants the copies again, and they are of the changed model.
                kept = changes if proto is model else {"cache": False, "advise": False}
                return Engine(proto, **(build_options | kept))

            candidate = stack.enter_context(make(model))
        else:
            make = engine
            candidate = stack.enter_context(make(self_contained(source)))
        comparison = compare_runners(
            _runner(candidate), expected, source, inputs,
            make=_make_runner(make) if bisect and make is not None else None, samples=samples,
            seed=seed, ranges=ranges, thresholds=thresholds, max_builds=max_builds,
            time_budget=time_budget,
        )  # fmt: skip
    if bisect and make is None and not comparison.passed:
        why = (
            "no node was looked for: that takes a function for engine=, which makes one of a model"
        )
        return replace(comparison, note=why)
    return comparison


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
    if not is_integer(samples, 1, _MAX_SAMPLES):
        refuse("samples", f"an integer from 1 to {_MAX_SAMPLES}", samples)
    if not (seed is None or is_integer(seed, 0)):
        refuse("seed", "an integer >= 0 or None", seed)
    if not isinstance(bisect, bool):
        refuse("bisect", "True or False", bisect)
    if not is_integer(max_builds, 0):
        refuse("max_builds", "an integer >= 0", max_builds)
    if not (isinstance(time_budget, Real) and float(time_budget) >= 0):
        refuse("time_budget", "seconds >= 0", time_budget)
    check_mapping("ranges", ranges, "(least, most) by input name")
    parse_thresholds(thresholds, [tensor.name for tensor in model.outputs])


def _make_runner(make: Callable[[Any], Engine]) -> MakeRunner:
    @contextmanager
    def opened(proto: Any) -> Iterator[Runner]:
        with make(proto) as engine:
            yield _runner(engine)

    return opened


def _runner(engine: Engine) -> Runner:
    """Give an engine as a comparison sees it."""
    backend = backend_of(engine)
    if engine.device == "cpu":
        return Runner("cpu (ONNX Runtime)", backend, False)
    return Runner(gpu_label(engine.device, backend.metadata), backend, True)


class _EngineReference:
    """Another engine."""

    model = None

    def __init__(self, engine: Engine) -> None:
        self._runner = _runner(engine)
        self.label = self._runner.label

    def run(self, feeds: Named) -> Mapping[str, Array]:
        """Run it, and give the outputs by name."""
        return self._runner.run(feeds, widen=True)


def _reference(
    against: "Against | None", model: OnnxModel, freeze: Freeze | None = None
) -> Reference:
    """Give the reference that ``against`` means; None is ONNX Runtime with the same model.

    Of another model those inputs are frozen as well that it has.
    """
    if against is None:
        return OnnxReference(model)
    if isinstance(against, Engine):
        return _EngineReference(against)
    if callable(against) and not isinstance(against, os.PathLike):
        return FunctionReference(against, model)
    other = OnnxModel(against)
    names = {tensor.name for tensor in other.inputs}
    frozen = {name: value for name, value in (freeze or {}).items() if name in names}
    return OnnxReference(transformed(other, frozen))
