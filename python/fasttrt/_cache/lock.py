"""One builder of an entry at a time, in all processes; the others wait, and say for whom."""

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fasttrt._cache.folder import CacheFolder, UntrustedError
from fasttrt._common.input_file import read_file
from fasttrt._common.log import logger

if TYPE_CHECKING:
    from filelock import BaseFileLock

_POLL = 0.1  # seconds between two tries
_FIRST_NOTE = 1.0  # seconds until a wait is told
_NOTE_SIZE = 1 << 16  # bytes
_NEXT_NOTE = 60.0  # and told again


@contextmanager
def building(folder: CacheFolder, key: str, model: str) -> Iterator[None]:
    """Hold the lock of an entry, once nobody else does.

    The kernel gives it back when the process ends, however it ends. Where the disk has no locks or
    cannot be written, nothing is held: two processes may build the same then, and the last one's
    entry stays.

    Args:
        folder: the cache.
        key: the entry's.
        model: what is built, for those who wait.
    """
    lock = _lock(folder, key)
    note = _note(folder, key)
    try:
        folder.prepare(note)
        _wait(lock, note, model)
        _write_note(folder, note, model)
    except (OSError, NotImplementedError, UntrustedError) as error:
        folder.warn_once("cannot be written, so engines are built without it", error)
    try:
        yield
    finally:
        if lock.is_locked:
            with suppress(OSError):
                note.unlink(missing_ok=True)
            lock.release()


@contextmanager
def if_free(folder: CacheFolder, key: str) -> Iterator[bool]:
    """Hold the lock of an entry if nobody else does; whether it is held."""
    from filelock import Timeout

    lock = _lock(folder, key)
    with suppress(Timeout, OSError, NotImplementedError, UntrustedError):
        folder.prepare(_note(folder, key))
        lock.acquire(timeout=0)
    try:
        yield lock.is_locked
    finally:
        lock.release()


def _lock(folder: CacheFolder, key: str) -> "BaseFileLock":
    from filelock import FileLock

    # Never removed: whoever waits has it open, and would hold a lock that nobody else sees.
    return FileLock(folder.root / "locks" / f"{key}.lock", mode=0o600)


def _note(folder: CacheFolder, key: str) -> Path:
    """Who holds the lock. The lock's own file will not do, as some releases empty it."""
    return folder.root / "locks" / f"{key}.json"


def _wait(lock: "BaseFileLock", note: Path, model: str) -> None:
    from filelock import Timeout

    begin, pause = time.monotonic(), _FIRST_NOTE
    while True:
        try:
            lock.acquire(timeout=pause, poll_interval=_POLL)
        except Timeout:
            waited = time.monotonic() - begin
            logger.warning("%s: waiting for %s, %.0f s so far", model, _holder(note), waited)
            pause = _NEXT_NOTE
        else:
            return


def _holder(note: Path) -> str:
    try:
        found: dict[str, Any] = json.loads(read_file(note, _NOTE_SIZE, "a note"))
        place = "" if found["host"] == os.uname().nodename else f" on {found['host']}"
        age = time.time() - found["since"]
        what = f"has been building {found['model']} for {age:.0f} s"
        return f"process {found['pid']}{place}, which {what}"
    except (
        OSError,
        ValueError,
        LookupError,
        TypeError,
        RecursionError,
    ):  # not written yet, or just removed
        return "another process, which is building the same"


def _write_note(folder: CacheFolder, note: Path, model: str) -> None:
    content = {
        "pid": os.getpid(),
        "host": os.uname().nodename,
        "since": time.time(),
        "model": model,
    }
    with suppress(OSError, UntrustedError), folder.replacing(note) as stream:
        stream.write(json.dumps(content).encode())
