"""The TensorRT backend: a plan on a GPU."""

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from fasttrt import _core
from fasttrt._cache.kernel_cache import KernelCache
from fasttrt._common.log import logger
from fasttrt._common.tensor_spec import Range, Shape, TensorSpec, merge_profiles
from fasttrt._graph.model import OnnxModel
from fasttrt._library.discovery import find
from fasttrt._library.plugins import Plugins, load
from fasttrt._library.tensorrt_log import forward, forwarded
from fasttrt._plan.compatibility import both_sides, hints, known_mismatch
from fasttrt._plan.plan_file import Plan
from fasttrt._runtime.arrays import stream_handle
from fasttrt._runtime.backend import EngineRunners, Runner
from fasttrt._runtime.cuda_graph_policy import graph_policy
from fasttrt._runtime.io_conversion import from_engine, to_engine
from fasttrt._runtime.output_arrays import check_target
from fasttrt._runtime.refit import check_weights_set, is_stripped, refit, set_weights
from fasttrt._runtime.specialization import specialization_for
from fasttrt._runtime.tf32 import check_tf32
from fasttrt.errors import EngineLoadError, Error, InputError

_UNEQUAL_BRANCHES = "applyGenericCopy"
"""Where TensorRT-RTX 1.6.1 fails if the branches of an If have different output shapes."""
_UNEQUAL_BRANCHES_HINT = (
    "The branches of an If seem to have different shapes, which TensorRT-RTX cannot run: fix "
    "its condition (freeze=), or make the shapes equal"
)
_IoTensor: TypeAlias = tuple[str, np.dtype[Any], Shape, bool, list[Range]]


class TensorRTBackend:
    """Runs a plan through the C++ core."""

    def __init__(
        self,
        plan: Plan,
        *,
        library: str | os.PathLike[str],
        device: int,
        contexts: int,
        engine_host_code: bool,
        specialization: str,
        cuda_graph: bool | str,
        wait: str,
        cache: Path | None,
        name: str = "engine",
        weights: OnnxModel | None = None,
        weight_streaming_budget: int | None = None,
        plugins: Plugins = (),
    ) -> None:
        """Load the plan onto a GPU.

        ``cache`` is the folder for the kernels that this compiles, ``name`` what profilers show.

        Raises:
            EngineLoadError: it cannot run here; the message names what built it and what is here.
            Error: TensorRT cannot load a plugin library, or the plan cannot take ``weights``; or it
                was built without TF32, and this process has run TensorRT-RTX with TF32.
            CudaError, OutOfMemoryError, LibraryNotFoundError, UnsupportedLibraryError: see there.
            InputError: the model cannot be captured, or ``weights`` are those of another
                model.
        """
        self.metadata = dict(plan.metadata)
        self._model_bytes = len(plan.data)
        if weight_streaming_budget is not None:
            self._model_bytes = min(self._model_bytes, weight_streaming_budget)
        self._weights_lock = threading.Lock()  # so that the metadata matches the core's weights
        if library == "auto":
            library = family_for(plan)
        self._library = handle = find(library, device)
        if mismatch := known_mismatch(plan, handle):
            raise EngineLoadError(f"{mismatch} ({both_sides(plan, handle, device)})")
        if handle.family == "rtx":
            check_tf32(self.metadata)
        loaded = load(handle, plugins)
        options = _core.EngineOptions()
        options.name = name
        options.device = device
        options.contexts = contexts
        options.allow_host_code = engine_host_code
        options.set_specialization(specialization_for(specialization, self.metadata, handle))
        options.set_cuda_graph(graph_policy(cuda_graph, self.metadata, handle))
        options.set_wait(wait)
        options.weight_streaming_budget = weight_streaming_budget
        new_weights = set_weights(options, self.metadata, weights, handle)
        self._kernels = KernelCache.create(cache, plan, handle, device)
        if self._kernels is not None:
            self._kernels.load(options)
        with forwarded():
            try:
                self.core = _core.Engine(handle, plan.data, options)
            except EngineLoadError as error:
                lines = [str(error), *hints(plan, handle, engine_host_code, loaded)]
                lines.append(f"({both_sides(plan, handle, device)})")
                raise EngineLoadError("\n".join(lines)) from None
            if new_weights is not None:
                try:
                    check_weights_set(self.core, self.metadata, *new_weights)
                except BaseException:
                    self.core.close()  # now, not when the traceback is freed
                    raise
        self.store_kernels()  # now, as not every process closes its engines
        declared = _declared(plan)
        profiles = plan.metadata.get("profiles", ())
        self.inputs = tuple(_spec(tensor, declared, profiles) for tensor in self.core.inputs())
        self.outputs = tuple(_spec(tensor, declared) for tensor in self.core.outputs())
        # TensorRT 8.6 does not report the values that a shape tensor may have; the plan does.
        self._unchecked = [
            i for i, tensor in enumerate(self.core.inputs()) if tensor[3] and not any(tensor[4][0])
        ]
        self._converts = any(spec.converted for spec in (*self.inputs, *self.outputs))
        self.reads_dlpack = not (self._unchecked or self._converts)
        self._prepares = not self.reads_dlpack
        for spec in (*self.inputs, *self.outputs):
            if spec.converted:
                logger.warning(
                    "%s: the model declares %s, TensorRT computes with %s; values are converted",
                    spec.name, spec.dtype, spec.engine_dtype,
                )  # fmt: skip

    def run(
        self,
        arrays: Sequence[Any],
        out: Sequence[Any | None] | None,
        stream: Any = None,
    ) -> Sequence[Any]:
        """Run once; see `Engine.infer`."""
        if stream is not None:
            stream = stream_handle(stream)
        try:
            if not self._prepares:
                return self.core.infer(arrays, out, stream)
            inputs, targets = self._prepare(arrays, out)
            return self._converted(self.core.infer(inputs, targets, stream), out)
        except Error as error:
            raise _explained(error) from None
        finally:
            if _core.has_log():
                forward()

    def runners(self, *, gathers: bool) -> Runner | EngineRunners:
        """Return the engine."""
        return EngineRunners([self.core], self._prepare if self._prepares else None, self._complete)

    def _prepare(
        self, arrays: Sequence[Any], out: Sequence[Any | None] | None
    ) -> tuple[Sequence[Any], Sequence[Any | None] | None]:
        """Convert inputs to the engine's types, and leave out results that will be converted."""
        for i in self._unchecked:
            _check_values(self.inputs[i], arrays[i])
        if not self._converts:
            return arrays, out
        inputs = [to_engine(spec, array) for spec, array in zip(self.inputs, arrays, strict=True)]
        if out is None:
            return inputs, None
        for spec, target in zip(self.outputs, out, strict=True):
            if spec.converted and target is not None:
                check_target(spec, target)
        pairs = zip(self.outputs, out, strict=True)
        return inputs, [None if spec.converted else target for spec, target in pairs]

    def _complete(
        self, take: Callable[[], Sequence[Any]], out: Sequence[Any | None] | None
    ) -> Sequence[Any]:
        """Return a request's results, in the model's types."""
        try:
            results = take()
            return self._converted(results, out) if self._converts else results
        except Error as error:
            raise _explained(error) from None
        finally:
            if _core.has_log():
                forward()

    def _converted(self, results: Sequence[Any], out: Sequence[Any | None] | None) -> Sequence[Any]:
        targets = out or [None] * len(results)
        return [
            from_engine(spec, result, target)
            for spec, result, target in zip(self.outputs, results, targets, strict=True)
        ]

    def save(self, path: str | os.PathLike[str], *, force: bool = False) -> None:
        """Write the plan; see `Plan.save`."""
        with forwarded(), self._weights_lock:
            plan = Plan(self.core.serialize(is_stripped(self.metadata)), dict(self.metadata))
        plan.save(path, force=force)

    def refit(self, model: OnnxModel) -> None:
        """Replace the weights; see `Engine.refit`."""
        with self._weights_lock:
            refit(self.core, self.metadata, model, self._library)

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        return self.core.closed

    def warm_up(self, arrays: Sequence[Any]) -> None:
        """Run in every context; see `Backend.warm_up`."""
        with forwarded():
            self.core.warm_up(arrays)

    def store_kernels(self) -> None:
        """Store the kernels that were compiled, if there is a cache of them."""
        if self._kernels is not None and not self.core.closed:
            self._kernels.store(self.core)

    def statistics(self) -> dict[str, Any]:
        """Return what was counted; see `Backend.statistics`."""
        model_bytes = 0 if self.core.closed else self._model_bytes
        return self.core.statistics() | {"model_bytes": model_bytes}

    def close(self) -> None:
        """Wait for current runs, and free all resources."""
        with forwarded():
            try:
                self.store_kernels()
            finally:
                self.core.close()


def _explained(error: Error) -> Error:
    """Return an error with what is known of its cause."""
    if _UNEQUAL_BRANCHES in str(error):
        return Error(f"{error}\n{_UNEQUAL_BRANCHES_HINT}")
    return error


def family_for(plan: Plan) -> str:
    """Return the family to search for to run a plan, unless the environment names a library."""
    is_rtx = plan.metadata.get("library", {}).get("family") == "rtx"
    return "rtx" if is_rtx and not os.environ.get("FASTTRT_LIBRARY") else "auto"


def _declared(plan: Plan) -> dict[str, np.dtype[Any]]:
    """Return the dtypes that the model declares, by tensor name."""
    try:
        return {
            tensor["name"]: np.dtype(_dtype(tensor["dtype"]))
            for tensor in (*plan.metadata.get("inputs", ()), *plan.metadata.get("outputs", ()))
        }
    except (KeyError, TypeError) as error:
        raise EngineLoadError(f"the plan's metadata is damaged: {error}") from None


def _dtype(name: str) -> Any:
    if name in np.sctypeDict:
        return name
    import ml_dtypes  # here, as few models need it

    return getattr(ml_dtypes, name, name)


def _spec(
    tensor: _IoTensor,
    declared: Mapping[str, np.dtype[Any]],
    built_for: Sequence[Mapping[str, Sequence[Sequence[int]]]] = (),
) -> TensorSpec:
    name, dtype, shape, on_host, profiles = tensor
    if on_host and not any(profiles[0] if profiles else ()):
        stored = [profile[name] for profile in built_for if name in profile]
        profiles = [(tuple(p[0]), tuple(p[1]), tuple(p[2])) for p in stored]
    ranges = tuple(profiles)
    min_, opt, max_ = merge_profiles(ranges)
    return TensorSpec(
        name, declared.get(name, dtype), shape, min_, opt, max_, ranges, dtype, on_host
    )


def _check_values(spec: TensorSpec, array: Any) -> None:
    """Check a shape tensor's values against the profiles; the core checks everything else."""
    if not isinstance(array, np.ndarray) or (array.dtype, array.shape) != (spec.dtype, spec.shape):
        return
    values = array.ravel().tolist()
    fits = any(
        all(a <= value <= c for a, value, c in zip(min_, values, max_, strict=True))
        for min_, _, max_ in spec.profiles
        if len(min_) == len(values)
    )
    if spec.profiles and not fits:
        ranges = "; or ".join(
            f"min {list(a)}, opt {list(b)}, max {list(c)}" for a, b, c in spec.profiles
        )
        raise InputError(f"{spec.name}: expected shape values {ranges}, got values {values}")
