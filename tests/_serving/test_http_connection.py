"""How `_core.HttpServer` treats connections: syntax, order, limits, times, clients that leave."""

from __future__ import annotations

import itertools
import json
import socket
import threading
import time

import pytest

from fasttrt import _core
from fasttrt.errors import Error, InputError
from support.http_server import (
    HEADER_LENGTH,
    PATIENCE,
    Doubling,
    Front,
    infer_body,
    infer_request,
    post,
    right,
    running,
    samples,
)
from support.randomness import new_rng
from support.threads import wait_until

GET = b"GET /v2 HTTP/1.1\r\nHost: test\r\n\r\n"


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"\x16\x03\x01\x02\x00", 400),  # TLS
        (b"GET /v2\r\nHost: test\r\n\r\n", 400),
        (b"GET /v2 HTTP/2.0\r\nHost: test\r\n\r\n", 505),
        (b"GET /v2 HTTP/1.1\nHost: test\n\n", 400),
        (b"GET /v2 HTTP/1.1\r\n\r\n", 400),
        (b"GET /v2 HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        (b"GET /v2 HTTP/1.1\r\nHost: test\r\nA : b\r\n\r\n", 400),
        (b"GET /v2 HTTP/1.1\r\nHost: test\r\n A: b\r\n\r\n", 400),
        (b"GET /v2 HTTP/1.1\r\nHost: test\r\nA: b\rC: d\r\n\r\n", 400),
        (GET.replace(b"Host", b"Content-Length: 1\r\nContent-Length: 1\r\nHost"), 400),
        (GET.replace(b"Host", b"Content-Length: +1\r\nHost"), 400),
        (GET.replace(b"Host", b"Content-Length: 0\r\nTransfer-Encoding: chunked\r\nHost"), 400),
        (GET.replace(b"Host", b"Transfer-Encoding: gzip\r\nHost"), 501),
        (GET.replace(b"Host", b"Expect: tea\r\nHost"), 417),
        (GET.replace(b"/v2", b"/" + bytes(8192).replace(b"\0", b"a")), 414),
        (GET.replace(b"/v2", b"/" + bytes(20000).replace(b"\0", b"a")), 414),
        (GET.replace(b"Host", b"A: " + bytes(20000).replace(b"\0", b"a") + b"\r\nHost"), 431),
        (GET.replace(b"Host", b"A: b\r\n" * 100 + b"Host"), 431),
        (GET.replace(b"Host", b"Content-Length: 67108865\r\nHost"), 413),
        (GET.replace(b"Host", b"Transfer-Encoding: chunked\r\nHost") + b"x\r\n", 400),
    ],
)
def test_what_is_no_request_ends_the_connection(front: Front, request_: bytes, status: int) -> None:
    with front.connect() as client:
        client.send(GET + request_)
        assert client.answer()[0] == 200
        got, headers, body = client.answer()
        assert got == status
        assert headers["connection"] == "close"
        assert list(json.loads(body)) == ["error"]
        assert client.is_closed()
    assert len(front.seen) == 1


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (b"\x16\x03\x01\x02\x00", "not an HTTP request"),
        (GET.replace(b"1.1", b"2.0"), "only HTTP/1.0 and HTTP/1.1 are supported"),
        (GET.replace(b"Host: test\r\n", b""), "expected exactly one Host header"),
        (GET.replace(b"Host", b"Host: other\r\nHost"), "expected exactly one Host header"),
        (
            GET.replace(b"Host", b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\nHost"),
            "expected either Content-Length or Transfer-Encoding, got both",
        ),
        (
            GET.replace(b"Host", b"Transfer-Encoding: chunked\r\nHost") + b"1x\r\n",
            "invalid chunk size: not a hexadecimal number",
        ),
    ],
)
def test_what_is_wrong_is_told(front: Front, request_: bytes, message: str) -> None:
    with front.connect() as client:
        client.send(request_)
        assert json.loads(client.answer()[2]) == {"error": message}


def test_bytes_that_come_one_by_one(front: Front) -> None:
    x = samples()
    with front.connect() as client:
        client.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in infer_request(x):
            client.send(bytes([byte]))
        right(client.answer(), x)


def test_pipelined_requests_are_answered_in_order(front: Front, model: Doubling) -> None:
    """Those of the control plane, which are ready at once, wait for those before them."""
    xs = [samples(1 + index % 5) for index in range(40)]
    model.gate.clear()
    with front.connect() as client:
        client.send(b"".join(infer_request(x, id=str(i)) + GET for i, x in enumerate(xs)))
        assert model.began.acquire(timeout=PATIENCE)
        model.gate.set()
        for index, x in enumerate(xs):
            assert right(client.answer(), x)["id"] == str(index)
            assert json.loads(client.answer()[2])["target"] == "/v2"


def test_a_client_that_does_not_read_is_not_read_from(front: Front) -> None:
    x = samples(16384)  # 256 KiB
    request = infer_request(x)
    count = 200
    with front.connect() as client:

        def send() -> None:
            for _ in range(count):
                client.send(request)

        sender = threading.Thread(target=send)
        sender.start()
        time.sleep(0.3)
        found = front.server.model_counters("double", "1")["success"]
        assert 0 < found < count
        with front.connect() as other:
            other.send(GET)
            assert other.answer()[0] == 200
        for _ in range(count):
            right(client.answer(), x)
        sender.join()


def test_chunks(front: Front) -> None:
    x = samples(40000)
    header, data = infer_body(x)
    body = header + data
    cuts = [0, *sorted(new_rng().integers(1, len(body), 7).tolist()), len(body)]
    chunks = [body[a:b] for a, b in itertools.pairwise(cuts) if b > a]
    encoded = b"".join(b"%x;a=b\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks)
    head = post("/v2/models/double/infer", b"", **{HEADER_LENGTH: str(len(header))})
    head = head.replace(b"Content-Length: 0", b"Transfer-Encoding: Chunked")
    with front.connect() as client:
        for _ in range(2):
            client.send(head + encoded + b"0\r\nTrailer: a\r\n\r\n" + GET)
            right(client.answer(), x)
            assert json.loads(client.answer()[2])["size"] == 0


def test_expect_continue(front: Front) -> None:
    x = samples()
    head, _, body = infer_request(x).partition(b"\r\n\r\n")
    head += b"\r\nExpect: 100-continue\r\n\r\n"
    with front.connect() as client:
        client.send(GET + head)
        assert client.answer()[0] == 200
        assert client.answer() == (100, {}, b"")
        client.send(body)
        right(client.answer(), x)
        client.send(head + body)  # without waiting
        right(client.answer(), x)
        client.send(head.replace(b"Content-Length: ", b"Content-Length: 9999999"))
        assert client.answer()[0] == 413


def test_what_keeps_a_connection(front: Front) -> None:
    old = GET.replace(b"1.1", b"1.0").replace(b"Host: test\r\n", b"")
    for request, connection in (
        (GET, None),
        (GET.replace(b"Host", b"connection: a, Close\r\nHost"), "close"),
        (old, "close"),
        (old.replace(b"\r\n", b"\r\nConnection: Keep-Alive\r\n", 1), "keep-alive"),
    ):
        with front.connect() as client:
            client.send(request)
            assert client.answer()[1].get("connection") == connection
            if connection == "close":
                assert client.is_closed()
            else:
                client.send(GET.replace(b"GET", b"HEAD") + GET)
                status, headers, _ = client.answer(head_only=True)
                assert status == 200
                assert int(headers["content-length"]) > 0
                assert client.answer()[0] == 200


def test_slow_clients() -> None:
    with running(header_timeout=0.2, body_timeout=0.4, idle_timeout=0.6) as front:
        for request, status in ((GET[:-1], 408), (post("/v2", b"abc")[:-1], 408), (GET, 200)):
            with front.connect() as client:
                client.send(request)
                assert client.answer()[0] == status
                assert client.is_closed()
        with front.connect() as client:
            assert client.is_closed()
    assert len(front.seen) == 1


def test_a_body_that_is_refused_does_not_break_the_connection_early() -> None:
    """The client sends all of it, and reads the answer only then."""
    with running(max_body_bytes=1 << 20) as front, front.connect() as client:
        client.send(post("/v2", bytes(8 << 20)))
        assert client.answer()[0] == 413
        assert client.is_closed()


def test_the_memory_of_all_bodies_is_limited() -> None:
    with running(max_buffered_bytes=1 << 20) as front:
        with front.connect() as first, front.connect() as second:
            first.send(post("/v2", bytes(900_000))[:-1])
            wait_until(lambda: front.server.connections == 2)
            second.send(GET)
            second.answer()
            second.send(post("/v2", bytes(900_000))[:500])
            status, headers, _ = second.answer()
            assert (status, headers["retry-after"]) == (503, "1")
            first.send(b"\0")
            assert first.answer()[0] == 200
        with front.connect() as client:
            client.send(post("/v2", bytes(100)))
            assert client.answer()[0] == 200


def test_too_many_connections() -> None:
    with running(max_connections=2, threads=2) as front:
        clients = [front.connect() for _ in range(2)]
        for client in clients:
            client.send(GET)
            assert client.answer()[0] == 200
        with front.connect() as client:
            client.send(GET)
            assert client.answer()[0] == 503
            assert client.is_closed()
        clients.pop().socket.close()
        wait_until(lambda: front.server.connections == 1)
        with front.connect() as client:
            client.send(GET)
            assert client.answer()[0] == 200
        clients.pop().socket.close()


def test_requests_of_clients_that_have_gone_are_cancelled(
    front: Front, dispatcher: _core.Dispatcher, model: Doubling
) -> None:
    model.gate.clear()
    with front.connect() as first, front.connect() as second, front.connect() as third:
        first.send(infer_request(x := samples()))
        assert model.began.acquire(timeout=PATIENCE)
        second.send(infer_request(samples()))
        third.send(infer_request(samples()))
        wait_until(lambda: dispatcher.statistics()["waiting"] == 2)
        second.reset()
        third.socket.close()  # which may only be half of it: after a while
        wait_until(lambda: dispatcher.statistics()["requests"]["cancelled"] == 2)
        model.gate.set()
        right(first.answer(), x)
    wait_until(lambda: front.server.model_counters("double", "1")["canceled"] == 2)
    assert len(model.sizes) == 1


def test_a_client_may_close_its_side_and_wait(front: Front, model: Doubling) -> None:
    model.gate.clear()
    with front.connect() as client:
        client.send(infer_request(x := samples()) + GET)
        client.socket.shutdown(socket.SHUT_WR)
        assert model.began.acquire(timeout=PATIENCE)
        model.gate.set()
        right(client.answer(), x)
        assert client.answer()[0] == 200
        assert client.is_closed()
    with front.connect() as client:
        client.send(infer_request(x)[:-1])
        client.socket.shutdown(socket.SHUT_WR)
        assert client.is_closed()


def test_closing_lets_requests_be_answered(dispatcher: _core.Dispatcher, model: Doubling) -> None:
    with running() as front:
        front.serve(dispatcher)
        model.gate.clear()
        with front.connect() as busy, front.connect() as idle, front.connect() as partial:
            busy.send(infer_request(x := samples()))
            partial.send(infer_request(x)[:-1])
            idle.send(GET)
            idle.answer()
            assert model.began.acquire(timeout=PATIENCE)
            closing = threading.Thread(target=lambda: ended.append(front.server.close(PATIENCE)))
            ended: list[bool] = []
            closing.start()
            assert idle.is_closed()
            partial.send(infer_request(x)[-1:])
            model.gate.set()
            for client in (busy, partial):
                answer = client.answer()
                assert answer[1]["connection"] == "close"
                right(answer, x)
                assert client.is_closed()
        closing.join()
        assert ended == [True]
        with pytest.raises(ConnectionError):
            front.connect()
        with pytest.raises(Error, match="closed"):
            front.server.start()


def test_closing_waits_no_longer_than_it_may(dispatcher: _core.Dispatcher, model: Doubling) -> None:
    with running() as front:
        front.serve(dispatcher)
        model.gate.clear()
        with front.connect() as client:
            client.send(infer_request(samples()))
            assert model.began.acquire(timeout=PATIENCE)
            assert not front.server.close(0.05)
            assert client.is_closed()


def test_options_are_checked() -> None:
    with running() as front:
        options = _core.HttpOptions()
        options.port = front.server.port
        with pytest.raises(Error, match=rf"127\.0\.0\.1:{options.port}: Address already in use"):
            _core.HttpServer(options)
    options.host = "no.such.host.invalid"
    with pytest.raises(Error, match=r"cannot listen at no\.such\.host\.invalid:"):
        _core.HttpServer(options)
    options = _core.HttpOptions()
    options.port = 0
    for name in ("threads", "backlog", "max_connections", "idle_timeout"):
        setattr(options, name, 0)
        with pytest.raises(InputError, match=f"{name}.*: expected at least 1, got 0"):
            _core.HttpServer(options)
        setattr(options, name, 1)
    options.host = "localhost"
    server = _core.HttpServer(options)
    server.start()
    socket.create_connection(("localhost", server.port), PATIENCE).close()
    server.close(0)
