"""What `Models` knows of a model: its versions, their states, and who uses them."""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from tempfile import TemporaryDirectory
from typing import Any, Literal, TypeAlias

from fasttrt._common.input_file import Version
from fasttrt._serving.loaded_model import LoadedModel

State: TypeAlias = Literal["", "READY", "LOADING", "UNLOADING", "UNAVAILABLE"]
FileState: TypeAlias = Mapping[str, Version]
"""The facts that change when a file does, by its name."""


@dataclass(frozen=True)
class ModelState:
    """The state of a model's version; of one that was never loaded, only the name is known.

    Attributes:
        name: The model's name.
        version: The version.
        state: ``"READY"``, ``"LOADING"``, ``"UNLOADING"`` or ``"UNAVAILABLE"``.
        reason: Why it is not available.
    """

    name: str
    version: str = ""
    state: State = ""
    reason: str = ""


@dataclass(eq=False)
class Slot:
    """A loaded model, and the number of requests that hold it."""

    model: LoadedModel
    made_of: Any
    """What it was loaded from: it is not loaded again while that is the same."""
    uses: int = 0
    cuda_errors: int = 0
    """How many of its engine's runs had failed with CUDA errors when that was last looked at."""
    in_memory: bool = True
    """Whether requests may use its engine; they wait otherwise, see `MemoryBudget`."""
    loaded_at: float = field(default_factory=time.monotonic)


@dataclass(eq=False)
class WaitingRequest:
    """A request that waits until its model is in memory.

    Attributes:
        proceed: called once, without locks, with the model, which it then holds, or an error.
        deadline: as of `time.monotonic`; None for none.
    """

    proceed: Callable[["Slot | BaseException"], None]
    deadline: float | None = None


@dataclass(eq=False)
class VersionEntry:
    """A version of a model: it is ready if, and only if, it has a slot."""

    slot: Slot | None = None
    state: State = "LOADING"
    reason: str = ""
    waiting: list[WaitingRequest] = field(default_factory=list)
    """Requests for a slot that is not in memory."""
    is_returning: bool = False
    """Whether somebody brings it back to memory, for these."""
    bytes: int = 0
    """What its engine took when it was last loaded."""


@dataclass(eq=False)
class ModelEntry:
    """A model that was loaded, or is to be."""

    name: str
    operation: threading.Lock = field(default_factory=threading.Lock)
    """Held while it is loaded or unloaded."""
    versions: dict[str, VersionEntry] = field(default_factory=dict)
    wanted: bool = True
    """Whether it is to be served."""
    config: str | None = None
    """The configuration of a load request, which replaces the file's."""
    upload: "TemporaryDirectory[str] | None" = None
    """The folder with the files of a load request."""
    tried: FileState | None = None
    """The files with which it was last loaded, or should have been."""
    seen: FileState | None = None
    """The files when they were last looked at."""
    reason: str = ""
    """Why not even its versions are known."""

    def latest(self) -> Slot | None:
        """Return the latest version that is ready."""
        ready = [version for version, entry in self.versions.items() if entry.slot is not None]
        return self.versions[max(ready, key=int)].slot if ready else None

    def states(self) -> list[ModelState]:
        """Return the state of each version, ascending; or of the model, if none is known."""
        if self.reason and not self.versions:
            return [ModelState(self.name, "", "UNAVAILABLE", self.reason)]
        return [
            ModelState(self.name, version, entry.state, entry.reason)
            for version, entry in sorted(self.versions.items(), key=lambda item: int(item[0]))
        ]
