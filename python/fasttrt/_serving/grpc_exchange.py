"""Messages of gRPC and their answers as values; whoever has a socket makes and sends them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from fasttrt._serving.http import NO_SUBJECT, Body, Subject

OK, UNKNOWN, INVALID_ARGUMENT, DEADLINE_EXCEEDED, NOT_FOUND, ALREADY_EXISTS = 0, 2, 3, 4, 5, 6
PERMISSION_DENIED, RESOURCE_EXHAUSTED, UNIMPLEMENTED, INTERNAL = 7, 8, 12, 13
UNAVAILABLE, UNAUTHENTICATED = 14, 16
SERVICE_PATH = "/inference.GRPCInferenceService/"
INFER = f"{SERVICE_PATH}ModelInfer"
STREAM_INFER = f"{SERVICE_PATH}ModelStreamInfer"


@dataclass(frozen=True)
class GrpcMessage:
    """A message of a call.

    Attributes:
        path: the method's, as in ``"/inference.GRPCInferenceService/ModelInfer"``.
        headers: the call's metadata that matter, by their names in lower case; ``grpc-encoding``
            only if the message is compressed.
        body: the message as it was sent.
    """

    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Body = b""


@dataclass(frozen=True)
class GrpcAnswer:
    """What a message is answered with.

    Attributes:
        code: gRPC's status.
        body: the message to send; of a failure, what to say of it.
        subject: whom the message was to.
    """

    code: int
    body: bytes
    subject: Subject = NO_SUBJECT


AnswerGrpc = Callable[[GrpcMessage, Callable[[GrpcAnswer], None]], None]
"""Answers a message: calls the function with the answer once, now or later."""
