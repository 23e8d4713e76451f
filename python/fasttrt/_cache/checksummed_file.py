"""Small files with the vendor's data behind a checksum, as the vendor must not see damaged data."""

import hashlib
from pathlib import Path

from fasttrt._cache.folder import CacheFolder, UntrustedError, touch
from fasttrt._common.log import logger

_MAGIC = b"FASTTRTS"
_HEADER_SIZE = len(_MAGIC) + hashlib.sha256().digest_size


def read_checksummed(folder: CacheFolder, file: Path) -> bytes:
    """Read what `write_checksummed` wrote; empty if it does not exist or is damaged (logged)."""
    try:
        with folder.open(file) as stream:
            content = stream.read()
            touch(stream)
    except FileNotFoundError:
        return b""
    except (OSError, UntrustedError) as error:
        logger.warning("the cache's file is not used: %s", error)
        return b""
    data = content[_HEADER_SIZE:]
    if content[:_HEADER_SIZE] != _header(file, data):
        logger.warning("the cache's file is not used: %s is damaged", file)
        return b""
    return data


def write_checksummed(folder: CacheFolder, file: Path, data: bytes) -> None:
    """Write a file atomically. A failure is logged once."""
    try:
        with folder.replacing(file) as stream:
            stream.write(_header(file, data))
            stream.write(data)
    except (OSError, UntrustedError) as error:
        folder.warn_once("does not take timings and kernels", error)


def _header(file: Path, data: bytes) -> bytes:
    # The name is included, so that a file under another's name is detected.
    return _MAGIC + hashlib.sha256(file.name.encode() + b"\0" + data).digest()
