"""`EngineMemory`: engines share memory; those that are idle for longest make room for others."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from fasttrt._common.byte_size import show_mib
from fasttrt._common.log import logger
from fasttrt._engine.engine import queue_statistics
from fasttrt._serving.loaded_model import LoadedModel
from fasttrt._serving.model_entry import Slot
from fasttrt._serving.model_table import ModelTable
from fasttrt.errors import Error, InputError

UNLOADED = "unloaded to fit the memory budget; its next request loads it again"
_LOOK_SECONDS = 0.02
"""How often to look whether an engine has become idle."""
_STAY_SECONDS = (0.25, 5.0)
"""The limits of how long an engine stays at least, where none is idle: as it took to load."""


class Reservation:
    """Memory for an engine that is being opened."""

    def __init__(self, memory: "EngineMemory", size: int) -> None:
        self._memory = memory
        self._size = size

    def release(self) -> None:
        """Give it back; the engine, if there is one, counts itself. Called with the table's lock.

        Doing so again does nothing.
        """
        self._memory.reserved -= self._size
        self._size = 0


class EngineMemory:
    """Keeps the memory of engines within a budget.

    To make room it unloads engines, which their next requests bring back: of those without
    requests, the one that got its last one first. Where all have some, one that has been there for
    a while gets no more and is unloaded once these are answered, so that all models have a turn.

    Attributes:
        reserved: bytes for engines that are being opened; guarded by the table's lock.
    """

    def __init__(self, table: ModelTable, budget: int | None) -> None:
        """Limit the engines of a table to ``budget`` bytes together; None: do not."""
        self.reserved = 0
        self._table = table
        self._budget = budget
        self._turn = threading.Lock()  # of who makes room, before the table's

    @property
    def is_limited(self) -> bool:
        """Whether there is a budget."""
        return self._budget is not None

    @contextmanager
    def room(self, what: str, expected: int) -> Iterator[Reservation]:
        """Have memory for an engine within the block, once others have made room.

        Args:
            what: the model, for messages.
            expected: how many bytes it is likely to take.

        Raises:
            Error: the server is closed meanwhile.
        """
        size = 0 if self._budget is None else min(expected, self._budget)
        if self._budget is not None:
            with self._turn:
                self._make_room(what, size)
        reservation = Reservation(self, size)
        try:
            yield reservation
        finally:
            with self._table.changed:
                reservation.release()

    def check(self, what: str, size: int) -> None:
        """Check the memory of an engine.

        Raises:
            InputError: it is beyond the whole budget.
        """
        if self._budget is not None and size > self._budget:
            raise InputError(
                f"{what}: needs {show_mib(size)} of memory, which is more than the memory budget "
                f"of {show_mib(self._budget)}"
            )

    def trim(self) -> None:
        """Unload engines without requests as long as all together are beyond the budget."""
        while self._budget is not None:
            with self._table.changed:
                victim = self._idle() if self._used() > self._budget else None
                if victim is None:
                    return
                victim.in_memory = False
            self._unload(victim)

    def _make_room(self, what: str, size: int) -> None:
        while True:
            with self._table.changed:
                if self._table.is_closing:
                    raise Error("the server is being closed")
                assert self._budget is not None
                if self._used() + size <= self._budget:
                    self.reserved += size
                    return
                victim = self._idle() or self._longest_there()
                if victim is None:
                    self._table.changed.wait(_LOOK_SECONDS)
                    continue
                victim.in_memory = False
            logger.info("%s: %s/%s makes room", what, victim.model.name, victim.model.version)
            self._unload(victim)

    def _unload(self, victim: Slot) -> None:
        try:
            self._table.unload_engine(victim, UNLOADED)
        except Error as error:  # as after a CUDA error; it is closed all the same
            logger.warning("%s/%s: %s", victim.model.name, victim.model.version, error)

    def _used(self) -> int:
        slots = [slot for slot in self._table.in_memory if slot.model.owns_engine]
        return self.reserved + sum(bytes_of(slot.model) for slot in slots)

    def _idle(self) -> Slot | None:
        """Return the engine to unload among those without requests."""
        idle = [slot for slot in self._candidates() if not slot.uses and not _has_requests(slot)]
        return min(idle, key=_last_used, default=None)

    def _longest_there(self) -> Slot | None:
        """Return the engine to unload among those that have been there for a while."""
        now = time.monotonic()
        least, most = _STAY_SECONDS
        there = [
            slot
            for slot in self._candidates()
            if now - slot.loaded_at >= min(max(slot.model.load_seconds, least), most)
        ]
        return min(there, key=lambda slot: slot.loaded_at, default=None)

    def _candidates(self) -> list[Slot]:
        """Return what may be unloaded: no requests are about to get it that waited for it."""
        versions = (v for entry in self._table.entries.values() for v in entry.versions.values())
        slots = [version.slot for version in versions if not version.waiting]
        return [s for s in slots if s is not None and s.in_memory and s.model.owns_engine]


def bytes_of(model: LoadedModel) -> int:
    """Return the memory of a model's engine: on GPUs, or the model's own on the CPU."""
    stats = model.engine.stats()
    return stats.model_bytes + stats.device_bytes


def _has_requests(slot: Slot) -> bool:
    queue = queue_statistics(slot.model.engine)
    return bool(queue["waiting"] or queue["running"])


def _last_used(slot: Slot) -> float:
    arrival: float = queue_statistics(slot.model.engine)["last_arrival"]  # of the same clock
    return max(slot.loaded_at, arrival)
