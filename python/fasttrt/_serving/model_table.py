"""`ModelTable`: which models can be used, and who uses them."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from fasttrt._common.checks import shown
from fasttrt._serving.errors import UnavailableModelError, UnknownModelError
from fasttrt._serving.loaded_model import LoadedModel
from fasttrt._serving.model_entry import ModelEntry, Slot, State, VersionEntry, WaitingRequest
from fasttrt._serving.model_listener import Listener
from fasttrt._serving.repository import is_version
from fasttrt._serving.waiting_requests import WaitingRequests


class ModelTable:
    """Models by name and version. Its methods may be called from several threads at once.

    Attributes:
        changed: guards everything here and in the entries, and is notified of changes.
        entries: the models by name.
        is_closing: whether the server is about to end.
        in_memory: the slots whose engines are open, also those that no request gets any more.
        bring_back: called where a request needs a version that is not in memory.
    """

    def __init__(self) -> None:
        """Begin with none."""
        self.changed = threading.Condition()
        self.entries: dict[str, ModelEntry] = {}
        self.is_closing = False
        self.in_memory: set[Slot] = set()
        self.bring_back: Callable[[ModelEntry, str], None] = lambda *_: None
        self._listeners: list[Listener] = []
        self._waiting = WaitingRequests(self.changed)

    def get(self, name: str, version: str | None = None) -> LoadedModel:
        """Return a version that is ready; None or an empty text: the latest.

        Its engine is closed while the model is not in memory.

        Raises:
            UnknownModelError: there is no such model.
            UnavailableModelError: neither it nor this version is ready.
        """
        with self.changed:
            return self._slot(name, version).model

    @contextmanager
    def use(self, name: str, version: str | None = None) -> Iterator[LoadedModel]:
        """Do the same, once the model is in memory, and keep its engine open within the block.

        Raises:
            UnknownModelError, UnavailableModelError: see `get`.
        """
        done = threading.Event()
        found: list[Slot | BaseException] = []

        def proceed(slot: Slot | BaseException) -> None:
            found.append(slot)
            done.set()

        self.request(name, version, proceed)
        done.wait()
        slot = found[0]
        if isinstance(slot, BaseException):
            raise slot
        try:
            yield slot.model
        finally:
            self.release(slot)

    def request(
        self,
        name: str,
        version: str | None,
        proceed: Callable[[Slot | BaseException], None],
        timeout: float | None = None,
    ) -> None:
        """Hold a version once it is in memory, without waiting for that.

        Args:
            name: the model's.
            version: None or an empty text: the latest.
            proceed: called once, now or later, with what is held until `release`, or an error.
            timeout: the seconds within which it must be in memory, or None.

        Raises:
            UnknownModelError, UnavailableModelError: see `get`.
            QueueFullError: as many requests wait for it as may.
        """
        with self.changed:
            slot = self._slot(name, version)
            if slot.in_memory:
                slot.uses += 1
            else:
                entry, number = self.entries[name], slot.model.version
                known = entry.versions[number]
                deadline = None if timeout is None else time.monotonic() + timeout
                self._waiting.add(known, WaitingRequest(proceed, deadline), slot.model.max_queue)
                self._bring_back(entry, number)
                return
        proceed(slot)

    def release(self, slot: Slot | BaseException) -> None:
        """Hold a version no more; an error holds none."""
        if isinstance(slot, BaseException):
            return
        with self.changed:
            slot.uses -= 1
            if not slot.uses:
                self.changed.notify_all()

    def versions(self, name: str) -> list[str]:
        """Return the versions that are ready, ascending.

        Raises:
            UnknownModelError: there is no such model.
        """
        with self.changed:
            return [s.version for s in self.entry(name).states() if s.state == "READY"]

    def ready_models(self) -> list[LoadedModel]:
        """Return all versions of all models that are ready."""
        with self.changed:
            return [slot.model for slot in self.slots()]

    def add_listener(self, listener: Listener) -> None:
        """Tell a listener of all models that are ready, and of all changes from now on."""
        with self.changed:
            self._listeners.append(listener)
            for entry in self.entries.values():
                default = entry.latest()
                for version in entry.versions.values():
                    if version.slot is not None and version.slot.in_memory:
                        listener.model_ready(version.slot.model, version.slot is default)

    def entry(self, name: str) -> ModelEntry:
        """Return a model's entry; called with the lock.

        Raises:
            UnknownModelError: there is no such model.
        """
        entry = self.entries.get(name)
        if entry is None:
            raise UnknownModelError(f"Request for unknown model: {shown(name)} is not found")
        return entry

    def slots(self) -> list[Slot]:
        """Return those of all versions that are ready; called with the lock."""
        versions = (v for entry in self.entries.values() for v in entry.versions.values())
        return [version.slot for version in versions if version.slot is not None]

    def put(self, entry: ModelEntry, version: str, slot: Slot) -> None:
        """Make a version ready; called with the lock, and `settle` after it without."""
        known = entry.versions[version]
        known.slot, known.state, known.reason = slot, "READY", ""
        self.in_memory.add(slot)
        is_default = entry.latest() is slot
        self._tell(lambda listener: listener.model_ready(slot.model, is_default))
        self.changed.notify_all()

    def take(self, entry: ModelEntry, version: str, state: State, reason: str) -> Slot:
        """Take a version out of service; called with the lock, and `settle` after it without."""
        known = entry.versions[version]
        slot, known.slot = known.slot, None
        if slot is None:
            raise RuntimeError(f"{entry.name}/{version} is not in service")
        known.state, known.reason = state, reason
        self._tell(lambda listener: listener.model_removed(entry.name, version))
        latest = entry.latest()
        if latest is not None and latest.in_memory and int(latest.model.version) < int(version):
            model = latest.model
            self._tell(lambda listener: listener.model_ready(model, True))
        self.changed.notify_all()
        return slot

    def settle(self, entry: ModelEntry, version: str) -> None:
        """Let the requests that wait for a version proceed, if it is clear how."""
        with self.changed:
            known = entry.versions[version]
            slot = known.slot
            if slot is not None and not slot.in_memory:
                if known.waiting:
                    self._bring_back(entry, version)
                return
            waiting, known.waiting = known.waiting, []
            outcome: Slot | BaseException
            if slot is not None:
                slot.uses += len(waiting)
                outcome = slot
            else:
                outcome = _unavailable(entry.name, version, known)
        for request in waiting:
            request.proceed(outcome)

    def retire(self, slot: Slot, drain: bool = True) -> None:
        """Close an engine that no new request gets, once no request uses it."""
        with self.changed:
            self.changed.wait_for(lambda: not slot.uses)
        try:
            if slot.model.owns_engine:
                slot.model.engine.close(drain=drain)
        finally:
            with self.changed:
                slot.in_memory = False
                self.in_memory.discard(slot)
                self.changed.notify_all()

    def unload_engine(self, slot: Slot, reason: str) -> None:
        """Close the engine of a version that stays ready: requests bring it back.

        Args:
            slot: the version's, whose ``in_memory`` is False already.
            reason: why, for the index.
        """
        model = slot.model
        self.retire(slot)
        with self.changed:
            known = self.entries[model.name].versions[model.version]
            if known.slot is slot:  # it was not replaced meanwhile
                known.reason = reason
                self._tell(lambda listener: listener.model_removed(model.name, model.version))

    def _bring_back(self, entry: ModelEntry, version: str) -> None:
        known = entry.versions[version]
        if not known.is_returning:
            known.is_returning = True
            work = partial(self.bring_back, entry, version)
            threading.Thread(target=work, name="fasttrt-return", daemon=True).start()

    def _slot(self, name: str, version: str | None) -> Slot:
        entry = self.entry(name)
        if not version:
            if (latest := entry.latest()) is not None:
                return latest
            reasons = "; ".join(state.reason for state in entry.states() if state.reason)
            raise UnavailableModelError(
                f"Request for unknown model: {shown(name)} has no available versions"
                + (f" ({reasons})" if reasons else "")
            )
        found = entry.versions.get(version)
        if found is None or not is_version(version):
            raise UnavailableModelError(
                f"Request for unknown model: {shown(name)} version {shown(version)} is not found"
            )
        if found.slot is None:
            raise _unavailable(name, version, found)
        return found.slot

    def _tell(self, call: Callable[[Listener], None]) -> None:
        for listener in self._listeners:
            call(listener)


def _unavailable(name: str, version: str, known: VersionEntry) -> UnavailableModelError:
    reason = f": {known.reason}" if known.reason else ""
    return UnavailableModelError(
        f"Request for unknown model: {shown(name)} version {version} is not at ready state{reason}"
    )
