"""The access log: a line for each request, whoever answers it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
import tritonclient.grpc
from tritonclient.utils import InferenceServerException

import fasttrt
from fasttrt import _core
from fasttrt.errors import InputError
from fasttrt.serving import Server, ServerOptions
from support.http_server import (
    HEADER_LENGTH,
    PATIENCE,
    Client,
    Doubling,
    infer_body,
    infer_request,
    post,
    running,
    samples,
)
from support.models import Model, mlp
from support.threads import wait_until

TARGET = "/v2/models/mlp/infer"
FIELDS = [
    "time", "client", "method", "path", "model", "version", "status", "bytes_in", "bytes_out",
    "duration_us", "id",
]  # fmt: skip
SERVICE = "/inference.GRPCInferenceService"
Serve = Callable[..., Any]


@pytest.fixture(scope="module")
def network() -> Model:
    return mlp()


@pytest.fixture(scope="module")
def serve(network: Model) -> Iterator[Serve]:
    """Start a server with a log."""
    with fasttrt.Engine(network.proto, device="cpu") as engine:

        @contextmanager
        def serve(log: Path | str, grpc_port: int | None = None) -> Iterator[Server]:
            options = ServerOptions(access_log=log)
            with fasttrt.serve(
                {"mlp": engine}, http_port=0, grpc_port=grpc_port, metrics_port=None,
                options=options,
            ) as server:  # fmt: skip
                yield server

        yield serve


def lines_of(path: Path) -> list[dict[str, Any]]:
    text = path.read_text("utf-8")
    assert text == "" or text.endswith("\n")
    return [json.loads(line) for line in text.splitlines()]


def exchange(client: Client, data: bytes) -> int:
    """Send a request, and return the size of its answer."""
    client.send(data)
    _, headers, body = client.answer()
    head = sum(len(f"{name}: {value}\r\n") for name, value in headers.items())
    return head + len(body)  # without the first line


def test_a_line_for_each_request(serve: Serve, network: Model, tmp_path: Path) -> None:
    log = tmp_path / "access.jsonl"
    (x,) = network.inputs(batch=3)
    header, data = infer_body(x, id="a 1")
    text = json.dumps({
        "id": "ü\n\ud800", "inputs": [{"name": "x", "shape": [1, 16], "datatype": "FP32",
        "data": x[0].tolist()}],
    })  # fmt: skip
    before = datetime.now(timezone.utc)
    with serve(log) as server, Client(server.http_port) as client:
        plain = post(TARGET, header + data, **{HEADER_LENGTH: str(len(header))})
        sizes = [exchange(client, plain)]
        requests = [
            post(f"{TARGET}?key=secret", text.encode()),
            post("/v2/models/mlp/versions/1/infer", b"{}"),
            post("/v2/models/none/infer", b"{}"),
            b"GET /v2/health/ready HTTP/1.1\r\nHost: test\r\n\r\n",
        ]
        sizes += [exchange(client, request) for request in requests]
        address = "{}:{}".format(*client.socket.getsockname())
        requests.insert(0, plain)
    found = lines_of(log)
    assert [list(line) for line in found] == [FIELDS] * 5
    assert [line["client"] for line in found] == [address] * 5
    assert [line["bytes_in"] for line in found] == [len(request) for request in requests]
    for line, size in zip(found, sizes, strict=True):
        first_line = f"HTTP/1.1 {line['status']} \r\n\r\n"
        assert len(first_line) + 1 < line["bytes_out"] - size < len(first_line) + 20
        assert before <= datetime.fromisoformat(line["time"].replace("Z", "+00:00"))
        assert 0 < line["duration_us"] < 60e6
    rest = [tuple(line[f] for f in FIELDS if f in SHOWN) for line in found]
    assert rest == [
        ("POST", TARGET, "mlp", "1", 200, "a 1"),
        ("POST", TARGET, "mlp", "1", 200, "ü\n?"),
        ("POST", "/v2/models/mlp/versions/1/infer", "mlp", "1", 400, None),
        ("POST", "/v2/models/none/infer", "none", None, 400, None),
        ("GET", "/v2/health/ready", None, None, 200, None),
    ]


SHOWN = ("method", "path", "model", "version", "status", "id")


def test_requests_that_nobody_could_read(serve: Serve, tmp_path: Path) -> None:
    log = tmp_path / "access.jsonl"
    with serve(log) as server:
        for data in (b"nonsense\r\n\r\n", b"POST /v2 HTTP/1.1\r\nHost: t\r\nContent-Length: 9999999999\r\n\r\n"):  # noqa: E501  # fmt: skip
            with Client(server.http_port) as client:
                client.send(data)
                client.answer()
    found = lines_of(log)
    assert [line["status"] for line in found] == [400, 413]
    assert [line["path"] for line in found] == [None, "/v2"]


def test_a_client_that_goes_before_its_answer(
    model: Doubling, dispatcher: _core.Dispatcher, tmp_path: Path
) -> None:
    path = tmp_path / "access.jsonl"
    log = _core.AccessLog(str(path))
    with running(access_log=log) as front:
        front.serve(dispatcher)
        model.gate.clear()
        client = front.connect()
        client.send(infer_request(samples()))
        assert model.began.acquire(timeout=PATIENCE)
        client.reset()
        wait_until(lambda: front.server.connections == 0)
        model.gate.set()
    log.close()
    (line,) = lines_of(path)
    assert (line["path"], line["status"], line["bytes_out"]) == (
        "/v2/models/double/infer",
        499,
        0,
    )


def test_a_log_may_be_rotated(serve: Serve, tmp_path: Path) -> None:
    log, old = tmp_path / "access.jsonl", tmp_path / "access.jsonl.1"
    request = b"GET /v2/health/live HTTP/1.1\r\nHost: test\r\n\r\n"
    log.write_text('{"time":"2026-01-01T00:00:00Z"}\n{"time":"2026-01-01T00:0')  # it was cut off
    with serve(log) as server, Client(server.http_port) as client:
        exchange(client, request)
        wait_until(lambda: log.read_text().count("\n") == 3)
        beginning, cut, line = log.read_text().splitlines()
        assert (len(beginning), len(cut)) == (31, 24)
        assert list(json.loads(line)) == FIELDS
        os.truncate(log, 0)  # by logrotate's copytruncate
        exchange(client, request)
        wait_until(lambda: len(lines_of(log)) == 1)
        log.rename(old)

        def is_reopened() -> bool:
            exchange(client, request)
            return log.exists()

        wait_until(is_reopened)
    both = lines_of(old) + lines_of(log)
    assert len(lines_of(log)) >= 1
    assert [list(line) for line in both] == [FIELDS] * len(both)


def test_it_may_be_standard_output(serve: Serve, capfd: pytest.CaptureFixture[str]) -> None:
    with serve("-") as server, Client(server.http_port) as client:
        exchange(client, b"GET /v2/health/live HTTP/1.1\r\nHost: test\r\n\r\n")
    (line,) = capfd.readouterr().out.splitlines()
    assert json.loads(line)["path"] == "/v2/health/live"


def test_a_file_of_another_kind_stays(serve: Serve, tmp_path: Path) -> None:
    precious = tmp_path / "model.onnx"
    precious.write_bytes(b"\x08\x08precious")
    for path, message in (
        (precious, "another kind"),
        (tmp_path, "directory"),
        (tmp_path / "none" / "log", "No such file"),
    ):
        with pytest.raises(InputError, match=rf"access_log: cannot write to .*: .*{message}"):
            serve(path).__enter__()
    assert precious.read_bytes() == b"\x08\x08precious"
    with pytest.raises(InputError, match="access_log: expected a path"):
        serve(7).__enter__()


def test_calls_of_grpc(serve: Serve, network: Model, tmp_path: Path) -> None:
    log = tmp_path / "access.jsonl"
    (x,) = network.inputs(batch=3)
    tensor = tritonclient.grpc.InferInput("x", list(x.shape), "FP32").set_data_from_numpy(x)
    with (
        serve(log, grpc_port=0) as server,
        tritonclient.grpc.InferenceServerClient(server.grpc_url) as client,
    ):
        client.infer("mlp", [tensor], request_id="a 1")
        client.infer("mlp", [tensor], request_id="b", compression_algorithm="gzip")
        client.get_server_metadata()
        with pytest.raises(InferenceServerException):
            client.infer("nothing", [tensor])
    first, second, metadata, failed = lines_of(log)
    assert list(first) == FIELDS
    for line, id_ in ((first, "a 1"), (second, "b")):
        assert line["path"] == f"{SERVICE}/ModelInfer"
        assert (line["model"], line["version"], line["id"]) == ("mlp", "1", id_)
        assert (line["method"], line["status"]) == ("POST", 0)
    assert first["bytes_in"] > x.nbytes
    assert first["bytes_out"] > len(x) * 8 * 4
    assert (metadata["path"], metadata["status"]) == (f"{SERVICE}/ServerMetadata", 0)
    assert failed["status"] == 3
