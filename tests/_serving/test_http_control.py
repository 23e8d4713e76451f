"""Requests that `_core.HttpServer` leaves to the control plane."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from fasttrt import _core
from fasttrt.errors import Error, InputError
from support.http_server import (
    FLOAT,
    HEADER_LENGTH,
    PATIENCE,
    Client,
    Doubling,
    Front,
    doubling_dispatcher,
    infer_request,
    post,
    right,
    running,
)

TARGET = "/v2/models/double/infer"
ONE = np.ones((1, 4), FLOAT)


def with_header(x: Any, line: bytes) -> bytes:
    return infer_request(x).replace(b"Host:", line + b"\r\nHost:", 1)


@pytest.fixture
def front() -> Iterator[Front]:
    dispatcher = doubling_dispatcher(Doubling())
    with running() as front:
        front.serve(dispatcher)
        yield front
    dispatcher.close(drain=True)


X = {"name": "x", "shape": [3, 4], "datatype": "FP32", "parameters": {"binary_data_size": 48}}
NOT_PLAIN = {
    "no_header_length": post(TARGET, b"{}"),
    "raw": post(TARGET, bytes(48), **{HEADER_LENGTH: "0"}),
    "header_length_beyond": post(TARGET, b"{}", **{HEADER_LENGTH: "3"}),
    "header_length_twice": post(
        TARGET, b"{}", **{HEADER_LENGTH: "2", HEADER_LENGTH.lower(): "2"}
    ),
    "unknown_model": infer_request(ONE, "/v2/models/x/infer"),
    "unknown_version": infer_request(ONE, "/v2/models/double/versions/2/infer"),
    "empty_version": infer_request(ONE, "/v2/models/double/versions//infer"),
    "encoded_name": infer_request(ONE, "/v2/models/%64ouble/infer"),
    "query": infer_request(ONE, TARGET + "?a=1"),
    "get": infer_request(ONE).replace(b"POST", b"GET", 1),
    "compressed": with_header(ONE, b"Content-Encoding: gzip"),
    "compress": with_header(ONE, b"Accept-Encoding: gzip"),
    "sequence": infer_request(ONE, parameters={"sequence_id": 1}),
    "text_output": infer_request(ONE, parameters={"binary_data_output": False}),
    "classification": infer_request(
        ONE, outputs=[{"name": "y", "parameters": {"classification": 2}}]
    ),
    "unknown_output": infer_request(ONE, outputs=[{"name": "z"}]),
    "output_twice": infer_request(ONE, outputs=[{"name": "y"}, {"name": "y"}]),
    "escaped_id": infer_request(ONE, id="é"),
    "no_input": infer_request(ONE, inputs=[]),
    "input_twice": infer_request(np.ones((6, 4), FLOAT), inputs=[X, X]),
    "other_input": infer_request(ONE, inputs=[X | {"name": "z"}]),
    "other_datatype": infer_request(ONE, inputs=[X | {"datatype": "INT32"}]),
    "other_shape": infer_request(np.ones((3, 4), FLOAT), inputs=[X | {"shape": [4, 3]}]),
    "other_rank": infer_request(np.ones((3, 4), FLOAT), inputs=[X | {"shape": [12]}]),
    "overflow": infer_request(
        np.ones((3, 4), FLOAT), inputs=[X | {"shape": [(1 << 62) + 3, 4]}]
    ),
    "too_few_bytes": infer_request(np.ones((2, 4), FLOAT), inputs=[X]),
    "too_many_bytes": infer_request(np.ones((4, 4), FLOAT), inputs=[X]),
    "no_json": post(TARGET, b"{,}", **{HEADER_LENGTH: "3"}),
}  # fmt: skip


@pytest.mark.parametrize("case", NOT_PLAIN)
def test_all_else_goes_to_the_control_plane_as_it_came(front: Front, case: str) -> None:
    request = NOT_PLAIN[case]
    with front.connect() as client:
        client.send(request)
        status, _, body = client.answer()
    head, _, sent = request.partition(b"\r\n\r\n")
    assert (status, json.loads(body)["size"]) == (200, len(sent))
    (seen,) = front.seen
    line, *lines = head.decode().split("\r\n")
    assert f"{seen.method} {seen.target} HTTP/1.1" == line
    assert [f"{name}: {value}" for name, value in seen.headers] == lines
    assert seen.body == sent
    assert seen.peer.startswith("127.0.0.1:")
    assert front.server.model_counters("double", "1")["success"] == 0


def test_lists_of_encodings_are_no_wish(front: Front) -> None:
    """As HTTP libraries send them; a client that wants one names it alone."""
    with front.connect() as client:
        client.send(with_header(ONE, b"Accept-Encoding: gzip, deflate"))
        right(client.answer(), ONE)
    assert front.seen == []


def test_a_request_may_be_dropped_and_is_answered_once(front: Front) -> None:
    dispatcher = doubling_dispatcher(Doubling())
    dispatcher.close(drain=True)
    front.serve(dispatcher)  # closed: the control plane is to say so
    with front.connect() as client:
        client.send(infer_request(ONE))
        assert client.answer()[0] == 200
    (request,) = front.seen
    assert request.body.endswith(ONE.tobytes())
    with pytest.raises(Error, match="answered before"):
        request.respond(200, [], b"")


def test_answers_of_the_control_plane_are_checked() -> None:
    given = _core.HttpOptions()
    given.port = 0
    server = _core.HttpServer(given)
    server.start()
    with Client(server.port) as client:
        client.send(b"GET /v2 HTTP/1.1\r\nHost: test\r\n\r\n" * 2)
        request = server.next(PATIENCE)
        assert request is not None
        for status, headers, words in (
            (99, [], "status: expected 200 to 599, got 99"),
            (200, [("A b", "c")], "response header 'A b'"),
            (200, [("A", "b\r\nC: d")], "response header 'A'"),
            (200, [("content-length", "3")], "'content-length' is the server's own"),
        ):
            with pytest.raises(InputError, match=words):
                request.respond(status, headers, b"")
        second = server.next(PATIENCE)
        assert second is not None
        second.respond(404, [("X-Word", "caf\xe9")], bytearray(b"second"))
        del second
        del request  # unanswered
        assert client.answer()[0] == 500
        assert client.answer() == (404, {"x-word": "caf\xe9", "content-length": "6"}, b"second")
    assert server.next(0) is None
    server.close(0)
    assert server.next() is None
