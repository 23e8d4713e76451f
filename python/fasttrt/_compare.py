"""`compare`: an engine's outputs compared with ONNX Runtime's, or another reference's."""

import os
from collections.abc import Callable, Collection, Iterator, Mapping
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
from fasttrt._common.checks import check_mapping, is_integer, refuse, shown
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
    """Compare an engine's outputs with ONNX Runtime's on the CPU, or another reference's.

    An engine on a GPU runs three times with each sample, once with other values in between, and the
    worst run counts: TensorRT-RTX has computed networks right in the first run only.

    If an output fails, the first node at which the two diverge is searched for: intermediate
    tensors are made outputs of copies of the model, and the copies are built and run on both sides,
    about ``log2(nodes)`` times. An engine with more outputs is a different engine, as layers that
    were fused before may no longer be; `Divergence` says what was confirmed. A node with subgraphs
    (If, Loop, Scan) is treated as a whole.

    Args:
        model: an ONNX model: a path, bytes, or a ModelProto.
        inputs: the samples to run. One sample: a mapping from names, an array, or a tuple of
            arrays. Several: an iterable of these. Saved ones: the path of a ``.npz`` (an array for
            each input), of a ``.npy``, or of a folder of such files; pickled objects are rejected.
            None: random ones. A mapping may contain inputs that only ``against`` has.
        engine: the engine to check, if it is not to be built here: an engine, which stays open, or
            a function that creates one from an ONNX model and is called again for each copy.
        against: the reference. None: ONNX Runtime with the same model. Another ONNX model (such as
            the one before a conversion), run by ONNX Runtime; intermediate tensors are compared if
            both have them by the same name. An engine, or a function of arrays in the order of the
            model's inputs (which returns an array, a sequence in the outputs' order, or a mapping);
            these have no intermediate tensors.
        samples: the number of random samples. Their shapes alternate between each profile's opt,
            min and max.
        seed: the seed of random samples; None for a new one, which `Comparison` contains.
        ranges: ``{"input": (min, max)}``, max excluded: the ranges of random values. By default,
            floats are normally distributed with variance 1; integers that are used as indices are
            below the size of the dimension that they index, where the graph determines it; those of
            8 bits or fewer take all values; other integers and booleans are 0 or 1.
        thresholds: what passes, see `Thresholds`; also as a mapping of its fields, or as a mapping
            from outputs' names to either. None: limits that follow from the engine's precision and
            the model's depth, derived in `fasttrt._accuracy.thresholds`.
        bisect: whether to search for the first differing node.
        max_builds: the maximum number of engines to build for the search.
        time_budget: the time in seconds after which the search starts no build.
        options: options of `Engine`: device, shapes, config, library, ... Of these, ``freeze`` and
            ``dims`` may also be used with ``engine``, for a model that was changed for it.

    Returns:
        A verdict for each output, and the first node that differs. Differences raise no error.

    Raises:
        InputError: an argument or an input is invalid.
        ParseError, BuildError, LibraryNotFoundError, ...: see `Engine`.

    Examples:
        >>> comparison = fasttrt.compare("m.onnx", seed=7)
        >>> comparison.passed, comparison.samples
        (True, 4)
    """
    build_options: dict[str, Any] = {**options}
    changes = {n: build_options.pop(n) for n in ("freeze", "dims") if n in build_options}
    if not (engine is None or isinstance(engine, Engine) or callable(engine)):
        refuse("engine", "an engine, or a function that creates one from a model", engine)
    if isinstance(engine, Engine) and build_options:
        raise InputError(
            "engine: an engine takes no options of a build, got "
            f"{', '.join(sorted(build_options))} too"
        )
    if engine is not None and build_options:
        raise InputError(
            "engine: pass options to the function that creates the engine, got "
            f"{', '.join(sorted(build_options))} too"
        )
    source = transformed(OnnxModel(model), **changes)
    # Before the build, which may take long.
    _check(samples, seed, bisect, max_builds, time_budget, ranges, thresholds, source)
    expected = _reference(against, source, changes.get("freeze"))
    with ExitStack() as stack:
        if isinstance(engine, Engine):
            make: Callable[[Any], Engine] | None = None
            candidate = engine
        elif engine is None:

            def make(proto: Any) -> Engine:
                # The copies are used once, and have the changes already.
                extra = changes if proto is model else {"cache": False, "advise": False}
                return Engine(proto, **(build_options | extra))

            candidate = stack.enter_context(make(model))
        else:
            make = _checked(engine)
            candidate = stack.enter_context(make(self_contained(source)))
        comparison = compare_runners(
            _runner(candidate), expected, source, inputs,
            make=_make_runner(make) if bisect and make is not None else None, samples=samples,
            seed=seed, ranges=ranges, thresholds=thresholds, max_builds=max_builds,
            time_budget=time_budget,
        )  # fmt: skip
    if bisect and make is None and not comparison.passed:
        note = (
            "the first differing node was not searched for: that requires a function for engine=, "
            "which creates one from a model"
        )
        return replace(comparison, note=note)
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
    """Check the arguments that nothing else checks before the build."""
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
    check_mapping("ranges", ranges, "(min, max) by input name")
    parse_thresholds(thresholds, [tensor.name for tensor in model.outputs])


def _checked(create: Callable[[Any], Any]) -> Callable[[Any], Engine]:
    """Check that a function of the caller's creates engines, whenever it is called."""

    def make(proto: Any) -> Engine:
        engine = create(proto)
        if not isinstance(engine, Engine):
            raise InputError(
                "engine: expected a function that returns an engine, got one that returns "
                f"{shown(engine)}"
            )
        return engine

    return make


def _make_runner(make: Callable[[Any], Engine]) -> MakeRunner:
    @contextmanager
    def open_runner(proto: Any) -> Iterator[Runner]:
        with make(proto) as engine:
            yield _runner(engine)

    return open_runner


def _runner(engine: Engine) -> Runner:
    """Wrap an engine as a runner."""
    backend = backend_of(engine)
    if engine.device == "cpu":
        return Runner("cpu (ONNX Runtime)", backend, False)
    return Runner(gpu_label(engine.device, backend.metadata), backend, True)


class _EngineReference:
    """An engine as the reference."""

    model = None

    def __init__(self, engine: Engine) -> None:
        self._runner = _runner(engine)
        self.label = self._runner.label
        self.inputs: Collection[str] = [spec.name for spec in engine.inputs]

    def run(self, feeds: Named) -> Mapping[str, Array]:
        """Run the engine, and return the outputs by name."""
        return self._runner.run(feeds, widen=True)


def _reference(
    against: "Against | None", model: OnnxModel, freeze: Freeze | None = None
) -> Reference:
    """Return the reference for ``against``; None is ONNX Runtime with the same model.

    The frozen inputs are frozen in another model, too, if it has them.
    """
    if against is None:
        return OnnxReference(model)
    if isinstance(against, Engine):
        return _EngineReference(against)
    if callable(against) and not isinstance(against, os.PathLike):
        return FunctionReference(against, model)
    other = OnnxModel(against, name="against")
    names = {tensor.name for tensor in other.inputs}
    frozen = {name: value for name, value in (freeze or {}).items() if name in names}
    return OnnxReference(transformed(other, frozen))
