"""A TensorRT library, opened and described.

Run as a program (``python -m fasttrt._library.probe find auto``, or ``open`` with a path or a
soname), as two releases of one family must not meet in a process, and nothing that a library does
when it is loaded can take the caller down then. It prints one line of JSON.
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
        name: what to find, or to open.

    Returns:
        The fields of `fasttrt.LibraryInfo`; else ``missing`` or ``unusable``, a reason.
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
