"""The backend of an engine in a forked process, where CUDA and the parent's threads do not work."""

import os
from collections.abc import Sequence
from typing import Any, NoReturn

from fasttrt._graph.model import OnnxModel
from fasttrt._runtime.backend import Backend
from fasttrt.errors import Error


class ForkedBackend:
    """Rejects every run, and keeps the parent's backend alive: freeing it could hang or crash."""

    reads_dlpack = False
    tells_inputs_read = False

    def __init__(self, inherited: Backend) -> None:
        """Replace the parent's backend."""
        self._inherited = inherited
        self._parent = os.getppid()
        self.inputs = inherited.inputs
        self.outputs = inherited.outputs
        self.metadata = inherited.metadata

    def _refuse(self) -> NoReturn:
        raise Error(
            f"the engine belongs to process {self._parent}, from which this one was forked; create "
            'one in each process, or start processes with "spawn"'
        )

    def run(
        self,
        arrays: Sequence[Any],
        out: Sequence[Any | None] | None,
        stream: Any = None,
        inputs_read: Any = None,
    ) -> NoReturn:
        """Raise `Error`."""
        self._refuse()

    def save(self, path: str | os.PathLike[str], *, force: bool = False) -> None:
        """Raise `Error`."""
        self._refuse()

    def refit(self, model: OnnxModel) -> None:
        """Raise `Error`."""
        self._refuse()

    def flush_pending_batches(self) -> None:
        """Nothing waits here."""

    def close(self) -> None:
        """Do nothing: the engine is the parent's."""
