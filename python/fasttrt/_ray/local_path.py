"""Paths of models on the machines of a cluster."""

import os
from pathlib import Path

from fasttrt.errors import InputError


def local_path(path: str | os.PathLike[str]) -> str:
    """Return a model's path as one that does not depend on the current folder.

    Raises:
        InputError: it is a URL.
    """
    if "://" in (text := os.fspath(path)):
        raise InputError(
            f"model: expected a path on the machines of the cluster, got {text!r}: put the model "
            "into a folder that all see, or pass its bytes"
        )
    return str(Path(path).absolute())
