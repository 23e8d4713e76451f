"""The access log, which the core writes."""

import os

from fasttrt import _core
from fasttrt._common.checks import as_path
from fasttrt.errors import InputError


def open_access_log(path: str | os.PathLike[str] | None) -> "_core.AccessLog | None":
    """Open the log of requests to add to it.

    Args:
        path: the file; ``"-"`` for standard output; None for no log.

    Raises:
        InputError: it cannot be written, or is a file of another kind.
    """
    if path is None:
        return None
    file = as_path("access_log", path, 'a path, or "-"')
    try:
        return _core.AccessLog("-" if str(file) == "-" else str(file.absolute()))
    except InputError as error:
        raise InputError(f"access_log: {error}") from None
