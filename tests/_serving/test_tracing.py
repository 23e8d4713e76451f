"""Traces of requests, and their settings, which Triton's client changes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc
from tritonclient.http import InferenceServerClient, InferInput
from tritonclient.utils import InferenceServerException

import fasttrt
from fasttrt.errors import InputError
from fasttrt.serving import Server, ServerOptions
from support.models import Model, mlp

STAGES = ["receive", "staging", "queue", "compute", "copy-out", "send"]
FIXED = {"log_frequency": "0", "trace_mode": "chrome"}


@pytest.fixture(scope="module")
def engine(model: Model) -> Iterator[fasttrt.Engine]:
    batching = fasttrt.Batching(8)
    with fasttrt.Engine(model.proto, device="cpu", batching=batching) as engine:
        yield engine


@pytest.fixture(scope="module")
def model() -> Model:
    return mlp()


def serve(engine: fasttrt.Engine, file: Path | None, rate: int = 1) -> Server:
    options = ServerOptions(trace_file=file, trace_rate=rate)
    models = {"mlp": engine, "other": engine}
    return fasttrt.serve(models, http_port=0, metrics_port=None, options=options)


def infer(client: InferenceServerClient, name: str = "mlp", **options: Any) -> None:
    x = np.zeros((1, 16), np.float32)
    given = InferInput("x", [1, 16], "FP32").set_data_from_numpy(x, binary_data=options == {})
    client.infer(name, [given], request_id=options.get("id", ""))


def requests_of(file: Path) -> list[dict[str, Any]]:
    """The requests of a trace: each with its events, whose begins and ends must fit together."""
    trace = json.loads(file.read_text())
    assert list(trace) == ["traceEvents"]
    process, *events = trace["traceEvents"]
    assert (process["ph"], process["args"]) == ("M", {"name": "fasttrt serve"})
    found: dict[str, dict[str, Any]] = {}
    for event in events:
        assert (event["cat"], event["pid"]) == ("infer", process["pid"])
        request = found.setdefault(event["id"], {"open": [], "stages": [], "ts": 0.0})
        assert event["ts"] >= request["ts"]
        request["ts"] = event["ts"]
        if event["ph"] == "b":
            if not request["open"]:
                request |= {"name": event["name"], "args": event["args"]}
            else:
                request["stages"].append(event["name"])
            request["open"].append(event["name"])
        else:
            assert event["ph"] == "e"
            assert request["open"].pop() == event["name"]
    assert all(not request["open"] for request in found.values())
    return list(found.values())


def test_a_trace_of_each_request(engine: fasttrt.Engine, tmp_path: Path) -> None:
    file = tmp_path / "trace.json"
    with serve(engine, file) as server, InferenceServerClient(server.url) as client:
        assert "trace" in client.get_server_metadata()["extensions"]
        for _ in range(3):
            infer(client)
        infer(client, "other", id="a 7")  # JSON, so it is answered by Python
        with pytest.raises(InferenceServerException):
            client.infer("none", [InferInput("x", [1], "FP32")])
    first, *_, by_python, unknown = requests_of(file)
    assert (first["name"], first["stages"]) == ("mlp", STAGES)
    client_ = first["args"].pop("client")
    assert client_.startswith("127.0.0.1:")
    assert first["args"] == {"version": "1", "status": 200}
    assert by_python["stages"] == ["receive", "control plane", "send"]
    assert by_python["args"]["request_id"] == "a 7"
    assert (unknown["name"], unknown["args"]["status"]) == ("none", 400)
    assert len(requests_of(file)) == 5


def test_settings_of_all_and_of_one(engine: fasttrt.Engine, tmp_path: Path) -> None:
    file = tmp_path / "trace.json"
    with serve(engine, file, rate=3) as server, InferenceServerClient(server.url) as client:
        start = {
            "trace_file": str(file), "trace_level": ["TIMESTAMPS"], "trace_rate": "3",
            "trace_count": "-1", **FIXED,
        }  # fmt: skip
        assert client.get_trace_settings() == client.get_trace_settings("mlp") == start
        own = {"trace_rate": "1", "trace_count": "2"}
        assert client.update_trace_settings("mlp", own) == start | own
        assert client.get_trace_settings() == start
        for _ in range(4):
            infer(client)
            infer(client, "other")
        assert client.get_trace_settings("mlp")["trace_count"] == "0"
        # what a model does not say itself follows the others
        changed = client.update_trace_settings(settings={"trace_level": ["OFF"], "trace_rate": 7})
        assert changed == start | {"trace_level": ["OFF"], "trace_rate": "7"}
        mlp_now = start | own | {"trace_level": ["OFF"], "trace_count": "0"}
        assert client.get_trace_settings("mlp") == mlp_now
        client.update_trace_settings("mlp", {"trace_count": "5", "trace_level": "TIMESTAMPS"})
        infer(client)
        client.update_trace_settings("mlp", {"trace_rate": "1"})  # the count goes on
        assert client.get_trace_settings("mlp")["trace_count"] == "4"
        nothing = dict.fromkeys(["trace_rate", "trace_count", "trace_level"])
        assert client.update_trace_settings("mlp", nothing) == client.get_trace_settings()
        infer(client)
        assert client.update_trace_settings(settings=nothing) == start
    names = [request["name"] for request in requests_of(file)]
    assert sorted(names) == ["mlp", "mlp", "mlp", "other"]


def test_wrong_settings(engine: fasttrt.Engine, tmp_path: Path) -> None:
    file = tmp_path / "trace.json"
    with serve(engine, file) as server, InferenceServerClient(server.url) as client:
        before = client.get_trace_settings()
        for settings, message in (
            ({"trace_file": "/tmp/x"}, r"\[501\].*trace_file: it cannot be changed"),
            ({"trace_mode": "triton"}, r"\[501\].*trace_mode: it cannot be changed"),
            ({"trace_level": ["TENSORS"]}, r"\[501\].*TENSORS is not supported"),
            ({"log_frequency": "5"}, r"\[501\].*log_frequency: expected 0"),
            ({"trace_level": ["ALL"]}, r"\[400\].*trace_level: expected"),
            ({"trace_rate": "0"}, r"\[400\].*trace_rate: expected an integer >= 1, got 0"),
            ({"trace_rate": "1e3"}, r"\[400\].*trace_rate: expected an integer"),
            ({"trace_count": -2}, r"\[400\].*trace_count: expected an integer >= -1, got -2"),
            ({"trace_rate": "5", "rate": "1"}, r"\[400\].*expected some of .*, got 'rate'"),
        ):
            with pytest.raises(InferenceServerException, match=message):
                client.update_trace_settings(settings=settings)
        assert client.get_trace_settings() == before
        with pytest.raises(InferenceServerException, match="unknown model"):
            client.update_trace_settings("none", {"trace_rate": "1"})
        with pytest.raises(InputError, match="another server writes to it"):
            serve(engine, file)
        precious = tmp_path / "model.onnx"
        precious.write_bytes(b"\x08\x08precious")
        with pytest.raises(InputError, match=r"trace_file: .*it is a file of another kind"):
            serve(engine, precious)
        assert precious.read_bytes() == b"\x08\x08precious"
    with serve(engine, file) as server, InferenceServerClient(server.url) as client:
        infer(client)
    assert len(requests_of(file)) == 1  # in place of the trace before


def test_no_trace_by_default(engine: fasttrt.Engine) -> None:
    with serve(engine, None) as server, InferenceServerClient(server.url) as client:
        assert "trace" not in client.get_server_metadata()["extensions"]
        settings = client.get_trace_settings("mlp")
        assert (settings["trace_level"], settings["trace_file"]) == (["OFF"], "")
        with pytest.raises(InferenceServerException, match=r"\[501\].*--trace-file"):
            client.update_trace_settings(settings={"trace_level": ["TIMESTAMPS"]})


def test_calls_of_grpc_and_their_settings(engine: fasttrt.Engine, tmp_path: Path) -> None:
    file = tmp_path / "trace.json"
    x = np.ones((1, 16), np.float32)
    options = ServerOptions(trace_file=file, trace_rate=1)
    with (
        fasttrt.serve(
            {"mlp": engine}, http_port=0, grpc_port=0, metrics_port=None, options=options
        ) as server,
        tritonclient.grpc.InferenceServerClient(server.grpc_url) as client,
    ):
        given = tritonclient.grpc.InferInput("x", [1, 16], "FP32").set_data_from_numpy(x)
        client.infer("mlp", [given], request_id="one")
        settings = client.update_trace_settings(settings={"trace_rate": "1000"}).settings
        assert list(settings["trace_rate"].value) == ["1000"]
        assert client.get_trace_settings() == client.update_trace_settings()
        client.infer("mlp", [given], request_id="two")
        with pytest.raises(InferenceServerException, match="trace_file") as caught:
            client.update_trace_settings(settings={"trace_file": "other"})
        assert "UNIMPLEMENTED" in caught.value.status()
    (traced,) = requests_of(file)
    assert traced["stages"] == STAGES
