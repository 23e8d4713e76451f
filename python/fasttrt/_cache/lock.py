"""Locks across processes: one process builds an entry; the others wait and log for which one."""

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

_POLL = 0.1  # seconds between attempts
_FIRST_NOTE = 1.0  # seconds until a wait is logged
_NOTE_SIZE = 1 << 16  # bytes
_NEXT_NOTE = 60.0  # and logged again


@contextmanager
def entry_lock(folder: CacheFolder, key: str, model: str) -> Iterator[None]:
    """Hold the lock of an entry in the block, waiting for it if necessary.

    The kernel releases it when the process ends, however it ends. If the disk does not support
    locks or cannot be written, no lock is held: two processes may then build the same entry, and
    the last one written stays.

    Args:
        folder: the cache.
        key: the entry's key.
        model: the name of the model, shown by waiting processes.
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
def try_entry_lock(folder: CacheFolder, key: str) -> Iterator[bool]:
    """Hold the lock of an entry in the block if it is free; yield whether it is held."""
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

    # Never removed: a waiting process has it open and would hold a lock that no other one sees.
    return FileLock(folder.root / "locks" / f"{key}.lock", mode=0o600)


def _note(folder: CacheFolder, key: str) -> Path:
    """Return the file that names the lock's holder; some filelock releases empty the lock file."""
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
        holder: dict[str, Any] = json.loads(read_file(note, _NOTE_SIZE, "a note"))
        place = "" if holder["host"] == os.uname().nodename else f" on {holder['host']}"
        age = time.time() - holder["since"]
        what = f"has been building {holder['model']} for {age:.0f} s"
        return f"process {holder['pid']}{place}, which {what}"
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
