"""The interface between an `Engine` and what runs its model."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from fasttrt import _core
from fasttrt._common.tensor_spec import TensorSpec
from fasttrt._graph.model import OnnxModel

Runner: TypeAlias = Callable[[Sequence[Any], Sequence[Any | None] | None], Sequence[Any]]
"""Runs a model on arrays in host memory, into those of ``out`` that are not None."""

Arrays: TypeAlias = Sequence[Any]
Targets: TypeAlias = Sequence[Any | None] | None


@dataclass(frozen=True)
class EngineRunners:
    """Engines of one plan, and what is done beside their runs, on the callers' threads.

    Attributes:
        engines: one for each GPU.
        prepare: converts a request's arrays, and its ``out``, to what the engines take, and raises
            an InputError if they do not fit; None if there is nothing to convert.
        complete: takes the engines' results, or lets their error pass, and returns what
            `Backend.run` does for this ``out``.
    """

    engines: "Sequence[_core.Engine]"
    prepare: Callable[[Arrays, Targets], tuple[Arrays, Targets]] | None
    complete: Callable[[Callable[[], Arrays], Targets], Arrays]


class Backend(Protocol):
    """Runs one model; may be called from several threads at once."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    reads_dlpack: bool
    """Whether `run` accepts arrays of any library; otherwise only numpy's, and those on a GPU."""
    metadata: dict[str, Any]
    """The plan's metadata, see `Plan`; empty if there is no plan."""

    def run(
        self,
        arrays: Sequence[Any],
        out: Sequence[Any | None] | None,
        stream: Any = None,
    ) -> Sequence[Any]:
        """Run the model once.

        Args:
            arrays: one for each input, in order: numpy arrays, or arrays on a GPU.
            out: an array or None for each output; or None for all.
            stream: the CUDA stream to run on; None for the backend's choice.
        """
        ...

    def runners(self, *, gathers: bool) -> "Runner | EngineRunners":
        """Return what runs the requests of a queue, which may join them to batches (``gathers``).

        Only engines can do that; others get them as they came.
        """
        ...

    def save(self, path: str | os.PathLike[str], *, force: bool = False) -> None:
        """Write the plan, see `Plan.save`."""
        ...

    def refit(self, model: OnnxModel) -> None:
        """Replace the weights with those of a model with the same structure."""
        ...

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        ...

    def warm_up(self, arrays: Sequence[Any]) -> None:
        """Run arrays of the engine's types in every context, until nothing of their sizes is cold.

        Raises:
            Error: a run failed.
        """
        ...

    def store_kernels(self) -> None:
        """Store the kernels that were compiled, for later processes."""
        ...

    def statistics(self) -> dict[str, Any]:
        """Return what was counted: fields of `EngineStats`, and ``errors`` by class."""
        ...

    def close(self) -> None:
        """Free all resources. Runs after this raise `Error`."""
        ...


def close_all(backends: Sequence[Backend]) -> None:
    """Close all backends, then raise the first error, if any."""
    errors = []
    for backend in backends:
        try:
            backend.close()
        except Exception as error:
            errors.append(error)
    if errors:
        raise errors[0]
