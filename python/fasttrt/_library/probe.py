"""A program that opens a TensorRT library and describes it in one line of JSON.

``python -m fasttrt._library.probe find auto``, or ``open`` with a path or a soname. It is a process
of its own because two releases of one family must not be loaded into one process, and because a
library that crashes while it is loaded must not crash the caller.
"""

import json
import sys
from typing import Any

from fasttrt import _core
from fasttrt._library.device import default_device
from fasttrt._library.discovery import describe, find
from fasttrt.errors import LibraryNotFoundError, UnsupportedLibraryError


def probe(how: str, name: str) -> dict[str, Any]:
    """Describe a library.

    Args:
        how: ``"find"``, as `fasttrt.library` does, or ``"open"``.
        name: the choice of a library to find, or the path or soname to open.

    Returns:
        The fields of `fasttrt.LibraryInfo`; or else ``missing`` or ``unusable``, with a reason.
    """
    device = default_device()
    try:
        library = find(name, device) if how == "find" else _core.open_library(name)
    except LibraryNotFoundError as error:
        return {"missing": str(error)}
    except UnsupportedLibraryError as error:
        return {"unusable": str(error)}
    return vars(describe(library, device))


if __name__ == "__main__":
    print(json.dumps(probe(*sys.argv[1:3]), default=str))
