"""The interface between an `Engine` and what runs its model."""

import os
from collections.abc import Sequence
from typing import Any, Protocol

from fasttrt._common.tensor_spec import TensorSpec
from fasttrt._graph.model import OnnxModel


class Backend(Protocol):
    """Runs one model; may be called from several threads at once."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    reads_dlpack: bool
    """Whether `run` accepts arrays of any library; otherwise only numpy's, and those on a GPU."""
    tells_inputs_read: bool
    """Whether `run` supports ``inputs_read``."""
    metadata: dict[str, Any]
    """The plan's metadata, see `Plan`; empty if there is no plan."""

    def run(
        self,
        arrays: Sequence[Any],
        out: Sequence[Any | None] | None,
        stream: Any = None,
        inputs_read: Any = None,
    ) -> Sequence[Any]:
        """Run the model once.

        Args:
            arrays: one for each input, in order: numpy arrays, or arrays on a GPU.
            out: an array or None for each output; or None for all.
            stream: the CUDA stream to run on; None for the backend's choice.
            inputs_read: a ``_core.InputsRead`` to set once arrays in host memory may be changed.
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

    def flush_pending_batches(self) -> None:
        """From now on no run waits for others to share it with: `close` is about to be called."""
        ...

    def close(self) -> None:
        """Free all resources. Runs after this raise `Error`."""
        ...
