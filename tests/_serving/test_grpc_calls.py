"""Calls of gRPC, by both implementations: keys, limits, mistakes, and which one is chosen."""

from __future__ import annotations

import logging
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tritonclient.grpc import service_pb2, service_pb2_grpc

import fasttrt
from fasttrt._serving import grpc_port
from fasttrt._serving.server_options import DEFAULT_GRPC_PORT, ServerOptions
from fasttrt.errors import Error, InputError
from fasttrt.serving import Server
from support.grpc_server import IMPLEMENTATIONS, served, without_nghttp2
from support.models import Model, mlp

MLP = mlp()
KEY = (("authorization", "Bearer secret"),)
MOST = 100_000


@pytest.fixture(scope="module")
def repository(tmp_path_factory: Any) -> Path:
    path: Path = tmp_path_factory.mktemp("models")
    (path / "mlp" / "1").mkdir(parents=True)
    MLP.save(path / "mlp" / "1" / "model.onnx")
    (path / "keys").write_text("secret\n")
    return path


@pytest.fixture(scope="module", params=IMPLEMENTATIONS)
def server(request: pytest.FixtureRequest, repository: Path) -> Iterator[Server]:
    options = {"api_key_file": repository / "keys", "api_key_exempt": ("health",)}
    with served(request.param, repository, max_message_bytes=MOST, **options) as server:
        yield server


@pytest.fixture(scope="module")
def channel(server: Server) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(server.grpc_url) as channel:
        yield channel


@pytest.fixture
def stub(channel: grpc.Channel) -> Any:
    return service_pb2_grpc.GRPCInferenceServiceStub(channel)


def infer_request(x: Any, model: str = "mlp") -> Any:
    request = service_pb2.ModelInferRequest(model_name=model)
    request.inputs.add(name="x", datatype="FP32", shape=x.shape)
    request.raw_input_contents.append(x.tobytes())
    return request


def check_infer(stub: Any, model: Model = MLP) -> None:
    (x,) = model.inputs(batch=2)
    response = stub.ModelInfer(infer_request(x), metadata=KEY)
    (raw,) = response.raw_output_contents
    np.testing.assert_allclose(
        np.frombuffer(raw, np.float32).reshape(2, -1), model.reference(x), atol=1e-4
    )


def fails(
    code: grpc.StatusCode, call: Any, *arguments: Any, match: str = ".", **options: Any
) -> None:
    with pytest.raises(grpc.RpcError, match=match) as caught:
        call(*arguments, **options)
    assert caught.value.code() == code


def test_health(channel: grpc.Channel) -> None:
    stub = health_pb2_grpc.HealthStub(channel)
    for service in ("", "inference.GRPCInferenceService"):
        response = stub.Check(health_pb2.HealthCheckRequest(service=service))
        assert response.status == health_pb2.HealthCheckResponse.SERVING
    unknown = health_pb2.HealthCheckRequest(service="other")
    fails(grpc.StatusCode.NOT_FOUND, stub.Check, unknown, match="unknown service 'other'")
    with pytest.raises(grpc.RpcError) as caught:
        list(stub.Watch(health_pb2.HealthCheckRequest()))
    assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED


def test_calls_need_a_key(stub: Any) -> None:
    (x,) = MLP.inputs(batch=2)
    unauthenticated = grpc.StatusCode.UNAUTHENTICATED
    for metadata in ((), (("x-api-key", "other"),), (("authorization", "Bearer Secret"),)):
        for call, request in (
            (stub.ModelInfer, infer_request(x)),
            (stub.ServerMetadata, service_pb2.ServerMetadataRequest()),
        ):
            fails(unauthenticated, call, request, metadata=metadata, match="expected an API key")
        answers = stub.ModelStreamInfer(iter([infer_request(x)]), metadata=metadata)
        assert "expected an API key" in next(answers).error_message
    assert stub.ServerReady(service_pb2.ServerReadyRequest()).ready
    metadata = (("x-api-key", "secret"),)
    assert stub.ServerMetadata(service_pb2.ServerMetadataRequest(), metadata=metadata).name
    check_infer(stub)


def test_wrong_messages_and_methods(channel: grpc.Channel, stub: Any) -> None:
    def call(method: str) -> Any:
        return channel.unary_unary(f"/inference.GRPCInferenceService/{method}")

    invalid = grpc.StatusCode.INVALID_ARGUMENT
    fails(grpc.StatusCode.UNIMPLEMENTED, call("Nothing"), b"", metadata=KEY, match="Nothing")
    for method in ("ModelInfer", "ModelConfig"):
        fails(invalid, call(method), b"\xff", metadata=KEY, match=f"cannot parse {method}Request")
    for request in (service_pb2.ModelConfigRequest(), service_pb2.ModelConfigRequest(name="ü%")):
        match = "'ü%' is not found" if request.name else "expected the name of a model, got none"
        fails(invalid, stub.ModelConfig, request, metadata=KEY, match=match)
    missing = service_pb2.RepositoryModelUnloadRequest(model_name="mlp", repository_name="other")
    unimplemented = grpc.StatusCode.UNIMPLEMENTED
    fails(unimplemented, stub.RepositoryModelUnload, missing, metadata=KEY, match="'other'")
    check_infer(stub)


def test_raw_contents_belong_to_inputs(stub: Any) -> None:
    (x,) = MLP.inputs(batch=2)
    invalid = grpc.StatusCode.INVALID_ARGUMENT
    request = infer_request(x)
    request.raw_input_contents.append(b"")
    match = "expected 1 raw_input_contents for its inputs, got 2"
    fails(invalid, stub.ModelInfer, request, metadata=KEY, match=match)
    del request.raw_input_contents[:]
    match = "expected its data in raw_input_contents"
    fails(invalid, stub.ModelInfer, request, metadata=KEY, match=match)
    request = infer_request(x)
    request.parameters["custom"].double_param = 1.5
    request.parameters["sequence_id"].string_param = "s"
    assert stub.ModelInfer(request, metadata=KEY).model_name == "mlp"
    request.parameters["triton_other"].bool_param = True
    match = "'triton_other': the name is reserved"
    fails(invalid, stub.ModelInfer, request, metadata=KEY, match=match)


@pytest.mark.parametrize("compression", list(grpc.Compression))
def test_messages_have_a_limit(stub: Any, compression: Any) -> None:
    large = infer_request(np.zeros((MOST // 64 + 100, 16), np.float32))
    fails(
        grpc.StatusCode.RESOURCE_EXHAUSTED, stub.ModelInfer, large, metadata=KEY,
        compression=compression,
    )  # fmt: skip
    check_infer(stub)


def test_a_port_that_is_taken(repository: Path, caplog: pytest.LogCaptureFixture) -> None:
    with fasttrt.Engine(MLP.proto, device="cpu") as engine, socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        options: dict[str, Any] = {"http_port": 0, "metrics_port": None}
        with pytest.raises(Error, match=f"cannot listen at 127.0.0.1:{port}"):
            fasttrt.serve({"mlp": engine}, grpc_port=port, **options)
        with without_nghttp2(), pytest.raises(Error, match=f"cannot listen at 127.0.0.1:{port}"):
            fasttrt.serve({"mlp": engine}, grpc_port=port, **options)
        with fasttrt.serve({"mlp": engine}, grpc_port=None, **options) as server:
            assert server.grpc_port is None
            assert server.grpc_url is None


def test_without_any_implementation(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grpc_port, "find_spec", lambda _: None)
    options: dict[str, Any] = {"http_port": 0, "metrics_port": None}
    with fasttrt.Engine(MLP.proto, device="cpu") as engine, without_nghttp2():
        with pytest.raises(Error, match=r"nghttp2 cannot be loaded; or install grpcio"):
            fasttrt.serve({"mlp": engine}, grpc_port=0, **options)
        with (
            caplog.at_level(logging.WARNING, "fasttrt"),
            fasttrt.serve({"mlp": engine}, grpc_port=DEFAULT_GRPC_PORT, **options) as server,
        ):
            assert server.grpc_port is None
            assert server.is_ready
    assert "gRPC is not available: nghttp2 cannot be loaded" in caplog.text


def test_a_library_may_be_named(repository: Path) -> None:
    program = """
import logging, sys
import fasttrt
logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(message)s")
with fasttrt.serve(sys.argv[1], http_port=0, grpc_port=0, metrics_port=None) as server:
    print("port", server.grpc_port)
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(repository)], capture_output=True, text=True,
        check=True, env={**os.environ, "FASTTRT_NGHTTP2": "/missing.so"}, timeout=120,
    )  # fmt: skip
    assert "by grpcio: nghttp2 cannot be loaded (/missing.so: " in done.stdout


def test_ports_differ() -> None:
    with pytest.raises(InputError, match="grpc_port: expected another port than http_port"):
        ServerOptions(http_port=8001)
    with pytest.raises(InputError, match="metrics_port: expected another port than grpc_port"):
        ServerOptions(metrics_port=8001)
