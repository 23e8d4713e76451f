"""HTTP requests and responses as values; whoever has a socket makes and sends them."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from urllib.parse import unquote

from fasttrt.errors import Error, InputError

Body = bytes | bytearray | memoryview


class HttpError(Error):
    """A request that is answered with a status of its own.

    Attributes:
        status: the HTTP status.
        headers: to send with it.
    """

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.headers = dict(headers or {})


@dataclass(frozen=True)
class Request:
    """A request with its whole body.

    Attributes:
        method: in capitals.
        path: without the query, still percent-encoded.
        query: what follows the ``?``.
        headers: by their names in lower case.
        body: as it was sent, compressed perhaps.
    """

    method: str
    path: str
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Body = b""

    @classmethod
    def of(
        cls, method: str, target: str, headers: Iterable[tuple[str, str]], body: Body
    ) -> "Request":
        """Make one of what a server reads; repeated headers are joined by commas."""
        path, _, query = target.partition("?")
        joined: dict[str, str] = {}
        for name, value in headers:
            key = name.lower()
            joined[key] = f"{joined[key]}, {value}" if key in joined else value
        return cls(method, path, query, joined, body)

    def segments(self) -> tuple[str, ...]:
        """Return the decoded parts of the path between its slashes; none for ``/``.

        Raises:
            InputError: they are not UTF-8.
        """
        try:
            parts = self.path.removeprefix("/").split("/")
            return tuple(unquote(part, errors="strict") for part in parts) if parts != [""] else ()
        except UnicodeDecodeError:
            raise InputError(f"path: expected UTF-8, got {self.path!r}") from None


class Subject(NamedTuple):
    """Whom a request is to, for logs; empty for what is not known."""

    model: str = ""
    version: str = ""
    id: str = ""


NO_SUBJECT = Subject()


@dataclass(frozen=True)
class Response:
    """A response; its Content-Length is left to whoever sends it.

    Attributes:
        status: the HTTP status.
        headers: their names and values.
        body: what follows them.
        subject: whom the request was to.
        grpc_code: gRPC's status, where HTTP's says less.
    """

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: Body = b""
    subject: Subject = NO_SUBJECT
    grpc_code: int | None = None


def json_response(value: Any, status: int = 200) -> Response:
    """Return a response of JSON."""
    return Response(status, (("Content-Type", "application/json"),), to_json(value))


def error_response(status: int, message: str, headers: Mapping[str, str] | None = None) -> Response:
    """Return the protocol's response for a failure: ``{"error": message}``."""
    response = json_response({"error": message}, status)
    return Response(status, (*response.headers, *(headers or {}).items()), response.body)


def to_json(value: Any) -> bytes:
    """Write JSON without spaces; NaN and Infinity by these names, as Triton and its clients do."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # a client's JSON had the half of a character
        return text.encode("utf-8", "replace")


def json_object(data: Body, what: str = "the request's JSON") -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        InputError: it is not JSON, too deep, or no object.
    """
    try:
        value = json.loads(bytes(data))
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError among the ValueErrors
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else error
        raise InputError(f"failed to parse {what}: {reason}") from None
    if not isinstance(value, dict):
        raise InputError(f"{what}: expected an object, got {kind(value)}")
    return value


def kind(value: Any) -> str:
    """Describe a JSON value for a message: scalars themselves, others by what they are."""
    if isinstance(value, (dict, list)):
        return "an object" if isinstance(value, dict) else "an array"
    text = json.dumps(value)
    return text if len(text) <= 100 else f"{text[:100]}..."
