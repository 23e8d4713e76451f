"""The TensorRT backend with plans of their own for the sizes that come often."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from fasttrt._graph.model import OnnxModel
from fasttrt._runtime.backend import EngineRunners, Runner
from fasttrt._runtime.observed_sizes import ObservedSizes, Shapes
from fasttrt._runtime.statistics import sum_statistics
from fasttrt._runtime.tensorrt_backend import TensorRTBackend


class ObservingBackend(TensorRTBackend):
    """Runs each size in the plan that was built for it, or else in the engine's own."""

    _sizes: ObservedSizes | None = None

    def observe(self, sizes: ObservedSizes) -> None:
        """Count the sizes of runs from now on."""
        self._sizes = sizes

    def run(
        self,
        arrays: Sequence[Any],
        out: Sequence[Any | None] | None,
        stream: Any = None,
    ) -> Sequence[Any]:
        """Run once; see `Engine.infer`."""
        sizes = self._sizes
        shapes = None if sizes is None else _shapes_of(arrays)
        if sizes is None or shapes is None:
            return super().run(arrays, out, stream)
        backend = sizes.find(shapes)
        if backend is not None:
            return backend.run(arrays, out, stream)
        results = super().run(arrays, out, stream)
        sizes.count(shapes)  # now that they are known to be valid
        return results

    def runners(self, *, gathers: bool) -> Runner | EngineRunners:
        """Return `run`, which chooses the plan; batches have sizes of their own, and take none."""
        if gathers or self._sizes is None:
            return super().runners(gathers=gathers)
        return lambda arrays, out: self.run(arrays, out)

    def statistics(self) -> dict[str, Any]:
        """Return the sums over all plans, and the observed shapes; see `Backend.statistics`."""
        backends = [] if self._sizes is None else self._sizes.backends
        parts = [super().statistics(), *(backend.statistics() for backend in backends)]
        return sum_statistics(parts) | {"observed": self.observed_shapes}

    @property
    def observed_shapes(self) -> list[dict[str, tuple[int, ...]]]:
        """The shapes that have a plan of their own, by input."""
        return [] if self._sizes is None else self._sizes.shapes

    def refit(self, model: OnnxModel) -> None:
        """Replace the weights of all plans; see `Engine.refit`. There are no new ones then."""
        super().refit(model)
        if self._sizes is not None:
            self._sizes.apply(lambda backend: backend.refit(model))

    def close(self) -> None:
        """Wait for current runs, and free all resources."""
        try:
            if self._sizes is not None:
                self._sizes.close()
        finally:
            super().close()


def prepare(backend: TensorRTBackend) -> None:
    """Warm up a plan for a single size, so that its first run is as fast as later ones."""
    backend.warm_up(
        [
            np.zeros(
                spec.profiles[0][1] if spec.profiles else spec.shape,
                spec.engine_dtype or spec.dtype,
            )
            for spec in backend.inputs
        ]
    )
    backend.store_kernels()


def _shapes_of(arrays: Sequence[Any]) -> Shapes | None:
    """Return the arrays' shapes; None if one does not tell."""
    try:
        return tuple([tuple(array.shape) for array in arrays])
    except (AttributeError, TypeError):
        return None
