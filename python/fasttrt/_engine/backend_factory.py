"""Opening a backend for a model or a plan: choosing the device, and building if necessary."""

import os
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from fasttrt import _core
from fasttrt._cache.cached_build import PlanSource, cached_build
from fasttrt._cache.folder import parse_cache
from fasttrt._common.checks import is_one_of, refuse
from fasttrt._common.log import logger
from fasttrt._common.progress import ProgressCallback
from fasttrt._engine.observation import OBSERVED, Observation
from fasttrt._engine.warmup import is_wanted, tuned_sizes, warm_up
from fasttrt._graph.model import OnnxModel
from fasttrt._graph.transforms import Dims, Freeze, transformed
from fasttrt._library.device import Device, capability, gpu_model, is_auto, parse_devices
from fasttrt._library.discovery import find
from fasttrt._library.plugins import Plugins
from fasttrt._plan.build_config import BuildConfig
from fasttrt._plan.compatibility import carries_host_code
from fasttrt._plan.plan_file import Bytes, Plan, is_plan, is_plan_file
from fasttrt._plan.profiles import Shapes
from fasttrt._plan.tuned import BatchSizes, Request
from fasttrt._precision.engine_check import check_plan, confirm
from fasttrt._runtime.backend import Backend, close_all
from fasttrt._runtime.batching import Batching
from fasttrt._runtime.observing_backend import ObservingBackend
from fasttrt._runtime.reference_backend import ReferenceBackend
from fasttrt._runtime.replicated_backend import ReplicatedBackend
from fasttrt._runtime.tensorrt_backend import TensorRTBackend, family_for
from fasttrt.errors import (
    EngineLoadError,
    InputError,
    LibraryNotFoundError,
    MissingPackageError,
    UnsupportedLibraryError,
)

if TYPE_CHECKING:
    import onnx

    from fasttrt._accuracy.verification import Verify

_warned: set[str] = set()


@dataclass(frozen=True)
class RunOptions:
    """How a GPU runs the engine; the names are those of the arguments of `Engine`."""

    contexts: int
    specialization: Literal["auto", "eager", "lazy", "none"]
    cuda_graph: Literal["auto", True, False]
    wait: Literal["auto", "spin", "yield", "block"]
    batching: Batching | None
    weights: OnnxModel | None = None
    weight_streaming_budget: int | None = None
    plugins: tuple[str | os.PathLike[str], ...] = ()

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            InputError: a value is out of range.
        """
        contexts, graph, batching = self.contexts, self.cuda_graph, self.batching
        self._check(
            "contexts",
            type(contexts) is int and 1 <= contexts <= 1024,
            "an integer from 1 to 1024",
        )
        kinds = ("auto", "eager", "lazy", "none")
        is_kind = is_one_of(self.specialization, kinds)
        self._check("specialization", is_kind, '"auto", "eager", "lazy" or "none"')
        is_graph = is_one_of(graph, ("auto", True, False))
        self._check("cuda_graph", is_graph, '"auto", True or False')
        ways = ("auto", "spin", "yield", "block")
        self._check("wait", is_one_of(self.wait, ways), '"auto", "spin", "yield" or "block"')
        is_batching = batching is None or isinstance(batching, Batching)
        self._check("batching", is_batching, "a fasttrt.Batching or None")
        budget = self.weight_streaming_budget
        is_budget = budget is None or (type(budget) is int and 0 <= budget < 2**63)
        self._check("weight_streaming_budget", is_budget, "an integer >= 0, bytes")

    @property
    def of_backend(self) -> dict[str, Any]:
        """Those that `TensorRTBackend` takes, too: all but ``batching``, which is the queue's."""
        return {name: value for name, value in vars(self).items() if name != "batching"}

    def refuse_on_cpu(self, problem: str) -> None:
        """Check that no option is set that requires TensorRT.

        Raises:
            InputError: an option requires it; the message includes ``problem``, the reason.
        """
        reason = f" ({problem})" if problem else ""
        requires_gpu = {
            "plugins": bool(self.plugins),
            "weights": self.weights is not None,
            "weight_streaming_budget": self.weight_streaming_budget is not None,
            "cuda_graph=True": self.cuda_graph is True,
        }
        for name, is_set in requires_gpu.items():
            if is_set:
                raise InputError(f"{name}: needs a GPU; the engine runs on the CPU{reason}")

    def _check(self, name: str, valid: bool, expected: str) -> None:
        if not valid:
            refuse(name, expected, getattr(self, name))


def _reference(source: OnnxModel, shapes: Shapes | None, problem: str) -> ReferenceBackend:
    """Open ONNX Runtime's backend; ``problem`` says why no GPU is used, unless the caller chose."""
    try:
        return ReferenceBackend(source, shapes)
    except MissingPackageError as error:
        if not problem:
            raise
        raise MissingPackageError(
            f"nothing can run the model: {error}; and TensorRT cannot be used: {problem}",
            error.package,
            error.extra,
        ) from None


class OpenedBackend(NamedTuple):
    """What `open_backend` opens."""

    backend: Backend
    ordinals: list[int] | None
    """Its GPUs; None for the CPU."""
    source: OnnxModel | Plan
    """What was read."""


def open_backend(
    model: "str | os.PathLike[str] | Bytes | onnx.ModelProto | Plan",
    *,
    device: Device,
    devices: Sequence[Device] | None,
    library: str | os.PathLike[str],
    shapes: Shapes | None,
    tuned: Request | Literal["observed"] | None,
    freeze: Freeze | None,
    dims: Dims | None,
    config: BuildConfig,
    options: RunOptions,
    progress: ProgressCallback | bool | None,
    cache: bool | str | os.PathLike[str],
    verify: "Verify" = False,
    isolate: bool | float = False,
    advise: bool = False,
    warmup: bool | str = False,
) -> OpenedBackend:
    """Return the backend with what it is of; arguments and errors are `Engine`'s."""
    folder = parse_cache(cache)
    is_automatic = is_auto(device) and devices is None
    ordinals = None if is_automatic else parse_devices(device, devices)
    source = read = _read(model, later=folder is not None)
    if isinstance(source, OnnxModel):
        source = transformed(source, freeze, dims)
    elif freeze or dims:
        raise InputError("freeze and dims modify ONNX models; a plan is already built")
    if verify is not False:
        from fasttrt._accuracy.verification import check_verify

        check_verify(verify, source, not is_automatic and ordinals is None, options.weights)
    build_only = [*config.build_only_options, *(["tuned"] if tuned not in (None, "auto") else [])]
    observation = None
    problem = ""
    if is_automatic:
        ordinal, problem = _find_gpu(library, source)
        if problem and isinstance(source, Plan):
            raise EngineLoadError(f"a plan needs a GPU and TensorRT: {problem}")
        ordinals = None if ordinal is None else [ordinal]
    if ordinals is None:
        if isinstance(source, Plan):
            raise EngineLoadError('a plan does not run on device="cpu"; pass the ONNX model')
        options.refuse_on_cpu(problem)
        reference = _reference(source, shapes, problem)
        if config.is_reduced:
            text = 'precision="%s" applies to GPUs; the CPU computes in the model\'s own types'
            logger.warning(text, config.precision)
        _log_unused("nothing is built on the CPU", build_only)
        if problem:
            unverified = "; verify= is skipped" if verify is not False else ""
            _warn_once(problem + unverified)
        return OpenedBackend(reference, None, read)
    if isinstance(source, Plan):
        check_plan(source, config.precision)
        unused = build_only if shapes is None else [*build_only, "shapes"]
        _log_unused("a plan is already built", unused)
        sources = [PlanSource(source)] * len(ordinals)
    else:
        if config.strip_weights and options.weights is None:
            options = replace(options, weights=source)
        if tuned == OBSERVED:
            observation = Observation(source, config, library, options.plugins, folder)
            observation.check(options.batching, ordinals[0])
            tuned = "auto"
        if tuned == "auto" and options.batching is not None:
            tuned = BatchSizes(options.batching.batch_sizes)
        sources = _build_all(
            source,
            ordinals,
            config,
            shapes,
            tuned,
            library,
            options.plugins,
            progress,
            folder,
            isolate,
            advise,
        )

    def warm(backend: Backend) -> None:
        if is_wanted(warmup, backend.metadata, options.batching):
            warm_up(backend, tuned_sizes(backend.inputs), progress)

    backend = _load_all(
        sources, ordinals, library, config, options, folder, source, verify, observation,
        name=_name(model, source), warm=warm,
    )  # fmt: skip
    return OpenedBackend(backend, ordinals, read)


def _build_all(
    model: OnnxModel,
    ordinals: Sequence[int],
    config: BuildConfig,
    shapes: Shapes | None,
    tuned: Request | None,
    library: str | os.PathLike[str],
    plugins: Plugins,
    progress: ProgressCallback | bool | None,
    cache: Path | None,
    isolate: bool | float,
    advise: bool,
) -> list[PlanSource]:
    """Return a plan for each GPU, built once per GPU model."""
    models = [gpu_model(ordinal) for ordinal in ordinals]  # before any build: one may be missing
    sources: dict[tuple[str, int, int], PlanSource] = {}
    for ordinal, kind in zip(ordinals, models, strict=True):
        if kind not in sources:
            sources[kind] = cached_build(
                model, config, shapes=shapes, tuned=tuned, library=library,
                device=f"cuda:{ordinal}", plugins=plugins, progress=progress, cache=cache,
                isolate=isolate, advise=advise,
            )  # fmt: skip
    return [sources[kind] for kind in models]


def _load_all(
    sources: Sequence[PlanSource],
    ordinals: Sequence[int],
    library: str | os.PathLike[str],
    config: BuildConfig,
    options: RunOptions,
    cache: Path | None,
    model: OnnxModel | Plan,
    verify: "Verify",
    observation: Observation | None = None,
    name: str = "engine",
    warm: Callable[[Backend], None] = lambda backend: None,
) -> Backend:
    """Load plans, and ``warm`` each up before the next, which then finds its kernels cached."""
    backends: list[Backend] = []

    def open_plan(
        plan: Plan, ordinal: int, kind: type[TensorRTBackend] = TensorRTBackend
    ) -> TensorRTBackend:
        backend = kind(
            plan,
            library=library,
            device=ordinal,
            engine_host_code=config.engine_host_code,
            cache=cache,
            name=name,
            **options.of_backend,
        )
        try:
            confirm(plan, lambda: backend.core.layer_information(), config.precision)
        except BaseException:
            backend.close()
            raise
        return backend

    def load(source: PlanSource, ordinal: int) -> TensorRTBackend:
        kind = TensorRTBackend if observation is None else ObservingBackend
        try:
            return open_plan(source.plan, ordinal, kind)
        except EngineLoadError as error:
            if source.rebuild is None:
                raise
            if carries_host_code(source.plan) and not config.engine_host_code:
                raise  # a new plan would fail the same way, after another long build
            reason = str(error)
        source.replace_plan(reason)
        return open_plan(source.plan, ordinal, kind)

    try:
        for source, ordinal in zip(sources, ordinals, strict=True):
            backend = load(source, ordinal)
            backends.append(backend)
            if verify is not False and isinstance(model, OnnxModel):
                from fasttrt._accuracy.verification import verify_plan

                verdict = verify_plan(source.plan, backend, ordinal, model, verify)
                if verdict is not None:
                    source.annotate(verification=verdict)
                    backend.metadata["verification"] = verdict
            warm(backend)
            if observation is not None and isinstance(backend, ObservingBackend):
                observation.begin(backend, source, ordinal, partial(open_plan, ordinal=ordinal))
        return backends[0] if len(backends) == 1 else ReplicatedBackend(backends, ordinals)
    except BaseException:
        close_all(backends)
        raise


def _read(
    model: "str | os.PathLike[str] | Bytes | onnx.ModelProto | Plan", later: bool
) -> OnnxModel | Plan:
    """Read a model or a plan; an ONNX file may be parsed ``later``, as the cache needs its hash."""
    if isinstance(model, Plan):
        return model
    if isinstance(model, (bytes, memoryview)):
        return Plan.from_bytes(model) if is_plan(model) else OnnxModel(bytes(model))
    if isinstance(model, (str, os.PathLike)):
        return Plan.load(model) if is_plan_file(model) else OnnxModel(model, later=later)
    return OnnxModel(model)


def _name(model: object, source: OnnxModel | Plan) -> str:
    """Return what profilers shall call an engine: its file's name, if it has one."""
    if isinstance(model, (str, os.PathLike)):
        return Path(model).stem
    if isinstance(source, Plan):
        return Path(source.metadata.get("model_name") or "engine").stem
    return source.path.stem if source.path is not None else "engine"


def _find_gpu(library: str | os.PathLike[str], source: OnnxModel | Plan) -> tuple[int | None, str]:
    """Return the first GPU's ordinal, or else why no GPU is used."""
    if problem := _core.driver_problem():
        return None, problem
    try:
        if isinstance(source, Plan) and library == "auto":
            library = family_for(source)
        found = find(library, 0)
    except (LibraryNotFoundError, UnsupportedLibraryError) as error:
        return None, str(error)
    problem = found.gpu_problem(*capability(0))
    if isinstance(source, OnnxModel) and not found.can_parse:
        problem = problem or found.parser_problem
    return (None, problem) if problem else (0, "")


def _log_unused(why: str, names: Sequence[str]) -> None:
    if names:
        logger.info("%s, so these options have no effect: %s", why, ", ".join(names))


def _warn_once(problem: str) -> None:
    if problem not in _warned:
        _warned.add(problem)
        warnings.warn(
            f"running on the CPU through ONNX Runtime, for reference: {problem}",
            RuntimeWarning,
            stacklevel=4,  # whoever called Engine()
        )
