"""Routes, statuses and messages of the control plane."""

from __future__ import annotations

import base64
import json
import threading
from typing import Any

import numpy as np
import pytest

import fasttrt
from fasttrt._serving.app import App
from fasttrt._serving.errors import ModelControlError
from fasttrt._serving.http import Request, Response
from fasttrt._serving.models import Models
from support.gate import PATIENCE, Gate, replace_run
from support.models import Model
from support.randomness import new_rng
from support.serving import error_of, get, identity, loaded, models_of, post

MLP = "/v2/models/mlp/infer"


@pytest.fixture
def models(engine: fasttrt.Engine) -> Models:
    return models_of(
        loaded(engine, "mlp", "1", max_batch_size=8, labels={"y": ("cat", "dog", "", "owl")}),
        loaded(engine, "mlp", "3", max_batch_size=8),
    )


@pytest.fixture
def app(models: Models) -> App:
    return App(models)


def rows(count: int) -> Any:
    return new_rng().standard_normal((count, 16), np.float32)


def body(x: Any, **more: Any) -> dict[str, Any]:
    tensor = {"name": "x", "shape": list(x.shape), "datatype": "FP32", "data": x.tolist()}
    return {"inputs": [tensor], **more}


def answer(response: Response) -> Any:
    assert response.status == 200, bytes(response.body)
    return json.loads(bytes(response.body))


def y_of(response: Response) -> Any:
    (output,) = answer(response)["outputs"]
    return np.array(output["data"], np.float32).reshape(output["shape"])


def test_health(app: App, models: Models) -> None:
    for path in ("/v2/health/live", "/v2/health/ready", "/v2/models/mlp/ready"):
        response = get(app, path)
        assert (response.status, bytes(response.body)) == (200, b"")
    app.draining = True
    assert get(app, "/v2/health/ready").status == 400
    assert get(app, "/v2/health/live").status == 200
    for path, message in (
        ("mlp/versions/2", "version '2' is not found"),
        ("none", "unknown model"),
    ):
        response = get(app, f"/v2/models/{path}/ready")
        assert response.status == 400
        assert message in error_of(response)


def test_metadata(app: App) -> None:
    server = answer(get(app, "/v2"))
    assert (server["name"], server["version"]) == ("fasttrt", fasttrt.__version__)
    assert {"statistics", "classification", "binary_tensor_data"} <= set(server["extensions"])
    assert not {"system_shared_memory", "cuda_shared_memory", "trace"} & set(server["extensions"])
    for path in ("/v2/models/mlp", "/v2/models/mlp/versions/1", "/v2/models/%6Dlp"):
        assert answer(get(app, path)) == {
            "name": "mlp",
            "versions": ["1", "3"],
            "platform": "onnxruntime_onnx",
            "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 16]}],
            "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 8]}],
        }
    config = answer(get(app, "/v2/models/mlp/config"))
    assert config["max_batch_size"] == 8
    assert config["input"][0]["dims"] == [16]


def test_infer_by_json(app: App, mlp_model: Model) -> None:
    x = rows(5)
    found = answer(post(app, MLP, body(x, id="a/1")))
    assert (found["id"], found["model_name"], found["model_version"]) == ("a/1", "mlp", "3")
    assert list(found["outputs"][0]) == ["name", "datatype", "shape", "data"]
    np.testing.assert_allclose(y_of(post(app, MLP, body(x))), mlp_model.reference(x), atol=1e-5)
    first = answer(post(app, "/v2/models/mlp/versions/1/infer", body(x)))
    assert (first["model_version"], "id" in first) == ("1", False)


def test_infer_of_raw_data(app: App, mlp_model: Model) -> None:
    x = rows(1)
    response = post(app, MLP, x.tobytes(), Inference_Header_Content_Length="0")
    headers = dict(response.headers)
    size = int(headers["Inference-Header-Content-Length"])
    assert headers["Content-Type"] == "application/octet-stream"
    header = json.loads(bytes(response.body)[:size])
    assert header["outputs"] == [
        {"name": "y", "datatype": "FP32", "shape": [1, 8], "parameters": {"binary_data_size": 32}}
    ]
    y = np.frombuffer(bytes(response.body)[size:], np.float32).reshape(1, 8)
    np.testing.assert_allclose(y, mlp_model.reference(x), atol=1e-5)


def test_outputs_are_binary_where_asked(app: App, mlp_model: Model) -> None:
    x = rows(3)
    for more in (
        {"parameters": {"binary_data_output": True}},
        {"outputs": [{"name": "y", "parameters": {"binary_data": True}}]},
        {"outputs": [], "parameters": {"binary_data_output": True}},
    ):
        response = post(app, MLP, body(x, **more))
        size = int(dict(response.headers)["Inference-Header-Content-Length"])
        y = np.frombuffer(bytes(response.body)[size:], np.float32).reshape(3, 8)
        np.testing.assert_allclose(y, mlp_model.reference(x), atol=1e-5)
    mixed = {
        "outputs": [{"name": "y", "parameters": {"binary_data": False}}],
        "parameters": {"binary_data_output": True},
    }
    response = post(app, MLP, body(x, **mixed))
    assert dict(response.headers) == {"Content-Type": "application/json"}
    np.testing.assert_allclose(y_of(response), mlp_model.reference(x), atol=1e-5)


def test_classification(app: App, mlp_model: Model) -> None:
    x = rows(2)
    outputs = [{"name": "y", "parameters": {"classification": 3}}]
    (found,) = answer(post(app, "/v2/models/mlp/versions/1/infer", body(x, outputs=outputs)))[
        "outputs"
    ]
    assert (found["datatype"], found["shape"]) == ("BYTES", [2, 3])
    labels = ["cat", "dog", "", "owl"] + [""] * 4
    best = np.argsort(-mlp_model.reference(x), axis=1)[:, :3]
    strings = np.array(found["data"]).reshape(2, 3)
    for row in range(2):
        for place, index in enumerate(best[row]):
            value, _, rest = strings[row, place].partition(":")
            assert float(value) == pytest.approx(mlp_model.reference(x)[row, index], abs=1e-5)
            assert rest == (f"{index}:{labels[index]}" if labels[index] else str(index))


def test_requests_in_flight_keep_no_thread(app: App, engine: fasttrt.Engine) -> None:
    gate = Gate(engine)
    answers: list[Response] = []
    done = threading.Semaphore(0)

    def respond(response: Response) -> None:
        answers.append(response)
        done.release()

    data = json.dumps(body(rows(1))).encode()
    before = threading.active_count()
    for _ in range(50):
        app.start(Request.of("POST", MLP, [], data), respond)
    assert threading.active_count() <= before + 1  # what publishes the engine's futures
    assert not answers
    gate.open()
    for _ in range(50):
        assert done.acquire(timeout=PATIENCE)
    assert [response.status for response in answers] == [200] * 50


def test_priority_and_timeout_reach_the_engine(
    app: App, engine: fasttrt.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    submit = engine.submit

    def watched(*args: Any, **options: Any) -> Any:
        seen.append(options)
        return submit(*args, **options)

    monkeypatch.setattr(engine, "submit", watched)
    for parameters in ({}, {"priority": 1, "timeout": 2_500_000}, {"priority": 2, "timeout": 0}):
        answer(post(app, MLP, body(rows(1), parameters=parameters)))
    assert seen == [
        {"priority": "normal", "timeout": None},
        {"priority": "high", "timeout": 2.5},
        {"priority": "normal", "timeout": None},
    ]


BINARY = {"parameters": {"binary_data_size": 64}}
X = {"name": "x", "shape": [1, 16], "datatype": "FP32"}
DATA = {"data": [0.5] * 16}


def of(*inputs: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"inputs": list(inputs), **more}


# fmt: off
BAD_REQUESTS: list[tuple[str, Any, dict[str, str], int, str]] = [
    # body, headers, status, a part of the message
    ("empty", b"", {}, 400, "failed to parse the request's JSON"),
    ("no JSON", b"{", {}, 400, "failed to parse the request's JSON"),
    ("not UTF-8", b'{"id": "\xff"}', {}, 400, "failed to parse"),
    ("deep", b"[" * 100_000, {}, 400, "failed to parse"),
    ("no object", b"[]", {}, 400, "expected an object, got an array"),
    ("no inputs", {}, {}, 400, "'inputs': expected an array of inputs, got none"),
    ("inputs are none", {"inputs": 3}, {}, 400, "expected an array of inputs, got 3"),
    ("no object in inputs", {"inputs": [1]}, {}, 400, "'inputs': expected objects in it, got 1"),
    ("nameless", of({**DATA}), {}, 400, "'name' in 'inputs': expected a string, got none"),
    ("name is none", of({**X, **DATA, "name": 1}), {}, 400, "expected a string, got 1"),
    ("unknown input", of({**X, **DATA, "name": "z"}), {}, 400, "unexpected inference input 'z' for model 'mlp': expected 'x'"),  # noqa: E501
    ("twice", of({**X, **DATA}, {**X, **DATA}), {}, 400, "input 'x' already exists"),
    ("too few inputs", of(), {}, 400, "expected 1 inputs but got 0 inputs for model 'mlp'"),
    ("no data", of(X), {}, 400, "exactly one of data, binary_data_size and shared_memory_region, got none"),  # noqa: E501
    ("two sources", of({**X, **DATA, **BINARY}), {}, 400, "got data and binary_data_size"),
    ("shared memory", of({**X, "parameters": {"shared_memory_region": "r"}}), {}, 501, "shared memory is not allowed"),  # noqa: E501
    ("no datatype", of({"name": "x", "shape": [1, 16], **DATA}), {}, 400, "expected datatype to be a string, got none"),  # noqa: E501
    ("other datatype", of({**X, **DATA, "datatype": "INT32"}), {}, 400, "expected data-type FP32, got INT32"),  # noqa: E501
    ("no such datatype", of({**X, **DATA, "datatype": "FP8"}), {}, 400, "expected data-type FP32, got FP8"),  # noqa: E501
    ("no shape", of({"name": "x", "datatype": "FP32", **DATA}), {}, 400, "expected shape to be an array of integers >= 0, got none"),  # noqa: E501
    ("negative shape", of({**X, **DATA, "shape": [-1, 16]}), {}, 400, "integers >= 0, got [-1, 16]"),  # noqa: E501
    ("fractional shape", of({**X, **DATA, "shape": [1.0, 16]}), {}, 400, "integers >= 0"),
    ("true in shape", of({**X, **DATA, "shape": [True, 16]}), {}, 400, "integers >= 0"),
    ("other shape", of({**X, **DATA, "shape": [1, 17]}), {}, 400, "unexpected shape for input 'x' for model 'mlp': expected [-1, 16], got [1, 17]"),  # noqa: E501
    ("other rank", of({**X, **DATA, "shape": [16]}), {}, 400, "max_batch_size is not 0"),
    ("large batch", of({**X, "shape": [9, 16], "data": [0.0] * 144}), {}, 400, "batch-size must be <= 8 for 'mlp', got 9"),  # noqa: E501
    ("vast batch", of({**X, "shape": [2**62, 16], **DATA}), {}, 400, "batch-size must be <= 8"),
    ("vaster", of({**X, "shape": [2**64, 16], **DATA}), {}, 400, "integers >= 0"),
    ("too little data", of({**X, "data": [0.5] * 15}), {}, 400, "expected 16 elements, got 15"),
    ("data is none", of({**X, "data": 1.5}), {}, 400, "expected data to be an array, got 1.5"),
    ("a string in data", of({**X, "data": [0.5] * 15 + ["a"]}), {}, 400, 'expected numbers in data for FP32, got "a"'),  # noqa: E501
    ("true in data", of({**X, "data": [0.5] * 15 + [True]}), {}, 400, "got true"),
    ("uneven data", of({**X, "data": [[0.5] * 15, 0.5]}), {}, 400, "equal depth"),
    ("large number", of({**X, "data": [1e39] * 16}), {}, 400, "in the range of FP32, got 1e+39"),
    ("larger number", of({**X, "data": [10**400] * 16}), {}, 400, "in the range of FP32"),
    ("length no number", of({**X, **DATA}), {"Inference_Header_Content_Length": "1e2"}, 400, "Inference-Header-Content-Length: expected 0 to"),  # noqa: E501
    ("length too large", of({**X, **DATA}), {"Inference_Header_Content_Length": "5000"}, 400, "expected 0 to"),  # noqa: E501
    ("length negative", of({**X, **DATA}), {"Inference_Header_Content_Length": "-1"}, 400, "expected 0 to"),  # noqa: E501
    ("no binary data", of({**X, **BINARY}), {}, 400, "unexpected size for input 'x' of model 'mlp': expected 64 additional bytes"),  # noqa: E501
    ("binary size is none", of({**X, "parameters": {"binary_data_size": "64"}}), {}, 400, "binary_data_size to be an integer >= 0"),  # noqa: E501
    ("raw of other size", bytes(65), {"Inference_Header_Content_Length": "0"}, 400, "byte size mismatch: expected 64, got 65"),  # noqa: E501
    ("parameters are none", of({**X, **DATA}, parameters=[]), {}, 400, "expected parameters to be an object"),  # noqa: E501
    ("reserved parameter", of({**X, **DATA}, parameters={"triton_x": 1}), {}, 400, "parameter 'triton_x'"),  # noqa: E501
    ("parameter headers", of({**X, **DATA}, parameters={"headers": "a"}), {}, 400, "parameter 'headers'"),  # noqa: E501
    ("parameter object", of({**X, **DATA}, parameters={"mine": {}}), {}, 400, "expected a string, a number, true or false, got an object"),  # noqa: E501
    ("priority", of({**X, **DATA}, parameters={"priority": -1}), {}, 400, "parameter 'priority': expected an integer >= 0, got -1"),  # noqa: E501
    ("timeout", of({**X, **DATA}, parameters={"timeout": 0.5}), {}, 400, "parameter 'timeout': expected an integer >= 0"),  # noqa: E501
    ("sequence", of({**X, **DATA}, parameters={"sequence_start": 1}), {}, 400, "parameter 'sequence_start': expected true or false"),  # noqa: E501
    ("sequence id", of({**X, **DATA}, parameters={"sequence_id": 1.5}), {}, 400, "parameter 'sequence_id'"),  # noqa: E501
    ("binary_data_output", of({**X, **DATA}, parameters={"binary_data_output": "x"}), {}, 400, 'expected true or false, got "x"'),  # noqa: E501
    ("id", of({**X, **DATA}, id=7), {}, 400, "failed to parse 'id': expected a string, got 7"),
    ("outputs are none", of({**X, **DATA}, outputs={}), {}, 400, "'outputs': expected an array"),
    ("unknown output", of({**X, **DATA}, outputs=[{"name": "z"}]), {}, 400, "unexpected inference output 'z' for model 'mlp': expected 'y'"),  # noqa: E501
    ("output twice", of({**X, **DATA}, outputs=[{"name": "y"}] * 2), {}, 400, "output 'y' already exists"),  # noqa: E501
    ("binary_data", of({**X, **DATA}, outputs=[{"name": "y", "parameters": {"binary_data": 1}}]), {}, 400, "binary_data to be true or false, got 1"),  # noqa: E501
    ("classification", of({**X, **DATA}, outputs=[{"name": "y", "parameters": {"classification": -1}}]), {}, 400, "classification to be an integer >= 0"),  # noqa: E501
    ("output in shared memory", of({**X, **DATA}, outputs=[{"name": "y", "parameters": {"shared_memory_region": "r"}}]), {}, 501, "shared memory is not allowed"),  # noqa: E501
    ("other encoding", of({**X, **DATA}), {"Content_Encoding": "br"}, 501, "expected gzip or deflate, got 'br'"),  # noqa: E501
    ("no gzip", of({**X, **DATA}), {"Content_Encoding": "gzip"}, 400, "the body is not valid gzip"),
]
# fmt: on


@pytest.mark.parametrize(
    ("data", "headers", "status", "message"),
    [case[1:] for case in BAD_REQUESTS],
    ids=[case[0] for case in BAD_REQUESTS],
)
def test_bad_requests(
    app: App, mlp_model: Model, data: Any, headers: dict[str, str], status: int, message: str
) -> None:
    response = post(app, MLP, data, **headers)
    assert message in error_of(response)
    assert response.status == status
    x = rows(2)
    np.testing.assert_allclose(y_of(post(app, MLP, body(x))), mlp_model.reference(x), atol=1e-5)


def test_bytes_left_over(app: App) -> None:
    header = json.dumps(of({**X, **BINARY})).encode()
    length = str(len(header))
    response = post(app, MLP, header + bytes(65), Inference_Header_Content_Length=length)
    assert response.status == 400
    assert "unexpected additional input data for model 'mlp': 1 bytes" in error_of(response)
    size = of({**X, "parameters": {"binary_data_size": 60}})
    header = json.dumps(size).encode()
    response = post(app, MLP, header + bytes(60), Inference_Header_Content_Length=str(len(header)))
    assert "byte size mismatch: expected 64, got 60" in error_of(response)


@pytest.mark.parametrize(
    ("method", "path", "status", "message"),
    [
        ("GET", "/", 404, "Not Found"),
        ("GET", "/v2/", 404, "Not Found"),
        ("GET", "/v1/models/mlp", 404, "Not Found"),
        ("GET", "/v2/models/", 404, "Not Found"),
        ("GET", "/v2/models/mlp/versions/x", 404, "Not Found"),
        ("GET", "/v2/models/mlp/versions/%31%00/ready", 404, "Not Found"),
        ("GET", "/v2/models/mlp/nothing", 404, "Not Found"),
        ("GET", "/v2/models/%ff", 400, "UTF-8"),
        ("GET", "/v2/models/none", 400, "unknown model: 'none' is not found"),
        ("POST", "/v2/models/none/infer", 400, "unknown model: 'none' is not found"),
        ("GET", "/v2/models/mlp/versions/2", 404, "version '2' is not found"),
        ("POST", "/v2/models/mlp/versions/2/infer", 404, "version '2' is not found"),
        ("GET", "/v2/models/none/stats", 400, "unknown model"),
        ("POST", "/v2", 405, "Method Not Allowed"),
        ("GET", MLP, 405, "Method Not Allowed"),
        ("DELETE", "/v2/models/mlp", 405, "Method Not Allowed"),
        ("GET", "/v2/repository/index", 405, "Method Not Allowed"),
        ("POST", "/v2/repository/here/index", 501, "'here'"),
        ("POST", "/v2/repository/here/models/mlp/load", 501, "'here'"),
        ("POST", "/v2/models/mlp/generate", 501, "no generate"),
        ("POST", "/v2/trace/setting", 400, "JSON"),
        ("GET", "/v2/models/none/trace/setting", 400, "unknown model"),
        ("POST", "/v2/logging", 400, "JSON"),
        ("GET", "/v2/systemsharedmemory/status", 501, "shared memory is not allowed"),
        ("POST", "/v2/cudasharedmemory/region/r/register", 501, "shared memory is not allowed"),
        ("POST", "/v2/systemsharedmemory/region/r/unregister", 501, "shared memory is not allowed"),
    ],
)
def test_other_paths(app: App, method: str, path: str, status: int, message: str) -> None:
    response = app.handle(Request.of(method, path, [], b""))
    assert message in error_of(response)
    assert response.status == status
    assert ("Allow" in dict(response.headers)) is (status == 405)


def test_perf_analyzer_may_unregister_all_shared_memory(app: App) -> None:
    for kind in ("systemsharedmemory", "cudasharedmemory"):
        assert post(app, f"/v2/{kind}/unregister").status == 200


def test_half_precision_is_binary_only(app: App) -> None:
    for datatype in ("FP16", "BF16"):
        with fasttrt.Engine(identity([datatype]), device="cpu") as engine:
            half = App(models_of(loaded(engine)))
            tensor: dict[str, Any]
            tensor = {"name": "x0", "shape": [1, 2], "datatype": datatype, "data": [1.5, 2.5]}
            wanted = [{"name": "y0", "parameters": {"binary_data": True}}]
            response = post(half, "/v2/models/m/infer", of(tensor, outputs=wanted))
            assert f"receiving {datatype} data via JSON is not supported" in error_of(response)
            raw = {**tensor, "parameters": {"binary_data_size": 4}}
            del raw["data"]
            header = json.dumps(of(raw)).encode()
            length = str(len(header))
            response = post(
                half,
                "/v2/models/m/infer",
                header + bytes(4),
                Inference_Header_Content_Length=length,
            )
            assert f"sending {datatype} data via JSON is not supported" in error_of(response)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\x01\0\0", "4 bytes of a string's length"),
        (b"\x05\0\0\0abc", "a string of 5 bytes, got 3"),
        (b"\x01\0\0\0a" * 3, "expected 2 strings, got 5 bytes more"),
        (b"\x01\0\0\0a", "expected 2 strings, got 1"),
        (b"\x01\0\0\0\xff" * 2, "UTF-8"),
    ],
)
def test_bad_strings(data: bytes, message: str) -> None:
    with fasttrt.Engine(identity(["BYTES"]), device="cpu") as engine:
        app = App(models_of(loaded(engine)))
        parameters = {"binary_data_size": len(data)}
        tensor = {"name": "x0", "shape": [1, 2], "datatype": "BYTES", "parameters": parameters}
        header = json.dumps(of(tensor)).encode()
        response = post(
            app, "/v2/models/m/infer", header + data,
            Inference_Header_Content_Length=str(len(header)),
        )  # fmt: skip
        assert message in error_of(response)


def test_booleans_are_bytes_of_0_and_1() -> None:
    with fasttrt.Engine(identity(["BOOL"]), device="cpu") as engine:
        app = App(models_of(loaded(engine)))
        tensor = {"name": "x0", "shape": [1, 2], "datatype": "BOOL"}
        header = json.dumps(of({**tensor, "parameters": {"binary_data_size": 2}})).encode()
        response = post(
            app, "/v2/models/m/infer", header + b"\x01\x02",
            Inference_Header_Content_Length=str(len(header)),
        )  # fmt: skip
        assert "bytes of 0 and 1 for BOOL, got 2" in error_of(response)


def test_decompressed_bodies_are_limited(models: Models) -> None:
    import gzip
    import zlib

    app = App(models, max_body_bytes=10_000)
    for encoding, bomb in (
        ("gzip", gzip.compress(bytes(50_000_000))),
        ("gzip", gzip.compress(b" " * 6000) + gzip.compress(b" " * 6000)),
        ("deflate", zlib.compress(b" " * 10_001)),
    ):
        response = post(app, MLP, bomb, Content_Encoding=encoding)
        assert (response.status, "more than 10000 bytes" in error_of(response)) == (413, True)
    whole = gzip.compress(json.dumps(body(rows(1))).encode())
    assert post(app, MLP, whole, Content_Encoding="gzip").status == 200
    assert "ends too early" in error_of(post(app, MLP, whole[:-3], Content_Encoding="gzip"))
    doubled = zlib.compress(b"{}") + b"more"
    assert "got more" in error_of(post(app, MLP, doubled, Content_Encoding="deflate"))


def test_cuda_errors_take_the_model_out_of_service(
    app: App, models: Models, engine: fasttrt.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = fasttrt.CudaError("cuLaunchKernel: an illegal memory access", 700, "cuLaunchKernel")

    def fail(*_: Any) -> Any:
        raise error

    told = []
    monkeypatch.setattr(models, "report_failure", lambda model, why: told.append((model, why)))
    replace_run(engine, fail)
    response = post(app, MLP, body(rows(1)))
    assert (response.status, error_of(response)) == (500, str(error))
    assert told == [(models.get("mlp"), error)]
    totals = app._statistics.totals(models.get("mlp"))
    assert (totals.requests.failures["BACKEND"], totals.executions) == (1, 0)


def test_errors_of_other_kinds_are_logged_and_not_shown(
    app: App, engine: fasttrt.Engine, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: Any) -> Any:
        raise KeyError("a secret")

    replace_run(engine, fail)
    response = post(app, MLP, body(rows(1)))
    assert response.status == 500
    assert "secret" not in error_of(response)
    assert "a secret" in caplog.text


class Repository:
    """Takes the place of `Models`' loading."""

    def __init__(self, models: Models, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: list[Any] = []
        self.error: Exception | None = None
        monkeypatch.setattr(models, "load", self._call)
        monkeypatch.setattr(models, "unload", self._call)

    def _call(self, *args: Any) -> None:
        self.calls.append(args)
        if self.error is not None:
            raise self.error


@pytest.fixture
def repository(models: Models, monkeypatch: pytest.MonkeyPatch) -> Repository:
    return Repository(models, monkeypatch)


def test_repository_control(app: App, repository: Repository) -> None:
    load, unload = (f"/v2/repository/models/mlp/{action}" for action in ("load", "unload"))
    content = new_rng().bytes(100)
    config = '{"max_batch_size": 4}'
    files = {"config": config, "file:1/model.onnx": base64.b64encode(content).decode()}
    for path, data in (
        (load, b""),
        (load, {}),
        (load, {"parameters": {"config": config}}),
        (load, {"parameters": files}),
        (unload, {"parameters": {"unload_dependents": False}}),
        (unload, b""),
    ):
        response = post(app, path, data)
        assert (response.status, bytes(response.body)) == (200, b"")
    assert repository.calls == [
        ("mlp", None, None),
        ("mlp", None, None),
        ("mlp", config, None),
        ("mlp", config, {"1/model.onnx": content}),
        ("mlp",),
        ("mlp",),
    ]
    for parameters, message in (
        ({"file:1/model.onnx": files["file:1/model.onnx"]}, "files need the parameter config"),
        ({"config": config, "file:a": "?"}, "'file:a': expected base64"),
        ({"config": 1}, "'config': expected a string, got 1"),
        ({"other": "x"}, "'other': expected config or file:PATH"),
    ):
        response = post(app, load, {"parameters": parameters})
        assert (response.status, message in error_of(response)) == (400, True)
    response = post(app, unload, {"parameters": {"unload_dependents": 1}})
    assert "'unload_dependents': expected a boolean, got 1" in error_of(response)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (fasttrt.InputError("no such version"), 400),
        (fasttrt.ParseError("no ONNX"), 400),
        (ModelControlError("not allowed"), 503),
        (fasttrt.OutOfMemoryError("no memory"), 500),
        (RuntimeError("a bug"), 500),
    ],
)
def test_failed_loads(app: App, repository: Repository, error: Exception, status: int) -> None:
    repository.error = error
    response = post(app, "/v2/repository/models/mlp/load")
    assert response.status == status
    assert (str(error) in error_of(response)) is isinstance(error, fasttrt.Error)


def test_a_load_does_not_keep_the_caller(
    app: App, models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, may_end, answered = threading.Event(), threading.Event(), threading.Event()

    def load(*_: Any) -> None:
        begun.set()
        assert may_end.wait(PATIENCE)

    monkeypatch.setattr(models, "load", load)
    request = Request.of("POST", "/v2/repository/models/mlp/load", [], b"")
    app.start(request, lambda _: answered.set())
    assert begun.wait(PATIENCE)
    assert not answered.is_set()
    assert get(app, "/v2/models/mlp").status == 200
    may_end.set()
    assert answered.wait(PATIENCE)


def test_index(app: App, models: Models) -> None:
    with models.changed:
        models.take(models.entries["mlp"], "1", "UNAVAILABLE", "unloaded")
    everything = answer(post(app, "/v2/repository/index"))
    assert everything == [
        {"name": "mlp", "version": "1", "state": "UNAVAILABLE", "reason": "unloaded"},
        {"name": "mlp", "version": "3", "state": "READY"},
    ]
    assert answer(post(app, "/v2/repository/index", {"ready": True})) == everything[1:]
    assert "ready: expected true or false" in error_of(
        post(app, "/v2/repository/index", {"ready": 1})
    )
