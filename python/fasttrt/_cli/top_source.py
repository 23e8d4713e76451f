"""Where ``fasttrt top`` reads: a server's ``/v2/overview``."""

import http.client
import json
from typing import Any
from urllib.parse import SplitResult, urlsplit

from fasttrt._version import __version__
from fasttrt.errors import Error, InputError

_TIMEOUT_SECONDS = 10.0
_MAX_BYTES = 64 << 20
_PATH = "/v2/overview"


class ServerAwayError(Error):
    """The server does not answer now; it may be back later."""


class Source:
    """Reads the state of a server. Each look is a connection of its own, and follows no redirect.

    A key is thus sent to nobody but the server that was named.
    """

    def __init__(self, url: str, key: str | None = None) -> None:
        """Know a server.

        Args:
            url: as in ``"localhost:8000"`` or ``"https://host/prefix"``.
            key: the API key, if the server needs one.

        Raises:
            InputError: the URL is none of HTTP.
        """
        self._url = _parse(url)
        self._headers = {"Accept": "application/json", "User-Agent": f"fasttrt-top/{__version__}"}
        if key is not None:
            self._headers["Authorization"] = f"Bearer {key}"

    @property
    def url(self) -> str:
        """The server's URL, complete."""
        return self._url.geturl()

    def read(self) -> dict[str, Any]:
        """Return what the server tells of itself.

        Raises:
            ServerAwayError: it does not answer, or says that it cannot now.
            Error: it refuses, or is something else; the message says which.
        """
        try:
            status, body = self._get()
        except (OSError, http.client.HTTPException) as error:
            reason = str(error) or type(error).__name__
            raise ServerAwayError(f"{self.url}: the server cannot be reached: {reason}") from None
        if status in (401, 403):
            raise Error(
                f"{self.url}: the server refuses the API key, or needs one: --api-key-file, or "
                "FASTTRT_API_KEY"
            )
        if status in (408, 429) or status >= 500:
            raise ServerAwayError(f"{self.url}: the server answers with {status}")
        if status != 200:
            raise Error(f"{self.url}{_PATH}: expected a server of fasttrt, got status {status}")
        try:
            found = json.loads(body)
        except ValueError:
            found = None
        if not isinstance(found, dict) or "models" not in found or "latency_bounds_us" not in found:
            raise Error(f"{self.url}{_PATH}: expected a server of fasttrt, got another answer")
        return found

    def _get(self) -> tuple[int, bytes]:
        is_secure = self._url.scheme == "https"
        kind = http.client.HTTPSConnection if is_secure else http.client.HTTPConnection
        host = self._url.hostname or ""
        connection = kind(host, self._url.port, timeout=_TIMEOUT_SECONDS)
        try:
            connection.request("GET", f"{self._url.path}{_PATH}", headers=self._headers)
            response = connection.getresponse()
            return response.status, response.read(_MAX_BYTES)
        finally:
            connection.close()


def _parse(text: str) -> SplitResult:
    try:
        url = urlsplit(text if "://" in text else f"http://{text}")
        is_valid = url.scheme in ("http", "https") and bool(url.hostname) and (url.port or 1) > 0
    except ValueError:
        is_valid = False
    if not is_valid or not text.isprintable() or " " in text or url.query or url.username:
        raise InputError(f"URL: expected one as in http://localhost:8000, got {text!r}")
    return url._replace(path=url.path.rstrip("/"), fragment="")
