"""`ModelTable`: which models can be used, and who uses them."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from fasttrt._common.checks import shown
from fasttrt._serving.errors import UnavailableModelError, UnknownModelError
from fasttrt._serving.loaded_model import LoadedModel
from fasttrt._serving.model_entry import ModelEntry, Slot, State
from fasttrt._serving.repository import is_version


class Listener(Protocol):
    """Is told which models can be used; the calls are quick, and come in order."""

    def model_ready(self, model: LoadedModel, is_default: bool) -> None:
        """Use a version from now on, in place of the one before with the same number."""
        ...

    def model_removed(self, name: str, version: str) -> None:
        """Use a version no more; requests that use it already may end."""
        ...


class ModelTable:
    """Models by name and version. Its methods may be called from several threads at once."""

    def __init__(self) -> None:
        """Begin with none."""
        self._changed = threading.Condition()  # guards all below, and the entries
        self._entries: dict[str, ModelEntry] = {}
        self._listeners: list[Listener] = []

    def get(self, name: str, version: str | None = None) -> LoadedModel:
        """Return a version that is ready; None or an empty text: the latest.

        Raises:
            UnknownModelError: there is no such model.
            UnavailableModelError: neither it nor this version is ready.
        """
        with self._changed:
            return self._slot(name, version).model

    @contextmanager
    def use(self, name: str, version: str | None = None) -> Iterator[LoadedModel]:
        """Do the same, and keep its engine open within the block.

        Raises:
            UnknownModelError, UnavailableModelError: see `get`.
        """
        with self._changed:
            slot = self._slot(name, version)
            slot.uses += 1
        try:
            yield slot.model
        finally:
            with self._changed:
                slot.uses -= 1
                if not slot.uses:
                    self._changed.notify_all()

    def versions(self, name: str) -> list[str]:
        """Return the versions that are ready, ascending.

        Raises:
            UnknownModelError: there is no such model.
        """
        with self._changed:
            entry = self._entry(name)
            return [state.version for state in entry.states() if state.state == "READY"]

    def ready_models(self) -> list[LoadedModel]:
        """Return all versions of all models that are ready."""
        with self._changed:
            return [slot.model for slot in self._slots()]

    def add_listener(self, listener: Listener) -> None:
        """Tell a listener of all models that are ready, and of all changes from now on."""
        with self._changed:
            self._listeners.append(listener)
            for entry in self._entries.values():
                default = entry.latest()
                for version in entry.versions.values():
                    if version.slot is not None:
                        listener.model_ready(version.slot.model, version.slot is default)

    def _entry(self, name: str) -> ModelEntry:
        entry = self._entries.get(name)
        if entry is None:
            raise UnknownModelError(f"Request for unknown model: {shown(name)} is not found")
        return entry

    def _slot(self, name: str, version: str | None) -> Slot:
        entry = self._entry(name)
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
            reason = f": {found.reason}" if found.reason else ""
            raise UnavailableModelError(
                f"Request for unknown model: {shown(name)} version {version} is not at ready state"
                f"{reason}"
            )
        return found.slot

    def _slots(self) -> list[Slot]:
        versions = (v for entry in self._entries.values() for v in entry.versions.values())
        return [version.slot for version in versions if version.slot is not None]

    def _retire(self, slot: Slot, drain: bool = True) -> None:
        """Close an engine that no new request gets, once no request uses it."""
        with self._changed:
            self._changed.wait_for(lambda: not slot.uses)
        if slot.model.owns_engine:
            slot.model.engine.close(drain=drain)

    def _put(self, entry: ModelEntry, version: str, slot: Slot) -> None:
        """Make a version ready; called with the lock."""
        known = entry.versions[version]
        known.slot, known.state, known.reason = slot, "READY", ""
        is_default = entry.latest() is slot
        self._tell(lambda listener: listener.model_ready(slot.model, is_default))
        self._changed.notify_all()

    def _take(self, entry: ModelEntry, version: str, state: State, reason: str) -> Slot:
        """Take a version out of service; called with the lock."""
        known = entry.versions[version]
        slot, known.slot = known.slot, None
        if slot is None:
            raise RuntimeError(f"{entry.name}/{version} is not in service")
        known.state, known.reason = state, reason
        self._tell(lambda listener: listener.model_removed(entry.name, version))
        latest = entry.latest()
        if latest is not None and int(latest.model.version) < int(version):
            model = latest.model
            self._tell(lambda listener: listener.model_ready(model, True))
        return slot

    def _tell(self, call: Callable[[Listener], None]) -> None:
        for listener in self._listeners:
            call(listener)
