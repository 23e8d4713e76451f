"""An engine in a forked process: CUDA does not work there, and neither do threads of the parent."""

import os
from collections.abc import Sequence
from typing import Any, NoReturn

from fasttrt._graph.model import OnnxModel
from fasttrt._runtime.backend import Backend
from fasttrt.errors import Error


class InheritedBackend:
    """Refuses every run, and keeps the parent's backend as it is: ending it could hang or crash."""

    reads_dlpack = False
    tells_inputs_read = False

    def __init__(self, inherited: Backend) -> None:
        """Take the parent's place."""
        self._inherited = inherited
        self._parent = os.getppid()
        self.inputs = inherited.inputs
        self.outputs = inherited.outputs
        self.metadata = inherited.metadata

    def _refuse(self) -> NoReturn:
        raise Error(
            f"the engine belongs to process {self._parent}, from which this one was forked; make "
            'one in each process, or start processes by "spawn"'
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

    def hurry(self) -> None:
        """Nothing waits here."""

    def close(self) -> None:
        """Leave it to the parent."""
