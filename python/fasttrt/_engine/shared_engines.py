"""What unpickled engines run on: those with one recipe share an open engine.

Dask, Spark, joblib and process pools pickle what a task needs with each task. A process that gets a
hundred of them should open the engine once, not a hundred times: it keeps the ones used last.
"""

import os
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from weakref import WeakSet, WeakValueDictionary

from fasttrt.errors import Error, OutOfMemoryError

if TYPE_CHECKING:
    from fasttrt._engine.engine import Engine
    from fasttrt._engine.recipe import PackedRecipe

_MOST_KEPT = 4
"""How many engines stay open while no task uses them."""


class _Opened:
    """An engine, and who runs on it."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        """Held while the engine is opened, so that others wait for it."""
        self.engine: Engine | None = None
        self.users: WeakSet[Engine] = WeakSet()
        self.is_closed = False


class _Table:
    """The open engines by recipe."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.opened: WeakValueDictionary[str, _Opened] = WeakValueDictionary()
        self.kept: OrderedDict[str, _Opened] = OrderedDict()

    def get(self, key: str) -> _Opened:
        """Return what is open, or is about to be, and keep it instead of what was used before."""
        with self.lock:
            opened = self.opened.get(key)
            if opened is None:
                opened = self.opened[key] = _Opened()
            self.kept[key] = opened
            self.kept.move_to_end(key)
            dropped = [self.kept.popitem(last=False) for _ in range(len(self.kept) - _MOST_KEPT)]
        del dropped  # after the lock is free: it may free GPU memory
        return opened

    def find(self, key: str) -> _Opened | None:
        with self.lock:
            return self.opened.get(key)

    def remove(self, key: str, opened: _Opened) -> None:
        with self.lock:
            if self.opened.get(key) is opened:
                del self.opened[key]
            if self.kept.get(key) is opened:
                del self.kept[key]

    def drop_others(self, key: str) -> bool:
        """Keep no engine but one; return whether there were any."""
        with self.lock:
            dropped = [self.kept.pop(other) for other in [*self.kept] if other != key]
        return bool(dropped)


_table = _Table()
_shares: "WeakSet[Share]" = WeakSet()
_inherited: list[Any] = []


class Share:
    """An unpickled engine's part in what is open, if anything."""

    def __init__(
        self,
        packed: "PackedRecipe",
        open_engine: "Callable[[PackedRecipe], Engine]",
        *,
        is_alone: bool,
    ) -> None:
        """Open nothing yet; ``is_alone`` shares nothing."""
        self.packed = packed
        self._open_engine = open_engine
        self._is_alone = is_alone
        self._lock = threading.RLock()
        self._opened: _Opened | None = None
        self._is_closed = False
        _shares.add(self)

    def join(self, user: "Engine", use: "Callable[[Engine], None]") -> None:
        """Call ``use`` with an open engine, unless that has been done already.

        Raises:
            Error: the engine is closed, or cannot be opened.
        """
        with self._lock:
            if self._opened is not None:
                return
            if self._is_closed:
                raise Error("the engine is closed")
            while not self._joined(user, use):
                pass  # another user has closed it meanwhile

    def _joined(self, user: "Engine", use: "Callable[[Engine], None]") -> bool:
        key = self.packed.key
        opened = _Opened() if self._is_alone else _table.get(key)
        with opened.lock:
            if opened.is_closed:
                return False
            if opened.engine is None:
                opened.engine = self._engine()
            opened.users.add(user)
            self._opened = opened
            use(opened.engine)
        return True

    def _engine(self) -> "Engine":
        try:
            return self._open_engine(self.packed)
        except OutOfMemoryError:
            if not _table.drop_others(self.packed.key):
                raise
        return self._open_engine(self.packed)  # with the memory of those that were kept

    def leave(self, user: "Engine") -> "Engine | None":
        """Return the engine that is to be closed: the one that nobody else uses."""
        with self._lock:
            if self._is_closed:
                return None
            self._is_closed = True
            opened, self._opened = self._opened, None
            if opened is None and not self._is_alone:
                opened = _table.find(self.packed.key)  # kept from other tasks
            if opened is None:
                return None
            with opened.lock:
                opened.users.discard(user)
                if opened.users or opened.engine is None:
                    return None
                opened.is_closed = True
            _table.remove(self.packed.key, opened)
            return opened.engine

    def renew(self) -> None:
        """Leave to the parent what it has, in a forked process."""
        _inherited.append(self._opened)
        self._opened = None
        self._lock = threading.RLock()

    def own(self, user: "Engine") -> "Engine":
        """Return an engine that belongs to the user alone from now on.

        Raises:
            Error: the engine is closed, or another one cannot be opened; then nothing changes.
        """
        with self._lock:
            if self._is_closed:
                raise Error("the engine is closed")
            if self._opened is None or len(self._opened.users) == 1:
                engine = self.leave(user)
                if engine is not None:
                    return engine
                self._is_closed = False
            engine = self._engine()
            if (unused := self.leave(user)) is not None:  # the others have left meanwhile
                unused.close()
            return engine


def _renew() -> None:
    """Share nothing with the parent, in a forked process; another thread may hold its locks.

    What the parent has is not freed.
    """
    global _table
    _inherited.append(_table)
    _table = _Table()
    for share in list(_shares):
        share.renew()


os.register_at_fork(after_in_child=_renew)
