"""Which build of a TensorRT library this is, whatever version it reports.

A release has a library for each CUDA (TensorRT-RTX 1.6.1 for CUDA 12 and for CUDA 13 report the
same version), and a vendor may rebuild one.
"""

import hashlib
import os
from functools import cache
from pathlib import Path

from fasttrt import _core

_SAMPLES, _SAMPLE = 64, 4096
_DIGITS = 16  # of a SHA-256


def library_build(library: _core.Library) -> str:
    """A digest of the library and its parser, wherever they lie."""
    paths = [library.path, library.parser_path]
    digest = hashlib.sha256("".join(_digest(path) for path in paths if path).encode())
    return digest.hexdigest()[:_DIGITS]


@cache  # what was loaded stays loaded
def _digest(path: str) -> str:
    """Of the file's size and of samples throughout it.

    Whole libraries take a second. Between builds for two releases of CUDA all samples differ, as
    what comes before them has another size.
    """
    with Path(path).open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        digest = hashlib.sha256(str(size).encode())
        for k in range(_SAMPLES):
            file.seek(max(size - _SAMPLE, 0) * k // (_SAMPLES - 1))
            digest.update(file.read(_SAMPLE))
    return digest.hexdigest()
