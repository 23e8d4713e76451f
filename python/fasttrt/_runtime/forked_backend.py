"""The backend of an engine in a forked process, where CUDA and the parent's threads do not work."""

import os
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from fasttrt import _core
from fasttrt._graph.model import OnnxModel
from fasttrt._runtime.backend import Backend
from fasttrt.errors import Error


class ForkedBackend:
    """Rejects every run, and keeps the parent's backend alive: freeing it could hang or crash."""

    reads_dlpack = False

    def __init__(self, inherited: Backend) -> None:
        """Replace the parent's backend."""
        self._inherited = inherited
        self._parent = os.getppid()
        self.inputs = inherited.inputs
        self.outputs = inherited.outputs
        self.metadata = inherited.metadata

    def refuse(self) -> NoReturn:
        """Raise `Error`."""
        raise Error(
            f"the engine belongs to process {self._parent}, from which this one was forked; create "
            'one in each process, or start processes with "spawn"'
        )

    def run(
        self,
        arrays: Sequence[Any],
        out: Sequence[Any | None] | None,
        stream: Any = None,
    ) -> NoReturn:
        """Raise `Error`."""
        self.refuse()

    def runners(self, *, gathers: bool) -> NoReturn:
        """Raise `Error`."""
        self.refuse()

    def save(self, path: str | os.PathLike[str], *, force: bool = False) -> None:
        """Raise `Error`."""
        self.refuse()

    def refit(self, model: OnnxModel) -> None:
        """Raise `Error`."""
        self.refuse()

    @property
    def closed(self) -> NoReturn:
        """Raise `Error`."""
        self.refuse()

    def warm_up(self, arrays: Sequence[Any]) -> NoReturn:
        """Raise `Error`."""
        self.refuse()

    def store_kernels(self) -> NoReturn:
        """Raise `Error`."""
        self.refuse()

    def statistics(self) -> NoReturn:
        """Raise `Error`."""
        self.refuse()

    def close(self) -> None:
        """Do nothing: the engine is the parent's."""


class ForkedDispatcher:
    """Rejects every request, and keeps the parent's dispatcher, whose threads are not here."""

    closed = False

    def __init__(
        self,
        inherited: "_core.Dispatcher | ForkedDispatcher",
        refuse: Callable[[], NoReturn],
    ) -> None:
        """Replace the parent's dispatcher; ``refuse`` raises the error."""
        self._inherited = inherited
        self.refuse = refuse

    def submit(self, *arguments: Any, **options: Any) -> NoReturn:
        """Raise `Error`."""
        self.refuse()

    def infer(self, *arguments: Any, **options: Any) -> NoReturn:
        """Raise `Error`."""
        self.refuse()

    def statistics(self) -> NoReturn:
        """Raise `Error`."""
        self.refuse()

    def close(self, drain: bool) -> bool:
        """Do nothing, as the dispatcher is the parent's, and return that all is done."""
        return True
