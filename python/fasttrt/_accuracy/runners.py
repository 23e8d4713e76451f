"""Define the two sides of a comparison: the runner under test, and the reference."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np

from fasttrt._common.dtypes import is_lossless
from fasttrt._common.host_array import Array, host_array
from fasttrt._graph.model import OnnxModel
from fasttrt._parser.repeated_outputs import write_repeated_outputs
from fasttrt._runtime.arguments import ordered
from fasttrt._runtime.backend import Backend
from fasttrt._runtime.reference_backend import ReferenceBackend
from fasttrt.errors import InputError

Named: TypeAlias = Mapping[str, Array]


@dataclass(frozen=True)
class Runner:
    """A backend with a label, as the side of a comparison."""

    label: str
    backend: Backend
    on_gpu: bool

    def run(self, feeds: Named, *, widen: bool = False) -> dict[str, Array]:
        """Run the model and return the outputs by name; ``feeds`` may contain additional arrays.

        With ``widen``, arrays are converted to the input's dtype if that is lossless: so a
        reference accepts the arrays for an engine whose inputs were converted to 16 bits.
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
        """The precision in which it was built to compute float32."""
        if not self.on_gpu:
            return "fp32"
        config = self.backend.metadata.get("config", {})
        return str(config.get("precision") or ("fp32" if config.get("tf32") is False else "tf32"))


def gpu_label(device: str, metadata: Mapping[str, Any]) -> str:
    """Return a label of a GPU and the library that built a plan."""
    library = metadata.get("library")
    return f"{device} ({library['family']} {library['version']})" if library else device


class Reference(Protocol):
    """The side that an engine is compared with."""

    label: str
    inputs: Collection[str]
    """The names of its inputs."""

    @property
    def model(self) -> OnnxModel | None:
        """The model whose intermediate tensors can be computed; None if there is none."""
        ...

    def run(self, feeds: Named) -> Mapping[str, Array]:
        """Run the reference and return the outputs by name."""
        ...


class OnnxReference:
    """ONNX Runtime on the CPU as the reference."""

    def __init__(self, model: OnnxModel) -> None:
        """Load the model; errors are those of `ReferenceBackend`."""
        self.model = model
        self.label = "ONNX Runtime"
        self._runner = Runner("", ReferenceBackend(model, None), False)
        self.inputs: Collection[str] = [spec.name for spec in self._runner.backend.inputs]

    def run(self, feeds: Named) -> Mapping[str, Array]:
        """Run the model and return the outputs by name."""
        return self._runner.run(feeds, widen=True)


class FunctionReference:
    """A function of the caller as the reference."""

    model = None

    def __init__(self, function: Callable[..., Any], model: OnnxModel) -> None:
        self._function = function
        self.inputs: Collection[str] = [tensor.name for tensor in model.inputs]
        self._outputs = [tensor.name for tensor in write_repeated_outputs(model).outputs]
        self.label = getattr(function, "__name__", type(function).__name__)

    def run(self, feeds: Named) -> Mapping[str, Array]:
        """Call the function and return the outputs by name.

        Raises:
            InputError: it returns more or fewer arrays than the model has outputs.
        """
        results = self._function(*(feeds[name] for name in self.inputs))
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
    """Copy an array, as a function may reuse its memory while results are kept."""
    return np.array(host_array(f"against: {name}", array))
