"""What an `Engine` asks of whatever runs the model."""

import os
from collections.abc import Sequence
from typing import Any, Protocol

from fasttrt._common.tensor_spec import TensorSpec
from fasttrt._graph.model import OnnxModel


class Backend(Protocol):
    """Runs one model; may be called from any number of threads at once."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    reads_dlpack: bool
    """Whether `run` takes arrays of any library; else only numpy's, and those on a GPU."""
    tells_inputs_read: bool
    """Whether `run` takes ``inputs_read``."""
    metadata: dict[str, Any]
    """The plan's, see `Plan`; empty where there is none."""

    def run(
        self,
        arrays: Sequence[Any],
        out: Sequence[Any | None] | None,
        stream: Any = None,
        inputs_read: Any = None,
    ) -> Sequence[Any]:
        """Run once.

        Args:
            arrays: one for each input, in order: numpy arrays, or arrays on a GPU.
            out: for each output, where to put it, or None; None for all.
            stream: the GPU's stream to run on; None: the backend's choice.
            inputs_read: a ``_core.InputsRead`` to set once arrays in host memory may be changed.
        """
        ...

    def save(self, path: str | os.PathLike[str], *, force: bool = False) -> None:
        """Write the plan, see `Plan.save`."""
        ...

    def refit(self, model: OnnxModel) -> None:
        """Replace the weights by those of a model with the same structure."""
        ...

    def hurry(self) -> None:
        """From now on no run waits for others to share it with: `close` is about to be called."""
        ...

    def close(self) -> None:
        """Free everything. Runs after this raise `Error`."""
        ...
