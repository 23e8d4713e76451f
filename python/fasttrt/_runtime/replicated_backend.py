"""One model on several GPUs."""

import os
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any

import numpy as np

from fasttrt._graph.model import OnnxModel
from fasttrt._runtime.arrays import CUDA, dlpack_device, is_gpu_array
from fasttrt._runtime.backend import Backend, EngineRunners, Runner, close_all
from fasttrt._runtime.statistics import sum_statistics
from fasttrt.errors import EngineLoadError, Error, InputError


class ReplicatedBackend:
    """Several backends of one model; each run goes to the one with the fewest current runs.

    Equally busy ones take turns. Runs on arrays that are on a GPU always go to that GPU.
    """

    def __init__(self, backends: Sequence[Backend], ordinals: Sequence[int]) -> None:
        """Take over backends, one for each of the GPUs.

        Raises:
            EngineLoadError: their inputs or outputs differ. The caller then has to close them.
        """
        self._backends = tuple(backends)
        self._ordinals = tuple(ordinals)
        first = self._backends[0]
        for backend, ordinal in zip(self._backends, self._ordinals, strict=True):
            if (backend.inputs, backend.outputs) != (first.inputs, first.outputs):
                raise EngineLoadError(
                    f"the engines on cuda:{self._ordinals[0]} and cuda:{ordinal} differ: "
                    f"{first.inputs} -> {first.outputs}; {backend.inputs} -> {backend.outputs}"
                )
        self.inputs = first.inputs
        self.outputs = first.outputs
        self.reads_dlpack = first.reads_dlpack
        self.metadata = first.metadata
        self._under_way = [0] * len(self._backends)
        self._turn = 0
        self._lock = threading.Lock()  # for _under_way and _turn

    def run(
        self,
        arrays: Sequence[Any],
        out: Sequence[Any | None] | None,
        stream: Any = None,
    ) -> Sequence[Any]:
        """Run once; see `Engine.infer`.

        Raises:
            InputError: arrays are on different GPUs, or on one without the model, or the GPU of a
                stream is unknown.
        """
        chosen = self._begin(self._home(arrays, out, stream))
        try:
            return self._backends[chosen].run(arrays, out, stream)
        finally:
            with self._lock:
                self._under_way[chosen] -= 1

    def runners(self, *, gathers: bool) -> Runner | EngineRunners:
        """Return the engines of all GPUs; `run`, which chooses one, if a backend has a function."""
        found = [backend.runners(gathers=gathers) for backend in self._backends]
        groups = [runners for runners in found if isinstance(runners, EngineRunners)]
        if len(groups) < len(found):
            return self.run
        engines = [engine for group in groups for engine in group.engines]
        return replace(groups[0], engines=engines)

    def save(self, path: str | os.PathLike[str], *, force: bool = False) -> None:
        """Write the plan of the first GPU."""
        self._backends[0].save(path, force=force)

    def refit(self, model: OnnxModel) -> None:
        """Replace the weights on one GPU after the other; an error names its GPU."""
        for backend, ordinal in zip(self._backends, self._ordinals, strict=True):
            try:
                backend.refit(model)
            except Error as error:
                done = ",".join(map(str, self._ordinals[: self._ordinals.index(ordinal)]))
                state = f"; refitted already: cuda:{done}" if done else ""
                named = type(error)(f"cuda:{ordinal}: {error}{state}")
                vars(named).update(vars(error))  # such as a CudaError's code
                raise named from error

    @property
    def closed(self) -> bool:
        """Whether they were closed."""
        return self._backends[0].closed

    def warm_up(self, arrays: Sequence[Any]) -> None:
        """Warm all of them up, one after the other: TensorRT-RTX compiles for one at a time."""
        for backend in self._backends:
            backend.warm_up(arrays)

    def store_kernels(self) -> None:
        """Store the kernels of all of them."""
        for backend in self._backends:
            backend.store_kernels()

    def statistics(self) -> dict[str, Any]:
        """Return the sums over all GPUs."""
        return sum_statistics([backend.statistics() for backend in self._backends])

    def close(self) -> None:
        """Close all of them, even if one fails."""
        close_all(self._backends)

    def _begin(self, home: int | None) -> int:
        """Choose the backend for a run, count the run, and return the backend's index."""
        count = len(self._backends)
        with self._lock:
            chosen = home
            if chosen is None:
                turns = ((self._turn + i) % count for i in range(count))
                chosen = min(turns, key=self._under_way.__getitem__)
                self._turn = chosen + 1
            self._under_way[chosen] += 1
        return chosen

    def _home(
        self, arrays: Sequence[Any], out: Sequence[Any | None] | None, stream: Any
    ) -> int | None:
        """Return the index of the backend that a run must go to; None if any will do."""
        if len(self._backends) == 1:
            return 0
        home: tuple[str, int] | None = None
        for name, ordinal in self._residents(arrays, out):
            if home is not None and ordinal != home[1]:
                raise InputError(
                    f"{name}: is on cuda:{ordinal}, but {home[0]} is on cuda:{home[1]}; "
                    "expected all arrays of a run on one GPU"
                )
            home = (name, ordinal)
        if home is None and stream is not None:
            home = ("stream", _stream_ordinal(stream))
        if home is None:
            return None
        name, ordinal = home
        if ordinal not in self._ordinals:
            here = ",".join(map(str, self._ordinals))
            raise InputError(f"{name}: is on cuda:{ordinal}; the engine is on cuda:{here}")
        return self._ordinals.index(ordinal)

    def _residents(
        self, arrays: Sequence[Any], out: Sequence[Any | None] | None
    ) -> Iterator[tuple[str, int]]:
        """Yield the name and GPU of every array that is on a GPU."""
        inputs = zip(self.inputs, arrays, strict=True)
        targets = zip(self.outputs, out or (), strict=False)
        for spec, array in chain(inputs, targets):
            if array is None or isinstance(array, np.ndarray) or not is_gpu_array(array):
                continue
            device = dlpack_device(array)
            if device is None:
                raise InputError(
                    f"{spec.name}: expected an array with __dlpack_device__, as the engine is on "
                    f"several GPUs, got {type(array).__name__}"
                )
            if device[0] == CUDA:  # the other kinds of memory are accessible to all GPUs
                yield spec.name, device[1]


def _stream_ordinal(stream: Any) -> int:
    """Return the GPU of a stream of PyTorch or CuPy."""
    ordinal = getattr(getattr(stream, "device", None), "index", None)
    if not isinstance(ordinal, int):
        ordinal = getattr(stream, "device_id", None)
    if not isinstance(ordinal, int):
        raise InputError(
            "stream: expected arrays on a GPU, or a stream of PyTorch or CuPy, as the engine is on "
            f"several GPUs, got {stream!r}"
        )
    return ordinal
