"""``Engine(tuned="observed")``: how plans for observed sizes are built and opened."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from fasttrt import _core
from fasttrt._cache.cached_build import PlanSource, cached_build
from fasttrt._common.optional_packages import require
from fasttrt._common.tensor_spec import Shape
from fasttrt._graph.model import OnnxModel
from fasttrt._library.discovery import find
from fasttrt._plan.build_config import BuildConfig
from fasttrt._plan.plan_file import Plan
from fasttrt._runtime.batching import Batching
from fasttrt._runtime.observed_sizes import ObservedSizes
from fasttrt._runtime.observing_backend import ObservingBackend, prepare
from fasttrt._runtime.tensorrt_backend import TensorRTBackend
from fasttrt.errors import InputError, OutOfMemoryError

OBSERVED: Final = "observed"
"""The value of ``tuned``, and the metadata with the shapes that had plans of their own."""
_LEAST_FREE = 0.1
"""The share of a GPU's memory that stays free."""


@dataclass(frozen=True)
class Observation:
    """What plans for observed sizes are built from."""

    model: OnnxModel
    config: BuildConfig
    library: str | os.PathLike[str]
    plugins: tuple[str | os.PathLike[str], ...]
    cache: Path | None

    def check(self, batching: Batching | None, ordinal: int) -> None:
        """Check that sizes can be observed.

        Raises:
            InputError: with batching, whose sizes are known, or with a library whose builds would
                keep the GPU busy.
            MissingPackageError: onnx is not installed, which the builds need.
        """
        if batching is not None:
            raise InputError('tuned="observed": expected no batching with it, got a Batching')
        require('tuned="observed"', "onnx")
        found = find(self.library, ordinal)
        if found.family != "rtx":
            raise InputError(
                f'tuned="observed": expected TensorRT-RTX, which builds without a GPU, got {found}'
            )

    def begin(
        self, backend: ObservingBackend, source: PlanSource, ordinal: int,
        open_plan: Callable[[Plan], TensorRTBackend],
    ) -> None:  # fmt: skip
        """Count the sizes of an engine's runs, and open plans for those that come often.

        Args:
            backend: the engine's backend.
            source: its plan, whose entry in the cache remembers the sizes for the next start.
            ordinal: the GPU.
            open_plan: opens a plan on it, as the engine's.

        Raises:
            InputError: the model has shape tensors, whose values count as well.
        """
        if names := [spec.name for spec in backend.inputs if spec.is_shape]:
            raise InputError(f'tuned="observed": expected no shape tensors, got {", ".join(names)}')

        def open_size(shapes: Mapping[str, Shape]) -> TensorRTBackend:
            plan = self._build(shapes, ordinal)
            _check_memory(ordinal, len(plan.data))
            opened = open_plan(plan)
            try:
                prepare(opened)
            except BaseException:
                opened.close()
                raise
            return opened

        def remember(shapes: list[dict[str, Shape]]) -> None:
            source.annotate(**{OBSERVED: [
                {name: list(shape) for name, shape in by_name.items()} for by_name in shapes
            ]})  # fmt: skip

        known: list[Any] = source.plan.metadata.get(OBSERVED, [])
        backend.observe(ObservedSizes(backend.inputs, open_size, remember, known=known))

    def _build(self, shapes: Mapping[str, Shape], ordinal: int) -> Plan:
        """Build in a process of its own, so that no run waits for this one's interpreter."""
        return cached_build(
            self.model, self.config, shapes=shapes, library=self.library,
            device=f"cuda:{ordinal}", progress=False, cache=self.cache, plugins=self.plugins,
            isolate=True,
        ).plan  # fmt: skip


def _check_memory(ordinal: int, size: int) -> None:
    """Check that a plan leaves enough memory free.

    Raises:
        OutOfMemoryError: it does not.
    """
    free, total = _core.device_memory(ordinal)
    needed = 2 * size + int(_LEAST_FREE * total)  # its weights, and about as much for runs
    if free < needed:
        raise OutOfMemoryError(
            f"cuda:{ordinal}: expected {needed >> 20} MiB of free memory, got {free >> 20}"
        )
