"""gRPC's calls as requests of HTTP: whatever the server can do, both protocols can."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from fasttrt._common.log import logger
from fasttrt._serving.compression import decompress
from fasttrt._serving.failures import failure_response
from fasttrt._serving.front_end import Answer
from fasttrt._serving.grpc_calls import CALLS, Call
from fasttrt._serving.grpc_exchange import (
    INFER,
    INTERNAL,
    INVALID_ARGUMENT,
    NOT_FOUND,
    OK,
    PERMISSION_DENIED,
    RESOURCE_EXHAUSTED,
    STREAM_INFER,
    UNAUTHENTICATED,
    UNAVAILABLE,
    UNIMPLEMENTED,
    UNKNOWN,
    GrpcAnswer,
    GrpcMessage,
)
from fasttrt._serving.grpc_infer import (
    to_request,
    to_response,
    to_stream_failure,
    to_stream_response,
)
from fasttrt._serving.grpc_messages import SERVICE
from fasttrt._serving.http import HttpError, Response
from fasttrt.errors import Error, InputError

_CODES = {
    400: INVALID_ARGUMENT, 401: UNAUTHENTICATED, 403: PERMISSION_DENIED, 404: NOT_FOUND,
    413: RESOURCE_EXHAUSTED, 500: INTERNAL, 501: UNIMPLEMENTED,
    503: UNAVAILABLE,
}  # fmt: skip
"""gRPC's statuses by HTTP's."""


class GrpcGateway:
    """Answers messages of gRPC by what answers requests of HTTP."""

    def __init__(self, answer: Answer, max_message_bytes: int) -> None:
        """Answer messages.

        Args:
            answer: answers requests.
            max_message_bytes: the limit of what a message may be when decompressed.
        """
        self._answer = answer
        self._max_message_bytes = max_message_bytes

    def start(self, message: GrpcMessage, respond: Callable[[GrpcAnswer], None]) -> None:
        """Answer a message without keeping the caller; ``respond`` is called once, by any thread.

        A message of ModelStreamInfer is one request of the stream.
        """
        try:
            if message.path in (INFER, STREAM_INFER):
                self._infer(message, respond)
            else:
                self._call(message, respond)
        except Exception as error:
            respond(_failed(failure_response(error)))

    def _call(self, message: GrpcMessage, respond: Callable[[GrpcAnswer], None]) -> None:
        call = CALLS.get(message.path)
        if call is None:
            respond(GrpcAnswer(UNIMPLEMENTED, f"unknown method {message.path}".encode()))
            return
        content = self._parse(message, call.request())
        request = replace(call.to_http(content), headers=_keys(message.headers))
        self._answer(request, lambda response: respond(_answered(call, response)))

    def _infer(self, message: GrpcMessage, respond: Callable[[GrpcAnswer], None]) -> None:
        content = self._parse(message, SERVICE.message("ModelInferRequest"))
        in_stream = message.path == STREAM_INFER

        def finish(response: Response) -> None:
            if response.status == 200:
                try:
                    result = to_response(response)
                    result = to_stream_response(result) if in_stream else result
                    respond(GrpcAnswer(OK, result.SerializeToString(), response.subject))
                    return
                except Exception as error:  # whoever calls this has nobody to tell
                    response = failure_response(error)
            answer = _failed(response)
            if in_stream and "triton_grpc_error" not in message.headers:
                failure = to_stream_failure(content, answer.body.decode())
                answer = replace(answer, code=OK, body=failure.SerializeToString())
            respond(answer)

        try:
            request = to_request(content, _keys(message.headers))
        except Error as error:
            finish(failure_response(error))
        else:
            self._answer(request, finish)

    def _parse(self, message: GrpcMessage, empty: Any) -> Any:
        """Return a message's content.

        Raises:
            InputError: it is malformed.
            HttpError: it is too large when decompressed, or compressed in another way.
        """
        from google.protobuf.message import DecodeError

        body = message.body
        encoding = message.headers.get("grpc-encoding")
        if encoding is not None:
            if encoding not in ("gzip", "deflate"):
                raise HttpError(501, f"grpc-encoding: expected gzip or deflate, got '{encoding}'")
            body = decompress(body, encoding, self._max_message_bytes)
        try:
            empty.ParseFromString(bytes(body))
        except DecodeError as error:
            name = empty.DESCRIPTOR.name
            raise InputError(f"cannot parse {name}: {error}") from None
        return empty


def _keys(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: headers[name] for name in ("authorization", "x-api-key") if name in headers}


def _answered(call: Call, response: Response) -> GrpcAnswer:
    if response.status != 200 and not call.is_probe:
        return _failed(response)
    if call.is_probe and response.status not in (200, 400):
        return _failed(response)
    from google.protobuf import json_format

    try:
        message = call.response()
        json_format.ParseDict(call.to_values(response), message)
        return GrpcAnswer(OK, message.SerializeToString(), response.subject)
    except Exception as error:  # whoever calls this has nobody to tell
        logger.exception("%s", call)
        return _failed(failure_response(error))


def _failed(response: Response) -> GrpcAnswer:
    try:
        reason = str(json.loads(bytes(response.body))["error"])
    except (ValueError, KeyError, TypeError):
        reason = bytes(response.body).decode("utf-8", "replace")
    code = response.grpc_code or _CODES.get(response.status, UNKNOWN)
    return GrpcAnswer(code, reason.encode("utf-8", "replace"), response.subject)
