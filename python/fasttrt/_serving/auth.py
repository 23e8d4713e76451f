"""API keys: who may send requests.

The web page needs none, as a browser cannot send one with it, and as it holds no data.
"""

import hashlib
import hmac
import os
from collections.abc import Iterable
from pathlib import Path

from fasttrt._serving.http import HttpError, Request
from fasttrt.errors import FileError

_EXEMPT = {"live": "health", "ready": "health", "model_ready": "health", "metrics": "metrics"}


def read_keys(path: str | os.PathLike[str]) -> list[str]:
    """Read a file with a key in each line; empty lines and those that begin with # are none.

    Raises:
        FileError: it has no key, or one that a header cannot have.
        OSError: it cannot be read.
    """
    try:
        lines = [line.strip() for line in Path(path).read_text("ascii").splitlines()]
    except UnicodeDecodeError:
        raise FileError(f"{path}: expected keys in ASCII, got other bytes") from None
    keys = [line for line in lines if line and not line.startswith("#")]
    if not keys:
        raise FileError(f"{path}: expected an API key in each line, got none")
    if not all(key.isprintable() and " " not in key for key in keys):
        raise FileError(f"{path}: expected keys without spaces and control characters")
    return keys


class ApiKeys:
    """The keys of which a request needs one: ``Authorization: Bearer KEY`` or ``X-Api-Key: KEY``.

    Only their digests are kept, and compared in constant time.
    """

    def __init__(self, keys: Iterable[str], *, exempt: Iterable[str] = ()) -> None:
        """Take the keys.

        Args:
            keys: at least one.
            exempt: what needs none: ``"health"``, ``"metrics"``.
        """
        self._digests = [_digest(key.encode()) for key in keys]
        self._exempt = frozenset(exempt)

    def check(self, request: Request, action: str) -> None:
        """Check that a request may do something.

        Args:
            request: whose headers have a key, or not.
            action: what it would do, see `routes.Action`.

        Raises:
            HttpError: 401.
        """
        if action == "page" or _EXEMPT.get(action) in self._exempt:
            return
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        given = (
            token.strip() if scheme.lower() == "bearer" else request.headers.get("x-api-key", "")
        )
        digest = _digest(given.encode("utf-8", "surrogateescape"))
        matches = [hmac.compare_digest(digest, known) for known in self._digests]  # all, always
        if not any(matches):
            problem = "an invalid one" if given else "none"
            raise HttpError(
                401,
                f"expected an API key (Authorization: Bearer KEY or X-Api-Key: KEY), got {problem}",
                {"WWW-Authenticate": "Bearer"},
            )


def check_site(request: Request, action: str) -> None:
    """Check that a browser does not control the server for a page of another site.

    A browser sends such a request without asking anybody, and says so. Other clients do not.

    Raises:
        HttpError: 403.
    """
    site = request.headers.get("sec-fetch-site", "none")
    if request.method == "POST" and action != "infer" and site not in ("same-origin", "none"):
        raise HttpError(403, f"expected a request of the server's own page, got a {site} one")


def _digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()
