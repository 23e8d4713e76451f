"""How the core treats connections of gRPC: frames, limits, times, clients that leave."""

from __future__ import annotations

import queue
import struct
import threading
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import h2.events
import numpy as np
import pytest
import tritonclient.grpc
from tritonclient.grpc import service_pb2

from fasttrt import _core
from support.http2_client import Http2Client, framed
from support.http_server import PATIENCE, Doubling, Front, running, samples
from support.threads import wait_until

Opened = Callable[..., tuple[Front, Http2Client]]


@pytest.fixture
def opened(dispatcher: _core.Dispatcher) -> Iterator[Opened]:
    """Start a front end with these options and a model, and connect to it."""
    contexts: list[Any] = []

    def open_(consumes: bool = True, **options: Any) -> tuple[Front, Http2Client]:
        contexts.append(running(grpc_port=0, **options))
        front = contexts[-1].__enter__()
        front.serve(dispatcher)
        contexts.append(Http2Client(front.server.grpc_port, consumes=consumes))
        return front, contexts[-1].__enter__()

    yield open_
    for context in reversed(contexts):
        context.__exit__(None, None, None)


def request(x: np.ndarray[Any, Any], id_: str = "") -> bytes:
    message = service_pb2.ModelInferRequest(model_name="double", id=id_)
    message.inputs.add(name="x", datatype="FP32", shape=x.shape)
    message.raw_input_contents.append(x.tobytes())
    return framed(message.SerializeToString())


def messages(data: bytes) -> list[bytes]:
    """The messages in a stream's data."""
    found = []
    while data:
        compressed, size = struct.unpack_from(">?I", data)
        assert not compressed
        assert len(data) >= 5 + size
        found.append(data[5 : 5 + size])
        data = data[5 + size :]
    return found


def results(response: service_pb2.ModelInferResponse) -> np.ndarray[Any, Any]:
    (raw,) = response.raw_output_contents
    return np.frombuffer(raw, np.float32).reshape(tuple(response.outputs[0].shape))


def check(client: Http2Client, stream: int, x: np.ndarray[Any, Any]) -> None:
    headers = client.finish(stream)
    assert headers[":status"] == "200"
    assert headers["content-type"] == "application/grpc"
    assert headers["grpc-status"] == "0"
    (message,) = messages(client.data[stream])
    np.testing.assert_array_equal(
        results(service_pb2.ModelInferResponse.FromString(message)), 2 * x
    )


def count(front: Front, counter: str) -> int:
    return int(front.server.model_counters("double", "1")[counter])


def test_calls_run_side_by_side_however_their_bytes_come(opened: Opened) -> None:
    _, client = opened()
    arrays = [samples(rows) for rows in (1, 5, 30)]
    streams = [client.call("ModelInfer", end=False) for _ in arrays]
    bodies = [request(x) for x in arrays]
    for i in range(max(map(len, bodies))):
        for stream, body in zip(streams, bodies, strict=True):
            if i < len(body):
                client.send(stream, body[i : i + 1], end=i + 1 == len(body))
    for stream, x in zip(streams, arrays, strict=True):
        check(client, stream, x)


def test_what_is_no_grpc_is_refused(opened: Opened) -> None:
    front, client = opened()
    x = samples()
    refused: tuple[tuple[dict[str, Any], str], ...] = (
        ({"content_type": "application/json"}, "415"),
        ({"content_type": "application/grpcx"}, "415"),
        ({"http_method": "GET"}, "405"),
    )
    for headers, status in refused:
        stream = client.call("ModelInfer", request(x), **headers)
        assert client.finish(stream)[":status"] == status
    stream = client.call("ModelInfer", request(x), grpc_timeout="soon")
    assert client.finish(stream)["grpc-status"] == "13"
    check(client, client.call("ModelInfer", request(x), content_type="application/grpc+proto"), x)
    with Http2Client(front.server.grpc_port) as other:
        other._socket.sendall(b"\xff" * 100)
        other.wait_closed()
    check(client, client.call("ModelInfer", request(x)), x)


@pytest.mark.parametrize(
    ("data", "status", "reason"),
    [
        (b"", "12", "got none"),
        (framed(b"") + framed(b""), "12", "got several"),
        (framed(b"abc")[:-1], "13", "within a message"),
        (b"\2" + framed(b"")[1:], "13", "first byte"),
        (framed(b"x" * 1001), "8", "has 1001 bytes"),
    ],
)
def test_calls_with_wrong_messages_end_with_a_reason(
    opened: Opened, data: bytes, status: str, reason: str
) -> None:
    _, client = opened(max_message_bytes=1000)
    headers = client.finish(client.call("ModelInfer", data))
    assert headers["grpc-status"] == status
    assert reason in headers["grpc-message"]
    x = samples()
    check(client, client.call("ModelInfer", request(x)), x)


def test_headers_have_a_limit(opened: Opened) -> None:
    _, client = opened(max_header_bytes=1000)
    stream = client.call("ModelInfer", request(samples()), x_long="y" * 2000)
    assert client.finish(stream)["grpc-status"] == "8"


def test_pings_are_answered(opened: Opened) -> None:
    _, client = opened()
    client.connection.ping(b"12345678")
    client.flush()
    assert client.wait(h2.events.PingAckReceived).ping_data == b"12345678"


def test_calls_that_are_cancelled_do_not_run(model: Doubling, opened: Opened) -> None:
    front, client = opened()
    model.gate.clear()
    first, second = (client.call("ModelInfer", request(samples())) for _ in range(2))
    assert model.began.acquire(timeout=PATIENCE)
    client.connection.reset_stream(second, 8)
    client.flush()
    wait_until(lambda: count(front, "canceled") == 1)
    model.gate.set()
    assert client.finish(first)["grpc-status"] == "0"
    assert model.sizes == [3]
    assert count(front, "success") == 1


def test_deadlines_end_calls(model: Doubling, opened: Opened) -> None:
    front, client = opened()
    x = samples()
    check(client, client.call("ModelInfer", request(x), grpc_timeout="1M"), x)
    model.gate.clear()
    running_, waiting = (
        client.call("ModelInfer", request(x), grpc_timeout="100m") for _ in range(2)
    )
    for stream in (running_, waiting):
        assert client.finish(stream)["grpc-status"] == "4"
    model.gate.set()
    check(client, client.call("ModelInfer", request(x)), x)
    wait_until(lambda: count(front, "success") == 2)


def test_large_answers_wait_for_a_client_that_reads_slowly(opened: Opened) -> None:
    _, client = opened(consumes=False)
    x, small = samples(50_000), samples()  # the window has 65,535 bytes
    stream = client.call("ModelInfer", end=False)
    body = request(x)
    while body:
        window = client.connection.local_flow_control_window(stream)
        size = min(window, client.connection.max_outbound_frame_size)
        if size == 0:
            client.receive()
            continue
        client.send(stream, body[:size], end=size >= len(body))
        body = body[size:]
    while stream not in client.ended:
        for event in client.receive():
            if isinstance(event, h2.events.DataReceived):
                client.connection.acknowledge_received_data(
                    event.flow_controlled_length, event.stream_id
                )
        client.flush()
    check(client, stream, x)
    client.consumes = True
    check(client, client.call("ModelInfer", request(small)), small)


def test_streams_hold_back_what_is_too_much_at_once(model: Doubling, opened: Opened) -> None:
    front, client = opened()
    model.gate.clear()
    arrays = [samples(1 + i % 3) for i in range(300)]
    stream = client.call("ModelStreamInfer", end=False)
    for i, x in enumerate(arrays):
        client.send(stream, request(x, str(i)), end=i + 1 == len(arrays))
    assert model.began.acquire(timeout=PATIENCE)
    model.gate.set()
    assert client.finish(stream)["grpc-status"] == "0"
    ids = set()
    for message in messages(client.data[stream]):
        response = service_pb2.ModelStreamInferResponse.FromString(message).infer_response
        np.testing.assert_array_equal(results(response), 2 * arrays[int(response.id)])
        assert response.parameters["triton_final_response"].bool_param
        ids.add(response.id)
    assert len(ids) == 300
    assert count(front, "success") == 300


def test_failures_are_told_within_streams_or_end_them(model: Doubling, opened: Opened) -> None:
    _, client = opened()
    model.error = ValueError("wröng")
    stream = client.call("ModelStreamInfer", request(samples(), "a"), end=False)
    while not client.data.get(stream):
        client.receive()
    (message,) = messages(client.data[stream])
    response = service_pb2.ModelStreamInferResponse.FromString(message)
    assert "wröng" in response.error_message
    assert response.infer_response.id == "a"
    assert response.infer_response.model_name == "double"
    assert response.infer_response.parameters["triton_final_response"].bool_param
    model.error = None
    client.send(stream, request(samples(), "b"), end=True)
    assert client.finish(stream)["grpc-status"] == "0"
    assert len(messages(client.data[stream])) == 2
    model.error = ValueError("100% wröng")
    stream = client.call(
        "ModelStreamInfer", request(samples()), end=False, triton_grpc_error="true"
    )
    headers = client.finish(stream)
    assert headers["grpc-status"] == "13"
    assert "100%25 wr%C3%B6ng" in headers["grpc-message"]


def test_what_is_not_plain_is_left_to_the_control_plane(opened: Opened) -> None:
    front, client = opened()
    headers: dict[str, Any] = {"authorization": "Bearer k", "grpc_encoding": "gzip", "x_other": "y"}
    for method, data in (("ServerLive", framed(b"")), ("ModelInfer", b"\1" + framed(b"ab")[1:])):
        stream = client.call(method, data, **headers)
        assert client.finish(stream)["grpc-status"] == "0"
    live, infer = front.seen
    assert live.is_grpc
    assert (live.method, live.target) == ("POST", "/inference.GRPCInferenceService/ServerLive")
    assert live.headers == [("authorization", "Bearer k")]
    assert infer.headers == [("authorization", "Bearer k"), ("grpc-encoding", "gzip")]
    assert infer.body == b"ab"


def test_keys_are_needed_where_there_are_some(opened: Opened) -> None:
    front, client = opened(api_keys=["k"])
    x = samples()
    check(client, client.call("ModelInfer", request(x), authorization="Bearer k"), x)
    check(client, client.call("ModelInfer", request(x), x_api_key="k"), x)
    client.finish(client.call("ModelInfer", request(x), x_api_key="K"))
    client.finish(client.call("ModelInfer", request(x)))
    assert len(front.seen) == 2


def test_connections_end_once_they_are_idle(opened: Opened) -> None:
    _, client = opened(idle_timeout=0.2)
    x = samples()
    check(client, client.call("ModelInfer", request(x)), x)
    client.wait(h2.events.ConnectionTerminated)
    client.wait_closed()


def test_clients_that_are_slow_are_told_so(opened: Opened) -> None:
    front, client = opened(header_timeout=0.2, body_timeout=0.3)
    stream = client.call("ModelInfer", request(samples())[:20], end=False)
    headers = client.finish(stream)
    assert headers["grpc-status"] == "4"
    assert "did not come in time" in headers["grpc-message"]
    with Http2Client(front.server.grpc_port) as other:
        other.wait(h2.events.ConnectionTerminated)
        other.wait_closed()


def test_clients_with_calls_are_asked_whether_they_are_there(opened: Opened) -> None:
    _, client = opened(idle_timeout=0.2)
    client.call("ModelStreamInfer", end=False)
    for _ in range(2):
        client.wait(h2.events.PingReceived)  # which h2 answers


def test_more_connections_than_there_may_be_are_refused(opened: Opened) -> None:
    front, client = opened(max_connections=1)
    x = samples()
    check(client, client.call("ModelInfer", request(x)), x)
    with Http2Client(front.server.grpc_port) as other:
        assert other.wait(h2.events.ConnectionTerminated).error_code == 11
        other.wait_closed()
    check(client, client.call("ModelInfer", request(x)), x)


def test_a_server_that_is_closed_answers_what_has_begun(model: Doubling, opened: Opened) -> None:
    front, other = opened()
    other.__exit__(None, None, None)
    x = samples()
    content = request(x)[5:]
    ended = threading.Event()

    def nothing() -> Iterator[bytes]:
        ended.wait(PATIENCE)
        yield from ()

    with grpc.insecure_channel(f"127.0.0.1:{front.server.grpc_port}") as channel:
        infer = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
        idle = channel.stream_stream("/inference.GRPCInferenceService/ModelStreamInfer")(
            nothing(), timeout=PATIENCE
        )
        model.gate.clear()
        call = infer.future(content, timeout=PATIENCE)
        assert model.began.acquire(timeout=PATIENCE)
        closing = threading.Thread(target=front.server.close, args=(PATIENCE,))
        closing.start()
        with pytest.raises(grpc.RpcError, match="the server is being closed") as caught:
            list(idle)
        assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
        ended.set()
        model.gate.set()
        response = service_pb2.ModelInferResponse.FromString(call.result())
        np.testing.assert_array_equal(results(response), 2 * x)
        closing.join()
        assert front.server.connections == 0
        with pytest.raises(grpc.RpcError) as caught:
            infer(content, timeout=PATIENCE)
        assert caught.value.code() == grpc.StatusCode.UNAVAILABLE


def test_clients_are_told_that_a_server_is_closed(opened: Opened) -> None:
    front, client = opened()
    x = samples()
    check(client, client.call("ModelInfer", request(x)), x)
    closing = threading.Thread(target=front.server.close, args=(PATIENCE,))
    closing.start()
    assert client.wait(h2.events.ConnectionTerminated).error_code == 0
    client.wait_closed()
    client.__exit__(None, None, None)
    closing.join()
    assert front.server.connections == 0


def test_requests_of_tritons_client_need_no_python(opened: Opened) -> None:
    front, _ = opened()
    x = samples()
    given = tritonclient.grpc.InferInput("x", list(x.shape), "FP32").set_data_from_numpy(x)
    outputs = [tritonclient.grpc.InferRequestedOutput("y")]
    answers: queue.Queue[Any] = queue.Queue()
    url = f"127.0.0.1:{front.server.grpc_port}"
    with tritonclient.grpc.InferenceServerClient(url) as client:
        result = client.infer(
            "double", [given], "1", outputs, request_id="7", priority=1, timeout=10_000_000
        )
        np.testing.assert_array_equal(result.as_numpy("y"), 2 * x)
        client.start_stream(lambda result, error: answers.put((result, error)))
        for flag in (False, True):
            client.async_stream_infer("double", [given], enable_empty_final_response=flag)
            result, error = answers.get(timeout=PATIENCE)
            assert error is None
            np.testing.assert_array_equal(result.as_numpy("y"), 2 * x)
        client.stop_stream()
    assert front.seen == []
    assert count(front, "success") == 3
