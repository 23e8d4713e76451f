"""A fingerprint of the code that makes plans of models, which distinguishes states of one version.

Many passes of the parser avoid wrong results of TensorRT. A plan that was built without one of them
must not be found once it is there, in an installation from a clone, too.
"""

import hashlib
from functools import cache
from pathlib import Path

SOURCES = ("_builder", "_graph", "_parser", "_plan", "_precision")
"""The sub-packages that decide what a plan is built from."""
_DIGITS = 16  # of a SHA-256


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
