"""What clients are told of errors: the only place that turns them into HTTP statuses."""

from concurrent.futures import CancelledError
from dataclasses import replace

from fasttrt._common.log import logger
from fasttrt._serving.errors import (
    DuplicateRegionError,
    ModelControlError,
    OverloadedError,
    UnavailableModelError,
    UnknownRegionError,
    UnsupportedRequestError,
)
from fasttrt._serving.grpc_exchange import ALREADY_EXISTS
from fasttrt._serving.http import HttpError, Response, error_response
from fasttrt.errors import (
    BuildError,
    DeadlineError,
    EngineLoadError,
    Error,
    InputError,
    ParseError,
    QueueFullError,
)

_STATUSES: tuple[tuple[type[BaseException], int], ...] = (
    (UnavailableModelError, 404),
    (UnknownRegionError, 404),
    (ModelControlError, 503),
    (UnsupportedRequestError, 501),
    (QueueFullError, 503),
    (OverloadedError, 503),
    (DeadlineError, 503),
    (CancelledError, 503),
    (InputError, 400),
    (ParseError, 400),  # of a model to load, as the next two
    (BuildError, 400),
    (EngineLoadError, 400),
    (Error, 500),
)


def failure_response(error: BaseException) -> Response:
    """Return the response for an error. One that is none of fasttrt's is logged, not shown."""
    if isinstance(error, HttpError):
        return error_response(error.status, str(error), error.headers)
    status = next((status for kind, status in _STATUSES if isinstance(error, kind)), None)
    if status is None:
        logger.error("serving: internal error", exc_info=error)
        return error_response(500, f"internal error ({type(error).__name__}); see the server's log")
    if isinstance(error, CancelledError):
        return error_response(status, "the request was cancelled as its model was closed")
    if isinstance(error, DuplicateRegionError):
        return replace(error_response(status, str(error)), grpc_code=ALREADY_EXISTS)
    headers = {"Retry-After": "1"} if isinstance(error, (QueueFullError, OverloadedError)) else None
    return error_response(status, str(error), headers)


def failure_reason(error: BaseException) -> str:
    """Return the reason of a failed run, as Triton's metrics call it."""
    if isinstance(error, (QueueFullError, DeadlineError)):
        return "REJECTED"
    if isinstance(error, CancelledError):
        return "CANCELED"
    return "BACKEND" if isinstance(error, Error) else "OTHER"
