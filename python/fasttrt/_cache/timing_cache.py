"""TensorRT's timing cache, kept for later builds with the same GPU model and release."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from fasttrt import _core
from fasttrt._cache.checksummed_file import read_checksummed, write_checksummed
from fasttrt._cache.fingerprints import library_fingerprint
from fasttrt._cache.folder import UntrustedError
from fasttrt._cache.store import TIMINGS, Store
from fasttrt._common.output_file import PRIVATE


@contextmanager
def timing_cache_file(
    store: Store, library: _core.Library, gpu: tuple[str, int, int]
) -> Iterator[Path | None]:
    """Yield a file for ``BuildConfig.timing_cache`` with the known timings; store it afterwards.

    The timings of simultaneous builds are not merged: the last one's stay. Yields None if the disk
    cannot be written.
    """
    folder = store.folder
    file = folder.root / TIMINGS / f"{_name(library, gpu)}.timings"
    known = read_checksummed(folder, file)
    # TensorRT reads this file, so it has no checksum of ours.
    plain = file.with_name(f"{file.name}.{os.urandom(8).hex()}.partial")
    try:
        folder.prepare(plain)
        if known:
            with os.fdopen(
                os.open(plain, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE), "wb"
            ) as out:
                out.write(known)
    except (OSError, UntrustedError) as error:
        folder.warn_once("does not take timings and kernels", error)
        usable = False
    else:
        usable = True
    try:
        yield plain if usable else None
        measured = plain.read_bytes() if usable and plain.exists() else b""
        if measured and measured != known:
            write_checksummed(folder, file, measured)
    finally:
        with suppress(OSError):
            plain.unlink(missing_ok=True)


def discard_timings(store: Store, library: _core.Library, gpu: tuple[str, int, int]) -> None:
    """Remove the file, which this driver or release rejects."""
    with suppress(OSError):
        (store.folder.root / TIMINGS / f"{_name(library, gpu)}.timings").unlink(missing_ok=True)


def _name(library: _core.Library, gpu: tuple[str, int, int]) -> str:
    name, major, minor = gpu
    words = re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-")
    release = f"{library.family}-{library.version}-{library_fingerprint(library)}"
    return f"{release}-{words}-{major}.{minor}"
