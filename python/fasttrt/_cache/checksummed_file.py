"""Small files of the vendor's bytes, which the vendor must not see damaged: name and checksum."""

import hashlib
from pathlib import Path

from fasttrt._cache.folder import CacheFolder, UntrustedError, touch
from fasttrt._common.log import logger

_MAGIC = b"FASTTRTS"
_HEADER_SIZE = len(_MAGIC) + hashlib.sha256().digest_size


def read_sealed(folder: CacheFolder, file: Path) -> bytes:
    """What `write_sealed` wrote; nothing if there is nothing, or it is damaged, which is logged."""
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


def write_sealed(folder: CacheFolder, file: Path, data: bytes) -> None:
    """Put a file in its place. A disk that cannot take it is told once in the log."""
    try:
        with folder.replacing(file) as stream:
            stream.write(_header(file, data))
            stream.write(data)
    except (OSError, UntrustedError) as error:
        folder.warn_once("does not take timings and kernels", error)


def _header(file: Path, data: bytes) -> bytes:
    # With the name, so that a file in another's place is found out.
    return _MAGIC + hashlib.sha256(file.name.encode() + b"\0" + data).digest()
