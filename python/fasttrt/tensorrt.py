"""The TensorRT backend: a plan on a GPU."""

import os
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from fasttrt import _core
from fasttrt._library import find
from fasttrt._log import forward, forwarded, logger
from fasttrt.arrays import is_device_array, stream_handle
from fasttrt.batching import Batching
from fasttrt.errors import EngineLoadError, InputError
from fasttrt.plan import Plan
from fasttrt.spec import Range, Shape, TensorSpec, merge_profiles

_GRAPHS: dict[bool | str, str] = {"auto": "automatic", True: "required", False: "never"}
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
        batching: Batching | None,
    ) -> None:
        """Load the plan onto a GPU.

        Raises:
            EngineLoadError: it cannot run here; names what built it and what is here.
            CudaError, OutOfMemoryError, LibraryNotFoundError, UnsupportedLibraryError: see there.
            InputError: the model cannot be batched.
        """
        self.metadata: Mapping[str, Any] = plan.metadata
        built_by = plan.metadata.get("library", {})
        if library == "auto":
            library = family_for(plan)
        found = find(library, device)
        mismatch = _mismatch(built_by, found)
        if mismatch:
            raise EngineLoadError(f"{mismatch} ({_both_sides(plan, found, device)})")
        options = _core.EngineOptions()
        options.device = device
        options.contexts = contexts
        options.allow_host_code = engine_host_code
        options.set_specialization(specialization)
        options.set_cuda_graph(_GRAPHS[cuda_graph])
        options.set_wait(wait)
        if batching is not None:
            options.set_batching(batching.max_size, batching.max_delay_us, batching.batch_sizes)
        with forwarded():
            try:
                self.core = _core.Engine(found, plan.data, options)
            except EngineLoadError as error:
                raise EngineLoadError(f"{error}\n({_both_sides(plan, found, device)})") from None
        declared = {
            tensor["name"]: np.dtype(_dtype(tensor["dtype"]))
            for tensor in (*plan.metadata.get("inputs", ()), *plan.metadata.get("outputs", ()))
        }
        profiles = plan.metadata.get("profiles", ())
        self.inputs = tuple(_spec(tensor, declared, profiles) for tensor in self.core.inputs())
        self.outputs = tuple(_spec(tensor, declared) for tensor in self.core.outputs())
        # TensorRT 8.6 does not tell the core what values a shape tensor may take; the plan does.
        self._unchecked = [
            i for i, tensor in enumerate(self.core.inputs()) if tensor[3] and not any(tensor[4][0])
        ]
        self._converts = any(spec.converted for spec in (*self.inputs, *self.outputs))
        self.reads_dlpack = not (self._unchecked or self._converts)
        for spec in (*self.inputs, *self.outputs):
            if spec.converted:
                logger.warning(
                    "%s: the model declares %s, TensorRT computes with %s; values are converted",
                    spec.name, spec.dtype, spec.engine_dtype,
                )  # fmt: skip

    def run(
        self, arrays: Sequence[Any], out: Sequence[Any | None] | None, stream: Any = None
    ) -> list[Any]:
        """Run once; see `Engine.infer`."""
        if stream is not None:
            stream = stream_handle(stream)
        try:
            for i in self._unchecked:
                _check_values(self.inputs[i], arrays[i])
            if self._converts:
                return self._run_converted(arrays, out, stream)
            return self.core.infer(arrays, out, stream)
        finally:
            if _core.has_log():
                forward()

    def _run_converted(
        self, arrays: Sequence[Any], out: Sequence[Any | None] | None, stream: int | None
    ) -> list[Any]:
        inputs = [_to_engine(spec, array) for spec, array in zip(self.inputs, arrays, strict=True)]
        given = [None] * len(self.outputs) if out is None else out
        for spec, target in zip(self.outputs, given, strict=True):
            if spec.converted and target is not None:
                _check_target(spec, target)
        direct = [
            None if spec.converted else target
            for spec, target in zip(self.outputs, given, strict=True)
        ]
        results = self.core.infer(inputs, direct, stream)
        return [
            _from_engine(spec, result, target)
            for spec, result, target in zip(self.outputs, results, given, strict=True)
        ]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the plan; see `Plan.save`."""
        with forwarded():
            Plan(self.core.serialize(), dict(self.metadata)).save(path)

    def close(self) -> None:
        """Free everything, after runs under way."""
        with forwarded():
            self.core.close()


def family_for(plan: Plan) -> str:
    """The family to look for to run a plan, unless the environment names a library."""
    is_rtx = plan.metadata.get("library", {}).get("family") == "rtx"
    return "rtx" if is_rtx and not os.environ.get("FASTTRT_LIBRARY") else "auto"


def _mismatch(built_by: Mapping[str, str], found: _core.Library) -> str:
    """Why a library cannot run another one's plan, known without asking it."""
    family = built_by.get("family")
    if family is None or (family == "rtx") == (found.family == "rtx"):
        return ""
    return f"a plan of {family} {built_by['version']} does not run on {found}"


def _both_sides(plan: Plan, found: _core.Library, device: int) -> str:
    built_by, gpu = plan.metadata.get("library"), plan.metadata.get("gpu")
    by = f"{built_by['family']} {built_by['version']}" if built_by else "an unknown TensorRT"
    where = f" for {gpu['name']} ({gpu['compute_capability']})" if gpu else ""
    info = _core.device_info(device)
    problem = found.gpu_problem(info.major, info.minor)
    here = f"{found.family} {found.version} on {info.name} ({info.major}.{info.minor})"
    return f"built by {by}{where}; here is {here}{'; ' + problem if problem else ''}"


def _dtype(name: str) -> Any:
    import ml_dtypes

    return getattr(ml_dtypes, name, name)


def _spec(
    tensor: _IoTensor,
    declared: Mapping[str, np.dtype[Any]],
    built_for: Sequence[Mapping[str, Sequence[Sequence[int]]]] = (),
) -> TensorSpec:
    name, dtype, shape, on_host, profiles = tensor
    if on_host and not any(profiles[0] if profiles else ()):
        given = [profile[name] for profile in built_for if name in profile]
        profiles = [(tuple(p[0]), tuple(p[1]), tuple(p[2])) for p in given]
    ranges = tuple(profiles)
    least, best, most = merge_profiles(ranges)
    return TensorSpec(
        name, declared.get(name, dtype), shape, least, best, most, ranges, dtype, on_host
    )


def _check_values(spec: TensorSpec, array: Any) -> None:
    """A shape tensor's values against the profiles; the core checks the rest."""
    if not isinstance(array, np.ndarray) or (array.dtype, array.shape) != (spec.dtype, spec.shape):
        return
    values = array.ravel().tolist()
    fits = any(
        all(a <= value <= c for a, value, c in zip(least, values, most, strict=True))
        for least, _, most in spec.profiles
        if len(least) == len(values)
    )
    if spec.profiles and not fits:
        ranges = "; or ".join(
            f"min {list(a)}, opt {list(b)}, max {list(c)}" for a, b, c in spec.profiles
        )
        raise InputError(f"{spec.name}: expected shape values {ranges}, got values {values}")


def _to_engine(spec: TensorSpec, array: Any) -> Any:
    """The values in the engine's type.

    Values have to fit; floats are rounded, which the log said when the plan was loaded.
    """
    if not spec.converted:
        return array
    if is_device_array(array):
        raise InputError(
            f"{spec.name}: the model declares {spec.dtype}, which this TensorRT computes as "
            f"{spec.engine_dtype}; arrays on a GPU are not converted: give one in host memory"
        )
    if not isinstance(array, np.ndarray):
        return array
    if array.dtype != spec.dtype:
        raise InputError(f"{spec.name}: expected dtype {spec.dtype}, got {array.dtype}")
    with np.errstate(over="ignore"):
        converted = array.astype(spec.engine_dtype)
    if array.dtype.kind == "f":
        fits = np.array_equal(np.isfinite(converted), np.isfinite(array))
    else:
        fits = np.array_equal(converted, array)
    if not fits:
        raise InputError(
            f"{spec.name}: expected values that fit {spec.engine_dtype}, which this TensorRT "
            f"computes with, got {array.min()} to {array.max()}"
        )
    return converted


def _check_target(spec: TensorSpec, target: Any) -> None:
    """What the core checks of targets that it fills itself."""
    if not isinstance(target, np.ndarray):
        raise InputError(f"{spec.name}: out= must be a numpy array, got {type(target).__name__}")
    if target.dtype != spec.dtype:
        raise InputError(f"{spec.name}: out= must have dtype {spec.dtype}, got {target.dtype}")
    if not target.flags.carray:
        raise InputError(f"{spec.name}: out= must be C-contiguous, aligned and writeable")


def _from_engine(
    spec: TensorSpec, result: np.ndarray[Any, Any], target: np.ndarray[Any, Any] | None
) -> np.ndarray[Any, Any]:
    if not spec.converted:
        return result
    if not isinstance(result, np.ndarray):
        raise InputError(
            f"{spec.name}: the model declares {spec.dtype}, which this TensorRT computes as "
            f"{spec.engine_dtype}; results on a GPU are not converted: give inputs in host memory"
        )
    if target is None:
        return result.astype(spec.dtype)
    if target.shape != result.shape:
        raise InputError(
            f"{spec.name}: the result has shape {result.shape}, but out= has shape {target.shape}"
        )
    target[...] = result
    return target
