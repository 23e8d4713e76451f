"""The two sides of a comparison: the engine, and what it is held against."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np

from fasttrt._arguments import host_array, ordered
from fasttrt._backend import Backend
from fasttrt._casting import is_lossless
from fasttrt._parser.repeated_outputs import write_repeated_outputs
from fasttrt.errors import InputError
from fasttrt.model import OnnxModel
from fasttrt.reference import ReferenceBackend
from fasttrt.transforms import Freeze, transformed

if TYPE_CHECKING:
    import onnx

    from fasttrt.engine import Engine

Array: TypeAlias = np.ndarray[Any, Any]
Named: TypeAlias = Mapping[str, Array]
Against: TypeAlias = (
    "Engine | Callable[..., Any] | str | os.PathLike[str] | bytes | onnx.ModelProto"
)
"""An engine, a function of arrays in the order of the model's inputs, or another ONNX model."""


@dataclass(frozen=True)
class Subject:
    """Whatever runs a model, as a comparison sees it."""

    label: str
    backend: Backend
    on_gpu: bool

    def run(self, feeds: Named, *, widen: bool = False) -> dict[str, Array]:
        """The outputs by name; ``feeds`` may hold more than the inputs.

        With ``widen`` arrays get the input's type where that changes no value: a reference takes
        what an engine whose inputs were converted to 16 bits takes.
        """
        names = {spec.name for spec in self.backend.inputs}
        fed = {name: array for name, array in feeds.items() if name in names}
        arrays = ordered(self.backend.inputs, fed)
        if widen:
            arrays = [
                array.astype(spec.dtype) if is_lossless(array.dtype, spec.dtype) else array
                for spec, array in zip(self.backend.inputs, arrays, strict=True)
            ]
        results = self.backend.run(arrays, None)
        specs = self.backend.outputs
        return {spec.name: array for spec, array in zip(specs, results, strict=True)}

    @property
    def precision(self) -> str:
        """What it was asked to compute float32 in."""
        if not self.on_gpu:
            return "fp32"
        config = self.backend.metadata.get("config", {})
        return str(config.get("precision") or ("fp32" if config.get("tf32") is False else "tf32"))


def subject(engine: "Engine") -> Subject:
    """An engine as a comparison sees it."""
    backend = engine._backend
    if engine.device == "cpu":
        return Subject("cpu (ONNX Runtime)", backend, False)
    return Subject(gpu_label(engine.device, backend.metadata), backend, True)


def gpu_label(device: str, metadata: Mapping[str, Any]) -> str:
    """A GPU with the library that built a plan."""
    library = metadata.get("library")
    return f"{device} ({library['family']} {library['version']})" if library else device


class Reference(Protocol):
    """What an engine is held against."""

    label: str

    @property
    def model(self) -> OnnxModel | None:
        """Whose tensors can be asked for one by one; None if there is no such model."""
        ...

    def run(self, feeds: Named) -> Mapping[str, Array]:
        """The outputs by name."""
        ...


class OnnxReference:
    """ONNX Runtime on the CPU."""

    def __init__(self, model: OnnxModel) -> None:
        """Load the model; errors are those of `ReferenceBackend`."""
        self.model = model
        self.label = "ONNX Runtime"
        self._subject = Subject("", ReferenceBackend(model, None), False)

    def run(self, feeds: Named) -> Mapping[str, Array]:
        """The outputs by name."""
        return self._subject.run(feeds, widen=True)


class EngineReference:
    """Another engine."""

    model = None

    def __init__(self, engine: "Engine") -> None:
        self._subject = subject(engine)
        self.label = self._subject.label

    def run(self, feeds: Named) -> Mapping[str, Array]:
        """The outputs by name."""
        return self._subject.run(feeds, widen=True)


class FunctionReference:
    """A function of the caller's."""

    model = None

    def __init__(self, function: Callable[..., Any], model: OnnxModel) -> None:
        self._function = function
        self._inputs = [tensor.name for tensor in model.inputs]
        self._outputs = [tensor.name for tensor in write_repeated_outputs(model).outputs]
        self.label = getattr(function, "__name__", type(function).__name__)

    def run(self, feeds: Named) -> Mapping[str, Array]:
        """The outputs by name.

        Raises:
            InputError: it gives more or fewer arrays than the model has outputs.
        """
        results = self._function(*(feeds[name] for name in self._inputs))
        if isinstance(results, Mapping):
            return {name: _own(str(name), array) for name, array in results.items()}
        arrays = results if isinstance(results, Sequence) else (results,)
        if len(arrays) != len(self._outputs):
            raise InputError(
                f"against: expected {len(self._outputs)} arrays ({', '.join(self._outputs)}), "
                f"got {len(arrays)}"
            )
        return {n: _own(n, array) for n, array in zip(self._outputs, arrays, strict=True)}


def _own(name: str, array: Any) -> Array:
    """A copy: a function may give the same memory again, and results are kept."""
    return np.array(host_array(f"against: {name}", array))


def reference(
    against: "Against | None", model: OnnxModel, freeze: Freeze | None = None
) -> Reference:
    """What ``against`` means; None is ONNX Runtime with the same model.

    Of another model those inputs are frozen as well that it has.
    """
    from fasttrt.engine import Engine

    if against is None:
        return OnnxReference(model)
    if isinstance(against, Engine):
        return EngineReference(against)
    if callable(against) and not isinstance(against, os.PathLike):
        return FunctionReference(against, model)
    other = OnnxModel(against)
    names = {tensor.name for tensor in other.inputs}
    frozen = {name: value for name, value in (freeze or {}).items() if name in names}
    return OnnxReference(transformed(other, frozen))
