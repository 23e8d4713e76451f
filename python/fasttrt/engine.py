"""`Engine`: a model ready to run."""

import atexit
import os
import warnings
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, overload

import numpy as np

from fasttrt import _core
from fasttrt._casting import is_lossless
from fasttrt._device import capability, parse_device
from fasttrt._library import find
from fasttrt.building import build
from fasttrt.config import BuildConfig
from fasttrt.errors import (
    EngineLoadError,
    InputError,
    LibraryNotFoundError,
    UnsupportedLibraryError,
)
from fasttrt.model import OnnxModel
from fasttrt.plan import Plan, is_plan
from fasttrt.progress import ProgressCallback
from fasttrt.reference import ReferenceBackend
from fasttrt.shapes import Shapes
from fasttrt.spec import TensorSpec
from fasttrt.tensorrt import TensorRTBackend, family_for

if TYPE_CHECKING:
    import onnx

Array: TypeAlias = np.ndarray[Any, Any]
_open_engines: "weakref.WeakSet[Engine]" = weakref.WeakSet()
_warned: set[str] = set()


class _Backend(Protocol):
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    def run(self, arrays: Sequence[Any], out: Sequence[Array | None] | None) -> list[Array]: ...
    def save(self, path: str | os.PathLike[str]) -> None: ...
    def close(self) -> None: ...


class Engine:
    """A model, built and loaded, that runs on a GPU through TensorRT or on the CPU for reference.

    Its methods may be called from any number of threads at once. Use it in a ``with`` block, or
    call `close`, to free the GPU's memory at a moment of your choice.
    """

    def __init__(
        self,
        model: "str | os.PathLike[str] | bytes | onnx.ModelProto | Plan",
        *,
        device: str = "auto",
        library: str | os.PathLike[str] = "auto",
        shapes: Shapes | None = None,
        config: BuildConfig | None = None,
        contexts: int = 1,
        progress: ProgressCallback | bool | None = None,
    ) -> None:
        """Build (an ONNX model) or load (a plan).

        Args:
            model: an ONNX model (a path, bytes, a ModelProto) or a plan (a path, bytes, a `Plan`).
            device: ``"cuda"`` or ``"cuda:N"``: that GPU, or an error. ``"cpu"``: ONNX Runtime, for
                reference. ``"auto"``: the first GPU if TensorRT can run there, else the CPU, with a
                warning that says why.
            library: which TensorRT, see `fasttrt.library`.
            shapes: extents of dynamic inputs, see `fasttrt.build`.
            config: options of the build; its ``engine_host_code`` counts for plans too.
            contexts: how many runs may be under way at once; each takes memory of its own.
            progress: see `fasttrt.build`.

        Raises:
            ParseError, BuildError, InputError: see `fasttrt.build`.
            EngineLoadError: a plan is damaged, or does not run here.
            LibraryNotFoundError, UnsupportedLibraryError, CudaError: no TensorRT, or no GPU.
            OutOfMemoryError: the GPU has no room for it.
        """
        if not isinstance(contexts, int) or not 1 <= contexts <= 1024:
            raise InputError(f"contexts: expected an integer from 1 to 1024, got {contexts!r}")
        source = _read(model)
        problem = ""
        if device == "auto":
            ordinal, problem = _find_gpu(library, source)
            if problem and isinstance(source, Plan):
                raise EngineLoadError(f"a plan needs a GPU and TensorRT: {problem}")
        else:
            ordinal = parse_device(device)
        self._backend: _Backend
        if ordinal is None:
            if isinstance(source, Plan):
                raise EngineLoadError('a plan does not run on device="cpu"; give the ONNX model')
            self._backend = ReferenceBackend(source, shapes)
            if problem:
                _warn_once(problem)
            self.device = "cpu"
        else:
            config = config or BuildConfig()
            if not isinstance(source, Plan):
                source = build(
                    source, config, shapes=shapes, library=library, device=f"cuda:{ordinal}",
                    progress=progress,
                )  # fmt: skip
            self._backend = TensorRTBackend(
                source,
                library=library,
                device=ordinal,
                contexts=contexts,
                engine_host_code=config.engine_host_code,
            )
            self.device = f"cuda:{ordinal}"
        self.inputs: tuple[TensorSpec, ...] = self._backend.inputs
        """What the engine takes, in order."""
        self.outputs: tuple[TensorSpec, ...] = self._backend.outputs
        """What it gives, in order."""
        _open_engines.add(self)

    @overload
    def infer(
        self, inputs: Mapping[str, Any], /, *,
        out: Mapping[str, Array] | None = None, cast: bool = False,
    ) -> dict[str, Array]: ...  # fmt: skip
    @overload
    def infer(
        self, /, *inputs: Any, out: Array | Sequence[Array | None] | None = None, cast: bool = False
    ) -> Any: ...
    def infer(self, /, *inputs: Any, out: Any = None, cast: bool = False) -> Any:
        """Run the model once and wait for the result.

        Arrays are numpy arrays, or what ``numpy.asarray`` takes without changing its type. Any
        strides will do. Each must have its input's dtype, rank and extents.

        Args:
            inputs: one array for each input, in order; or one mapping from names to arrays.
            out: where to put the results: an array (a sequence, a mapping) of the outputs' dtypes
                and true shapes, C-contiguous.
            cast: convert inputs of another dtype where no value can change (for instance int32 to
                int64, float32 to float64 or float16 to float32).

        Returns:
            An array for a single output, else a tuple in order; for a mapping, a mapping.

        Raises:
            InputError: names the input, what was expected (min, opt and max included) and what
                came. The engine stays usable.
            CudaError, OutOfMemoryError: the run failed.
        """
        by_name = len(inputs) == 1 and isinstance(inputs[0], Mapping)
        arrays = self._ordered(inputs[0]) if by_name else list(inputs)
        if len(arrays) != len(self.inputs):
            names = ", ".join(spec.name for spec in self.inputs)
            raise InputError(f"expected {len(self.inputs)} inputs ({names}), got {len(arrays)}")
        arrays = [
            _as_array(spec, array, cast) for spec, array in zip(self.inputs, arrays, strict=True)
        ]
        results = self._backend.run(arrays, None if out is None else self._targets(out, by_name))
        if by_name:
            return {spec.name: r for spec, r in zip(self.outputs, results, strict=True)}
        return results[0] if len(results) == 1 else tuple(results)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the plan, to be loaded with ``Engine(path)``; see `Plan.save`."""
        self._backend.save(path)

    def close(self) -> None:
        """Wait for runs under way and free everything.

        Results stay valid. Closing twice does nothing.
        """
        self._backend.close()

    def __enter__(self) -> "Engine":
        """The engine itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close it."""
        self.close()

    def __repr__(self) -> str:
        """With device, inputs and outputs."""
        inputs = ", ".join(f"{s.name}: {s.dtype}{list(s.shape)}" for s in self.inputs)
        outputs = ", ".join(f"{s.name}: {s.dtype}{list(s.shape)}" for s in self.outputs)
        return f"<fasttrt.Engine on {self.device}: ({inputs}) -> ({outputs})>"

    def _ordered(self, named: Mapping[str, Any]) -> list[Any]:
        expected = {spec.name for spec in self.inputs}
        if named.keys() != expected:
            raise InputError(
                f"expected inputs named {sorted(expected)}, got {sorted(map(str, named))}"
            )
        return [named[spec.name] for spec in self.inputs]

    def _targets(self, out: Any, by_name: bool) -> list[Array | None]:
        if isinstance(out, Mapping):
            unknown = out.keys() - {spec.name for spec in self.outputs}
            if unknown or not by_name:
                raise InputError(
                    f"out: expected outputs of {[spec.name for spec in self.outputs]} "
                    f"with inputs by name, got {sorted(map(str, out))}"
                )
            return [out.get(spec.name) for spec in self.outputs]
        targets = [out] if isinstance(out, np.ndarray) else list(out)
        if len(targets) != len(self.outputs):
            raise InputError(f"out: expected {len(self.outputs)} arrays, got {len(targets)}")
        return targets


def _read(model: "str | os.PathLike[str] | bytes | onnx.ModelProto | Plan") -> OnnxModel | Plan:
    if isinstance(model, Plan):
        return model
    if isinstance(model, bytes):
        return Plan.from_bytes(model) if is_plan(model) else OnnxModel(model)
    if isinstance(model, (str, os.PathLike)):
        with Path(model).open("rb") as file:
            begin = file.read(8)
        is_onnx = Path(model).suffix == ".onnx" or not (is_plan(begin) or _named_plan(model))
        return OnnxModel(model) if is_onnx else Plan.load(model)
    return OnnxModel(model)


def _named_plan(path: str | os.PathLike[str]) -> bool:
    return Path(path).suffix in {".plan", ".engine", ".trt"}


def _find_gpu(library: str | os.PathLike[str], source: OnnxModel | Plan) -> tuple[int | None, str]:
    """The first GPU, or why none is used."""
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


def _warn_once(problem: str) -> None:
    if problem not in _warned:
        _warned.add(problem)
        warnings.warn(
            f"running on the CPU through ONNX Runtime, for reference: {problem}",
            RuntimeWarning,
            stacklevel=3,
        )


def _as_array(spec: TensorSpec, value: Any, cast: bool) -> Any:
    if not isinstance(value, np.ndarray):
        try:
            value = np.asarray(value)
        except Exception as error:
            raise InputError(
                f"{spec.name}: expected an array, got {type(value).__name__}: {error}"
            ) from error
    if value.dtype != spec.dtype and cast:
        if not is_lossless(value.dtype, spec.dtype):
            raise InputError(
                f"{spec.name}: cannot cast {value.dtype} to {spec.dtype} without changing values"
            )
        value = value.astype(spec.dtype)
    return value


@atexit.register
def _close_all() -> None:
    """Free the GPU while the driver and the interpreter are still there."""
    for engine in list(_open_engines):
        engine.close()
