"""Fingerprints of what makes plans, which distinguish states of the same version.

A release of TensorRT has a library for each CUDA version (TensorRT-RTX 1.6.1 for CUDA 12 and for
CUDA 13 report the same version), and a vendor may rebuild one. Many passes of our own parser avoid
wrong results of TensorRT: a plan that was built without one of them must not be found once it is
there, in an installation from a clone, too.
"""

import hashlib
import os
from functools import cache
from pathlib import Path

from fasttrt import _core

_SAMPLES, _SAMPLE = 64, 4096
_DIGITS = 16  # of a SHA-256
SOURCES = ("_builder", "_graph", "_parser", "_plan", "_precision")
"""The sub-packages that decide what a plan is built from."""


def library_fingerprint(library: _core.Library) -> str:
    """Return a digest of the library and its parser, independent of their paths."""
    paths = [library.path, library.parser_path]
    digest = hashlib.sha256("".join(_digest(path) for path in paths if path).encode())
    return digest.hexdigest()[:_DIGITS]


@cache  # a loaded library stays loaded
def _digest(path: str) -> str:
    """Hash the file's size and samples spread over it, as hashing all of it takes a second.

    In builds for different CUDA versions all samples differ, since sizes and offsets do.
    """
    with Path(path).open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        digest = hashlib.sha256(str(size).encode())
        for k in range(_SAMPLES):
            file.seek(max(size - _SAMPLE, 0) * k // (_SAMPLES - 1))
            digest.update(file.read(_SAMPLE))
    return digest.hexdigest()


@cache  # 3 ms
def builder_fingerprint(package: Path = Path(__file__).parents[1]) -> str:
    """Return a digest of the sources, independent of their place: machines can share plans.

    Args:
        package: the folder of fasttrt.
    """
    digest = hashlib.sha256()
    for folder in SOURCES:
        for path in sorted((package / folder).rglob("*.py")):
            name = path.relative_to(package).as_posix()
            source = path.read_bytes()
            digest.update(f"{name}\0{len(source)}\0".encode() + source)
    return digest.hexdigest()[:_DIGITS]
